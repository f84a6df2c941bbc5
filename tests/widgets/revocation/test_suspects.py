"""The selector of suspicious labels, without a browser."""

from dataclasses import replace

import numpy as np
import pytest

import unlearnkit as uk
from cases import CASES
from panels import call, text
from unlearnkit.selection.held_out import suspicious_labels
from unlearnkit.widgets import PANELS

NAME = "suspicious labels"


@pytest.fixture(scope="module")
def trained():
    """Digits of which a twentieth of the labels are wrong."""
    data = uk.load("digits")
    labels = data.train.labels.clone()
    wrong = np.random.default_rng(0).choice(len(labels), len(labels) // 20, replace=False)
    labels[wrong] = (labels[wrong] + 1) % 10
    data = replace(data, train=replace(data.train, labels=labels))
    session = uk.Session(data, model="mlp", num_shards=4, num_slices=2, seed=0)
    session.train()
    return session


@pytest.fixture
def panel(trained):
    panel = PANELS["revocation"](trained.fork())
    panel.mode.value = NAME
    assert panel.error is None
    return panel


def test_suspects_are_shown_with_both_classes_the_worst_first(panel):
    selector, suspects = panel.selector, suspicious_labels(panel.session)
    count = len(suspects)
    assert f"{count} suspicious labels among" in text(selector.summary)
    shown = selector.picker.items
    assert [item["id"] for item in shown] == suspects["id"].tolist()[: len(shown)]
    first = suspects.iloc[0]
    given, other = f"{first['label']:.0f}", f"{first['suggested']:.0f}"
    assert shown[0]["caption"] == f"{given} → {other}" and shown[0]["source"]
    assert f"class {given}" in shown[0]["label"]
    assert f"looks like {other} ({first['suggested_probability']:.0%})" in shown[0]["label"]
    selector.label.value = given
    assert {item["caption"].split(" ")[0] for item in selector.picker.items} == {given}


def test_those_picked_are_revoked_and_leave_once_forgotten(panel):
    session, selector = panel.session, panel.selector
    fork, suspects = session.fork(), suspicious_labels(session)["id"].tolist()
    selector.picker.set_state({"picked": suspects[:2]})
    assert panel.code == f"session.revoke({sorted(suspects[:2])})"
    selector.every.click()
    assert sorted(selector.picker.picked) == sorted(suspects)
    call(panel.code, fork)
    panel.add.click()
    assert panel.error is None
    assert session.pending.tolist() == fork.pending.tolist() == sorted(suspects)
    assert all(item["waiting"] for item in selector.picker.items)
    session.unlearn(1.0)
    panel.update()
    left = suspicious_labels(session)["id"]
    assert not left.isin(suspects).any() and len(left) < len(suspects)
    assert [item["id"] for item in selector.picker.items] == left.tolist()


def test_it_is_offered_only_where_other_models_can_contradict_a_class():
    alone = uk.Session("digits", model="logistic", num_shards=1, num_slices=1, epochs=1)
    numbers = uk.Session("diabetes", num_shards=3, num_slices=1, epochs=1)
    for session in (alone, numbers):
        assert NAME not in PANELS["revocation"](session).selectors
    panel = PANELS["revocation"](CASES["uneven"].session())
    panel.mode.value = NAME
    assert panel.error is None and "not trained yet" in panel.selector.summary.html
    panel.add.click()
    assert "no example is picked" in panel.message
    panel.selector.every.click()
    assert panel.selector.picker.picked == []


def test_rows_of_a_table_name_both_classes_too():
    session = CASES["uneven"].session()
    session.train()
    panel = PANELS["revocation"](session)
    panel.mode.value = NAME
    found, suspects = panel.selector, suspicious_labels(session)
    if len(suspects):
        assert found.picker.headers[4:7] == [
            "looks like",
            "probability",
            "probability of its label",
        ]
        names = [session.dataset.class_names[i] for i in suspects["suggested"]]
        assert [item["cells"][4] for item in found.picker.items] == names[:20]
    else:
        assert "No label is suspicious" in text(found.summary)
