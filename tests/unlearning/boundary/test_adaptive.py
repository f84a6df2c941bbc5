"""The adaptive boundary: exact unless approximate pays, by rules that can be checked by hand."""

from dataclasses import replace

import numpy as np
import pytest

import unlearnkit as uk
from unlearnkit.training.plan import Stage
from unlearnkit.unlearning.boundary.adaptive import AdaptiveBoundary
from unlearnkit.unlearning.boundary.protocol import Cost, Costs, Coverage
from unlearnkit.unlearning.request import select
from unlearnkit.unlearning.workload import ShardWork, Workload


def request(*shards, debt=None):
    """Shards as (visits, forget, retained); from scratch takes 300 visits."""
    works = tuple(
        ShardWork(
            s, 1, (Stage(s, 1, 1, f"key {s}", "", visits, 1),), forget, (debt or {}).get(s, 0), kept
        )
        for s, (visits, forget, kept) in enumerate(shards)
    )
    empty = np.zeros((0, 0), np.int64)
    return Workload(works, (), 300, None, empty, empty.astype(float), ())


def prices(exact, approximate, forced=None, coverage=None):
    """Seconds that add up."""
    shards = [
        Cost(s, e, a, (forced or {}).get(s, ""), (coverage or {}).get(s))
        for s, (e, a) in enumerate(zip(exact, approximate, strict=True))
    ]
    return Costs(
        tuple(shards),
        10.0,
        lambda chosen: float(sum(exact[s] for s in chosen)),
        lambda chosen: float(sum(approximate[s] for s in chosen)),
    )


def test_approximate_only_where_it_makes_the_request_fast_enough():
    work = request((100, 1, 99), (100, 1, 99))
    fast, slow = prices([4.0, 4.0], [1.0, 1.0]), prices([4.0, 4.0], [3.0, 3.0])
    assert AdaptiveBoundary().decide(work, fast, {}).approximate == (0, 1)
    assert AdaptiveBoundary().decide(work, slow, {}).exact == (0, 1)
    assert AdaptiveBoundary(min_gain=5).decide(work, fast, {}).exact == (0, 1)
    decision = AdaptiveBoundary().decide(work, fast, {})
    assert decision.seconds == 2.0
    assert "take 8 s, modifying 2 s, which is 4 times faster" in decision.routes[0].reason


def test_a_light_request_is_retrained_unless_there_is_a_deadline():
    work, costs = request((75, 1, 99)), prices([9.0], [1.0])
    decision = AdaptiveBoundary().decide(work, costs, {})
    assert decision.exact == (0,)
    assert decision.routes[0].reason == (
        "retraining is light: it costs 25.0% of training from scratch, within 25.0%"
    )
    assert AdaptiveBoundary().decide(request((76, 1, 99)), costs, {}).approximate == (0,)
    assert AdaptiveBoundary(light=0.2).decide(work, costs, {}).approximate == (0,)
    assert AdaptiveBoundary(seconds=2.0).decide(work, costs, {}).approximate == (0,)


def test_a_deadline_buys_as_much_exactness_as_fits():
    work = request((100, 1, 99), (100, 9, 91), (100, 5, 95))
    costs = prices([4.0, 4.0, 4.0], [1.0, 1.0, 1.0])
    decided = {s: AdaptiveBoundary(s).decide(work, costs, {}) for s in (2.0, 3.0, 6.5, 9.5, 12.0)}
    assert [d.exact for d in decided.values()] == [(), (), (1,), (1, 2), (0, 1, 2)]
    for seconds, decision in decided.items():
        assert decision.seconds <= max(seconds, 3.0)
    assert "no route is predicted to meet the deadline of 2 s" in decided[2.0].routes[0].reason
    assert "meets the deadline of 12 s" in decided[12.0].routes[0].reason


def test_only_the_deadline_is_wall_time():
    work, costs = request((100, 1, 99), (100, 1, 99)), prices([4.0, 4.0], [1.0, 1.0])
    slow = replace(costs, pace=3.0)  # a CPU second takes three seconds
    for boundary in (AdaptiveBoundary(), AdaptiveBoundary(min_gain=5)):
        assert boundary.decide(work, costs, {}) == boundary.decide(work, slow, {})
    assert AdaptiveBoundary(seconds=24.0).decide(work, slow, {}).exact == (0, 1)
    assert AdaptiveBoundary(seconds=23.9).decide(work, slow, {}).approximate == (1,)
    assert AdaptiveBoundary(seconds=23.9).decide(work, costs, {}).exact == (0, 1)


def test_a_longer_deadline_never_retrains_less():
    generator = np.random.default_rng(0)
    for _ in range(30):
        sizes = [(int(v), int(f), 100) for v, f in generator.integers(1, 30, (5, 2))]
        exact = (2 + generator.random(5)).tolist()
        costs = prices(exact, [0.3] * 5)
        counts = [
            len(AdaptiveBoundary(s).decide(request(*sizes), costs, {}).exact)
            for s in (0.5, 2, 4, 8, 16)
        ]
        assert counts[-1] == 5 and counts[0] == 0
        assert all(d.seconds <= 8 for d in [AdaptiveBoundary(8).decide(request(*sizes), costs, {})])


def test_debt_over_the_cap_and_large_parts_are_retrained():
    work = request((100, 1, 99), (100, 1, 94), (100, 40, 60), debt={0: 1, 1: 5})
    costs = prices([9.0] * 3, [1.0] * 3)
    decision = AdaptiveBoundary().decide(work, costs, {0: 1, 1: 5})
    assert decision.exact == (1, 2) and decision.approximate == (0,)
    reasons = {route.shard: route.reason for route in decision.routes}
    assert reasons[1] == "its debt of 5 is 5.0% of its examples, over 2.0%"
    assert reasons[2] == "40.0% of its examples would be forgotten approximately, over 30.0%"


def test_the_cap_is_on_the_debt_before_the_request_as_a_part_of_the_shard_as_it_was_trained():
    # A shard trained on 100 examples may owe two of them, however many the request adds.
    costs, boundary = prices([9.0], [1.0]), AdaptiveBoundary(debt_cap=0.02)
    for debt, kind in ((0, "approximate"), (2, "approximate"), (3, "exact")):
        for forget in (1, 20):
            work = request((100, forget, 100 - debt - forget), debt={0: debt})
            (route,) = boundary.decide(work, costs, {0: debt}).routes
            assert route.kind == kind
            assert (route.reason == "its debt of 3 is 3.0% of its examples, over 2.0%") == (
                debt == 3
            )


def test_most_of_a_class_is_retrained():
    work = request((100, 10, 90), (100, 10, 90), (100, 10, 90))
    coverage = {0: Coverage(3, 9, 10), 1: Coverage(0, 5, 10)}
    costs = prices([9.0] * 3, [1.0] * 3, coverage=coverage)
    decision = AdaptiveBoundary().decide(work, costs, {})
    assert decision.exact == (0,) and decision.approximate == (1, 2)
    assert decision.routes[0].reason == (
        "9 of its 10 examples of class 3 would be forgotten approximately (90.0%, over 50.0%), "
        "and the loss of the model is not convex"
    )
    assert AdaptiveBoundary(max_class=1.0).decide(work, costs, {}).exact == ()


@pytest.mark.parametrize(("model", "kind"), [("mlp", "exact"), ("logistic", "approximate")])
def test_a_whole_class_goes_exactly_from_a_network(model, kind):
    session = uk.Session("digits", model=model, num_shards=2, num_slices=2, epochs=8)
    session.train()
    ids = select(session.dataset, label=4)
    part, rest = ids[: len(ids) // 4], ids[len(ids) // 4 :]
    any_gain = AdaptiveBoundary(min_gain=1, debt_cap=1)
    session.revoke(part)
    session.unlearn(0.0)
    owed = session.debt
    session.revoke(rest)
    # Counted by hand, the debt included.
    plan, labels = session.plan, session.dataset.train.labels.numpy()
    for route in session.preview(boundary=any_gain).routes:
        of_shard = plan.partition.shard == route.shard
        members = int((of_shard & (labels == 4)).sum())
        assert len(owed[route.shard]) < members
        if kind == "exact":
            assert f"{members} of its {members} examples of class 4" in route.reason
        else:
            assert "class" not in route.reason


def test_what_no_method_fits_is_exact_and_an_empty_shard_leaves():
    work = request((100, 1, 99), (0, 10, 0))
    costs = prices([9.0, 0.0], [1.0, 0.0], forced={0: "Adam"})
    decision = AdaptiveBoundary().decide(work, costs, {})
    assert [(r.shard, r.kind) for r in decision.routes] == [(1, "leave"), (0, "exact")]
    assert decision.exact == (0,) and decision.routes[1].reason == "Adam"


def test_without_a_clock_it_says_what_to_do():
    work = request((100, 1, 99))
    untimed = Costs((Cost(0, None, None),), None, lambda chosen: None, lambda chosen: None)
    with pytest.raises(LookupError, match=r"train first, or use FixedBoundary"):
        AdaptiveBoundary().decide(work, untimed, {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 0}, "seconds=0 is not a deadline"),
        ({"min_gain": 0.5}, "min_gain=0.5 is below 1"),
        ({"light": 1.1}, "light=1.1 is out of range"),
        ({"debt_cap": 2}, "debt_cap=2 is out of range"),
        ({"max_class": 1.5}, "max_class=1.5 is out of range"),
        ({"max_forgotten": -1}, "max_forgotten=-1 is out of range"),
        ({"min_agreement": 2}, "min_agreement=2 is out of range"),
        ({"max_motion": 0}, "max_motion=0 would refuse every approximation"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AdaptiveBoundary(**options)


def test_a_session_takes_a_deadline():
    session = uk.Session("digits", model="logistic", num_shards=4, num_slices=2, epochs=4)
    session.train()
    session.revoke(count=5)
    forever = AdaptiveBoundary(seconds=1000.0)
    assert session.preview(boundary=forever).approximate == ()
    result = session.unlearn(boundary=forever)
    assert result.debt_after == 0 and session.compare().bit_identical
