"""What a store keeps and can do, and the store in memory.

Clean checkpoints are found by stage key. Approximate ones live in a key space of their own that a
plan never reads as present: an :class:`Approximation` stands for a shard under the final key of the
plan whose retain set it approximates, and names its debt.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from jaxtyping import Int
from torch import Tensor

State = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights and buffers at the end of a stage.

    Attributes:
        key: of the stage.
        shard: 0-based.
        stage: 1-based.
        state: at the end of the stage.
        tails: of stage R only, the states q epochs before its end, by q.
        lineage: who shaped it: a bit for each example of slices 1..r as they were partitioned,
            ascending by id, packed as by :func:`numpy.packbits`; empty if nobody said.
        factors: of the curvature at these states, where training was asked to keep them: by the q
            of the tail, 0 for the end, packed (:mod:`unlearnkit.training.kernels.factors`). They
            are of the very parameters, so a state that is modified has none.
    """

    key: str
    shard: int
    stage: int
    state: State
    tails: dict[int, State]
    lineage: bytes = b""
    factors: dict[int, State] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        states = (self.state, *self.tails.values(), *self.factors.values())
        return sum(tensor.nbytes for state in states for tensor in state.values())


@dataclass(frozen=True, eq=False)
class Approximation:
    """A shard whose parameters were modified instead of retrained.

    Attributes:
        shard: 0-based.
        base: final stage key of the plan that exact retraining would fulfil.
        debt: ids removed approximately and not yet exactly, ascending.
        checkpoints: corrected checkpoints by stage, from the first affected stage to R.
        method: in words.
    """

    shard: int
    base: str
    debt: Int[np.ndarray, " debt"]
    checkpoints: dict[int, Checkpoint]
    method: str

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(checkpoint.nbytes for checkpoint in self.checkpoints.values())


class Store(Protocol):
    """What the engine needs of a store."""

    def __contains__(self, key: object) -> bool:
        """Whether a clean checkpoint of this key is there."""
        ...

    def get(self, key: str) -> Checkpoint:
        """The clean checkpoint of this key; KeyError if it is not there."""
        ...

    def put(self, checkpoint: Checkpoint) -> None:
        """Keep a clean checkpoint; its tensors must not change any more."""
        ...

    def approximation(self, base: str) -> Approximation | None:
        """The approximation that stands for this final key, if any."""
        ...

    def put_approximation(self, approximation: Approximation) -> None:
        """Keep an approximation beside what is there."""
        ...

    def prune(self, clean: Iterable[str], approximate: Iterable[str]) -> int:
        """Destroy every clean key and every approximation's base key not listed; count them."""
        ...


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
