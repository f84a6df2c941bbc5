"""Decisions and costs: sums over the routes, and what becomes of routes after inspection."""

import pytest

from unlearnkit import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import (
    APPROXIMATE,
    EXACT,
    LEAVE,
    Cost,
    Costs,
    Decision,
    Route,
)
from unlearnkit.unlearning.inspection import Check

ROUTES = (
    Route(3, EXACT, 10, 0.1, 2.0, "cheap"),
    Route(0, APPROXIMATE, 30, 0.3, 0.5, "expensive"),
    Route(2, APPROXIMATE, 40, 0.4, 0.5, "expensive"),
    Route(1, LEAVE, 0, 0.0, 0.0, "empty"),
)


def costs(known: bool = True) -> Costs:
    """Retraining takes 2 s a shard, modifying .5 s; predictions may be off threefold or twofold."""
    return Costs(
        tuple(Cost(shard, 2.0, 0.5) for shard in range(4)),
        10.0,
        lambda shards: 2.0 * len(shards) if known else None,
        lambda shards: 0.5 * len(shards),
        lambda approximate: 3.0 if approximate else 2.0,
    )


def test_a_decision_predicts_its_routes_together() -> None:
    decision = Decision.of(ROUTES, FixedBoundary(0.2), costs())
    assert decision.exact == (3,) and decision.approximate == (0, 2)
    assert decision.exact_visits == 10 and decision.seconds == 2 + 2 * 0.5
    assert decision.interval is not None
    assert (decision.interval.low, decision.interval.high) == pytest.approx((1, 9))
    assert decision.boundary == repr(FixedBoundary(0.2))
    exact = Decision.of(ROUTES[:1], FixedBoundary(0.2), costs())
    assert exact.interval is not None and exact.interval.high == 4  # no approximate part
    unknown = Decision.of(ROUTES, FixedBoundary(0.2), costs(known=False))
    assert unknown.seconds is None and unknown.interval is None


def test_what_inspection_refuses_becomes_exact_and_what_it_saw_is_told() -> None:
    decision = Decision.of(ROUTES, FixedBoundary(0.2), costs())
    checks = (Check(0, correction=0.01), Check(2, correction=0.5))
    after = decision.after(checks, {2: "too far, so it is retrained exactly"}, costs())
    assert after.exact == (2, 3) and after.approximate == (0,)
    assert after.checks == checks and after.exact_visits == 50
    routes = {route.shard: route for route in after.routes}
    assert routes[2].seconds == 2.0 and routes[2].reason == "too far, so it is retrained exactly"
    assert routes[0].reason == "expensive; corrected by 1.00% of its parameters"
    assert routes[3] == ROUTES[0] and routes[1] == ROUTES[3]
    assert decision.exact == (3,)  # it is a value
