"""A session with records."""

from pathlib import Path

import pytest

from cases import CASES
from unlearnkit import Session


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Trained, then one exact request, then one approximate one."""
    session = CASES["logistic"].session(store=tmp_path / "store")
    session.train()
    for max_share in (1, 0):
        session.revoke(count=2, seed=4)
        session.unlearn(max_share)
    return session
