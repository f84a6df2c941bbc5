"""SalUn: relabelling that moves only the parameters to which the forget set is most sensitive.

Fan et al. 2024, SalUn: Empowering Machine Unlearning via Gradient-based Weight Saliency in Both
Image Classification and Generation (arXiv 2310.12508), section 4. The saliency of a parameter is
the absolute value of the gradient of the mean loss on the forget set. The mask holds the most
salient share of all parameters together; the others keep their values. The masked parameters
minimise

    E_forget loss(x, y') + alpha E_retain loss(x, y),        y' a random wrong label.

Their published code (OPTML-Group/Unlearn-Saliency) takes the gradient in evaluation mode, as here,
and masks the gradients of the later training, which leaves the same parameters where they are. It
draws y' from all classes, again in each step, and makes a pass over the forget set before one over
the retain set.

Deviations from the source: y' is a wrong label, as in the paper's formula, and drawn once; each
step takes a keyed batch of retained examples and a batch of the forget set, with the training
optimizer in evaluation mode; each stored state has its own mask, from the slices up to its stage.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unlearnkit.approximate.baselines.training.relabelling import no_other_label, wrong_labels
from unlearnkit.approximate.curvature import mean_gradient
from unlearnkit.approximate.optimise import (
    Optimisation,
    check_setting,
    no_steps,
    paired_batches,
)
from unlearnkit.approximate.protocol import ShardRound
from unlearnkit.approximate.routes import Routes, refusal
from unlearnkit.approximate.stored_states import Size, StoredState
from unlearnkit.store.checkpoint import State
from unlearnkit.training.plan import Plan


@dataclass(frozen=True)
class SaliencyUnlearning:
    """Continue training with random wrong labels, on the parameters of the saliency mask.

    Attributes:
        share: share of the parameters that may move, from 0 to 1; the source uses one half.
        alpha: weight of the retained examples, 0 or more.
        passes: passes over the retained examples, limited to the epochs of the stage.
        rate: multiple of the training's learning rate.
    """

    share: float = 0.5
    alpha: float = 1.0
    passes: int = 1
    rate: float = 0.1

    def __post_init__(self) -> None:
        """Check the settings."""
        check_setting("share", self.share, 0, 1)
        check_setting("alpha", self.alpha, 0)
        check_setting("passes", self.passes, 1, whole=True)
        check_setting("rate", self.rate, 1e-12)

    def __call__(self, given: ShardRound, stored: StoredState) -> tuple[State, int]:
        """See :class:`~unlearnkit.approximate.stored_states.Rule`."""
        plan = given.state.plan
        loss, run = plan.spec.loss, Optimisation(given, stored, self.rate)
        gradient = mean_gradient(
            plan.architecture.module(),
            stored.state,
            plan.architecture.trainable_names,
            *given.state.data(stored.forget),
            loss,
        )
        run.hold(~most_salient(gradient, self.share))
        gone = np.searchsorted(run.rows, stored.forget.rows)
        classes = plan.architecture.num_outputs
        run.targets[gone] = wrong_labels(run.targets[gone], classes, given.generator)
        for keep, drop in paired_batches(given, stored, self.passes):
            weights = torch.cat(
                [
                    torch.full((len(keep),), self.alpha / len(keep)),
                    torch.full((len(drop),), 1 / len(drop)),
                ]
            ).unsqueeze(1)

            def slope(
                outputs: Tensor, targets: Tensor, places: Tensor, weights: Tensor = weights
            ) -> Tensor:
                return loss.output_gradient(outputs, targets) * weights

            run.step(np.concatenate([keep, drop]), slope)
        return run.state, run.visits + len(stored.forget)

    def cost(self, plan: Plan, size: Size) -> tuple[int, int]:
        """Count the gradient of the forget set, and the steps with batches of both sets."""
        steps = self.passes * size.steps
        drops = steps * min(plan.spec.batch_size, size.forget)
        return 1 + steps, size.forget + self.passes * size.retain + drops

    def unsuitable(self, plan: Plan) -> str:
        """Refuse regressions, single outputs, and modules without gradients or steps."""
        cause = Routes(plan).gradients or no_steps(plan)
        return no_other_label(plan) or refusal("SalUn trains in evaluation mode", cause)


def most_salient(gradient: Float[Tensor, " parameter"], share: float) -> Bool[Tensor, " parameter"]:
    """Return a mask of the share of parameters with the largest absolute gradients.

    Their number is rounded down. Of equal gradients the first come first.

    >>> most_salient(torch.tensor([0.1, -3.0, 0.0, 2.0]), 0.5)
    tensor([False,  True, False,  True])
    """
    order = gradient.abs().argsort(descending=True, stable=True)
    mask = torch.zeros(len(gradient), dtype=torch.bool)
    mask[order[: int(share * len(gradient))]] = True
    return mask
