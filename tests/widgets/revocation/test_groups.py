"""The selector of persons: found, shown, priced, revoked and withdrawn, without a browser."""

import numpy as np
import pandas as pd
import pytest

import unlearnkit as uk
from panels import call, text
from unlearnkit.figures.drawing import percent
from unlearnkit.widgets import PANELS
from unlearnkit.widgets.revocation.groups import MOST_FOUND

NAMES = ["Ann", "Anna", "Joanna", "bob", "17", 17, *(f"person {n}" for n in range(54))]


def data_of(names=NAMES, rows=5, column="person"):
    """Return blobs of which each name has the same number of rows."""
    rng = np.random.default_rng(0)
    owners = rng.permutation(np.repeat(np.arange(len(names)), rows))
    kind = rng.integers(0, 3, len(owners))
    frame = pd.DataFrame({f"x{i}": rng.normal(size=len(owners)) + (kind == i) for i in range(4)})
    frame["kind"], frame[column] = kind, pd.Series([names[n] for n in owners], dtype=object)
    return uk.from_frame(frame, "kind", groups=column)


@pytest.fixture(scope="module")
def trained():
    session = uk.Session(data_of(), hidden=(5,), epochs=3, num_shards=3, num_slices=3)
    session.train()
    return session


@pytest.fixture
def panel(session):
    panel = PANELS["revocation"](session)
    panel.mode.value = "by person"
    return panel


def listed(panel):
    return [item["cells"][0] for item in panel.selector.picker.items]


def pick(panel, *names):
    numbers = panel.session.dataset.grouping.numbers_of(names).tolist()
    panel.selector.picker.set_state({"picked": numbers})


def owner_in(session, part, at=0):
    return session.dataset.grouping.names[np.unique(session.dataset.parts[part].groups)[at]]


def test_a_search_finds_whole_names_first_whatever_their_case(panel):
    panel.selector.search.value = "ANN"
    assert listed(panel) == ["Ann", "Anna", "Joanna"]
    assert "3 persons found." in text(panel.selector.summary)
    panel.selector.search.value = "person"
    assert len(listed(panel)) == MOST_FOUND
    assert f"54 persons found; the first {MOST_FOUND} are listed." in text(panel.selector.summary)
    panel.selector.search.value = "17"
    assert set(listed(panel)[:2]) == {"'17'", "17"}  # a text and a number
    panel.selector.search.value = "nobody"
    assert listed(panel) == [] and "0 persons found." in text(panel.selector.summary)
    assert panel.error is None


def test_without_a_search_the_most_expensive_are_listed_with_what_they_cost(session, panel):
    costs = session.group_costs().to_frame()
    shares = costs["share"].to_numpy()
    assert listed(panel)[0] in costs["group"][shares == shares[0]].astype(str).tolist()
    by_name = costs.set_index("group")
    for item in panel.selector.picker.items:
        name, rows, shards, visits, _, state = item["cells"]
        assert (int(rows), int(shards), state) == (5, 1, "")
        assert int(visits.replace(",", "")) == by_name.loc[name, "visits"]
        assert item["label"].startswith(f"person {name}, 5 examples, costs ")


@pytest.mark.parametrize("part", ["train", "probe", "test"])
def test_a_click_revokes_the_whole_person_as_the_python_call_says(session, panel, part):
    fork, name = session.fork(), owner_in(session, part)
    pick(panel, name)
    assert panel.code == f"session.revoke(group={name!r})"
    ids = session.dataset.ids_of_groups([name])
    assert all(f"<td>{i}</td>" in panel.selector.rows.html for i in ids.tolist())
    named = {"train": "training"}.get(part, part)
    assert f"5 examples (5 in the {named} part)" in text(panel.selector.cost)
    panel.selector.search.value = name
    state = panel.selector.picker.items[0]["cells"][5]
    assert state == ("" if part == "train" else "never trained on")
    call(panel.code, fork)
    panel.add.click()
    assert panel.error is None and panel.message == "5 examples of 1 person revoked."
    assert session.pending.tolist() == fork.pending.tolist() == ids.tolist()
    said = text(panel.pending)
    assert "The request: 5 examples of 1 person to forget. By class" in said
    assert f"Person: {name}." in said
    assert panel.selector.picker.picked == []
    pick(panel, name)
    panel.withdraw.click()
    assert panel.error is None and panel.message == "5 examples of 1 person withdrawn."
    assert len(session.pending) == 0


def test_the_stated_cost_is_that_of_the_workload(session, panel):
    one, other = owner_in(session, "train"), owner_in(session, "train", 1)
    for names in ([one], [one, other]):
        pick(panel, *names)
        said = text(panel.selector.cost)
        panel.add.click()
        assert session.pending.tolist() == session.dataset.ids_of_groups(names).tolist()
        workload = session.workload()
        assert f"costs {workload.visits:,} visits of exact retraining" in said
        session.withdraw()
    assert "Forgetting all of them together" in said
    pick(panel)
    share = percent(session.group_costs().share_of(10))
    assert f"ten together {share}." in text(panel.selector.cost)


@pytest.mark.parametrize(("amount", "number"), [("a number", 3), ("a share (%)", 10)])
def test_whole_persons_are_drawn_at_random(session, panel, amount, number):
    fork = session.fork()
    panel.mode.value = "at random"
    assert panel.by_group.layout.display is None
    panel.amount.value, panel.number.value, panel.by_group.value = amount, number, True
    assert "by_group=True" in panel.code
    call(panel.code, fork)
    panel.add.click()
    assert panel.error is None and len(session.pending) == 5 * len(
        session.dataset.groups_of(session.pending)
    )
    assert len(session.pending) and session.pending.tolist() == fork.pending.tolist()
    panel.mode.value = "by class"
    assert panel.by_group.layout.display == "none" and "by_group" not in panel.code


def test_a_name_typed_in_full_need_not_be_picked(session, panel):
    panel.selector.search.value = "ann"
    assert panel.code == "session.revoke(group='Ann')"
    panel.add.click()
    assert session.pending.tolist() == session.dataset.ids_of_groups(["Ann"]).tolist()
    assert panel.selector.search.value == ""


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("", "no person is picked; type a name, or click one of those listed"),
        ("person", "'person' names no single person; pick one of those listed"),
        ("nobody", "'nobody' names no single person"),
    ],
)
def test_nobody_chosen_is_one_sentence(session, panel, typed, sentence):
    panel.selector.search.value = typed
    panel.add.click()
    assert sentence in panel.message and len(session.pending) == 0


def test_states_follow_the_session(session, panel):
    name = owner_in(session, "train")
    ids = session.dataset.ids_of_groups([name])
    panel.selector.search.value = name
    session.revoke(ids[:2])
    panel.update()
    item = panel.selector.picker.items[0]
    assert item["cells"][5] == "2 of 5 in the request" and item["waiting"]
    said = text(panel.pending)
    assert "Only a part of the examples of 1 person is in the request" in said
    session.revoke(group=name)
    panel.update()
    assert panel.selector.picker.items[0]["cells"][5] == "in the request"
    session.unlearn(1)
    panel.update()
    cells = panel.selector.picker.items[0]["cells"]
    assert cells[1] == "0" and cells[5] == "forgotten"
    assert "All of their examples are forgotten already." in text(panel.selector.cost)
    assert "Forgotten so far: 5 examples of 1 person." in text(panel.pending)
    panel.add.click()
    assert panel.error is None and len(session.pending) == 0


def test_the_grid_offers_whole_persons_and_keeps_them_together(session, panel):
    panel.mode.value = "from a table"
    grid = panel.selector
    assert grid.picker.headers[4] == "person"
    grid.order.value = "group"
    owners = [item["group"] for item in grid.picker.items]
    assert owners == sorted(owners) and owners.count(owners[0]) == 5
    first = grid.picker.items[0]
    assert f", person {first['cells'][4]}" in first["label"]
    grid.picker.set_state({"picked": [first["id"]]})
    assert grid.picker.kin == [first["group"]]
    assert panel.code == f"session.revoke([{first['id']}])"
    assert "4 other examples of theirs are not selected." in text(grid.chosen)
    grid.all.click()
    name = session.dataset.grouping.names[first["group"]]
    assert grid.picker.picked == session.dataset.ids_of_groups([name]).tolist()
    assert panel.code == f"session.revoke(group={name!r})"
    panel.add.click()
    assert session.pending.tolist() == session.dataset.ids_of_groups([name]).tolist()


def test_the_map_names_the_person_and_rings_their_examples(session, panel):
    panel.mode.value = "on a map"
    view, data = panel.selector.plot.view, session.dataset
    name = owner_in(session, "train")
    ids = data.ids_of_groups([name]).tolist()
    trace = next(one for one in view.spec["data"] if ids[0] in one["customdata"])
    owner = trace["text"][trace["customdata"].index(ids[0])]
    assert owner == f", person {name}" and "%{text}" in trace["hovertemplate"]
    view.set_state({"selected": {"customdata": [ids[0]], "count": 1}})
    assert view.spec["data"][-1]["customdata"] == ids
    assert f"From 1 person: {name}. 4 other examples of theirs" in text(panel.selector.chosen)
    panel.selector.all.click()
    assert panel.code == f"session.revoke(group={name!r})"
    panel.add.click()
    assert session.pending.tolist() == ids


def test_a_query_for_a_person_lists_the_rows_of_every_part(session, panel):
    name = owner_in(session, "test")
    panel.mode.value = "by query"
    panel.selector.query.value = f"person == {name!r}"
    assert panel.error is None and "5 examples of 1 person found." in text(panel.selector.found)


def test_a_column_that_is_no_noun_makes_groups():
    session = uk.Session(data_of(column="user_id"), model="logistic", epochs=1, num_shards=2)
    panel = PANELS["revocation"](session)
    panel.mode.value = "by group"
    assert panel.selector.picker.headers[0] == "group"
    pick(panel, "Ann")
    panel.add.click()
    assert panel.message == "5 examples of 1 group revoked."


def test_names_that_need_an_import_are_called_by_their_ids():
    days = [*pd.date_range("2024-01-01", periods=40)]
    session = uk.Session(data_of(days), model="logistic", epochs=1, num_shards=2)
    fork, panel = session.fork(), PANELS["revocation"](session)
    panel.mode.value = "by person"
    panel.selector.search.value = "2024-01-07"
    panel.selector.picker.set_state({"picked": [panel.selector.picker.items[0]["id"]]})
    assert panel.code.startswith("session.revoke([")
    call(panel.code, fork)
    panel.add.click()
    assert panel.error is None and len(session.pending) == 5
    assert session.pending.tolist() == fork.pending.tolist()


def test_a_name_is_no_markup():
    names = ["<b>Ann</b>", *(f"person {n}" for n in range(39))]
    session = uk.Session(data_of(names), model="logistic", epochs=1, num_shards=2)
    panel = PANELS["revocation"](session)
    for mode in panel.mode.options:
        panel.mode.value = mode
    panel.mode.value = "by person"
    pick(panel, "<b>Ann</b>")
    panel.add.click()
    panel.mode.value = "on a map"
    shown = panel.selectors["by person"].rows.html + panel.pending.html
    assert "<b>Ann" not in shown + str(panel.selector.plot.view.spec)
    assert "&lt;b&gt;Ann" in panel.pending.html


def test_of_a_hundred_thousand_persons_a_page_gets_the_matches_listed_only():
    names = [f"person {n}" for n in range(100_000)]
    session = uk.Session(data_of(names, rows=1), model="logistic", epochs=1)
    panel = PANELS["revocation"](session)
    panel.mode.value = "by person"
    panel.selector.search.value = "person 99999"
    assert listed(panel) == ["person 99999"]
    panel.selector.search.value = "person 99"
    assert "1,111 persons found; the first 12 are listed." in text(panel.selector.summary)
    assert listed(panel)[0] == "person 99" and len(listed(panel)) == MOST_FOUND
