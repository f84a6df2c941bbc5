"""The attack whose references are the other shards."""

import numpy as np
import pytest
import torch

import unlearnkit as uk
from cases import CASES
from unlearnkit.evaluation.shard_attack import attack_shards
from unlearnkit.metrics.true_positives import true_positives

OPTIONS = {
    "hidden": (64,),
    "num_shards": 4,
    "num_slices": 1,
    "epochs": 150,
    "learning_rate": 0.1,
    "seed": 0,
}


def memorised(share):
    """A session that has memorised 40 wrong labels and forgotten them, and its comparison."""
    data = uk.load("digits")
    wrong = data.train.ids[:40]
    labels = data.train.labels.clone()
    labels[:40] = (labels[:40] + 1) % 10
    features = data.train.features
    test = (data.test.features, data.test.labels)
    data = uk.from_arrays(features, labels, test=test, scale=16.0)
    session = uk.Session(data, **OPTIONS)
    session.train()
    session.revoke(wrong)
    session.unlearn(share)
    return session, session.compare()


@pytest.fixture(scope="module")
def exact():
    return memorised(1.0)


def test_wrong_labels_are_found_in_the_original_and_not_in_the_retrained_model(exact):
    session, comparison = exact
    frame = attack_shards(comparison).set_index(["models", "false_rate"])
    assert frame.loc[("original", 0.01), "true_rate"] > 0.3
    assert frame.loc[("scratch", 0.01), "true_rate"] < 0.1
    same = frame.loc["unlearned"] == frame.loc["scratch"]
    assert same.all(axis=None)
    assert (frame["low"] <= frame["true_rate"]).all() and (
        frame["true_rate"] <= frame["high"]
    ).all()
    assert (frame["false"] <= frame.index.get_level_values("false_rate") + 1e-12).all()
    assert set(frame["members"]) == {int((comparison.forget_shard >= 0).sum())}
    assert set(frame["others"]) == {len(session.dataset.test)}
    assert set(frame["shard"]) == {"all"}


def test_scores_are_margins_above_those_of_the_other_shards(exact):
    session, comparison = exact
    scores = comparison.shard_scores["original"]
    assert scores.shards == comparison.shards
    for shard in scores.shards:
        for ids, found in (
            (comparison.forgotten_of(shard), scores.members[shard]),
            (session.dataset.test.ids, scores.others[shard]),
        ):
            inputs, labels = session.dataset.examples(ids)
            p = comparison.original.constituent_probabilities(inputs).double()
            p = p[:, torch.arange(len(ids)), labels]
            margins = torch.logit(p, eps=1e-12).numpy()
            expected = margins[shard] - margins[np.arange(4) != shard].mean(0)
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)


def test_every_shard_is_judged_with_wider_intervals(exact):
    _, comparison = exact
    frame = attack_shards(comparison, rates=(0.01,), each=True)
    scores = comparison.shard_scores["original"]
    assert frame["shard"].unique().tolist() == ["all", *scores.shards]
    for shard in scores.shards:
        members, others = scores.members[shard], scores.others[shard]
        row = frame[(frame["shard"] == shard) & (frame["models"] == "original")].iloc[0]
        allowed = int(0.01 * len(others) + 1e-9)
        threshold = np.sort(others)[::-1][allowed]
        assert row["true_rate"] == (members > threshold).mean()
        single = true_positives(members, others, 0.01)
        assert row["low"] <= single.interval[0] and single.interval[1] <= row["high"]


def test_measures_hold_the_gap_and_the_worst_shard(exact):
    _, comparison = exact
    forget = comparison.measures_on("forget").set_index(["metric", "model"])
    rates = attack_shards(comparison, rates=(0.01,)).set_index("models")["true_rate"]
    gap = forget.loc["shard-tpr-gap-at-1%", "value"]
    assert gap["original"] == pytest.approx(rates["original"] - rates["scratch"])
    assert gap["unlearned"] == gap["scratch"] == 0
    worst = forget.loc["worst-shard-tpr-gap-at-1%"]
    assert worst["value"]["original"] > 0
    assert worst["p_value"]["original"] < 0.05 and worst["p_value"]["unlearned"] == 1
    assert worst["null"]["original"] < worst["value"]["original"]
    named = int(worst["note"]["original"].split(";")[0].removeprefix("shard "))
    assert named in comparison.shards
    assert "shard-tpr-gap-at-1%" not in set(comparison.measures_on("test")["metric"])
    table = comparison.to_frame()
    assert table.loc["original", "shard_tpr_gap_at_1"] == gap["original"]


def test_a_single_shard_is_refused_and_measured_as_unknown():
    session = uk.Session("digits", model="logistic", num_shards=1, num_slices=2, epochs=1)
    session.train()
    session.revoke([3])
    session.unlearn(1.0)
    comparison = session.compare()
    with pytest.raises(ValueError, match="1 of 1 shards forgot an example; this attack needs"):
        attack_shards(comparison)
    assert not comparison.measures_on("forget")["metric"].str.contains("shard").any()


def test_a_regression_is_attacked_by_its_likelihood():
    session = uk.Session("diabetes", num_shards=3, num_slices=2, epochs=1)
    session.train()
    session.revoke(session.dataset.train.ids[:9])
    session.unlearn(1.0)
    comparison = session.compare()
    shard = comparison.shards[0]
    ids = comparison.forgotten_of(shard)
    inputs, targets = session.dataset.examples(ids)
    outputs = comparison.original.constituent_probabilities(inputs).double()
    fits = -((outputs - targets.double()) ** 2)[:, :, 0].numpy() / 2
    expected = fits[shard] - fits[np.arange(3) != shard].mean(0)
    found = comparison.shard_scores["original"].members[shard]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert set(attack_shards(comparison)["models"]) == {"original", "unlearned", "scratch"}


def test_a_shard_that_is_forgotten_entirely_is_left_out():
    case = CASES["uneven"].session()
    case.train()
    partition = case.plan.partition
    gone = partition.ids[partition.shard == 1]
    case.revoke([*gone, *partition.ids[partition.shard == 0][:2]])
    case.unlearn(1.0)
    assert case.compare().shard_scores["original"].shards == (0,)
