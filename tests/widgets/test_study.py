"""The study viewer: fields choose rows, a click rings the same rows in every plot."""

import pandas as pd
import pytest

import unlearnkit as uk
from panels import text
from unlearnkit.studies.log import read_study
from unlearnkit.widgets import StudyViewer

SETTINGS = {"models": ("logistic",), "num_shards": (3, 5), "num_slices": (2,), "epochs": 2}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "study.jsonl"
    uk.study("digits", **SETTINGS, revoked=(2, 9, "class"), path=path)
    return path


@pytest.fixture
def viewer(path):
    return uk.explore(path)


def rings(viewer, name):
    data = viewer.plots[name].view.spec["data"]
    drawn = [trace for trace in data if trace.get("marker", {}).get("symbol") == "circle-open"]
    return [(x, y) for trace in drawn for x, y in zip(trace["x"], trace["y"], strict=True)]


def click(viewer, name, **event):
    viewer.plots[name].view.set_trait("clicked", {"count": 1, **event})


def test_the_file_and_the_frame_show_the_same(path, viewer):
    frame = read_study(path)
    assert len(frame) == 18 and isinstance(viewer, StudyViewer)
    other = uk.explore(frame)
    for name, plot in viewer.plots.items():
        assert plot.view.spec == other.plots[name].view.spec != {}
    assert viewer.code == f"uk.explore({str(path)!r})"
    # What differs; the default rate follows the size of a shard.
    assert list(viewer.fields) == ["num_shards", "learning_rate", "kind", "policy"]


def test_the_amplification_is_told_in_words_if_it_was_measured(path, viewer):
    assert text(viewer.chaos) == ""
    frame = read_study(path)
    frame["amplification"] = frame.num_shards.map({3: 34.2, 5: 4.96})
    other = uk.explore(frame)
    assert "34  chaotic" in text(other.chaos) and "5  not chaotic" in text(other.chaos)
    other.fields["num_shards"].value = 5
    assert "34" not in text(other.chaos)


def test_a_click_rings_the_row_everywhere_and_lists_its_request(viewer):
    trace = next(
        t for t in viewer.plots["study_frontier"].view.spec["data"] if t["name"] == "approximate"
    )
    (label,) = trace["customdata"][0]
    row = viewer.frame.loc[label]
    click(viewer, "study_frontier", customdata=[label])
    assert viewer.chosen == [label]
    assert rings(viewer, "study_frontier") == [(row.speed, row.gap_removed)]
    uniform = row.kind == "uniform"
    shares = [(row.expected_share, row.workload_share)]
    assert rings(viewer, "study_workload") == shares * uniform
    assert rings(viewer, "study_speed") == [(row.revoked, row.speed)] * uniform
    assert rings(viewer, "study_gap") == [(row.revoked, row.gap_removed)] * uniform
    said = text(viewer.rows)
    assert said.count(f"{row.revoked} {row.kind}") == 3  # exact, hybrid, approximate
    assert "\N{BLACK RIGHT-POINTING TRIANGLE} approximate" in said
    viewer.clear.click()
    assert viewer.chosen == [] and viewer.rows.html == "" and not rings(viewer, "study_frontier")


def test_a_point_of_a_line_and_a_cell_stand_for_all_their_rows(viewer):
    line = next(
        t for t in viewer.plots["study_speed"].view.spec["data"] if t["name"] == "approximate"
    )
    click(viewer, "study_speed", customdata=line["customdata"][1])
    picked = viewer.frame.loc[viewer.chosen]
    assert len(picked) == 2  # shards
    assert set(picked["revoked"]) == {9} and set(picked["policy"]) == {"approximate"}
    viewer.policy.value = "approximate"
    click(viewer, "study_map", x="2", y="logistic, 5 x 2")
    (row,) = viewer.frame.loc[viewer.chosen].itertuples()
    assert (row.policy, row.revoked, row.num_shards) == ("approximate", 2, 5)
    (shape,) = viewer.plots["study_map"].view.spec["layout"]["shapes"]
    assert (shape["x0"], shape["y0"]) == (-0.5, 0.5)  # first column, second row


def test_fields_choose_rows_as_the_python_call_does(viewer, path):
    viewer.fields["num_shards"].value = 5
    viewer.fields["policy"].value = "hybrid"
    imports, call = viewer.code.rsplit("\n", 1)
    names = {"uk": uk}
    exec(imports, names)
    shown = eval(call, names).frame
    pd.testing.assert_frame_equal(shown, viewer.shown.reset_index(drop=True))
    assert len(shown) == 3 and "3 rows of 18" in text(viewer.count)
    assert viewer.plots["study_speed"].export.csv().count("\n") == 4
    viewer.fields["kind"].value = "class"
    assert viewer.plots["study_map"].widget.layout.display == "none" and viewer.error is None
    viewer.fields["policy"].value = "exact"
    viewer.fields["kind"].value = "all"
    assert viewer.error is None


def test_what_is_no_study_is_one_sentence(tmp_path):
    with pytest.raises(TypeError, match=r"the study is a list; give a DataFrame from uk.study, or"):
        uk.explore([1, 2])
    with pytest.raises(ValueError, match="lacks the columns data, model, num_shards"):
        uk.explore(pd.DataFrame({"speed": [1.0]}))
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none.jsonl"):
        uk.explore(tmp_path / "none.jsonl")
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{}\n")
    with pytest.raises(ValueError, match="has a line that is not a row of a study"):
        uk.explore(broken)
