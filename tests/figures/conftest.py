"""Sessions and comparisons that are drawn."""

import pytest

from cases import CASES


@pytest.fixture(scope="module")
def session():
    """A trained session with a request on two shards, one of which goes each way at 0.3."""
    session = CASES["uneven"].session()
    session.train()
    partition = session.plan.partition
    late = partition.ids[(partition.shard == 1) & (partition.slice_ == 3)]
    early = partition.ids[(partition.shard == 2) & (partition.slice_ == 1)]
    session.revoke([*late[:1], *early[:2]])
    return session


@pytest.fixture(scope="module")
def compared(session):
    fork = session.fork()
    fork.unlearn(0.3)
    return fork.compare()


@pytest.fixture(scope="module")
def mixed(session, compared):
    frame = compared.constituents
    exact, approximate = (int(frame["shard"][frame["bit_identical"] == b].iloc[0]) for b in (1, 0))
    return compared, session.dataset, exact, approximate
