"""A store of each kind."""

from pathlib import Path

import pytest

from stores import Store
from unlearnkit import DiskStore
from unlearnkit.store import MemoryStore


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else DiskStore(tmp_path)
