"""The model of a shard in a store: its exact model, or the approximation in its place."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int

from unlearnkit.store import Approximation, Checkpoint, Store
from unlearnkit.training.plan import Plan


@dataclass(frozen=True, eq=False)
class ShardModel:
    """The model of one shard in a store, which is read only when a property needs it.

    Attributes:
        plan: plan of the retain set.
        store: the store; it is not changed.
        shard: 0-based shard.
    """

    plan: Plan
    store: Store
    shard: int

    @property
    def key(self) -> str:
        """Key of the shard's exact model, under which an approximation is stored as well."""
        return self.plan.final_key(self.shard)

    @property
    def is_exact(self) -> bool:
        """Whether the exact model is stored."""
        return self.key in self.store

    @cached_property
    def approximation(self) -> Approximation | None:
        """The stored approximation, even if the exact model is stored too; None without one."""
        return self.store.approximation(self.key)

    @property
    def owes(self) -> bool:
        """Whether an approximation is used for the shard, which then is in debt."""
        if self.is_exact or not self.plan.alive(self.shard):
            return False
        return self.approximation is not None

    @property
    def debt(self) -> Int[np.ndarray, " debt"]:
        """Ids that were removed only approximately; empty without an approximation."""
        if self.approximation is None:
            return np.empty(0, np.int64)
        return self.approximation.debt

    def has(self, stage: int) -> bool:
        """Whether an exact or a corrected checkpoint of a 1-based stage is stored."""
        return self._is_clean(stage) or self._corrected(stage) is not None

    def checkpoint(self, stage: int) -> Checkpoint | None:
        """Return the exact checkpoint of a 1-based stage, or else the corrected one, or None."""
        if self._is_clean(stage):
            return self.store.get(self.plan.chains[self.shard][stage - 1].key)
        return self._corrected(stage)

    def _is_clean(self, stage: int) -> bool:
        return self.plan.chains[self.shard][stage - 1].key in self.store

    def _corrected(self, stage: int) -> Checkpoint | None:
        return None if self.approximation is None else self.approximation.checkpoints.get(stage)
