"""The part of a session that functions on its examples and checkpoints need."""

from typing import Protocol

import numpy as np
from jaxtyping import Int

from unlearnkit.data.examples import Dataset
from unlearnkit.store import Store
from unlearnkit.training.plan import Plan


class SessionView(Protocol):
    """A session's data, plan, store and requests, for modules that must not import sessions."""

    @property
    def dataset(self) -> Dataset:
        """The data: training, validation and test part."""

    @property
    def plan(self) -> Plan:
        """The plan of the current retain set."""

    @property
    def store(self) -> Store:
        """The store with the checkpoints."""

    @property
    def revoked(self) -> Int[np.ndarray, " id"]:
        """Ids of all completed requests, ascending."""

    @property
    def pending(self) -> Int[np.ndarray, " id"]:
        """Ids that were revoked but not unlearned yet, ascending."""
