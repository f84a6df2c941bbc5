"""What a store keeps, a checkpoint or an approximation, and the protocol of stores."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Int
from torch import Tensor

State = dict[str, Tensor]
"""Parameters and buffers by name, as ``module.state_dict()`` returns them."""


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
    """

    key: str
    shard: int
    stage: int
    state: State
    tails: dict[int, State]
    lineage: bytes = b""

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        states = (self.state, *self.tails.values())
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
