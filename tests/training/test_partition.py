"""Partitions: sizes, what they read, and which ones are refused."""

import numpy as np
import pytest
import torch

from cases import CASES
from unlearnkit import TrainSpec
from unlearnkit.data.examples import Examples
from unlearnkit.seeding import numpy_generator
from unlearnkit.training.partition import make_partition
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
