"""A network that several modules fork."""

import pytest

from guarded import network


@pytest.fixture(scope="module")
def trained():
    return network(0.01)
