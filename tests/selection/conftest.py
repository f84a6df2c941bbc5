"""Trained sessions whose examples are scored and drawn."""

import pytest

from cases import CASES


@pytest.fixture(scope="module", params=["mlp-dropout", "cnn-batchnorm", "squared-error"])
def session(request):
    session = CASES[request.param].session()
    session.train()
    return session
