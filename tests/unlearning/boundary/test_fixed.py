"""The boundary: which shards go exact, and that asking has no side effects."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from cases import CASES
from unlearnkit import FixedBoundary, Session
from unlearnkit.training.plan import Stage
from unlearnkit.unlearning.boundary.protocol import Cost, Costs, Decision
from unlearnkit.unlearning.workload import ShardWork, Workload


def workload(*visits: int, retained: int = 10) -> Workload:
    """Shards with one missing stage each; training from scratch takes 100 visits."""
    works = tuple(
        ShardWork(s, 1, (Stage(s, 1, 1, f"key {s}", "parent", count, 1),), 1, 0, retained)
        for s, count in enumerate(visits)
    )
    return Workload(
        shards=works,
        outstanding=(),
        total_visits=100,
        total_seconds=None,
        stage_visits=np.zeros((0, 0), np.int64),
        stage_seconds=np.zeros((0, 0)),
        stage_status=(),
    )


def costs(*seconds: float | None, scratch: float | None = 10.0, forced: str = "") -> Costs:
    def together(shards: Iterable[int]) -> float | None:
        chosen = [seconds[s] for s in shards]
        return None if None in chosen else sum(s for s in chosen if s is not None)

    shards = tuple(Cost(s, x, 0.5, forced) for s, x in enumerate(seconds))
    return Costs(shards, scratch, together, lambda chosen: 0.5 * len(tuple(chosen)))


def exact(boundary: FixedBoundary, *visits: int) -> tuple[int, ...]:
    return boundary.decide(workload(*visits), costs(*[1.0] * len(visits)), {}).exact


def test_the_cheapest_shards_go_exact_while_the_sum_is_within() -> None:
    assert exact(FixedBoundary(0.25), 20, 10, 5, 30) == (1, 2)
    assert exact(FixedBoundary(0.35), 20, 10, 5, 30) == (0, 1, 2)  # 5 + 10 + 20, on the edge
    assert exact(FixedBoundary(0.04), 20, 10, 5, 30) == ()


def test_the_ends_are_always_approximate_and_always_exact() -> None:
    assert exact(FixedBoundary(0), 20, 1) == ()
    assert exact(FixedBoundary(1), 60, 40) == (0, 1)


def test_a_larger_share_never_makes_a_shard_approximate() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        visits = rng.integers(1, 20, 5)
        for whole in (False, True):
            chosen = [
                set(exact(FixedBoundary(t, whole=whole), *visits)) for t in np.linspace(0, 1, 21)
            ]
            assert all(a <= b for a, b in pairwise(chosen))
            assert not chosen[0] and chosen[-1] == set(range(5))


def test_whole_decides_for_all_shards_together() -> None:
    assert exact(FixedBoundary(0.34, whole=True), 20, 10, 5) == ()
    assert exact(FixedBoundary(0.35, whole=True), 20, 10, 5) == (0, 1, 2)


def test_seconds_may_be_the_unit() -> None:
    boundary = FixedBoundary(0.25, unit="seconds")
    decision = boundary.decide(workload(1, 99), costs(9.0, 2.0), {})
    assert decision.exact == (1,) and decision.approximate == (0,)
    assert decision.seconds == 2.0 + 0.5
    with pytest.raises(LookupError, match=r"needs a timed training.*unit='visits'"):
        boundary.decide(workload(1), costs(None), {})


def test_a_forced_shard_is_exact_and_an_empty_one_leaves() -> None:
    forced = FixedBoundary(0).decide(workload(50), costs(1.0, forced="because"), {})
    assert forced.exact == (0,) and forced.routes[0].reason == "because"
    (route,) = FixedBoundary(0).decide(workload(0, retained=0), costs(0.0), {}).routes
    assert route.kind == "leave" and "leaves the vote" in route.reason


@pytest.mark.parametrize("unit", ["visits", "seconds"])
def test_a_forced_shard_spends_its_part_of_the_share(unit: str) -> None:
    # 10 and 20 of 100 fit into 29 % one by one, and not together.
    def decided(forced: str) -> Decision:
        priced = costs(1.0, 2.0)
        first = replace(priced.shards[0], forced=forced)
        priced = replace(priced, shards=(first, *priced.shards[1:]))
        return FixedBoundary(0.29, unit=unit).decide(workload(10, 20), priced, {})

    assert decided("because").exact == (0,) and decided("because").approximate == (1,)
    assert "would cost 30.0% of training from scratch" in decided("because").routes[1].reason


def test_every_route_has_a_reason_with_both_numbers() -> None:
    decision = FixedBoundary(0.25).decide(workload(10, 30), costs(1.0, 2.0), {})
    assert "10.0% of training from scratch, within 25.0%" in decision.routes[0].reason
    assert "40.0% of training from scratch, over 25.0%" in decision.routes[1].reason
    assert decision.to_frame()["kind"].tolist() == ["exact", "approximate"]
    assert decision.exact_visits == 10 and "by FixedBoundary" in repr(decision)


@pytest.mark.parametrize(
    ("fields", "error", "match"),
    [
        ({"max_share": -0.1}, ValueError, r"max_share=-0.1 is out of range; .*from 0 .* to 1"),
        ({"max_share": 1.01}, ValueError, r"max_share=1.01 is out of range"),
        ({"max_share": float("nan")}, ValueError, "max_share=nan is out of range"),
        ({"max_share": "half"}, TypeError, "max_share='half' is not a number"),
        ({"max_share": True}, TypeError, "max_share=True is not a number"),
        ({"unit": "hours"}, ValueError, "unit='hours' is not known; use 'visits' or 'seconds'"),
    ],
)
def test_bad_boundaries_are_refused(
    fields: dict[str, object], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        FixedBoundary(**fields)


@pytest.fixture
def session() -> Session:
    return CASES["uneven"].waiting(4)


def test_the_sum_of_the_exact_part_stays_within_the_share(session: Session) -> None:
    total = session.workload().total_visits
    for share in np.linspace(0, 1, 11):
        decision = session.preview(float(share))
        assert decision.exact_visits <= share * total + 1e-9


def test_adam_is_retrained_exactly_whatever_the_boundary() -> None:
    session = CASES["adam"].session()
    session.train()
    session.revoke(count=3)
    result = session.unlearn(0)
    assert not result.decision.approximate and not session.debt
    assert all("trained with adam" in route.reason for route in result.decision.routes)
