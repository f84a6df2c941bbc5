"""The part of a session that functions on its examples and checkpoints read."""

from typing import Protocol

import numpy as np
from jaxtyping import Int

from unlearnkit.data.examples import Dataset
from unlearnkit.store import Store
from unlearnkit.training.plan import Plan


class SessionView(Protocol):
    """A session as these functions see it: its data, its plan, its store and its requests."""

    @property
    def dataset(self) -> Dataset:
        """The data, in three parts."""

    @property
    def plan(self) -> Plan:
        """The plan of the current retain set."""

    @property
    def store(self) -> Store:
        """The checkpoints."""

    @property
    def revoked(self) -> Int[np.ndarray, " id"]:
        """Ids of all completed requests, ascending."""

    @property
    def pending(self) -> Int[np.ndarray, " id"]:
        """Ids that wait to be forgotten, ascending."""
