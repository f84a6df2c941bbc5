"""The grid of examples, without a browser."""

import numpy as np
import pandas as pd

import unlearnkit as uk
from cases import CASES
from unlearnkit.widgets import PANELS
from unlearnkit.widgets.revocation import map, selectors
from unlearnkit.widgets.revocation.grid import ROWS
from worker import contents


def hardest_examples(selector):
    selector.by.value, selector.label.value, selector.number.value = "self_influence", "b", 3


def test_the_grid_turns_pages_keeps_picks_and_marks_the_request(session, panel):
    session.revoke([7])
    panel.mode.value = "from a table"
    grid = panel.selector
    first = [item["id"] for item in grid.picker.items]
    assert first == session.plan.partition.ids[:ROWS].tolist()
    assert [item["waiting"] for item in grid.picker.items][:2] == [True, False]
    assert grid.picker.headers[:4] == ["id", "class", "shard", "slice"]
    assert grid.back.disabled and "1 to 20 of 34" in grid.place.html
    grid.whole.click()
    grid.on.click()
    assert grid.on.disabled and "21 to 34 of 34" in grid.place.html
    assert sorted(grid.picker.picked) == first
    grid.none.click()
    assert grid.picker.picked == []
    grid.order.value = "loss"
    assert [item["id"] for item in grid.picker.items] == uk.hardest(session, 20, "loss").tolist()
    grid.label.value = "c"
    assert {item["cells"][1] for item in grid.picker.items} == {"c"}


def test_forgotten_examples_leave_grid_map_and_picks(session, panel):
    panel.mode.value = "on a map"
    panel.mode.value = "from a table"
    panel.selector.picker.set_state({"picked": [7, 13]})
    session.revoke([7])
    session.unlearn(1.0)
    panel.update()
    assert 7 not in [item["id"] for item in panel.selector.picker.items]
    assert panel.selector.picker.picked == [13]
    panel.mode.value = "on a map"
    assert 7 not in panel.selector._found().ids


def test_what_was_computed_is_kept_until_the_models_change(session, panel, monkeypatch):
    asked = []
    for name in ("score_table", "example_map"):
        for module in (selectors, map):
            if hasattr(module, name):
                whole = getattr(module, name)
                monkeypatch.setattr(
                    module, name, lambda *a, _f=whole, _n=name: asked.append(_n) or _f(*a)
                )
    panel.mode.value = "hardest examples"
    panel.selector.number.value = 3
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
    panel.mode.value = "from pictures"
    items = panel.selector.picker.items
    assert (
        items[0]["source"].startswith("data:image/png;base64,")
        and not panel.selector.picker.headers
    )
    assert items[1]["label"].startswith("example 10, class ")


def test_a_table_shows_its_columns_by_name():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(18, 90, 60), "left": rng.integers(0, 2, 60)})
    session = uk.Session((frame, "left"), model="logistic", num_shards=2, num_slices=1, epochs=1)
    panel = PANELS["revocation"](session)
    panel.mode.value = "from a table"
    assert panel.selector.picker.headers == ["id", "class", "shard", "slice", "age"]
    first = panel.selector.picker.items[0]
    assert float(first["cells"][-1]) == frame["age"][first["id"]]
    panel.mode.value = "by query"
    panel.selector.query.value = "age < 40"
    assert panel.error is None
    assert f"{(session.revoke(query='age < 40').ids >= 0).sum()} training examples found" in (
        panel.selector.found.html
    )


def test_looking_changes_no_weights(session, panel):
    before = contents(session.store)
    for name in panel.selectors:
        panel.mode.value = name
    panel.mode.value = "hardest examples"
    hardest_examples(panel.selector)
    assert contents(session.store) == before
