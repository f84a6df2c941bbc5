"""Held-out predictions: what models that never saw an example make of it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

import unlearnkit as uk
from cases import CASES, NUM_CLASSES
from unlearnkit.models.losses import SquaredError
from unlearnkit.selection.held_out import held_out_losses, suspicious_labels


def mean_of_the_others(session, example):
    """The mean output of the constituents of other shards, computed one model at a time."""
    partition = session.plan.partition
    own = int(partition.shard[partition.rows(np.array([example]))[0]])
    inputs, _ = session.dataset.examples([example])
    found = []
    for each in session.ensemble.constituents:
        if each.shard != own:
            with torch.no_grad():
                outputs = session.plan.architecture.module(each.state)(inputs)
            found.append(session.spec.loss.probabilities(outputs).double())
    return torch.stack(found).mean(0)[0]


def with_labels(session, ids, change):
    """A session on the same data and partition, in which the labels of some examples differ."""
    data = session.dataset
    labels = data.train.labels.clone()
    rows = torch.from_numpy(data.train.rows(np.asarray(ids)))
    labels[rows] = change(labels[rows])
    changed = replace(data, train=replace(data.train, labels=labels))
    model, partition = CASES[data.name].model, session.plan.partition
    other = uk.Session(changed, model=model, spec=session.spec, partition=partition)
    other.train()
    return other


def test_probabilities_are_the_mean_of_the_constituents_of_other_shards():
    session = CASES["uneven"].session()
    session.train()
    frame = session.held_out_probabilities()
    assert frame.index.name == "id"
    assert frame.index.tolist() == session.dataset.train.ids.tolist()
    assert frame.columns.tolist() == ["a", "b", "c"]
    expected = [mean_of_the_others(session, i).numpy() for i in frame.index]
    np.testing.assert_allclose(frame.to_numpy(), expected, atol=1e-6)
    labels = session.dataset.examples(frame.index)[1].numpy()
    expected = -np.log(frame.to_numpy()[np.arange(len(labels)), labels])
    np.testing.assert_allclose(held_out_losses(session.plan, session.store), expected, rtol=1e-6)


def test_they_are_what_cleanlab_documents(session):
    frame = session.held_out_probabilities()
    p, labels = frame.to_numpy(), session.dataset.examples(frame.index)[1].numpy()
    assert p.dtype == float and p.shape == (len(labels), NUM_CLASSES)
    assert (p >= 0).all() and (p <= 1).all()
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)
    assert labels.ndim == 1 and set(labels) == set(range(NUM_CLASSES))


def test_an_examples_own_label_has_no_part_in_its_prediction(session):
    partition = session.plan.partition
    chosen = partition.ids[partition.shard == 1]
    other = with_labels(session, chosen, lambda labels: (labels + 1) % NUM_CLASSES)
    before, after = session.held_out_probabilities(), other.held_out_probabilities()
    assert before.loc[chosen].equals(after.loc[chosen])
    rest = before.index.difference(chosen)
    assert not np.allclose(before.loc[rest], after.loc[rest])


def test_a_persons_labels_have_no_part_in_the_predictions_of_that_person():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=["x", "y", "z"])
    frame["label"] = np.where(frame["x"] > 0, "right", "left")
    frame["person"] = [f"p{i}" for i in rng.integers(0, 15, 60)]
    data, found = uk.from_frame(frame, "label", groups="person"), []
    person = data.grouping.names[data.train.groups[0]]
    other = frame.copy()
    other.loc[other["person"] == person, "label"] = "left"
    for given in (frame, other):
        data = uk.from_frame(given, "label", groups="person")
        session = uk.Session(data, model="logistic", num_shards=3, num_slices=1, epochs=3, seed=0)
        session.train()
        found.append(session.held_out_probabilities())
    own = data.ids_of_groups([person])
    assert len(own) > 1 and found[0].loc[own].equals(found[1].loc[own])
    assert not found[0].equals(found[1])


def test_revoked_examples_are_left_out_and_pending_ones_are_not(session):
    fork = session.fork()
    ids = fork.dataset.train.ids[:3]
    fork.revoke(ids)
    assert set(ids) <= set(fork.held_out_probabilities().index)
    fork.unlearn(1.0)
    frame = fork.held_out_probabilities()
    assert not set(ids) & set(frame.index) and frame.notna().all(axis=None)
    losses = held_out_losses(fork.plan, fork.store)
    assert np.isnan(losses[fork.plan.partition.rows(ids)]).all()
    assert np.isnan(losses).sum() == 3


def test_one_model_is_refused_with_a_way_out(session):
    data = CASES["uneven"].dataset()
    alone = uk.Session(data, model="logistic", num_shards=1, num_slices=2, epochs=1)
    with pytest.raises(LookupError, match="no model yet; train first"):
        alone.held_out_probabilities()
    alone.train()
    for ask in (
        alone.held_out_probabilities,
        lambda: uk.hardest(alone, 3),
        lambda: suspicious_labels(alone),
        lambda: alone.revoke(query="held_out_loss > 1"),
    ):
        with pytest.raises(ValueError, match="there is 1 model in all; train with num_shards=2"):
            ask()
    assert len(uk.hardest(alone, 3, "loss")) == 3
    # Two shards of three are forgotten entirely, so that one model is left.
    fork, partition = session.fork(), session.plan.partition
    fork.revoke(partition.ids[partition.shard > 0])
    fork.unlearn(1.0)
    with pytest.raises(ValueError, match="there is 1 model in all"):
        fork.held_out_probabilities()


def test_a_query_can_use_the_held_out_loss(session):
    fork = session.fork()
    fork.revoke(query="held_out_loss > 1")
    losses = held_out_losses(fork.plan, fork.store)
    assert fork.pending.tolist() == np.sort(fork.plan.partition.ids[losses > 1]).tolist()


def test_predictions_of_a_regression_are_in_the_units_of_its_targets():
    session = uk.Session("diabetes", model="mlp", num_shards=3, num_slices=1, epochs=2, seed=0)
    session.train()
    frame, data = session.held_out_probabilities(), session.dataset
    for i in frame.index[:5]:
        expected = data.in_units(mean_of_the_others(session, int(i))[None])[0]
        assert frame.loc[i].to_numpy() == pytest.approx(expected.numpy(), rel=1e-5)
    targets = data.examples(frame.index)[1].double()
    scaled = (torch.from_numpy(frame.to_numpy()) - data.target_offset[0]) / data.target_scale[0]
    losses = held_out_losses(session.plan, session.store)
    np.testing.assert_allclose(losses, ((scaled - targets) ** 2)[:, 0] / 2, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="needs classes, but diabetes is a regression"):
        suspicious_labels(session)


def test_outputs_of_the_squared_error_become_probabilities():
    session = CASES["uneven"].session(spec=CASES["uneven"].spec.with_(loss=SquaredError()))
    session.train()
    p = session.held_out_probabilities().to_numpy()
    assert (p >= 0).all() and (p <= 1).all()
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-9)


@pytest.fixture(scope="module")
def mislabelled():
    """Digits of which a tenth of the labels are wrong, and which ones."""
    data = uk.load("digits")
    rng, labels = np.random.default_rng(0), data.train.labels.clone()
    wrong = rng.choice(len(labels), len(labels) // 10, replace=False)
    labels[wrong] = (labels[wrong] + torch.from_numpy(rng.integers(1, 10, len(wrong)))) % 10
    data = replace(data, train=replace(data.train, labels=labels))
    session = uk.Session(data, model="mlp", num_shards=5, seed=0)
    session.train()
    return session, data.train.ids[wrong]


def test_wrong_labels_have_the_highest_held_out_losses(mislabelled):
    session, wrong = mislabelled
    areas, shares = {}, {}
    for score in ("held_out_loss", "loss"):
        ranked = uk.hardest(session, len(session.dataset.train), score)
        is_wrong = np.isin(ranked, wrong)
        areas[score] = roc_auc_score(is_wrong, -np.arange(len(ranked)))
        shares[score] = is_wrong[: len(wrong)].mean()
    assert areas["held_out_loss"] > max(0.95, areas["loss"])
    assert shares["held_out_loss"] > max(0.8, shares["loss"])


def test_suspicious_labels_are_mostly_wrong_and_the_suggested_ones_right(mislabelled):
    session, wrong = mislabelled
    suspects = suspicious_labels(session)
    found = suspects["id"].isin(wrong)
    assert found.mean() > 0.8 and found.sum() > len(wrong) / 2
    true = uk.load("digits").examples(suspects["id"])[1].numpy()
    assert (true == suspects["suggested"])[found].mean() > 0.8
    given = session.dataset.examples(suspects["id"])[1].numpy()
    assert (given == suspects["label"]).all()
    assert (suspects["label"] != suspects["suggested"]).all()
    assert suspects["held_out_loss"].is_monotonic_decreasing
    assert (suspects["probability"] < suspects["suggested_probability"]).all()
    request = session.fork().revoke(suspects["id"])
    assert len(request) == len(suspects)
