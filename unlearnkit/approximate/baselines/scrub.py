"""SCRUB: a student that obeys its teacher on the retained examples and not on the forget set.

Kurmanji et al. 2023, Towards Unbounded Machine Unlearning, section 3. The teacher is the stored
state state, the student starts there. With d the divergence KL(teacher || student) of an example,
they minimise

    (alpha/|retain|) sum_retain d + (gamma/|retain|) sum_retain loss - (1/|forget|) sum_forget d

in turn: a pass over the forget set that climbs d in the first ``max_epochs`` epochs, then in every
epoch one over the retained set that descends on the other two terms.

How it deviates: no temperature in d (their code has one of 4), no rewinding (their SCRUB+R), and
the forget set is taken in the batch size of training. The student has no dropout, and the gradient
of d is zero where it still is the teacher, so that the first climb does nothing. Each stored state
is its own teacher, on the slices until its stage.
"""

from dataclasses import dataclass

from torch import Tensor

from unlearnkit.approximate.optimise import (
    Optimisation,
    batches_of,
    divergence_slope,
    has_divergence,
    retained_batches,
)
from unlearnkit.approximate.protocol import ShardRound
from unlearnkit.approximate.stored_states import Size, StoredState
from unlearnkit.store.checkpoint import State
from unlearnkit.training.plan import Plan


@dataclass(frozen=True)
class Scrub:
    """Climb on the forget set and descend on the retained one, in turn.

    Attributes:
        alpha: weight of obeying the teacher on retained examples.
        gamma: weight of their loss.
        max_epochs: epochs that begin with a climb; the first one does nothing.
        epochs: in all, at most those of the stage.
        rate: learning rate, in units of training's.
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
            return -divergence_slope(loss, outputs, teacher[places]) / len(places)

        def descend(outputs: Tensor, targets: Tensor, places: Tensor) -> Tensor:
            obedience = divergence_slope(loss, outputs, teacher[places])
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
        """The teacher's outputs, and batches of both sets."""
        climbs = min(self.max_epochs, self.epochs)
        steps = self.epochs * size.steps + climbs * -(-size.forget // plan.spec.batch_size)
        visits = (1 + self.epochs) * size.retain + (1 + climbs) * size.forget
        return 1 + steps, visits

    def unsuitable(self, plan: Plan) -> str:
        """Refuse losses without a divergence."""
        if has_divergence(plan):
            return ""
        return f"SCRUB knows no divergence for the loss {plan.spec.loss.name!r}, so it is retrained"
