"""What a store keeps and can do, and the store in memory.

Clean checkpoints are found by stage key. Approximate ones live in a key space of their own that a
plan never reads as present: an :class:`Approximation` stands for a shard under the final key of the
plan whose retain set it approximates, and names its debt.
"""

from collections.abc import Iterable

from unlearnkit.store.checkpoint import Approximation, Checkpoint


class MemoryStore:
    """A store in memory."""

    def __init__(self) -> None:
        """Start empty."""
        self._clean: dict[str, Checkpoint] = {}
        self._approximate: dict[str, Approximation] = {}

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self._clean)} checkpoints, "
            f"{len(self._approximate)} approximate shards, {self.nbytes / 1e6:.1f} MB)"
        )

    def __contains__(self, key: object) -> bool:
        return key in self._clean

    @property
    def keys(self) -> frozenset[str]:
        """Keys of all clean checkpoints."""
        return frozenset(self._clean)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors kept."""
        clean = sum(checkpoint.nbytes for checkpoint in self._clean.values())
        return clean + sum(approximation.nbytes for approximation in self._approximate.values())

    def get(self, key: str) -> Checkpoint:
        """The clean checkpoint of this key; KeyError if it is not there."""
        return self._clean[key]

    def put(self, checkpoint: Checkpoint) -> None:
        """Keep a clean checkpoint."""
        self._clean[checkpoint.key] = checkpoint

    def approximation(self, base: str) -> Approximation | None:
        """The approximation that stands for this final key, if any."""
        return self._approximate.get(base)

    def put_approximation(self, approximation: Approximation) -> None:
        """Keep an approximation beside what is there."""
        self._approximate[approximation.base] = approximation

    def prune(self, clean: Iterable[str], approximate: Iterable[str]) -> int:
        """Destroy every clean key and every approximation's base key not listed; count them."""
        old_clean = self._clean.keys() - set(clean)
        old_approximate = self._approximate.keys() - set(approximate)
        for key in old_clean:
            del self._clean[key]
        for base in old_approximate:
            del self._approximate[base]
        return len(old_clean) + len(old_approximate)

    def fork(self) -> "MemoryStore":
        """A copy in memory that shares the tensors, which nobody writes to."""
        other = MemoryStore()
        other._clean, other._approximate = dict(self._clean), dict(self._approximate)
        return other
