"""Comparisons of models that are exact in part, and of networks for images."""

import pytest

from cases import CASES
from comparisons import compared


@pytest.fixture(scope="module")
def mixed():
    """Some constituents exact, some approximate."""
    session = CASES["uneven"].session()
    session.train()
    partition = session.plan.partition
    late = partition.ids[(partition.shard == 1) & (partition.slice_ == 3)]
    early = partition.ids[(partition.shard == 2) & (partition.slice_ == 1)]
    session.revoke([*late[:1], *early[:2]])
    session.unlearn(0.3)
    comparison = session.compare()
    assert 0 < comparison.constituents["bit_identical"].sum() < len(comparison.constituents)
    return comparison, session.dataset


@pytest.fixture(scope="module")
def images():
    return compared("cnn-batchnorm", 0.0)
