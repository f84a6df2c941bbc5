"""Bad Teacher: match an untrained model on the forget set and the stored model on the retain set.

Chundawat et al. 2023, Can Bad Teaching Induce Forgetting? Unlearning in Deep Networks using an
Incompetent Teacher (arXiv 2205.08096). The student starts from the stored state, which is also the
competent teacher; the incompetent teacher is randomly initialised. With softened outputs, each
divided by the temperature, the student minimises the mean over both sets of

    KL(competent || student) on retained examples, and KL(incompetent || student) on forgotten ones.

No label is used. Logistic regression starts from zeros here, so its incompetent teacher gives all
classes the same probability.

Deviations from the source: their published code (vikram2000b/bad-teaching-unlearning) averages over
classes as well as examples, which is a smaller learning rate, and optimises with Adam; here it is
the training optimizer, without dropout, on keyed batches of all retained examples where their code
takes 30 % of them. Each stored state is its own competent teacher, on the slices up to its stage.
For squared error, the divergence is half the squared distance of the outputs.
"""

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from unlearnkit.approximate.optimise import (
    Optimisation,
    check_setting,
    divergence_gradient,
    has_divergence,
    mixed_batches,
    no_steps,
)
from unlearnkit.approximate.protocol import ShardRound
from unlearnkit.approximate.routes import refusal
from unlearnkit.approximate.stored_states import Size, StoredState
from unlearnkit.store.checkpoint import State
from unlearnkit.training.plan import Plan


@dataclass(frozen=True)
class BadTeacher:
    """Distil from two teachers, of which the one for the forget set knows nothing.

    Attributes:
        temperature: number by which the outputs of teachers and student are divided.
        passes: passes over both sets, limited to the epochs of the stage.
        rate: multiple of the training's learning rate.
    """

    temperature: float = 1.0
    passes: int = 1
    rate: float = 0.1

    def __post_init__(self) -> None:
        """Check the settings."""
        check_setting("temperature", self.temperature, 1e-6)
        check_setting("passes", self.passes, 1, whole=True)
        check_setting("rate", self.rate, 1e-12)

    def __call__(self, given: ShardRound, stored: StoredState) -> tuple[State, int]:
        """See :class:`~unlearnkit.approximate.stored_states.Rule`."""
        plan = given.state.plan
        loss, run = plan.spec.loss, Optimisation(given, stored, self.rate)
        seed = int(given.generator.integers(2**31))
        untrained = replace(stored, state=plan.architecture.initial(seed, given.state.shard))
        teacher = run.outputs()
        gone = np.searchsorted(run.rows, stored.forget.rows)
        teacher[gone] = Optimisation(given, untrained, self.rate).outputs()[gone]

        def slope(outputs: Tensor, targets: Tensor, places: Tensor) -> Tensor:
            t = self.temperature
            return divergence_gradient(loss, outputs / t, teacher[places] / t) / (t * len(places))

        for rows in mixed_batches(given, stored, self.passes):
            run.step(rows, slope)
        return run.state, run.visits + 2 * len(teacher)

    def cost(self, plan: Plan, size: Size) -> tuple[int, int]:
        """Count the outputs of both teachers and the steps of all passes over both sets."""
        return 2 + self.passes * size.steps, (2 + self.passes) * (size.retain + size.forget)

    def unsuitable(self, plan: Plan) -> str:
        """Refuse losses without a divergence, and modules that no step can be taken with."""
        if has_divergence(plan):
            return refusal("Bad Teacher trains in evaluation mode", no_steps(plan))
        name = plan.spec.loss.name
        return f"Bad Teacher knows no divergence for the loss {name!r}, so it is retrained"
