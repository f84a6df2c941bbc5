"""Figures of a decision: amounts, order and colours of the routes."""

import pytest

from unlearnkit import figures
from unlearnkit.figures.decision import CELL_COLORS, OWED, STAYS, UNDECIDED
from unlearnkit.figures.drawing import BLUE, ORANGE
from unlearnkit.unlearning.boundary.protocol import APPROXIMATE, EXACT


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
    named = figure.layout.shapes[1]
    text = named.label.text
    # A low line's name would be unreadable on the bars.
    tallest = max(y for y, _ in heights.values())
    assert named.y0 >= line and (line >= 0.5 * top / 1.04 or named.y0 >= tallest)
    assert text.startswith(f"threshold {max_share:.0%}")
    assert text.endswith("(above)") == (max_share > top)


def test_bars_have_no_debt_to_show_where_there_is_none(session):
    texts = [
        row[2]
        for trace in figures.boundary_bars(session.workload(), session.preview(), 0.25).data[:-1]
        for row in trace.customdata or ()
    ]
    assert texts and not any("owed" in text for text in texts)
