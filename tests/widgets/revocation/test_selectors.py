"""The revocation panel's ways to choose, without a browser."""

import ast

import ipywidgets
import numpy as np
import pandas as pd
import pytest

import unlearnkit as uk
from cases import CASES
from unlearnkit.widgets import PANELS
from unlearnkit.widgets.revocation import grid_and_map, selectors
from unlearnkit.widgets.revocation import panel as revocation_panel
from worker import content


@pytest.fixture(autouse=True)
def close_widgets():
    """Close what a test opened: ipywidgets keeps every open widget alive, to the very exit."""
    yield
    ipywidgets.Widget.close_all()


@pytest.fixture(scope="module")
def trained():
    session = CASES["uneven"].session()
    session.train()
    return session


@pytest.fixture
def session(trained):
    return trained.fork()


@pytest.fixture
def panel(session):
    return PANELS["revocation"](session)


def call(code, session):
    """Run a panel's Python call on a session."""
    exec(compile(ast.parse(code), "panel", "exec"), {"session": session, "uk": uk})


def by_query(way):
    way.query.value = "label == 1 and slice > 1"


def from_a_list(way):
    way.text.value = "why,Person\nasked,13\nleft,40\n"
    way.column.value = "person"


def by_looking(way):
    way.picker.set_state({"picked": [25, 13]})


def on_a_map(way):
    view = way.plot.view
    count = view.selected.get("count", 0) + 1
    view.set_state({"selected": {"customdata": [40, 13, 40], "count": count}})


def hard_ones(way):
    way.by.value, way.label.value, way.number.value = "self_influence", "b", 3


@pytest.mark.parametrize("choose", [by_query, from_a_list, by_looking, on_a_map, hard_ones])
def test_every_way_revokes_what_its_python_call_says(session, panel, choose):
    fork = session.fork()
    panel.mode.value = choose.__name__.replace("_", " ")
    assert panel.error is None
    choose(panel.way)
    assert panel.error is None
    ids = panel.way.ids()
    call(panel.code, fork)
    panel.add.click()
    assert panel.error is None and f"{len(ids)} example" in panel.message
    assert len(ids) > 1
    assert session.pending.tolist() == fork.pending.tolist() == sorted(ids.tolist())
    assert f"The request: {len(ids)} examples to forget." in panel.pending.html
    choose(panel.way)
    panel.withdraw.click()
    assert panel.error is None and len(session.pending) == 0


def test_nothing_is_made_before_its_way_is_chosen(panel):
    assert [way.widget.children for way in panel.ways.values()] == [()] * 5
    panel.mode.value = "by looking"
    assert panel.way.widget.children and panel.way.widget.layout.display is None
    grid = panel.way
    panel.mode.value = "hard ones"
    assert grid.widget.layout.display == "none" and not panel.ways["on a map"].widget.children


@pytest.mark.parametrize(
    ("mode", "fields", "sentence"),
    [
        ("by query", {"query": "colour == 3"}, "name 'colour' is not defined in the table"),
        ("by query", {}, "the query is empty"),
        ("from a list", {"text": "7\nx"}, "1 entry is no id: 'x' (line 2)"),
        ("from a list", {"text": "id\n9999"}, "id 9999 is not in uneven"),
        ("by looking", {}, "no example is picked"),
        ("on a map", {}, "no example is chosen; draw a line"),
    ],
)
def test_a_wrong_choice_is_one_sentence_and_breaks_nothing(session, panel, mode, fields, sentence):
    panel.mode.value = mode
    for name, value in fields.items():
        getattr(panel.way, name).value = value
    panel.add.click()
    assert sentence in panel.message and "\n" not in panel.message and panel.error
    assert len(session.pending) == 0
    panel.mode.value, panel.ids.value = "by id", "7"
    panel.add.click()
    assert panel.message == "1 example revoked."


def test_an_untrained_session_can_be_looked_at_but_not_ranked():
    panel = PANELS["revocation"](CASES["uneven"].session())
    panel.mode.value = "by looking"
    assert panel.error is None and len(panel.way.picker.items) == 20
    panel.way.order.value = "loss"
    assert "no model yet; train first" in panel.message
    panel.mode.value = "hard ones"
    assert "not trained yet" in panel.way.listed.html
    panel.mode.value = "on a map"
    assert [label for label, _ in panel.way.source.options] == ["the inputs"]


def test_the_grid_turns_pages_keeps_picks_and_marks_the_request(session, panel):
    session.revoke([7])
    panel.mode.value = "by looking"
    grid = panel.way
    first = [item["id"] for item in grid.picker.items]
    assert first == session.plan.partition.ids[: grid_and_map.ROWS].tolist()
    assert [item["waiting"] for item in grid.picker.items][:2] == [True, False]
    assert grid.picker.heads[:4] == ["id", "class", "shard", "slice"]
    assert grid.back.disabled and "1 to 20 of 34" in grid.place.html
    grid.whole.click()
    grid.on.click()
    assert grid.on.disabled and "21 to 34 of 34" in grid.place.html
    assert sorted(grid.picker.picked) == first
    grid.none.click()
    assert grid.picker.picked == []
    grid.order.value = "loss"
    assert [item["id"] for item in grid.picker.items] == uk.hardest(session, 20).tolist()
    grid.label.value = "c"
    assert {item["cells"][1] for item in grid.picker.items} == {"c"}


def test_forgotten_examples_leave_grid_map_and_picks(session, panel):
    panel.mode.value = "on a map"
    panel.mode.value = "by looking"
    panel.way.picker.set_state({"picked": [7, 13]})
    session.revoke([7])
    session.unlearn(1.0)
    panel.update()
    assert 7 not in [item["id"] for item in panel.way.picker.items]
    assert panel.way.picker.picked == [13]
    panel.mode.value = "on a map"
    assert 7 not in panel.way._found().ids


def test_what_was_computed_is_kept_until_the_models_change(session, panel, monkeypatch):
    asked = []
    for name in ("score_table", "example_map"):
        for module in (selectors, grid_and_map):
            if hasattr(module, name):
                whole = getattr(module, name)
                monkeypatch.setattr(
                    module, name, lambda *a, _f=whole, _n=name: asked.append(_n) or _f(*a)
                )
    panel.mode.value = "hard ones"
    panel.way.number.value = 3
    panel.add.click()
    panel.update()
    assert asked == ["score_table"]
    panel.mode.value = "on a map"
    panel.update()
    panel.withdraw_all.click()
    assert asked == ["score_table", "example_map"]
    session.revoke([7])
    session.unlearn(1.0)
    panel.changed()
    assert asked == ["score_table", "example_map", "example_map"]


def test_images_are_drawn(session):
    panel = PANELS["revocation"](CASES["cnn-batchnorm"].session())
    panel.mode.value = "by looking"
    items = panel.way.picker.items
    assert items[0]["source"].startswith("data:image/png;base64,") and not panel.way.picker.heads
    assert items[1]["words"].startswith("example 10, class ")


def test_the_map_says_what_it_draws_and_rings_the_request(session, panel, monkeypatch):
    panel.mode.value = "on a map"
    assert "All training examples are drawn" in panel.way.words.html
    view = panel.way.plot.view
    names = [trace["name"] for trace in view.spec["data"]]
    assert names == ["a", "b", "c"] and view.spec["layout"]["dragmode"] == "lasso"
    panel.ids.value, panel.mode.value = "7, 13", "by id"
    panel.add.click()
    panel.mode.value = "on a map"
    assert view.spec["data"][-1]["customdata"] == [7, 13]
    panel.way.source.value = 1
    assert "shard 1&#x27;s model" in panel.way.plot.caption.html
    drawn = panel.way.plot.export._frame()
    assert sorted(drawn["id"]) == session.plan.partition.ids.tolist()

    whole = uk.example_map
    monkeypatch.setattr(grid_and_map, "example_map", lambda *given: whole(*given, most=20))
    panel.way.source.value = -1
    said = panel.way.words.html
    assert "of 34 training examples are drawn: a sample in which each was equally likely" in said
    assert {7, 13} <= set(panel.way._found().ids.tolist())


def test_a_table_shows_its_columns_by_name():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(18, 90, 60), "left": rng.integers(0, 2, 60)})
    session = uk.Session((frame, "left"), model="logistic", num_shards=2, num_slices=1, epochs=1)
    panel = PANELS["revocation"](session)
    panel.mode.value = "by looking"
    assert panel.way.picker.heads == ["id", "class", "shard", "slice", "age"]
    first = panel.way.picker.items[0]
    assert float(first["cells"][-1]) == frame["age"][first["id"]]
    panel.mode.value = "by query"
    panel.way.query.value = "age < 40"
    assert panel.error is None
    assert f"{(session.revoke(query='age < 40').ids >= 0).sum()} training examples found" in (
        panel.way.found.html
    )


def test_looking_changes_no_weights(session, panel):
    before = {key: content(session.store.get(key)) for key in session.store.keys}
    for name in panel.ways:
        panel.mode.value = name
    hard_ones(panel.way)
    assert {key: content(session.store.get(key)) for key in session.store.keys} == before


def test_every_way_can_be_gone_to_from_every_other(session):
    for first in revocation_panel.WAYS:
        panel = PANELS["revocation"](session)
        for name in ("by class", "at random", first.name, "by id", "at random"):
            panel.mode.value = name
            assert panel.error is None and panel.code
