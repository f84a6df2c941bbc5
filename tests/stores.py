"""Small checkpoints and approximations, and stores of both kinds."""

import numpy as np
import torch

from unlearnkit import DiskStore
from unlearnkit.store import Approximation, Checkpoint, MemoryStore

Store = MemoryStore | DiskStore


def checkpoint(key: str, shard: int = 0, stage: int = 1, value: float = 0.0) -> Checkpoint:
    state = {"w": torch.full((2, 3), value), "n": torch.tensor(7)}
    return Checkpoint(key, shard, stage, state, {1: {k: v + 1 for k, v in state.items()}})


def approximation(base: str, *checkpoints: Checkpoint, shard: int = 0) -> Approximation:
    return Approximation(
        shard, base, np.array([3, 9]), {c.stage: c for c in checkpoints}, "in words"
    )


def reopened(store: Store) -> Store:
    return DiskStore(store.folder) if isinstance(store, DiskStore) else store
