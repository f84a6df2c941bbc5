"""Placing by propensity: the likely leavers are late, and slices keep their sizes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from unlearnkit import TrainSpec
from unlearnkit.data.examples import Examples
from unlearnkit.training.partition import Partition, make_partition
from unlearnkit.training.partition.likely_late import share_of_last_slices

SPEC = TrainSpec(num_shards=5, num_slices=3)


def examples(rates: np.ndarray, groups: np.ndarray | None = None) -> Examples:
    count = len(rates)
    labels = torch.zeros(count, dtype=torch.int64)
    ids = 7 + 3 * np.arange(count)
    return Examples(ids, torch.zeros(count, 1), labels, groups=groups, propensity=rates)


def without(given: Examples) -> Partition:
    return make_partition(replace(given, propensity=None), SPEC)


def sizes(partition: Partition, rows: np.ndarray | None = None) -> np.ndarray:
    chosen = np.ones(len(partition.ids), bool) if rows is None else rows
    return partition.sizes(chosen)


@pytest.mark.parametrize("seed", range(5))
def test_rows_of_high_propensity_fill_the_last_slices_shard_by_shard(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rates = rng.permutation(np.arange(151.0))
    partition = make_partition(examples(rates), SPEC.with_(seed=seed))
    assert (sizes(partition) == sizes(make_partition(examples(rates * 0), SPEC))).all()
    # Along slice 3 of shards 0, 1, ..., then slice 2, and so on, every rate is below those before.
    order = np.lexsort((partition.shard, -partition.slice_))
    places = (-partition.slice_[order] * 5 + partition.shard[order]).tolist()
    starts = np.flatnonzero(np.diff(places, prepend=-99))
    lowest = np.minimum.reduceat(rates[order], starts)
    highest = np.maximum.reduceat(rates[order], starts)
    assert len(starts) == 15 and (lowest[:-1] > highest[1:]).all()


def test_likely_leavers_are_in_few_shards_or_spread_over_all() -> None:
    rates = np.random.default_rng(0).permutation(np.repeat([9.0, 1.0], [30, 270]))
    likely = rates > 1
    few = sizes(make_partition(examples(rates), SPEC), likely)
    assert few.tolist() == [[0, 0, 20], [0, 0, 10], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    spread = make_partition(examples(rates), SPEC, spread=True)
    held = sizes(spread, likely)
    assert held[:, :2].sum() == 0 and held[:, 2].sum() == 30 and held[:, 2].min() >= 1
    assert (sizes(spread) == 20).all()


def test_others_are_dealt_at_random() -> None:
    """Rows sorted by class, of which each shard gets about as many of the unlikely ones."""
    rates = np.ones(1500)
    rates[::10] = 5
    partition = make_partition(examples(rates), SPEC)
    half = np.arange(1500) < 750
    shares = sizes(partition, half).sum(1) / sizes(partition).sum(1)
    assert np.abs(shares - 0.5).max() < 0.1


def test_equal_propensities_change_nothing() -> None:
    for groups in (None, np.arange(90) // 3, np.arange(90)):
        given = examples(np.full(90, 0.5), groups)
        assert make_partition(given, SPEC).digest == without(given).digest


def test_groups_of_one_row_are_as_rows() -> None:
    rates = np.random.default_rng(0).integers(1, 4, 90).astype(float)
    grouped = examples(rates, np.random.default_rng(1).permutation(90))
    assert make_partition(grouped, SPEC).digest == make_partition(examples(rates), SPEC).digest


def test_only_the_order_of_rates_counts() -> None:
    rates = np.random.default_rng(0).integers(0, 9, 90).astype(float)
    digest = make_partition(examples(rates), SPEC).digest
    assert make_partition(examples(np.exp(rates)), SPEC).digest == digest
    assert make_partition(examples(9 - rates), SPEC).digest != digest


def whole(partition: Partition, groups: np.ndarray) -> np.ndarray:
    """The numbers of groups that are in one slice."""
    places = partition.shard * 10 + partition.slice_
    return np.array([g for g in np.unique(groups) if len(np.unique(places[groups == g])) == 1])


UNBALANCED = {
    "equal": np.full(200, 6),
    "up to sixteen rows": np.random.default_rng(0).integers(1, 17, 200),
    "one with a tenth": np.r_[150, np.ones(1350, int)],
    "of all sizes": np.random.default_rng(1).lognormal(1.5, 1, 300).astype(int) + 1,
}


@pytest.mark.parametrize("kind", UNBALANCED)
def test_whole_groups_are_late_and_shards_stay_balanced(kind: str) -> None:
    rows, rng = UNBALANCED[kind], np.random.default_rng(3)
    groups = rng.permutation(np.repeat(np.arange(len(rows)), rows))
    likely = rng.random(len(rows)) < 0.1
    likely[0] = True  # the one with a tenth of all rows stays where it fills slices
    given = examples(np.where(likely, 9.0, 1.0)[groups], groups)
    before, after = without(given), make_partition(given, SPEC)
    assert whole(after, groups).tolist() == whole(before, groups).tolist()
    movable = whole(after, groups)
    assert (sizes(after) / sizes(before) <= 1.2).all() and sizes(after).min() >= 1
    assert np.abs(sizes(after).sum(1) / sizes(before).sum(1) - 1).max() < 0.1
    leaving = np.isin(groups, movable) & likely[groups]
    held = sizes(after, leaving)
    assert held[:, 2].sum() >= 0.8 * held.sum()
    assert sizes(before, leaving)[:, 2].sum() < 0.6 * held.sum()
    shuffled = replace(given, groups=5000 - groups)
    assert make_partition(shuffled, SPEC).digest == after.digest  # renumbered


def test_a_plan_says_where_requests_are_expected() -> None:
    slices, kept = np.array([1, 1, 3, 3, 3]), np.array([True, True, True, True, False])
    rates = np.array([1.0, 1, 3, 1, 99])
    assert share_of_last_slices(examples(rates), slices, kept) == 4 / 6
    # Group 0 has rows in slices 1 and 3, so that forgetting it retrains all stages.
    grouped = examples(np.array([1.0, 2, 1, 2, 99]), np.array([0, 1, 0, 2, 3]))
    assert share_of_last_slices(grouped, slices, kept) == 2 / 5
    assert share_of_last_slices(examples(rates), slices, kept & False) == 0
