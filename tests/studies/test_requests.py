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


@pytest.fixture(scope="module")
def weighted():
    """Forty people of five rows, of whom every fourth never leaves and every other fourth early."""
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(200, 3)).astype("f4"), np.arange(200) % 2
    rates = np.array([0.0, 1.0, 1.0, 6.0])[np.arange(200) // 5 % 4]
    data = uk.from_arrays(
        features, labels, groups=np.arange(200) // 5, propensity=rates, test_share=0.1
    )
    return uk.Session(data, model="logistic", num_shards=2, num_slices=2, epochs=2)


@pytest.mark.parametrize("kind", ["likely", "group"])
def test_examples_and_groups_are_drawn_by_propensity(weighted, kind):
    plan = weighted.plan
    drawn = [KINDS[kind](plan, 1, np.random.default_rng(seed)) for seed in range(400)]
    rates = plan.examples.propensity
    found = np.array([rates[plan.partition.rows(ids)].mean() for ids in drawn])
    pools = rates if kind == "likely" else rates[np.unique(plan.examples.groups, True)[1]]
    often = pools[pools == 1].sum() / pools.sum()
    assert found.max() == 1 and found.min() > 0  # divided by the largest rate
    # Three standard deviations of a share of 400 draws are at most .075.
    assert abs((found == 1).mean() - often) < 0.075
    everyone = KINDS[kind](plan, 1.0, np.random.default_rng(0))
    assert set(everyone) == set(plan.partition.ids[rates > 0])


def test_a_study_draws_by_propensity_unless_told_otherwise(weighted):
    data = weighted.dataset
    settings = {"models": "logistic", "num_shards": 2, "num_slices": 2, "epochs": 2}
    frame = uk.study(data, revoked=(4, ("uniform", 4)), policies=["fixed"], **settings)
    assert frame["kind"].tolist() == ["likely"] * 2 + ["uniform"] * 2
    same = uk.study(replace_rates(data, 1.0), revoked=4, policies=["fixed"], **settings)
    assert same["kind"].unique().tolist() == ["uniform"], "equal rates are as none"
    with pytest.raises(ValueError, match="kind 'likely' need propensities"):
        uk.study("digits", revoked=[("likely", 3)], **settings)
    with pytest.raises(ValueError, match="kind 'likely' need propensities"):
        KINDS["likely"](uk.Session("digits").plan, 3, np.random.default_rng(0))


def replace_rates(data, rate):
    train = replace(data.train, propensity=np.full(len(data.train), rate))
    return replace(data, train=train)


@pytest.mark.parametrize("by_group", [False, True])
def test_a_stream_draws_by_propensity(weighted, by_group):
    session = uk.Session(weighted.dataset, model="logistic", num_shards=2, num_slices=2, epochs=2)
    session.train(on_progress=False)
    rates = session.plan.examples.propensity
    left = len({*session.plan.examples.groups[rates > 0]}) if by_group else int((rates > 0).sum())
    frame = uk.stream(session, rounds=left - 1, size=1, by_group=by_group, boundary="fixed")
    assert frame["revoked"].iloc[-1] <= (rates > 0).sum() and len(frame) == left - 1
    with pytest.raises(ValueError, match=f"use up the {left} remaining that may leave"):
        uk.stream(session, rounds=left, size=1, by_group=by_group)
