"""Stores: where checkpoints live, in memory or in a folder. The only package that touches disk."""

from unlearnkit.store.checkpoint import Approximation, Checkpoint, State, Store
from unlearnkit.store.disk import DiskStore
from unlearnkit.store.files import StoreError, StoreInUseError, StoreIOError
from unlearnkit.store.memory import MemoryStore

__all__ = [
    "Approximation",
    "Checkpoint",
    "DiskStore",
    "MemoryStore",
    "State",
    "Store",
    "StoreError",
    "StoreIOError",
    "StoreInUseError",
]
