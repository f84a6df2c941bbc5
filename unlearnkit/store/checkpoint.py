"""Checkpoints and approximations, and the protocol of the stores that keep them.

Clean checkpoints are found by stage key. Approximations have separate keys, so that a plan never
takes one for a clean checkpoint: an :class:`Approximation` is kept under the final stage key of the
plan whose retrained model it approximates, together with its debt.
"""

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
        key: stage key.
        shard: number of the shard, from 0.
        stage: number of the stage, from 1.
        state: state at the end of the stage.
        tails: for the last stage, the states q epochs before its end, by q; otherwise empty.
        lineage: the examples that the state was trained on: one bit for each example of slices
            1..r of the original partition, ascending by id, packed as by :func:`numpy.packbits`;
            empty if unknown.
        witness: digest of the state after the first step of the stage, by which a later run can
            recognise that it computes the same; empty if it was not kept.
    """

    key: str
    shard: int
    stage: int
    state: State
    tails: dict[int, State]
    lineage: bytes = b""
    witness: str = ""

    def __repr__(self) -> str:
        return f"Checkpoint(shard {self.shard}, stage {self.stage}, {self.nbytes:,} bytes)"

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        states = (self.state, *self.tails.values())
        return sum(tensor.nbytes for state in states for tensor in state.values())


@dataclass(frozen=True, eq=False)
class Approximation:
    """A shard whose parameters were modified instead of retrained.

    Attributes:
        shard: number of the shard, from 0.
        base: final stage key of the retrained shard that it approximates.
        debt: ids that were removed approximately and not yet exactly, ascending.
        checkpoints: corrected checkpoints by stage, from the first affected to the last.
        method: description of the method.
    """

    shard: int
    base: str
    debt: Int[np.ndarray, " debt"]
    checkpoints: dict[int, Checkpoint]
    method: str

    def __repr__(self) -> str:
        stages = ", ".join(map(str, sorted(self.checkpoints)))
        return (
            f"Approximation(shard {self.shard}, {len(self.debt)} examples of debt, stages {stages})"
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(checkpoint.nbytes for checkpoint in self.checkpoints.values())


class Store(Protocol):
    """The interface of a store."""

    def __contains__(self, key: object) -> bool:
        """Whether the store holds a clean checkpoint of this key."""
        ...

    def get(self, key: str) -> Checkpoint:
        """Return the clean checkpoint of this key.

        Raises:
            KeyError: there is no such checkpoint.
        """
        ...

    def put(self, checkpoint: Checkpoint) -> None:
        """Keep a clean checkpoint, whose tensors must not change afterwards."""
        ...

    def approximation(self, base: str) -> Approximation | None:
        """Return the approximation whose base is this key of a final stage, or None."""
        ...

    def put_approximation(self, approximation: Approximation) -> None:
        """Keep an approximation, replacing an earlier one with the same base key."""
        ...

    def prune(self, clean: Iterable[str], approximate: Iterable[str]) -> int:
        """Destroy all clean checkpoints and approximations that are not listed.

        Args:
            clean: keys of the clean checkpoints to keep.
            approximate: base keys of the approximations to keep.

        Returns:
            The number of checkpoints and approximations destroyed.
        """
        ...
