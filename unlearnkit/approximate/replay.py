"""Amends: what follows the modification of the parameters."""

from dataclasses import dataclass

import numpy as np

from unlearnkit.approximate.protocol import Amended, Members, Modified, OnStep, ShardState
from unlearnkit.kernels import run_jobs
from unlearnkit.plan import Plan
from unlearnkit.schedule import make_job
from unlearnkit.store import Checkpoint


@dataclass(frozen=True)
class Replay:
    """Run the last q epochs again from the corrected tail, on the retained examples.

    The batches are the keyed ones of training, and the optimizer starts fresh where training's did,
    so this is the end of training from scratch but for where it starts. (Ours.)

    Attributes:
        tail: q; a shorter tail is taken where training kept none of this length.
    """

    tail: int = 1

    def epochs(self, plan: Plan) -> int:
        """The longest tail that is not longer than ``tail``; the shortest there is otherwise."""
        kept = plan.spec.tail_epochs()
        return max((q for q in kept if q <= self.tail), default=min(kept))

    def __call__(
        self,
        state: ShardState,
        modified: Modified,
        retain: Members,
        *,
        generator: np.random.Generator,
        on_progress: OnStep,
    ) -> Amended:
        """See :class:`~unlearnkit.approximate.protocol.Amend`."""
        stage = state.chain[-1]
        corrected = modified.checkpoints[stage.index]
        q = self.epochs(state.plan)
        on_progress(f"shard {state.shard}: replaying the last {q} epochs")
        job = make_job(state.plan, [stage], corrected.tails[q], stage.epochs - q)
        [replayed] = run_jobs(state.plan, [job])
        tails = {**corrected.tails, **replayed.tails}
        checkpoint = Checkpoint(stage.key, state.shard, stage.index, replayed.state, tails)
        return Amended(checkpoint, q, int((job.rows >= 0).sum()), len(job))


@dataclass(frozen=True)
class NoAmend:
    """Leave the modified parameters as they are; for study."""

    def epochs(self, plan: Plan) -> int:
        """None."""
        return 0

    def __call__(
        self,
        state: ShardState,
        modified: Modified,
        retain: Members,
        *,
        generator: np.random.Generator,
        on_progress: OnStep,
    ) -> Amended:
        """See :class:`~unlearnkit.approximate.protocol.Amend`."""
        return Amended(modified.checkpoints[state.chain[-1].index])
