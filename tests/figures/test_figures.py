"""Figures say what the result says: amounts, order, colours, and an explicit zero."""

import html
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import unlearnkit as uk
from cases import CASES
from unlearnkit import TrainReport, figures
from unlearnkit.figures.decision import CELL_COLORS, OWED, STAYS, UNDECIDED
from unlearnkit.figures.drawing import BLUE, ORANGE, PLOTLY
from unlearnkit.unlearning.boundary.protocol import APPROXIMATE, EXACT
from worker import content


@pytest.fixture(scope="module")
def session():
    """A trained session with a request on two shards, one of which goes each way at 0.3."""
    session = CASES["uneven"].session()
    session.train()
    partition = session.plan.partition
    late = partition.ids[(partition.shard == 1) & (partition.slice_ == 3)]
    early = partition.ids[(partition.shard == 2) & (partition.slice_ == 1)]
    session.revoke([*late[:1], *early[:2]])
    return session


@pytest.fixture(scope="module")
def compared(session):
    fork = session.fork()
    fork.unlearn(0.3)
    return fork.compare()


def cells(figure):
    """The word in every cell of a workload map."""
    words = {}
    for trace in figure.data:
        for shard, row in zip(trace.y, trace.z, strict=True):
            for slice_, value in zip(trace.x, row, strict=True):
                if value is not None:
                    assert (shard, slice_) not in words
                    words[shard, slice_] = trace.name
    return words


def test_the_map_has_every_stage_once_with_its_status(session):
    workload = session.workload()
    words = cells(figures.workload_map(workload))
    assert len(words) == workload.stage_visits.size
    for shard, row in enumerate(workload.stage_status):
        for index, status in enumerate(row):
            expected = {"kept": STAYS, "retrain": UNDECIDED}[status]
            assert words[shard, index + 1] == expected


def test_a_decision_colours_what_would_be_retrained(session):
    workload, decision = session.workload(), session.preview(0.3)
    assert decision.exact and decision.approximate
    figure = figures.workload_map(workload, decision)
    colors = {trace.name: trace.colorscale[0][1] for trace in figure.data}
    kinds = {route.shard: route.kind for route in decision.routes}
    for (shard, slice_), word in cells(figure).items():
        if workload.stage_status[shard][slice_ - 1] == "retrain":
            assert colors[word] == {EXACT: BLUE, APPROXIMATE: ORANGE}[kinds[shard]]
        else:
            assert colors[word] == CELL_COLORS[STAYS]


def test_debt_elsewhere_is_shown_apart(session):
    fork = session.fork()
    fork.unlearn(0)
    assert set(cells(figures.workload_map(fork.workload())).values()) == {STAYS, OWED}


@pytest.mark.parametrize("max_share", [0.0, 0.3, 1.0])
def test_bars_are_the_routes_cheapest_first(session, max_share):
    workload, decision = session.workload(), session.preview(max_share)
    figure = figures.boundary_bars(workload, decision, max_share)
    *bars, running = figure.data
    heights = {
        int(x): (y, trace.marker.color)
        for trace in bars
        for x, y in zip(trace.x, trace.y, strict=True)
        if x is not None
    }
    order = [int(name) for name in figure.layout.xaxis.categoryarray]
    assert [heights[shard][0] for shard in order] == sorted(y for y, _ in heights.values())
    assert {s: color for s, (_, color) in heights.items()} == {
        route.shard: BLUE if route.kind == EXACT else ORANGE for route in decision.routes
    }
    assert running.y[-1] == pytest.approx(workload.share)
    line = figure.layout.shapes[0].y0
    top = figure.layout.yaxis.range[1]
    assert line == pytest.approx(min(max_share, top / 1.04))
    text = figure.layout.shapes[0].label.text
    assert text.startswith(f"threshold {max_share:.0%}")
    assert text.endswith("(above)") == (max_share > top)


def test_bars_have_no_debt_to_show_where_there_is_none(session):
    texts = [
        row[2]
        for trace in figures.boundary_bars(session.workload(), session.preview(), 0.25).data[:-1]
        for row in trace.customdata or ()
    ]
    assert texts and not any("owed" in text for text in texts)


def test_curves_join_where_the_slices_do(session):
    events = []
    spec = session.spec
    fresh = CASES["uneven"].session()
    report = fresh.train(on_progress=events.append)
    figure = figures.training_curves(events, spec)
    epochs = spec.stage_epochs()
    for trace in figure.data:
        assert list(trace.x) == list(range(1, sum(epochs) + 1))
    joins = np.cumsum(epochs)[:-1]
    assert [shape.x0 for shape in figure.layout.shapes] == list(joins)
    # A report knows the ends of the stages only; there the two agree.
    ends = figures.training_curves(report, spec)
    for few, many in zip(ends.data, figure.data, strict=True):
        assert list(few.x) == [*joins, sum(epochs)]
        assert list(few.y) == [many.y[x - 1] for x in few.x]
    assert len(figures.training_curves(TrainReport((), 0.0), spec).data) == 0


def test_exact_layers_stand_at_zero_and_others_do_not(compared):
    assert 0 < compared.constituents["bit identical"].sum() < len(compared.constituents)
    figure = figures.layer_distances(compared)
    axis = figure.layout.xaxis
    assert axis.ticktext[0] == "0, bit<br>for bit"
    zero = axis.tickvals[0]
    places = {trace.name: trace.x for trace in figure.data}
    assert set(places["unlearned, exact"]) == {zero}
    assert zero < min(places["unlearned, approximate"])
    original = compared.layers.query("model == 'original'")
    expected = np.where(original["L2"] == 0, zero, original["relative L2"])
    assert np.array(places["original"], float) == pytest.approx(expected, nan_ok=True)


def test_comparisons_draw_the_numbers_of_the_result(compared):
    accuracy = figures.comparison_accuracy(compared)
    for trace, model in zip(accuracy.data, ("original", "unlearned", "scratch"), strict=True):
        assert list(trace.x) == compared.accuracies.loc[model].tolist()
    kl = figures.output_divergence(compared).data[0]
    assert dict(zip(kl.y, kl.x, strict=True)) == {
        "doing nothing": compared.output_kl["original"],
        "unlearned": compared.output_kl["unlearned"],
    }
    nothing, unlearned = figures.membership_gaps(compared).data
    assert nothing.x[0] == compared.original_membership_gap.value
    low, high = compared.membership_gap.interval
    assert unlearned.x[0] + unlearned.error_x.array[0] == pytest.approx(high)
    assert unlearned.x[0] - unlearned.error_x.arrayminus[0] == pytest.approx(low)


def test_an_attack_without_a_value_draws_no_dot(compared):
    gap = replace(compared.membership_gap, value=float("nan"), interval=None)
    figure = figures.membership_gaps(replace(compared, membership_gap=gap))
    assert figure.data[1].x == (None,)
    json.dumps(figure.to_plotly_json(), allow_nan=False)


def test_the_curve_marks_where_the_threshold_is_and_its_ends():
    point = figures.CurvePoint
    points = [point(0.0, 1.0, 0, 9), point(0.2, 1.5, 1, 4), point(1.0, 3.0, 2, 0)]
    figure = figures.cost_curve(points, point(0.5, 1.5, 1, 4))
    named = [trace for trace in figure.data if trace.name]
    drawn = {(trace.name, trace.yaxis): (trace.x, trace.y) for trace in named}
    now = [(shape.yref, shape.xanchor, shape.yanchor) for shape in figure.layout.shapes]
    assert ("y", 0.5, 1.5) in now and ("y2", 0.5, 4) in now
    assert drawn["approximate only", "y"] == ((0.0,), (1.0,))
    assert drawn["exact only", "y"] == ((1.0,), (3.0,))
    assert figure.layout.title.text == "Whole request: 1.5 s predicted, 4 owed"
    below = [trace.y for trace in figure.data if trace.yaxis == "y2"]
    assert below == [(9, 4, 0), (9,), (0,)]


def test_the_curve_shows_errors_where_all_are_known():
    errors = (0.03, 0.01, 0.0)
    points = [figures.CurvePoint(s, 1.0, 0, 9, e) for s, e in zip((0, 0.2, 1), errors, strict=True)]
    figure = figures.cost_curve(points, points[1])
    assert next(trace.y for trace in figure.data if trace.yaxis == "y2") == errors
    assert "error at most 0.01 nats" in figure.layout.title.text


def test_drawing_leaves_the_session_alone(session, compared):
    def state():
        weights = {key: content(session.store.get(key)) for key in session.store.keys}
        return weights, torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()

    before = state()
    figures.workload_map(session.workload(), session.preview(0.3))
    figures.boundary_bars(session.workload(), session.preview(0.3), 0.3)
    for draw in (figures.comparison_accuracy, figures.layer_distances, figures.output_divergence):
        draw(compared)
    assert state() == before


def test_a_spec_is_the_figure_without_validation(session):
    workload = session.workload()
    spec = figures.workload_map.spec(workload)
    drawn = figures.workload_map(workload).to_plotly_json()
    assert drawn["data"] == spec["data"]


def test_a_figure_shows_itself_without_plotlys_server_and_as_a_table(session):
    figure = figures.boundary_bars(session.workload(), session.preview(0.3), 0.3)
    bundle = figure._repr_mimebundle_()
    assert bundle[PLOTLY]["config"]["plotlyServerURL"] == ""
    assert "sendChartToCloud" in bundle[PLOTLY]["config"]["modeBarButtonsToRemove"]
    assert len(json.dumps(bundle[PLOTLY])) < 10_000
    table = bundle["text/html"]
    assert "<script" not in table and "cdn" not in table
    for name in figure.layout.xaxis.categoryarray:
        assert f"<td>{name}</td>" in table
    assert callable(getattr(figure, "_ipython_display_", None)) is False


def test_a_long_table_is_cut_and_says_so():
    trace = {"type": "bar", "name": "<i>", "x": list(range(99)), "y": [0.5] * 99}
    figure = figures.Figure({"data": [trace]})
    table = figure._repr_mimebundle_()["text/html"]
    assert len(re.findall("<tr>", table)) == 41
    assert "and 59 more" in table and html.escape("<i>") in table


def test_a_study_is_drawn_with_every_policy_and_the_band_of_the_paper():
    settings = {"models": ("logistic",), "num_shards": (3,), "num_slices": (2,), "epochs": 2}
    frame = uk.study("digits", **settings, revoked=(2, 9), seeds=(0, 1))
    speed, gap = figures.study_speed(frame), figures.study_gap(frame)
    for figure, column in ((speed, "speed"), (gap, "gap_removed")):
        assert [trace.name for trace in figure.data] == ["exact", "hybrid", "approximate"]
        for trace in figure.data:
            assert list(trace.x) == [2, 9]
            rows = frame[frame.policy == trace.name]
            assert list(trace.y) == rows.groupby("revoked")[column].median().tolist()
    [band] = [shape for shape in speed.layout.shapes if shape.type == "rect"]
    assert (band.y0, band.y1) == (1.5, 8)
    frontier = figures.study_frontier(frame)
    *points, best = frontier.data
    assert sum(len(trace.x) for trace in points) == len(frame)
    # Nothing is right of and above a point of the line.
    for x, y in zip(best.x, best.y, strict=True):
        assert not ((frame["speed"] > x) & (frame["gap_removed"] > y)).any()


def test_a_study_shows_workloads_and_a_map_of_routes():
    settings = {"models": ("logistic",), "num_shards": (2, 3), "num_slices": (2,), "epochs": 3}
    frame = uk.study("digits", **settings, revoked=(1, 9, "class"))
    uniform = frame[(frame.kind == "uniform") & (frame.policy == "exact")]
    shares = [
        (x, y)
        for trace in figures.study_workload(frame).data
        for x, y in zip(trace.x, trace.y, strict=True)
    ]
    expected = list(zip(uniform.expected_share, uniform.workload_share, strict=True))
    assert sorted(shares) == sorted(expected)
    # One revocation, and two epochs a stage: (2R + 1)/(3RS), but for the example that is gone.
    one = uniform[(uniform.revoked == 1) & (uniform.num_shards == 2)].iloc[0]
    assert one.expected_share == pytest.approx(5 / 12, rel=0.01)
    [exact] = figures.study_map(frame, "exact").data
    assert list(exact.y) == ["logistic, 2 x 2", "logistic, 3 x 2"]
    assert list(exact.x) == ["1", "9"] and np.array(exact.text).tolist() == [["exact"] * 2] * 2
    [other] = figures.study_map(frame, "approximate").data
    assert (np.array(other.z) == 1).all() and all("x" in word for word in np.ravel(other.text))
    with pytest.raises(KeyError, match="policy 'adaptive'; known are exact, hybrid, approximate"):
        figures.study_map(frame)


def test_a_stream_shows_debt_and_both_costs():
    session = uk.Session("digits", model="logistic", num_shards=2, num_slices=2, epochs=2)
    session.train()
    frame = uk.stream(session, rounds=3, size=4, boundary=uk.FixedBoundary(0.0))
    exact, boundary, debt, retrained = figures.stream_debt(frame).data
    assert list(debt.y) == [4, 8, 12] and not len(retrained.x)
    assert list(exact.y) == pytest.approx(frame["exact_cpu_seconds"].cumsum().tolist())
    assert list(boundary.y) == pytest.approx(frame["cpu_seconds"].cumsum().tolist())
