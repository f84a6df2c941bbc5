"""Distillation: train the modified model to match the original model on the retained examples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from unlearnkit.approximate.buffers import RunningStatistics
from unlearnkit.approximate.optimise import (
    Optimisation,
    divergence_gradient,
    no_steps,
    retained_batches,
)
from unlearnkit.approximate.protocol import Amended, Modified, OnStep, ShardRound
from unlearnkit.approximate.routes import refusal
from unlearnkit.approximate.stored_states import StoredState, stored_states_of
from unlearnkit.training.plan import Plan


@dataclass(frozen=True)
class Distillation:
    """Minimise the divergence from the shard's original constituent on the retained examples.

    This is knowledge distillation (Hinton, Vinyals and Dean 2015, Distilling the Knowledge in a
    Neural Network, section 2) without a temperature and without labels. The teacher is the final
    state when the round begins; the student starts from the modified state. The teacher was trained
    with the forget set, so its outputs on the retained examples depend on it. For losses other than
    cross-entropy and squared error, the student matches the outputs that the ensemble averages. The
    use as an amend was devised for unlearnkit.

    Attributes:
        passes: passes over the retained examples, limited to the epochs of stage R.
        rate: multiple of the training's learning rate.
    """

    passes: int = 1
    rate: float = 0.3

    def epochs(self, plan: Plan) -> int:
        """Return the number of passes."""
        return min(self.passes, plan.spec.stage_epochs()[-1])

    def longer(self, plan: Plan) -> None:
        """Return None: longer distillation leads back to the teacher."""
        return None

    def unsuitable(self, plan: Plan) -> str:
        """Return why no step of distillation can be taken with the plan's module, or ""."""
        return refusal("distillation trains in evaluation mode", no_steps(plan))

    def __call__(
        self, rounds: Sequence[ShardRound], modified: Sequence[Modified], *, on_progress: OnStep
    ) -> list[Amended]:
        """See :class:`~unlearnkit.approximate.protocol.Amend`."""
        amended = []
        for number, (each, found) in enumerate(zip(rounds, modified, strict=True)):
            on_progress(f"shard {each.state.shard}: distilling", number / len(rounds))
            amended.append(self._distil(each, found))
        return amended

    def _distil(self, given: ShardRound, found: Modified) -> Amended:
        plan, last = given.state.plan, len(given.state.chain)
        loss, original = plan.spec.loss, stored_states_of(given)[-1]
        teacher = Optimisation(given, original, self.rate).outputs()
        student: StoredState = replace(original, state=found.checkpoints[last].state)
        run = Optimisation(given, student, self.rate)

        def slope(outputs: Tensor, targets: Tensor, places: Tensor) -> Tensor:
            return divergence_gradient(loss, outputs, teacher[places]) / len(places)

        steps = 0
        for batches in retained_batches(plan, given.state.shard, last, self.passes):
            for rows in batches:
                run.step(rows, slope)
                steps += 1
        tails = found.checkpoints[last].tails
        statistics = RunningStatistics(given, tails[min(tails)])
        state = statistics.correct(original.name, run.state)
        checkpoint = replace(found.checkpoints[last], state=state)
        return Amended(checkpoint, self.epochs(plan), run.visits, steps)
