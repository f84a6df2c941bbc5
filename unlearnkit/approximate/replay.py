"""Amends: what follows the modification of the parameters."""

from dataclasses import dataclass

import numpy as np

from unlearnkit.approximate.protocol import Amended, Members, Modified, OnStep, ShardState
from unlearnkit.kernels.loop import compute_threads
from unlearnkit.models import get_state
from unlearnkit.plan import Plan
from unlearnkit.store import Checkpoint
from unlearnkit.training import open_lane, stage_epochs


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
        lane = open_lane(state.plan, state.shard)
        lane.module.load_state_dict(corrected.tails[q])
        tails = dict(corrected.tails)
        visits = steps = 0
        with compute_threads(state.plan.spec.num_threads):
            for epoch, at_tail in stage_epochs(state.plan, stage, lane, stage.epochs - q):
                if at_tail:
                    tails[at_tail] = get_state(lane.module)
                lane.run(epoch)
                visits += sum(len(batch.rows) for batch in epoch.batches)
                steps += sum(1 for batch in epoch.batches if len(batch.rows))
        end = get_state(lane.module)
        checkpoint = Checkpoint(stage.key, state.shard, stage.index, end, tails)
        return Amended(checkpoint, q, visits, steps)


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
