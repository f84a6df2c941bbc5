"""The kinds of requests that a study draws."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import unlearnkit as uk
from unlearnkit.models.architecture import as_architecture
from unlearnkit.models.builtin import Logistic
from unlearnkit.studies.requests import KINDS, Revoked
from unlearnkit.training.plan import make_plan
from unlearnkit.unlearning.workload import estimate


@pytest.fixture(scope="module")
def plan():
    data = uk.load("digits")
    spec = uk.TrainSpec(num_shards=4, num_slices=3)
    return make_plan(data.train, as_architecture(Logistic(), data.feature_shape, 10), spec)


def test_costly_requests_hit_as_many_first_slices_as_they_can(plan):
    partition = plan.partition
    ids = KINDS["costly"](plan, 6, np.random.default_rng(0))
    rows = partition.rows(ids)
    assert (partition.slice_[rows] == 1).all()
    assert sorted(np.bincount(partition.shard[rows], minlength=4)) == [1, 1, 2, 2]

    # Nothing of its size costs more.
    def cost(chosen):
        return estimate(plan.without(chosen), plan.keys, chosen).visits

    others = [KINDS["uniform"](plan, 6, np.random.default_rng(seed)) for seed in range(20)]
    assert cost(ids) >= max(cost(other) for other in others)


def test_a_class_and_half_of_it(plan):
    labels = plan.examples.labels.numpy()
    for what, share in (("class", 1.0), ("half-class", 0.5)):
        request = Revoked.of(what)
        ids = KINDS[request.kind](plan, request.amount, np.random.default_rng(1))
        [label] = np.unique(labels[plan.partition.rows(ids)])
        assert len(ids) == round(share * (labels == label).sum())


def test_examples_that_are_alike(plan):
    ids = KINDS["alike"](plan, 20, np.random.default_rng(3))
    features = plan.examples[plan.partition.ids][0].flatten(1)
    near = features[plan.partition.rows(ids)]
    # One of them has the others as its nearest neighbours.
    distances = (near[:, None] - features[None]).square().sum(2)
    nearest = np.sort(
        plan.partition.ids[distances.argsort(dim=1, stable=True)[:, :20].numpy()], axis=1
    )
    assert (nearest == ids).all(1).any()


def test_ids_may_be_a_set_or_a_series():
    found = {Revoked.of(("mine", kind([7, 3]))).ids for kind in (set, pd.Series, iter, tuple)}
    assert found == {(3, 7)}


def test_groups_are_drawn_whole(plan):
    groups = np.random.default_rng(0).permutation(np.arange(len(plan.examples)) // 4)
    grouped = replace(plan, examples=replace(plan.examples, groups=groups))
    for amount, count in ((3, 3), (0.5, round(0.5 * len(np.unique(groups))))):
        request = Revoked.of(("group", amount))
        ids = request.draw(grouped, np.random.default_rng(1))
        chosen = np.unique(groups[np.isin(plan.partition.ids, ids)])
        assert len(chosen) == count
        assert ids.tolist() == plan.partition.ids[np.isin(groups, chosen)].tolist()
    with pytest.raises(ValueError, match="requests of kind 'group' need groups"):
        Revoked.of(("group", 1)).draw(plan, np.random.default_rng(1))
