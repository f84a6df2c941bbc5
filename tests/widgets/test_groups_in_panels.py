"""All panels speak of persons where the data have some, and of examples alone otherwise."""

import re
from datetime import timedelta

import ipywidgets
import numpy as np
import pandas as pd
import pytest

import unlearnkit as uk
from panels import text
from unlearnkit.figures.drawing import percent
from unlearnkit.widgets.training import TrainingPanel


@pytest.fixture(scope="module")
def trained():
    rng = np.random.default_rng(0)
    owners = rng.permutation(np.arange(240) // 6)
    kind = rng.integers(0, 3, 240)
    frame = pd.DataFrame({f"x{i}": rng.normal(size=240) + (kind == i) for i in range(4)})
    frame["kind"], frame["person"] = kind, owners
    data = uk.from_frame(frame, "kind", groups="person")
    session = uk.Session(data, hidden=(5,), epochs=3, num_shards=3, num_slices=3)
    session.train()
    return session


@pytest.fixture
def session(trained):
    return trained.fork()


def columns(prose):
    """The columns of the table in a text, by their titles."""
    lines = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in prose.html.split("<tr>")]
    titles, *rows = [line for line in lines if line]
    return dict(zip(titles, map(list, zip(*rows, strict=True)), strict=True))


def persons_of_two_shards(session):
    """Return a person of each of two shards, and one of the test part."""
    data, partition = session.dataset, session.plan.partition
    one, other = (int(data.train.groups[partition.shard == shard][0]) for shard in (0, 2))
    names = data.grouping.names
    return [names[one], names[other], names[int(data.test.groups[0])]]


def test_workload_and_decision_say_how_many_persons_ask(session):
    session.revoke(groups=persons_of_two_shards(session))
    board = session.dashboard()
    board["workload"].stages.open = True
    stages = board["workload"].stages
    said = text(stages.summary)
    costs = session.group_costs()
    assert "for this request (12 training examples of 2 persons): " in said
    assert "2 persons drawn at random would take " in said
    assert f"Forgetting one person costs {percent(costs.mean_share)} of" in said
    curve = stages.curve.view.spec["data"][1]
    assert curve["name"] == "expected for random persons" and curve["x"][1] == 2 * 6
    assert curve["y"][:2] == pytest.approx([costs.expected(1), costs.expected(2)])
    rows = columns(stages.shards)
    assert rows["persons"] == ["1", "1"] and rows["to forget"] == ["6", "6"]
    assert "The request: 18 examples of 3 persons." in text(board["boundary"].notes)
    assert board.strip.state["said"][0].startswith("To forget: 18 examples of 3 persons in ")
    assert all(panel.error is None for panel in board.panels.values())


def test_the_ledger_counts_persons_in_requests_debt_and_queue(session):
    session.revoke(groups=persons_of_two_shards(session))
    session.unlearn(0)
    board = session.dashboard()
    assert "Last request: 18 examples of 3 persons forgotten" in text(board["boundary"].result)
    ledger = board["ledger"]
    assert "unlearn 18 examples of 3 persons" in text(ledger.requests)
    owed = columns(ledger.debts)
    assert owed["examples owed"] == ["6", "6"] and owed["of persons"] == ["1", "1"]
    left = session.group_costs().names[0]
    session.revoke(group=left, deadline=timedelta(days=2))
    session.repay()
    board.update()
    waiting = columns(ledger.waiting)
    assert waiting["examples"] == ["6"] and waiting["persons"] == ["1"]
    assert "repay" in text(ledger.requests)
    assert all(panel.error is None for panel in board.panels.values())


def test_an_average_that_propensities_weight_is_called_so(session):
    data = session.dataset
    rates = {name: 1.0 + (name % 2) for name in data.grouping.names}
    features = np.concatenate([part.features.numpy() for part in data.parts.values()])
    labels = np.concatenate([part.labels.numpy() for part in data.parts.values()])
    owners = np.concatenate([part.groups for part in data.parts.values()])
    whose = pd.Series([data.grouping.names[n] for n in owners], name="person")
    rated = uk.from_arrays(features, labels, groups=whose, propensity=rates)
    asked = uk.Session(rated, model="logistic", num_shards=3, epochs=1)
    panel = asked.panel("revocation")
    panel.mode.value = "by person"
    mean = percent(asked.group_costs().mean_share)
    assert f"costs {mean} of training from scratch on average by propensity, and" in text(
        panel.selector.cost
    )
    plain = session.panel("revocation")
    plain.mode.value = "by person"
    assert "on average, and" in text(plain.selector.cost)


def test_training_counts_persons_that_are_left(session):
    panel = TrainingPanel(session)
    count = len(session.group_costs().names)
    assert f"They belong to {count} persons" in text(panel.status)


def test_without_groups_no_panel_mentions_them(session):
    plain = uk.Session(session.dataset.without_groups(), hidden=(5,), epochs=2, num_shards=3)
    plain.train()
    plain.revoke(count=3)
    plain.unlearn(0)
    plain.revoke(count=2, deadline=timedelta(days=2))
    board = plain.dashboard()
    board["workload"].stages.open = True
    for mode in board["revocation"].mode.options:
        board["revocation"].mode.value = mode
    shown = []
    for widget in ipywidgets.widget._instances.values():
        shown.append(str(getattr(widget, "html", "")))
        shown.append(str(getattr(widget, "description", "")))
        shown.append(str(getattr(widget, "options", "")))
    shown = " ".join(shown).replace('role="group"', "")
    assert board["revocation"].by_group.layout.display == "none"
    assert len(shown) > 2000 and "group" not in shown and "person" not in shown
    hidden = [s.all for s in board["revocation"].selectors.values() if hasattr(s, "all")]
    assert len(hidden) == 3 and all(one.layout.display == "none" for one in hidden)
