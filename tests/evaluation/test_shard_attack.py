"""The attack whose references are the other shards."""

import numpy as np
import pytest
import torch

import unlearnkit as uk
from unlearnkit.evaluation.shard_attack import _scores, attack_shards

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


def test_wrong_labels_are_found_in_the_original_and_not_in_the_retrained_model():
    session, comparison = memorised(1.0)
    frame = attack_shards(comparison, session.dataset).set_index(["models", "false_rate"])
    assert frame.loc[("original", 0.01), "true_rate"] > 0.3
    assert frame.loc[("scratch", 0.01), "true_rate"] < 0.1
    exact = frame.loc["unlearned"] == frame.loc["scratch"]
    assert exact.all(axis=None)
    assert (frame["low"] <= frame["true_rate"]).all() and (
        frame["true_rate"] <= frame["high"]
    ).all()
    assert (frame["false"] <= frame.index.get_level_values("false_rate") + 1e-12).all()
    assert set(frame["members"]) == {int((comparison.forget_shard >= 0).sum())}
    assert set(frame["others"]) == {len(session.dataset.test)}


def test_scores_are_margins_above_those_of_the_other_shards():
    session, comparison = memorised(1.0)
    shard = int(comparison.constituents["shard"].iloc[0])
    ids = comparison.forgotten_of(shard)
    inputs, labels = session.dataset.examples(ids)
    p = comparison.original.constituent_probabilities(inputs).double()
    p = p[:, torch.arange(len(ids)), labels]
    margins = torch.logit(p, eps=1e-12).numpy()
    expected = margins[shard] - margins[np.arange(4) != shard].mean(0)
    found = _scores(comparison, "original", session.dataset, shard, ids)
    assert found == pytest.approx(expected)


def test_a_single_shard_and_a_regression_are_refused():
    session = uk.Session("digits", model="logistic", num_shards=1, num_slices=2, epochs=1)
    session.train()
    session.revoke([3])
    session.unlearn(1.0)
    with pytest.raises(ValueError, match="1 of 1 shards forgot an example; this attack needs"):
        attack_shards(session.compare(), session.dataset)
    session = uk.Session("diabetes", num_shards=2, num_slices=2, epochs=1)
    session.train()
    session.revoke([3])
    session.unlearn(1.0)
    with pytest.raises(ValueError, match="an attack on margins needs classes"):
        attack_shards(session.compare(), session.dataset)
