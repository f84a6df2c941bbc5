"""Partitions: sizes, what they read, and which ones are refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cases import CASES
from unlearnkit import TrainSpec
from unlearnkit.data.examples import Examples
from unlearnkit.models.architecture import as_architecture
from unlearnkit.seeding import numpy_generator
from unlearnkit.training.partition import Partition, make_partition
from unlearnkit.training.plan import Plan, make_plan

CASE = CASES["mlp-dropout"]


def plan_for(spec: TrainSpec = CASE.spec, examples: Examples | None = None) -> Plan:
    return make_plan(examples or CASE.dataset().train, CASE.architecture(), spec)


def test_slice_and_shard_sizes_differ_by_one_at_most() -> None:
    examples = CASES["logistic"].dataset().train
    for shards, slices in ((1, 1), (3, 2), (5, 8), (44, 1)):
        spec = TrainSpec(num_shards=shards, num_slices=slices)
        sizes = make_partition(examples, spec).sizes(np.ones(len(examples), bool))
        assert sizes.sum() == len(examples)
        assert np.ptp(sizes.sum(1)) <= 1 and np.ptp(sizes, axis=1).max() <= 1


@pytest.mark.parametrize("seed", range(20))
def test_the_permutation_is_divided_as_numpy_divides_arrays(seed: int) -> None:
    examples, rng = CASES["logistic"].dataset().train, np.random.default_rng(seed)
    shards, slices = int(rng.integers(1, 9)), int(rng.integers(1, 6))
    spec = TrainSpec(num_shards=shards, num_slices=slices, seed=seed)
    partition = make_partition(examples, spec)
    order = numpy_generator(seed, "partition").permutation(len(examples))
    for s, rows in enumerate(np.array_split(order, shards)):
        assert (partition.shard[rows] == s).all()
        for r, part in enumerate(np.array_split(rows, slices), start=1):
            assert (partition.slice_[part] == r).all()


def test_partition_reads_no_content() -> None:
    examples = CASE.dataset().train
    zeros = Examples(examples.ids, torch.zeros_like(examples.features), examples.labels)
    a, b = make_partition(examples, CASE.spec), make_partition(zeros, CASE.spec)
    assert (a.shard == b.shard).all() and (a.slice_ == b.slice_).all()


def test_too_many_shards_or_slices_are_refused() -> None:
    examples = CASE.dataset().train
    with pytest.raises(ValueError, match=r"num_shards=38 for 37 examples .* use at most 37"):
        make_partition(examples, TrainSpec(num_shards=38, num_slices=1))
    with pytest.raises(ValueError, match=r"shard 1 \(18 examples\) .* use at most 18"):
        make_partition(examples, TrainSpec(num_shards=2, num_slices=19))


def test_a_partition_that_is_not_of_this_run_is_refused() -> None:
    plan = plan_for()
    with pytest.raises(ValueError, match=r"partition has 2 shards x 3 slices.*the spec 3 x 3"):
        make_plan(
            plan.examples,
            plan.architecture,
            CASE.spec.with_(num_shards=3),
            partition=plan.partition,
        )
    with pytest.raises(ValueError, match=r"ids .* differ"):
        make_plan(
            CASES["logistic"].dataset().train,
            plan.architecture,
            CASE.spec,
            partition=plan.partition,
        )


def grouped(groups: np.ndarray) -> Examples:
    count = len(groups)
    labels = torch.zeros(count, dtype=torch.int64)
    return Examples(7 + 3 * np.arange(count), torch.zeros(count, 1), labels, groups=groups)


def places(partition: Partition, groups: np.ndarray) -> dict[int, set[tuple[int, int]]]:
    """Shard and slice of all rows of each group."""
    found: dict[int, set[tuple[int, int]]] = {}
    for group, shard, r in zip(groups, partition.shard, partition.slice_, strict=True):
        found.setdefault(int(group), set()).add((int(shard), int(r)))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_dealt_whole_and_balanced_by_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(200), rng.integers(1, 16, 200)))
    spec = TrainSpec(num_shards=5, num_slices=3, seed=seed)
    partition = make_partition(grouped(groups), spec)
    assert all(len(found) == 1 for found in places(partition, groups).values())
    sizes = partition.sizes(np.ones(len(groups), bool))
    assert sizes.sum() == len(groups)
    assert np.ptp(sizes.sum(1)) <= 15 and np.ptp(sizes, axis=1).max() <= 15
    assert make_partition(grouped(groups), spec).digest == partition.digest
    assert make_partition(grouped(groups), spec.with_(seed=9)).digest != partition.digest
    assert make_partition(grouped(1000 - groups), spec).digest == partition.digest  # renumbered


def test_groups_of_one_row_make_the_partition_of_rows() -> None:
    spec = TrainSpec(num_shards=3, num_slices=2)
    groups = np.random.default_rng(0).permutation(50)
    plain = make_partition(replace(grouped(groups), groups=None), spec)
    assert make_partition(grouped(groups), spec).digest == plain.digest


def test_large_groups_are_dealt_as_whole_as_can_be() -> None:
    spec = TrainSpec(num_shards=10, num_slices=3)
    # A fifth of all rows are two shards, a tenth fills one, and 60 are more than a slice.
    sizes = [200, 100, 60, *[10] * 64]
    groups = np.repeat(np.arange(len(sizes)), sizes)
    partition = make_partition(grouped(groups), spec)
    found = places(partition, groups)
    assert [len({s for s, _ in found[g]}) for g in (0, 1, 2)] == [2, 1, 1]
    assert all(len(found[group]) == 1 for group in range(3, len(sizes)))
    assert len(found[0]) == 6 and len(found[1]) == 3  # alone in their shards, in all slices
    shards = partition.sizes(np.ones(1000, bool)).sum(1)
    assert np.ptp(shards) <= 10


def test_a_plan_says_how_many_groups_are_divided() -> None:
    sizes = [200, 100, 60, *[10] * 64]
    groups = np.repeat(np.arange(len(sizes)), sizes)
    spec, model = TrainSpec(num_shards=10, num_slices=3), as_architecture("logistic", (1,), 2)
    plan = make_plan(grouped(groups), model, spec)
    assert "1000 examples of 67 groups, 1 of them in several shards," in repr(plan)
    kept = plan.without(plan.partition.ids[groups == 0])
    assert "800 examples of 66 groups," in repr(kept)


def test_fewer_groups_than_shards_leave_no_slice_empty() -> None:
    groups = np.repeat([0, 1], [30, 5])
    partition = make_partition(grouped(groups), TrainSpec(num_shards=4, num_slices=3))
    assert partition.sizes(np.ones(35, bool)).min() >= 1
    with pytest.raises(ValueError, match=r"num_slices=9 leaves shard \d \(\d examples\)"):
        make_partition(grouped(groups), TrainSpec(num_shards=4, num_slices=9))
