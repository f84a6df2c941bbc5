"""What is expected of requests at unequal rates is what happens when units leave at these rates."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from unlearnkit import Session, from_arrays
from unlearnkit.training.partition import make_partition
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.expected_workload import expected_share
from unlearnkit.unlearning.expected_workload.unequal import departures

RNG = np.random.default_rng(7)


def session_of(rates: np.ndarray, groups: np.ndarray | None = None, **options: Any) -> Session:
    """A session whose parts are given, so that all rows are trained on."""
    count = len(rates)
    features = np.random.default_rng(1).normal(size=(count + 8, 3)).astype("f4")
    labels = np.arange(count + 8) % 2
    held = {"test": np.arange(count, count + 4), "probe": np.arange(count + 4, count + 8)}
    named: dict[str, Any] = {}
    if groups is not None:
        named = {"groups": {"train": groups, **{part: -rows for part, rows in held.items()}}}
    data = from_arrays(
        features[:count],
        labels[:count],
        **{part: (features[rows], labels[rows]) for part, rows in held.items()},
        **named,
        propensity=rates,
    )
    return Session(
        data, **{"model": "logistic", "epochs": 6, "num_shards": 4, "num_slices": 3} | options
    )


def units_of(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """The unit of each row that is left, and the rate of each unit."""
    examples, kept = plan.examples, plan.retained
    named = examples.ids if examples.groups is None else examples.groups
    _, first, unit = np.unique(named[kept], return_index=True, return_inverse=True)
    return unit, examples.propensity[kept][first]


def cost(plan: Plan, unit: np.ndarray, gone: list[int]) -> tuple[int, int]:
    """Visits that forgetting some units costs, and those of training what remains."""
    ids = plan.partition.ids[plan.retained][np.isin(unit, gone)]
    after = plan.without(ids)
    missing = after.missing(plan.keys, after.shards_of(ids))
    return sum(stage.visits for stage in missing), after.total_visits


def mean_over_all_orders(plan: Plan, k: int) -> float:
    """Expected visits by adding up the orders in which k units may leave."""
    unit, rates = units_of(plan)
    known: dict[frozenset[int], int] = {}
    total = 0.0
    for order in permutations(range(len(rates)), k):
        left, chance = rates.sum(), 1.0
        for one in order:
            chance, left = chance * rates[one] / left, left - rates[one]
        if chance:
            gone = frozenset(order)
            if gone not in known:
                known[gone] = cost(plan, unit, list(gone))[0]
            total += chance * known[gone]
    return total


def simulated(plan: Plan, k: int, rounds: int) -> tuple[float, float]:
    """Mean visits of k units that leave by exponential clocks, and its standard error."""
    unit, rates = units_of(plan)
    rng, found = np.random.default_rng(5), []
    for _ in range(rounds):
        with np.errstate(divide="ignore"):
            clocks = rng.exponential(size=len(rates)) / rates
        found.append(cost(plan, unit, np.argsort(clocks)[:k].tolist())[0])
    return float(np.mean(found)), float(np.std(found) / rounds**0.5)


@pytest.mark.parametrize("grouped", [False, True])
def test_one_request_costs_exactly_the_mean_by_propensity(grouped: bool) -> None:
    groups = np.repeat(np.arange(20), RNG.integers(1, 6, 20)) if grouped else None
    rates = RNG.pareto(1.1, 20)[groups] if grouped else RNG.pareto(1.1, 60)
    plan = session_of(rates, groups).plan
    assert departures(plan).visits(1) == pytest.approx(mean_over_all_orders(plan, 1), rel=1e-9)


def test_equal_rates_give_the_formula_of_uniform_requests() -> None:
    groups = np.repeat(np.arange(20), RNG.integers(1, 6, 20))
    session = session_of(np.ones(len(groups)), groups)
    costs, units = session.group_costs(), departures(session.plan)
    for k in (1, 3, 10, 19):
        assert units.visits(k) == pytest.approx(costs.expected(k), rel=1e-9)
        assert units.remaining(k) == pytest.approx(costs.total_visits * (1 - k / 20), rel=1e-9)


def test_few_units_of_extreme_rates_are_close_to_all_orders() -> None:
    plan = session_of(np.array([50.0, 20, 5, *[1.0] * 6]), num_shards=2, num_slices=2).plan
    for k in (2, 3):  # the fluctuation that the formula neglects is largest here
        assert departures(plan).visits(k) == pytest.approx(mean_over_all_orders(plan, k), rel=0.1)


TWO = np.where(np.arange(200) % 10 == 0, 81.0, 1.0)  # a tenth gets nine tenths of the requests
WIDE = np.random.default_rng(2).pareto(1.2, 200) + 0.01
SOME_NEVER = np.where(np.arange(200) % 2 == 0, 3.0, 0.0)


@pytest.mark.parametrize("k", [2, 9, 40])
@pytest.mark.parametrize("rates", [TWO, WIDE, SOME_NEVER], ids=["two", "wide", "some never"])
@pytest.mark.parametrize("grouped", [False, True])
def test_several_requests_cost_what_simulated_ones_do(rates, k: int, grouped: bool) -> None:
    rows = np.random.default_rng(3).integers(1, 6, 200)
    rows[0] = 60  # divided, or filling a shard
    groups = np.repeat(np.arange(200), rows) if grouped else None
    plan = session_of(rates[groups] if grouped else rates, groups).plan
    mean, error = simulated(plan, k, 150)
    # Four standard errors, and one percent for what the formula neglects.
    assert departures(plan).visits(k) == pytest.approx(mean, abs=4 * error + 0.01 * mean)


def test_the_product_itself_costs_what_is_expected_also_after_requests() -> None:
    session = session_of(np.repeat(TWO, 3), np.repeat(np.arange(200), 3))
    session.train()
    names = session.dataset.grouping.names
    session.revoke(groups=[names[number] for number in (0, 10, 3)])
    session.unlearn(1)
    _, rates = units_of(session.plan)
    rng, shares = np.random.default_rng(0), []
    left = np.unique(session.plan.examples.groups[session.plan.retained])
    for _ in range(60):
        drawn = rng.choice(len(rates), 4, replace=False, p=rates / rates.sum())
        session.withdraw()
        session.revoke(groups=[names[number] for number in left[drawn]])
        shares.append(session.workload().share)
    error = 4 * np.std(shares) / 60**0.5
    assert session.expected_share(4) == pytest.approx(np.mean(shares), abs=error)
    assert session.expected_share(4) == pytest.approx(session.group_costs().share_of(4))


def test_likely_leavers_in_late_slices_of_few_shards_save_work() -> None:
    spec = {"num_shards": 10, "num_slices": 3}
    late = session_of(np.tile(TWO, 5), **spec)
    data = late.dataset
    at_random = make_partition(replace(data.train, propensity=None), late.spec)
    spread = make_partition(data.train, late.spec, spread=True)
    shares = {
        name: Session(data, spec=late.spec, model="logistic", partition=partition).expected_share(
            10
        )
        for name, partition in (("at random", at_random), ("spread", spread))
    }
    assert late.expected_share(10) * 2 < shares["at random"]
    assert late.expected_share(10) < shares["spread"] < shares["at random"]


def test_costs_of_groups_are_weighted_by_propensity() -> None:
    groups = np.repeat(np.arange(30), RNG.integers(1, 6, 30))
    rates = np.where(np.arange(30) < 4, 8.0, 1.0)
    session = session_of(rates[groups], groups)
    costs = session.group_costs()
    assert costs.rates == pytest.approx(rates / 8)
    assert costs.mean_share == pytest.approx(np.average(costs.share, weights=rates))
    assert costs.mean_share == pytest.approx(costs.share_of(1), rel=0.02)
    assert costs.mean_share < costs.share.mean()
    assert "on average by propensity, " in repr(costs)
    assert costs.to_frame()["propensity"].max() == 1
    plain = session_of(rates[groups] * 0 + 1, groups).group_costs()
    assert "propensity" not in plain.to_frame() and "propensity" not in repr(plain)


def test_no_more_may_leave_than_have_a_rate() -> None:
    groups = np.arange(60) // 3
    session = session_of(np.where(groups < 12, 2.0, 0.0), groups)
    costs = session.group_costs()
    assert "ten together" in repr(costs) and 0 < costs.share_of(12) <= 1
    with pytest.raises(ValueError, match=r"but 20 groups, 12 of which may leave, have .* 0 to 12"):
        costs.share_of(13)
    with pytest.raises(ValueError, match=r"but 12 of 20 groups may leave; give .* from 0 to 12"):
        session.expected_share(13)
    with pytest.raises(TypeError, match=r"num_requests=1.5 is not a whole number"):
        expected_share(session.plan, 1.5)
    assert session.expected_share(0) == costs.share_of(0) == 0
    gone = session.plan.without(session.plan.partition.ids[groups < 12])
    assert departures(gone).most == 0 and expected_share(gone, 0) == 0
    with pytest.raises(ValueError, match=r"0 of 8 groups may leave; give .* from 0 to 0"):
        expected_share(gone)


def test_many_different_rates_are_told_apart_well_enough() -> None:
    rates = np.random.default_rng(0).lognormal(0, 2, 3000)
    plan = session_of(rates).plan
    units = departures(plan)
    assert len(units._levels[0]) < 3000
    partition, by_place = plan.partition, np.zeros(12)
    place = partition.shard * 3 + partition.slice_ - 1
    np.add.at(by_place, place, rates / rates.sum())
    unit = np.arange(3000)
    costs = [cost(plan, unit, [int(np.flatnonzero(place == p)[0])])[0] for p in range(12)]
    assert units.visits(1) == pytest.approx(by_place @ costs, rel=0.01)
