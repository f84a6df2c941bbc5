"""Replay: train the last epochs again from the corrected tail."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from unlearnkit.approximate.protocol import Amended, Modified, OnStep, ShardRound
from unlearnkit.training.kernels import run_jobs
from unlearnkit.training.plan import Plan
from unlearnkit.training.schedule import make_job

LONGER = 4  # upper limit of the epochs of a longer replay


@dataclass(frozen=True)
class Replay:
    """Run the last q epochs again from the corrected tail, on the retained examples.

    The batches are the keyed batches of training, and the optimizer is reset where training reset
    it. A replay therefore equals the end of retraining from scratch except for its starting point.
    This amend was devised for unlearnkit.

    Attributes:
        tail: q. If training kept no tail of this length, the longest shorter one is used, or the
            shortest of all.

    >>> import unlearnkit as uk
    >>> session = uk.Session("digits", model="logistic", epochs=4, tails=(3, 1), seed=0)
    >>> report = session.train()
    >>> request = session.revoke([3, 141])
    >>> result = session.unlearn(0, amend=uk.Replay(tail=3))
    >>> result.debt_after
    2
    """

    tail: int = 1

    def epochs(self, plan: Plan) -> int:
        """Return the longest kept tail not longer than ``tail``, or else the shortest one."""
        kept = plan.spec.tail_epochs()
        return max((q for q in kept if q <= self.tail), default=min(kept))

    def longer(self, plan: Plan) -> "Replay | None":
        """Return a replay from the longest tail of at most four epochs, or None if it is this."""
        most = Replay(LONGER).epochs(plan)
        return Replay(most) if self.epochs(plan) < most else None

    def __call__(
        self, rounds: Sequence[ShardRound], modified: Sequence[Modified], *, on_progress: OnStep
    ) -> list[Amended]:
        """See :class:`~unlearnkit.approximate.protocol.Amend`."""
        if not rounds:
            return []
        plan = rounds[0].state.plan
        q = self.epochs(plan)
        tails, jobs = [], []
        for each, found in zip(rounds, modified, strict=True):
            stage = each.state.chain[-1]
            tails.append(found.checkpoints[stage.index].tails)
            jobs.append(make_job(plan, [stage], tails[-1][q], stage.epochs - q))
        shards = ", ".join(str(job.shard) for job in jobs)
        on_progress(f"shards {shards}: replaying the last {q} epochs", 0.0)
        replayed = {done.shard: done for done in run_jobs(plan, jobs)}
        amended = []
        for job, kept in zip(jobs, tails, strict=True):
            done = replayed[job.shard]
            checkpoint = replace(done, tails={**kept, **done.tails})
            amended.append(Amended(checkpoint, q, int((job.rows >= 0).sum()), len(job)))
        return amended


@dataclass(frozen=True)
class NoAmend:
    """Leave the modified parameters unchanged, to study a method by itself."""

    def epochs(self, plan: Plan) -> int:
        """Return 0."""
        return 0

    def longer(self, plan: Plan) -> None:
        """Return None: no amend was requested."""
        return None

    def __call__(
        self, rounds: Sequence[ShardRound], modified: Sequence[Modified], *, on_progress: OnStep
    ) -> list[Amended]:
        """See :class:`~unlearnkit.approximate.protocol.Amend`."""
        last = [each.state.chain[-1].index for each in rounds]
        return [Amended(m.checkpoints[r]) for m, r in zip(modified, last, strict=True)]
