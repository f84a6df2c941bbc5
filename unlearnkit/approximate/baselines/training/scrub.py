"""SCRUB: a student matches its teacher on the retain set and departs from it on the forget set.

Kurmanji et al. 2023, Towards Unbounded Machine Unlearning, section 3. The teacher is the stored
state, from which the student starts. With d the divergence KL(teacher || student) of an example,
they minimise

    (alpha/|retain|) sum_retain d + (gamma/|retain|) sum_retain loss - (1/|forget|) sum_forget d

alternately: each of the first ``max_epochs`` epochs begins with a pass over the forget set that
increases d, and every epoch has a pass over the retain set that decreases the other two terms.

Deviations from the source: d has no temperature (their notebooks use 2, 4 or 8), there is no
rewinding (their SCRUB+R), and the forget set is processed in batches of the training's size. The
student has no dropout, and the gradient of d is zero while the student equals the teacher, so the
first ascent changes nothing. Each stored state is its own teacher, on the slices up to its stage.
"""

from dataclasses import dataclass

from torch import Tensor

from unlearnkit.approximate.optimise import (
    Optimisation,
    batches_of,
    divergence_gradient,
    has_divergence,
    no_steps,
    retained_batches,
)
from unlearnkit.approximate.protocol import ShardRound
from unlearnkit.approximate.routes import refusal
from unlearnkit.approximate.stored_states import Size, StoredState
from unlearnkit.store.checkpoint import State
from unlearnkit.training.plan import Plan


@dataclass(frozen=True)
class Scrub:
    """Alternate ascent on the forget set and descent on the retain set.

    Attributes:
        alpha: weight of the divergence from the teacher on retained examples.
        gamma: weight of the loss on retained examples.
        max_epochs: number of epochs that begin with an ascent; the first ascent changes nothing.
        epochs: number of all epochs, limited to those of the stage.
        rate: multiple of the training's learning rate.
    """

    alpha: float = 1.0
    gamma: float = 1.0
    max_epochs: int = 2
    epochs: int = 3
    rate: float = 0.3

    def __call__(self, given: ShardRound, stored: StoredState) -> tuple[State, int]:
        """See :class:`~unlearnkit.approximate.stored_states.Rule`."""
        plan = given.state.plan
        loss, run = plan.spec.loss, Optimisation(given, stored, self.rate)
        teacher = run.outputs()

        def climb(outputs: Tensor, targets: Tensor, places: Tensor) -> Tensor:
            return -divergence_gradient(loss, outputs, teacher[places]) / len(places)

        def descend(outputs: Tensor, targets: Tensor, places: Tensor) -> Tensor:
            obedience = divergence_gradient(loss, outputs, teacher[places])
            task = loss.output_gradient(outputs, targets)
            return (self.alpha * obedience + self.gamma * task) / len(places)

        passes = retained_batches(plan, given.state.shard, stored.stage, self.epochs)
        for epoch, batches in enumerate(passes):
            if epoch < self.max_epochs:
                for rows in batches_of(stored.forget, plan.spec.batch_size, given.generator):
                    run.step(rows, climb)
            for rows in batches:
                run.step(rows, descend)
        return run.state, run.visits + len(teacher)

    def cost(self, plan: Plan, size: Size) -> tuple[int, int]:
        """Count the teacher's outputs and the batches of both sets."""
        climbs = min(self.max_epochs, self.epochs)
        steps = self.epochs * size.steps + climbs * -(-size.forget // plan.spec.batch_size)
        visits = (1 + self.epochs) * size.retain + (1 + climbs) * size.forget
        return 1 + steps, visits

    def unsuitable(self, plan: Plan) -> str:
        """Refuse losses without a divergence, and modules that no step can be taken with."""
        if has_divergence(plan):
            return refusal("SCRUB trains in evaluation mode", no_steps(plan))
        return f"SCRUB knows no divergence for the loss {plan.spec.loss.name!r}, so it is retrained"
