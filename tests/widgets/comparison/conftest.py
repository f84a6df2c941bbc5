"""The comparison's panel after an unlearning that was exact in part."""

import pytest

from panels import compare, session_of


@pytest.fixture
def session():
    return session_of("uneven", 0.3)


@pytest.fixture
def panel(session):
    return compare(session.panel("comparison"))
