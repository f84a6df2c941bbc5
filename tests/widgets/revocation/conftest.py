"""A revocation panel on a small trained session."""

import pytest

from cases import CASES
from unlearnkit.widgets import PANELS


@pytest.fixture(scope="module")
def trained():
    session = CASES["uneven"].session()
    session.train()
    return session


@pytest.fixture
def session(trained):
    return trained.fork()


@pytest.fixture
def panel(session):
    return PANELS["revocation"](session)
