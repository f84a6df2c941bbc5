"""Sections of the comparison panel: nothing before they are opened, then what they claim."""

import ast
import gc
import io
import re
import weakref

import pandas as pd
import pytest

import unlearnkit as uk
from panels import compare, opened, section, session_of
from unlearnkit.widgets import PANELS
from unlearnkit.widgets.comparison.membership import MembershipView
from unlearnkit.widgets.comparison.networks import (
    EmbeddingView,
    ParameterView,
    WeightView,
)
from unlearnkit.widgets.comparison.overview import DistanceView, ScoresView
from unlearnkit.widgets.comparison.predictions import ClassView, PredictionView


def text(prose):
    return re.sub(r"<[^>]+>", " ", prose.html)


@pytest.mark.parametrize("name", PANELS)
def test_a_session_gives_every_panel_by_name(session, name):
    panel = session.panel(name)
    assert type(panel) is PANELS[name] and panel.code and panel.session is session


def test_an_unknown_panel_is_one_sentence(session):
    with pytest.raises(KeyError, match="no panel is named 'map'; choose from training, "):
        session.panel("map")


def test_nothing_is_made_before_the_comparison_and_nothing_computed_before_a_click(session):
    panel = session.panel("comparison")
    assert panel.sections == [] and panel._results.layout.display == "none"
    compare(panel)
    assert len(panel.sections) == 11  # the data are no images
    assert panel.tabs.names == ["Verdict", *(found.title for found in panel.sections)]
    for found in panel.sections:
        assert found.body.children == () and found._frames == {} and not found.open
        assert found.title and found.explanation and found.widget.layout.display == "none"
    first = panel.sections[0]
    first.open = True
    assert first.body.layout.display is None and first._frames
    first.open = False
    assert first.body.layout.display == "none"


def test_one_tab_is_shown_at_a_time(panel):
    def shown():
        widgets = [panel.verdict, *(found.widget for found in panel.sections)]
        return [number for number, one in enumerate(widgets) if one.layout.display is None]

    assert panel.tabs.chosen == 0 and shown() == [0]
    panel.tabs.chosen = 2
    assert shown() == [2] and [s.open for s in panel.sections].count(True) == 1
    assert panel.sections[1].open and panel.sections[1]._frames
    panel.sections[3].open = True  # by code: its tab follows
    assert panel.tabs.chosen == 4 and shown() == [4] and not panel.sections[1].open
    panel.tabs.chosen = 0
    assert shown() == [0] and not any(found.open for found in panel.sections)


def test_the_verdict_stays_when_the_original_is_discarded(panel):
    panel.tabs.chosen = 3
    said = panel.verdict.html
    panel.discard.button.click()
    panel.discard.yes.click()
    assert panel.tabs.names == ["Verdict"] and panel.tabs.chosen == 0
    assert panel.verdict.layout.display is None and panel.verdict.html == said
    assert panel._results.layout.display is None


@pytest.mark.parametrize(("case", "share"), [("uneven", 0.3), ("cnn-batchnorm", 0.0)])
def test_every_section_opens_explains_itself_saves_and_runs_as_code(case, share):
    session = session_of(case, share)
    panel = compare(session.panel("comparison"))
    assert (WeightView in map(type, panel.sections)) == (case == "cnn-batchnorm")
    for found in panel.sections:
        found.open = True
        assert panel.error is None, panel.traceback
        meaning = found._head.meaning
        assert re.search(r"\b(19|20)\d\d\b|ours", meaning), "names no source"
        for plot in found._plots:
            assert plot.view.spec["data"] and plot.widget.layout.display is None
            assert plot.view.label
            # The words for those who cannot see the plot hold numbers beyond the title's.
            assert plot.view.description.startswith(plot.view.label.rstrip("."))
            assert re.search(r"\d", plot.view.description[len(plot.view.label) :])
            # One camera is enough: ours also gives the title and the legend.
            assert "toImage" in plot.view.spec["layout"]["modebar"]["remove"]
            saved = pd.read_csv(io.StringIO(plot.export.csv()))
            assert len(saved) and list(saved.columns)
        assert found._code_line.code == found.code
        tree = ast.parse(found.code)
        exec(compile(tree, found.title, "exec"), {"session": session, "uk": uk})


def test_choices_are_drawn_and_written_as_code(panel, session):
    twins = opened(panel, EmbeddingView)
    twins.model.value = "original"
    assert "original and retrained" in twins.twins.view.label
    assert "model='original'" in twins._code_line.code
    classes = opened(panel, ClassView)
    classes.part.value = "forget"
    saved = pd.read_csv(io.StringIO(classes.accuracy.export.csv()))
    assert saved["examples"].sum() == 3
    predictions = opened(panel, PredictionView)
    predictions.part.value = "retain"
    rows = predictions.changed.html.count("<tr>") - 1
    assert rows == 10 and "Most changed retain examples" in text(predictions.changed)


def test_after_an_exact_unlearning_every_section_says_zero():
    panel = compare(session_of("uneven", 1.0).panel("comparison"))
    assert "Exact: all" in text(opened(panel, ParameterView).summary)
    assert "bit for bit" in opened(panel, EmbeddingView).twins.view.label
    assert "equals that of the retrained model, bit for bit" in text(
        opened(panel, PredictionView).changed
    )
    excesses = re.findall(
        r"<td>([^<]*)</td><td>[^<]*</td></tr>", opened(panel, MembershipView).risks.html
    )
    assert excesses == ["0"] * 3


def test_discarding_the_original_leaves_nothing_of_it(panel, session):
    for found in panel.sections:
        found.open = True
        assert found.open
    gone = weakref.ref(panel.comparison), weakref.ref(session.original)
    panel.discard.button.click()
    panel.discard.yes.click()
    gc.collect()
    assert [reference() for reference in gone] == [None, None]
    for found in panel.sections:
        assert not found.open and found._frames == {}
        assert all(not plot.view.spec["data"] for plot in found._plots)
        assert all(prose.html == "" for prose in found._texts)


def test_an_open_section_follows_the_next_comparison(panel, session):
    found = opened(panel, ParameterView)
    before = found.scatter.export.csv()
    partition = session.plan.partition
    session.revoke(partition.ids[partition.shard == 0][:1].tolist())
    session.unlearn(0.0)
    panel.update()
    assert not found.open and found._frames == {} and panel.comparison is None
    compare(panel)
    assert found._frames == {}
    found.open = True
    shards = {value for _, value in found.shard.options}
    assert shards == set(panel.comparison.shards) and 0 in shards
    assert found.scatter.export.csv() != before
    compare(panel)  # while it is open
    assert found.open and found._frames


def test_the_scores_and_distances_are_saved_too(panel):
    scores, distances = opened(panel, ScoresView), section(panel, DistanceView)
    frame = pd.read_csv(io.StringIO(scores.accuracy.export.csv()), index_col="model")
    assert frame.to_numpy() == pytest.approx(panel.comparison.accuracies.to_numpy())
    summary = pd.read_csv(io.StringIO(scores.outputs.export.csv()), index_col="model")
    kl = panel.comparison.output_kl["unlearned"]
    assert summary.loc["unlearned", "output_kl"] == pytest.approx(kl)
    distances.open = True
    layers = pd.read_csv(io.StringIO(distances.layers.export.csv()))
    assert layers["l2"].tolist() == pytest.approx(panel.comparison.layers["l2"].tolist())
