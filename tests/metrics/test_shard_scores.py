"""Scores of an attack on constituents: one leaking shard, and p-values that hold their level."""

import numpy as np
import pytest

from unlearnkit.metrics.metrics import ShardTruePositiveGap
from unlearnkit.metrics.shard_scores import ShardScores, worst_shard


def test_every_test_example_counts_once_for_all_shards_together():
    scores = ShardScores({0: np.ones(2), 3: np.zeros(1)}, {0: np.arange(5.0), 3: -np.arange(5.0)})
    assert scores.all_members.tolist() == [1, 1, 0]
    assert scores.all_others.tolist() == [0, 2, 4, -1, -3]


def test_the_null_of_the_worst_shard_is_that_of_fair_coins():
    """One shard, 4 of 10 members found in one model alone: the largest gap is a mean of coins."""
    members, nothing = np.r_[np.ones(4), np.zeros(6)], np.zeros(10)
    others = {0: np.zeros(100)}
    found = worst_shard(ShardScores({0: members}, others), ShardScores({0: nothing}, others), 0.1)
    assert found.gap == 0.4 and found.null == pytest.approx(0, abs=0.03)
    assert found.p_value == pytest.approx(1 / 16, abs=0.03)


def test_a_shard_of_one_member_does_not_hide_a_clear_leak():
    others = {s: np.zeros(100) for s in range(2)}
    nothing = ShardScores({0: np.zeros(1), 1: np.zeros(60)}, others)
    found = ShardScores({0: np.ones(1), 1: np.r_[np.ones(40), np.zeros(20)]}, others)
    worst = worst_shard(found, nothing, 0.1)
    assert worst.shard == 1 and worst.gap == pytest.approx(2 / 3) and worst.p_value < 0.01


def test_one_leaking_shard_is_seen_among_many():
    """An average over 20 shards hides one in which every member is found; its p-value does not."""
    rng = np.random.default_rng(0)

    def scores(leaking):
        members = {s: rng.normal(size=10) + (6 if s == leaking else 0) for s in range(20)}
        return ShardScores(members, {s: rng.normal(size=2000) for s in range(20)})

    clean, quiet, loud = scores(None), scores(None), scores(7)
    found = worst_shard(loud, clean, 0.01)
    assert found.shard == 7 and found.gap > 0.9 and found.p_value < 0.05
    assert ShardTruePositiveGap(0.01).of_shards(loud, clean).value < 0.1
    low, high = ShardTruePositiveGap(0.01, True).of_shards(loud, clean).interval
    assert 0 < low < found.gap <= high
    assert worst_shard(quiet, clean, 0.01).p_value > 0.05
    assert worst_shard(clean, clean, 0.01).p_value == 1


def test_p_values_of_the_worst_shard_hold_their_level():
    rng = np.random.default_rng(1)
    p = []
    for _ in range(200):
        one, other = (
            ShardScores(
                {s: rng.normal(size=30) for s in range(8)},
                {s: rng.normal(size=300) for s in range(8)},
            )
            for _ in range(2)
        )
        p.append(worst_shard(one, other, 0.1).p_value)
    # Of 200 p-values at most 10 are expected below 5 %; 20 or more happen once in 1,000 times.
    assert (np.array(p) < 0.05).sum() < 20
