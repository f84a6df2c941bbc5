"""The revocation panel's selectors, without a browser."""

import ast

import pytest

import unlearnkit as uk
from cases import CASES
from unlearnkit.widgets import PANELS


def call(code, session):
    """Run a panel's Python call on a session."""
    exec(compile(ast.parse(code), "panel", "exec"), {"session": session, "uk": uk})


def by_query(selector):
    selector.query.value = "label == 1 and slice > 1"


def from_a_list(selector):
    selector.text.value = "why,Person\nasked,13\nleft,40\n"
    selector.column.value = "person"


def from_a_table(selector):
    selector.picker.set_state({"picked": [25, 13]})


def on_a_map(selector):
    view = selector.plot.view
    count = view.selected.get("count", 0) + 1
    view.set_state({"selected": {"customdata": [40, 13, 40], "count": count}})


def hardest_examples(selector):
    selector.by.value, selector.label.value, selector.number.value = "self_influence", "b", 3


@pytest.mark.parametrize(
    "choose", [by_query, from_a_list, from_a_table, on_a_map, hardest_examples]
)
def test_every_selector_revokes_what_its_python_call_says(session, panel, choose):
    fork = session.fork()
    panel.mode.value = choose.__name__.replace("_", " ")
    assert panel.error is None
    choose(panel.selector)
    assert panel.error is None
    ids = panel.selector.ids()
    call(panel.code, fork)
    panel.add.click()
    assert panel.error is None and f"{len(ids)} example" in panel.message
    assert len(ids) > 1
    assert session.pending.tolist() == fork.pending.tolist() == sorted(ids.tolist())
    assert f"The request: {len(ids)} examples to forget." in panel.pending.html
    choose(panel.selector)
    panel.withdraw.click()
    assert panel.error is None and len(session.pending) == 0


def test_nothing_is_made_before_its_selector_is_chosen(panel):
    assert [selector.widget.children for selector in panel.selectors.values()] == [()] * 6
    panel.mode.value = "from a table"
    assert panel.selector.widget.children and panel.selector.widget.layout.display is None
    grid = panel.selector
    panel.mode.value = "hardest examples"
    assert grid.widget.layout.display == "none" and not panel.selectors["on a map"].widget.children


@pytest.mark.parametrize(
    ("mode", "fields", "sentence"),
    [
        ("by query", {"query": "colour == 3"}, "name 'colour' is not defined in the table"),
        ("by query", {}, "the query is empty"),
        ("from a list", {"text": "7\nx"}, "1 entry is not an id: 'x' (line 2)"),
        ("from a list", {"text": "id\n9999"}, "id 9999 is not in uneven"),
        ("from a table", {}, "no example is picked"),
        ("on a map", {}, "no example is selected; draw a line"),
    ],
)
def test_a_wrong_choice_is_one_sentence_and_breaks_nothing(session, panel, mode, fields, sentence):
    panel.mode.value = mode
    for name, value in fields.items():
        getattr(panel.selector, name).value = value
    panel.add.click()
    assert sentence in panel.message and "\n" not in panel.message and panel.error
    assert len(session.pending) == 0
    panel.mode.value, panel.ids.value = "by id", "7"
    panel.add.click()
    assert panel.message == "1 example revoked."


def test_an_untrained_session_can_be_looked_at_but_not_ranked():
    panel = PANELS["revocation"](CASES["uneven"].session())
    panel.mode.value = "from a table"
    assert panel.error is None and len(panel.selector.picker.items) == 20
    panel.selector.order.value = "loss"
    assert "no model yet; train first" in panel.message
    panel.mode.value = "hardest examples"
    assert "not trained yet" in panel.selector.listed.html
    panel.mode.value = "on a map"
    assert [label for label, _ in panel.selector.source.options] == ["the inputs"]


def test_every_selector_can_be_opened_from_every_other(session):
    for first in PANELS["revocation"](session).selectors:
        panel = PANELS["revocation"](session)
        for name in ("by class", "at random", first, "by id", "at random"):
            panel.mode.value = name
            assert panel.error is None and panel.code
