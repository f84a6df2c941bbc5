"""Repaying debt in idle time."""

from typing import Any

import numpy as np
import pytest

from cases import CASES, shard_ids
from unlearnkit import Session
from unlearnkit.training.clock import Clock, Work
from unlearnkit.training.train import work_of
from unlearnkit.unlearning.repay import repay

CASE = CASES["logistic"]


def indebted() -> Session:
    """One id of debt in shard 0, three in shard 1, after which an id is cleared for less."""
    session = CASE.session()
    session.train()
    session.revoke([*shard_ids(session, 0)[:1], *shard_ids(session, 1)[:3]])
    session.unlearn(0)
    assert sorted(session.debt) == [0, 1]
    return session


def test_idle_time_is_spent_where_it_clears_most() -> None:
    session = indebted()
    # Lanes in lockstep cost as much as one by one; otherwise a second shard might come for nothing.
    clock = Clock().observe([(Work(0, 0, 1, 1, 0), 0.001), (Work(0, 0, 1, 2, 0), 0.002)])
    stages = {s: session.plan.missing(session.store, [s]) for s in (0, 1)}
    visits = {s: sum(stage.visits for stage in stages[s]) for s in (0, 1)}
    assert visits[1] / 3 < visits[0]

    def price(*shards: int) -> float:
        work = work_of(session.plan, [stage for s in shards for stage in stages[s]])
        seconds = (clock.exact_seconds(work), clock.request_seconds(len(shards)))
        return sum(seconds) * 1.0001

    def repaid(seconds: float, **options: Any) -> tuple[int, ...]:
        fork = session.fork()
        result = repay(fork.plan, fork.store, seconds=seconds, clock=clock, **options)
        assert result.visits == sum(visits[s] for s in result.decision.exact)
        assert sorted(fork.debt) == [s for s in (0, 1) if s not in result.decision.exact]
        return tuple(result.decision.exact)

    assert repaid(max(price(0), price(1))) == (1,)
    assert repaid(price(0, 1)) == (0, 1)
    assert repaid(min(price(0), price(1)) * 0.999) == ()
    assert repaid(price(0), shards=[0]) == (0,)


def test_what_fits_into_a_time_is_not_known_before_anything_was_timed() -> None:
    session = indebted()
    with pytest.raises(LookupError, match="nothing has been timed yet"):
        repay(session.plan, session.store, seconds=1)
    nothing = session.repay(seconds=0)
    assert nothing.visits == 0 and len(session.ledger()) == 1
    assert "no debt was repaid" in repr(nothing)
    assert session.repay(seconds=np.inf).debt_after == 0 and not session.debt
