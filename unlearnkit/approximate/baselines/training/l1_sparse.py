"""l1-sparse: fine-tuning on the retain set with a penalty on the L1 norm of the parameters.

Jia et al. 2023, Model Sparsity Can Simplify Machine Unlearning (arXiv 2304.04934), section 4,
sparsity-aware unlearning. The objective on the retained examples is

    E_retain loss + gamma |w|_1,

with gamma decreasing linearly, in epoch t of T to gamma (1 - t/T), t = 0..T-1, as in their
published code (OPTML-Group/Unlearn-Sparse). All trainable parameters are penalised, biases too, by
the subgradient sign(w). A penalty that is large enough leads to a sparse model, which forgets more
in fine-tuning. A small one leaves fine-tuning.

Deviations from the source: the training optimizer in evaluation mode on keyed batches, on each
stored state separately, with the retained examples of the slices up to its stage.
"""

from dataclasses import dataclass

from torch import Tensor

from unlearnkit.approximate.optimise import (
    Optimisation,
    check_setting,
    no_steps,
    retained_batches,
)
from unlearnkit.approximate.protocol import ShardRound
from unlearnkit.approximate.routes import refusal
from unlearnkit.approximate.stored_states import Size, StoredState
from unlearnkit.store.checkpoint import State
from unlearnkit.training.plan import Plan


@dataclass(frozen=True)
class L1Sparse:
    """Fine-tune on the retained examples with a decreasing L1 penalty.

    Attributes:
        gamma: the penalty in the first epoch, 0 or more.
        passes: passes over the retained examples, limited to the epochs of the stage.
        rate: multiple of the training's learning rate.
    """

    gamma: float = 1e-3
    passes: int = 2
    rate: float = 1.0

    def __post_init__(self) -> None:
        """Check the settings."""
        check_setting("gamma", self.gamma, 0)
        check_setting("passes", self.passes, 1, whole=True)
        check_setting("rate", self.rate, 1e-12)

    def __call__(self, given: ShardRound, stored: StoredState) -> tuple[State, int]:
        """See :class:`~unlearnkit.approximate.stored_states.Rule`."""
        plan = given.state.plan
        loss, run = plan.spec.loss, Optimisation(given, stored, self.rate)

        def slope(outputs: Tensor, targets: Tensor, places: Tensor) -> Tensor:
            return loss.output_gradient(outputs, targets) / len(places)

        passes = retained_batches(plan, given.state.shard, stored.stage, self.passes)
        for epoch, batches in enumerate(passes):
            for rows in batches:
                run.step(rows, slope, l1=self.gamma * (1 - epoch / len(passes)))
        return run.state, run.visits

    def cost(self, plan: Plan, size: Size) -> tuple[int, int]:
        """Count the steps of all passes over the retained examples."""
        return self.passes * size.steps, self.passes * size.retain

    def unsuitable(self, plan: Plan) -> str:
        """Refuse modules that no step can be taken with."""
        return refusal("l1-sparse trains in evaluation mode", no_steps(plan))
