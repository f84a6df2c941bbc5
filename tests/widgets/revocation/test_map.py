"""The map of the examples, without a browser."""

import unlearnkit as uk
from unlearnkit.selection.example_map import example_map
from unlearnkit.widgets import PANELS
from unlearnkit.widgets.revocation import map


def test_the_map_says_what_it_draws_and_rings_the_request(session, monkeypatch):
    panel = PANELS["revocation"](session)
    panel.mode.value = "on a map"
    assert "All training examples are drawn" in panel.selector.summary.html
    view = panel.selector.plot.view
    names = [trace["name"] for trace in view.spec["data"]]
    assert names == ["a", "b", "c"] and view.spec["layout"]["dragmode"] == "lasso"
    panel.ids.value, panel.mode.value = "7, 13", "by id"
    panel.add.click()
    panel.mode.value = "on a map"
    assert view.spec["data"][-1]["customdata"] == [7, 13]
    panel.selector.source.value = 1
    assert "shard 1&#x27;s model" in panel.selector.plot.caption.html
    drawn = panel.selector.plot.export._frame()
    assert sorted(drawn["id"]) == session.plan.partition.ids.tolist()

    whole = example_map
    monkeypatch.setattr(map, "example_map", lambda *given: whole(*given, most=20))
    panel.selector.source.value = -1
    said = panel.selector.summary.html
    assert "of 34 training examples are drawn: a uniform sample" in said
    assert {7, 13} <= set(panel.selector._found().ids.tolist())


def test_images_are_shown_where_one_points_at_them():
    images = uk.Session("digits", model="logistic", num_shards=2, num_slices=1, epochs=1)
    panel = PANELS["revocation"](images)
    panel.mode.value = "on a map"
    view = panel.selector.plot.view
    assert view.pictured
    seven, eight = (panel.selector._picture_of(number) for number in (7, 8))
    assert seven.startswith("data:image/png;base64,") and seven != eight
    assert panel.selector._picture_of(1797) == ""
