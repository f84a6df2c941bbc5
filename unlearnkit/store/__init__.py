"""Stores keep checkpoints in memory or in a folder. Only this wing writes them to disk."""

from unlearnkit.store.checkpoint import Approximation, Checkpoint, State, Store
from unlearnkit.store.disk import DiskStore
from unlearnkit.store.files import (
    NoLocksError,
    NoStoreError,
    StoreError,
    StoreInUseError,
    StoreIOError,
)
from unlearnkit.store.memory import MemoryStore

__all__ = [
    "Approximation",
    "Checkpoint",
    "DiskStore",
    "MemoryStore",
    "NoLocksError",
    "NoStoreError",
    "State",
    "Store",
    "StoreError",
    "StoreIOError",
    "StoreInUseError",
]
