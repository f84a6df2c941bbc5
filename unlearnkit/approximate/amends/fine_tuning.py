"""Fine-tuning as an amend: train on from the corrected parameters, on the retained examples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from unlearnkit.approximate.optimise import tune, tuning_job, visits_of
from unlearnkit.approximate.protocol import Amended, Modified, OnStep, ShardRound
from unlearnkit.training.plan import Plan


@dataclass(frozen=True)
class FineTune:
    """Train the modified final state for a few more epochs on the retained examples.

    Attributes:
        passes: passes over the retained examples, limited to the epochs of stage R.
        rate: multiple of the training's learning rate.
    """

    passes: int = 1
    rate: float = 1.0

    def epochs(self, plan: Plan) -> int:
        """Return the number of passes."""
        return min(self.passes, plan.spec.stage_epochs()[-1])

    def longer(self, plan: Plan) -> None:
        """Return None: more fine-tuning moves away from the retrained model."""
        return None

    def __call__(
        self, rounds: Sequence[ShardRound], modified: Sequence[Modified], *, on_progress: OnStep
    ) -> list[Amended]:
        """See :class:`~unlearnkit.approximate.protocol.Amend`."""
        if not rounds:
            return []
        plan, last = rounds[0].state.plan, len(rounds[0].state.chain)
        on_progress("fine-tuning the final states", 0.0)
        jobs = [
            tuning_job(plan, each.state.shard, last, found.checkpoints[last].state, self.passes)
            for each, found in zip(rounds, modified, strict=True)
        ]
        tuned = {done.shard: done.state for done in tune(plan, jobs, self.rate)}
        return [
            Amended(
                replace(found.checkpoints[last], state=tuned[job.shard]),
                self.epochs(plan),
                visits_of(job),
                len(job),
            )
            for found, job in zip(modified, jobs, strict=True)
        ]
