"""What tests of approximate methods share."""

import pytest

from unlearnkit.torch_settings import compute_threads


@pytest.fixture(autouse=True)
def one_thread():
    """As in a session; two threads would wait for each other more than they compute."""
    with compute_threads(1):
        yield
