"""Rewind and replay: train the whole last stage again from the corrected stage before it."""

from collections.abc import Sequence
from dataclasses import dataclass

from unlearnkit.approximate.amends.replay import LONGER, Replay
from unlearnkit.approximate.protocol import Amended, Modified, OnStep, ShardRound
from unlearnkit.training.kernels import run_jobs
from unlearnkit.training.plan import Plan
from unlearnkit.training.schedule import make_job


@dataclass(frozen=True)
class RewindAndReplay:
    """Replay stage R from the corrected checkpoint of stage R-1; with one slice, from a tail.

    Starting earlier retrains more of the final model and depends less on the modification. The
    batches are the keyed batches of training, on the retained examples. If the request affects
    slice R only, the checkpoint of stage R-1 is exact, and the result is bit-identical to exact
    retraining; it is still recorded as debt. This amend was devised for unlearnkit; compare Mu and
    Klabjan 2024, Rewind-to-Delete, who rewind to an earlier checkpoint that was not modified.
    """

    def epochs(self, plan: Plan) -> int:
        """Return the epochs of stage R, or with one slice those of the longest short tail."""
        if plan.spec.num_slices > 1:
            return plan.spec.stage_epochs()[-1]
        return Replay(LONGER).epochs(plan)

    def longer(self, plan: Plan) -> None:
        """Return None: there is no earlier starting point."""
        return None

    def __call__(
        self, rounds: Sequence[ShardRound], modified: Sequence[Modified], *, on_progress: OnStep
    ) -> list[Amended]:
        """See :class:`~unlearnkit.approximate.protocol.Amend`."""
        if not rounds:
            return []
        plan = rounds[0].state.plan
        if plan.spec.num_slices == 1:
            return Replay(self.epochs(plan))(rounds, modified, on_progress=on_progress)
        on_progress("replaying the last stage", 0.0)
        jobs = []
        for each, found in zip(rounds, modified, strict=True):
            stage = each.state.chain[-1]
            before = {**each.state.checkpoints, **found.checkpoints}[stage.index - 1]
            jobs.append(make_job(plan, [stage], before.state))
        replayed = {done.shard: done for done in run_jobs(plan, jobs)}
        return [
            Amended(replayed[job.shard], self.epochs(plan), int((job.rows >= 0).sum()), len(job))
            for job in jobs
        ]
