"""The store of a comparison's retraining: final models only, compared with another store's."""

from dataclasses import replace

from unlearnkit.models.state import same_state
from unlearnkit.store import Checkpoint, MemoryStore, Store
from unlearnkit.training.plan import Plan


class RetrainedModels(MemoryStore):
    """A store of retrained models that keeps only the state at the end of each shard.

    Each checkpoint is compared with the one of the same key in another store as soon as it is
    trained. Those of earlier stages, and the tails, are dropped then, so that a comparison needs
    the memory of one model per retrained shard.
    """

    def __init__(self, plan: Plan, other: Store) -> None:
        """Create an empty store.

        Args:
            plan: plan of the retained examples.
            other: holds the checkpoints to compare with; it is only read.
        """
        super().__init__()
        self._finals = {plan.final_key(shard) for shard in range(plan.num_shards)}
        self._other = other
        self._same: dict[str, bool] = {}  # by key, for all checkpoints trained

    def __contains__(self, key: object) -> bool:
        """Whether a checkpoint of this key was trained, even if it was dropped."""
        return key in self._same

    def put(self, checkpoint: Checkpoint) -> None:
        """Compare a checkpoint, and keep the state of a final one."""
        key = checkpoint.key
        self._same[key] = key in self._other and same_bytes(self._other.get(key), checkpoint)
        if key in self._finals:
            super().put(replace(checkpoint, tails={}))

    def same(self, key: str) -> bool:
        """Return whether the other store holds the same bytes under this key, tails included."""
        return self._same[key]


def same_bytes(a: Checkpoint, b: Checkpoint) -> bool:
    """Return whether two checkpoints, including their tails, are equal byte for byte.

    A checkpoint that holds NaN equals no other.
    """
    if list(a.tails) != list(b.tails):
        return False
    pairs = [(a.state, b.state), *((a.tails[q], b.tails[q]) for q in a.tails)]
    return all(same_state(x, y) for x, y in pairs)
