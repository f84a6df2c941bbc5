"""Timing large batches before the first modification."""

import pytest

from cases import CASES
from unlearnkit.approximate.timing import LEAST_PROBE, time_large_batches
from worker import contents


@pytest.mark.parametrize("name", ["logistic", "mlp-dropout", "cnn-batchnorm"])
def test_timed_batches_grow_and_leave_the_store_alone(name):
    session = CASES[name].session()
    session.train()
    plan, store = session.plan, session.store
    before = contents(store)
    timed = time_large_batches(plan, store, 600.0)
    assert timed and all(seconds > 0 for _, seconds in timed)
    visits = [work.visits for work, _ in timed]
    assert visits == sorted(visits) and visits[0] > 0
    assert contents(store) == before


def test_a_budget_too_small_to_tell_anything_times_nothing():
    session = CASES["logistic"].session()
    session.train()
    assert time_large_batches(session.plan, session.store, LEAST_PROBE / 2) == ()
