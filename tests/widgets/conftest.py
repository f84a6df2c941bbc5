"""What tests of panels share."""

import ipywidgets
import pytest

from panels import CASE


@pytest.fixture(autouse=True)
def close_widgets():
    """Close what a test opened: ipywidgets keeps every open widget alive, to the very exit."""
    yield
    ipywidgets.Widget.close_all()


@pytest.fixture
def session():
    session = CASE.session()
    session.train()
    return session


@pytest.fixture
def request_on_two(session):
    """Revoke one example of a late slice and two of an early one, in two shards."""
    partition = session.plan.partition
    late = partition.ids[(partition.shard == 1) & (partition.slice_ == 3)]
    early = partition.ids[(partition.shard == 2) & (partition.slice_ == 1)]
    return [int(i) for i in (*late[:1], *early[:2])]


@pytest.fixture
def dashboard(session, request_on_two):
    session.revoke(request_on_two)
    return session.dashboard()
