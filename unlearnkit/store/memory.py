"""The store in memory, for runs that need not outlive the process."""

from collections.abc import Iterable

from unlearnkit.store.checkpoint import Approximation, Checkpoint


class MemoryStore:
    """A store that keeps checkpoints in memory."""

    def __init__(self) -> None:
        """Create an empty store."""
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
        """Return the clean checkpoint of this key.

        Raises:
            KeyError: there is no such checkpoint.
        """
        return self._clean[key]

    def put(self, checkpoint: Checkpoint) -> None:
        """Keep a clean checkpoint."""
        self._clean[checkpoint.key] = checkpoint

    def approximation(self, base: str) -> Approximation | None:
        """Return the approximation whose base is this key of a final stage, or None."""
        return self._approximate.get(base)

    def put_approximation(self, approximation: Approximation) -> None:
        """Keep an approximation, replacing an earlier one with the same base key."""
        self._approximate[approximation.base] = approximation

    def prune(self, clean: Iterable[str], approximate: Iterable[str]) -> int:
        """Destroy all clean checkpoints and approximations that are not listed.

        Args:
            clean: keys of the clean checkpoints to keep.
            approximate: base keys of the approximations to keep.

        Returns:
            The number of checkpoints and approximations destroyed.
        """
        old_clean = self._clean.keys() - set(clean)
        old_approximate = self._approximate.keys() - set(approximate)
        for key in old_clean:
            del self._clean[key]
        for base in old_approximate:
            del self._approximate[base]
        return len(old_clean) + len(old_approximate)

    def fork(self) -> "MemoryStore":
        """Return a copy in memory that shares the tensors, which are never written to."""
        other = MemoryStore()
        other._clean, other._approximate = dict(self._clean), dict(self._approximate)
        return other
