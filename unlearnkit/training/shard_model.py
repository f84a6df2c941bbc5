"""What stands for a shard: its clean model, or the approximation that takes its place."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int

from unlearnkit.store import Approximation, Checkpoint, Store
from unlearnkit.training.plan import Plan


@dataclass(frozen=True, eq=False)
class ShardModel:
    """The model of one shard as a store holds it. Nothing is read before it is asked for.

    Attributes:
        plan: of the retain set.
        store: only read.
        shard: 0-based.
    """

    plan: Plan
    store: Store
    shard: int

    @property
    def key(self) -> str:
        """The final key of the shard: of its clean model, and what an approximation stands for."""
        return self.plan.final_key(self.shard)

    @property
    def is_exact(self) -> bool:
        """Whether the clean model is there."""
        return self.key in self.store

    @cached_property
    def approximation(self) -> Approximation | None:
        """The stored approximation, also where the clean model stands beside it already."""
        return self.store.approximation(self.key)

    @property
    def owes(self) -> bool:
        """Whether an approximation stands for the shard, which has examples left."""
        if self.is_exact or not self.plan.alive(self.shard):
            return False
        return self.approximation is not None

    @property
    def debt(self) -> Int[np.ndarray, " debt"]:
        """Ids that the approximation has removed approximately only; none without it."""
        if self.approximation is None:
            return np.empty(0, np.int64)
        return self.approximation.debt

    def has(self, stage: int) -> bool:
        """Whether there is a checkpoint for a stage, counted from 1."""
        return self._is_clean(stage) or self._corrected(stage) is not None

    def checkpoint(self, stage: int) -> Checkpoint | None:
        """The clean checkpoint of a stage, else the corrected one, else None."""
        if self._is_clean(stage):
            return self.store.get(self.plan.chains[self.shard][stage - 1].key)
        return self._corrected(stage)

    def _is_clean(self, stage: int) -> bool:
        return self.plan.chains[self.shard][stage - 1].key in self.store

    def _corrected(self, stage: int) -> Checkpoint | None:
        return None if self.approximation is None else self.approximation.checkpoints.get(stage)
