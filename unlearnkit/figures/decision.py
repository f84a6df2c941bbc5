"""Figures of a decision: the workload of a request and how the boundary divides it."""

from itertools import accumulate

from unlearnkit.figures.drawing import (
    BLUE,
    FAINT,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Drawing,
    Spec,
    axis,
    duration,
    layout,
    percent,
    share_axis,
)
from unlearnkit.unlearning.boundary.protocol import APPROXIMATE, EXACT, LEAVE, Decision
from unlearnkit.unlearning.workload import EMPTY, KEPT, OUTSTANDING, RETRAIN, Workload

UNDECIDED = "would be retrained"
STAYS, OWED, NOTHING = "stays", "outstanding debt", "no examples left"
EXACTLY, APPROXIMATELY = "exact: retrained", "approximate: modified"
CELL_COLORS = {
    STAYS: FAINT,
    UNDECIDED: SKY,
    EXACTLY: BLUE,
    APPROXIMATELY: ORANGE,
    OWED: PURPLE,
    NOTHING: "rgba(128,128,128,0.06)",
}
_BLACK, _WHITE = {"color": "black"}, {"color": "white"}
_CELL_INK = {EXACTLY: _WHITE, APPROXIMATELY: _BLACK, UNDECIDED: _BLACK, OWED: _BLACK}
ROUTE_COLORS = {EXACT: BLUE, APPROXIMATE: ORANGE, LEAVE: GREY}
MOST_NUMBERED = 60  # cells up to which counts are written into them; they are in the hover anyway


@Drawing
def workload_map(workload: Workload, decision: Decision | None = None) -> Spec:
    """Map of shards and slices: which stages stay, would be retrained, or are owed from before.

    Args:
        workload: workload of a request.
        decision: if given, the affected shards are coloured by their route.
    """
    routes = {route.shard: route.kind for route in decision.routes} if decision else {}
    words = [
        [_cell(status, routes.get(s)) for status in row]
        for s, row in enumerate(workload.stage_status)
    ]
    shards, slices = range(len(words)), range(1, len(words[0]) + 1)
    counts = workload.stage_visits.tolist()
    numbered = len(shards) * len(slices) <= MOST_NUMBERED
    data: list[Spec] = []
    for word, color in CELL_COLORS.items():
        if not any(word in row for row in words):
            continue
        data.append(
            {
                "type": "heatmap",
                "name": word,
                "x": list(slices),
                "y": list(shards),
                "z": [[1 if w == word else None for w in row] for row in words],
                # Other cells get no text, or plotly would write over those of other traces.
                "customdata": _cell_texts(words, word, counts, "{:,} visits"),
                "text": _cell_texts(words, word, counts, "{:,}") if numbered else None,
                "texttemplate": "%{text}" if numbered and word != NOTHING else "",
                "textfont": {"size": 11} | _CELL_INK.get(word, {}),
                "colorscale": [[0, color], [1, color]],
                "showscale": False,
                "showlegend": True,
                "hoverongaps": False,
                "xgap": 2,
                "ygap": 2,
                "hovertemplate": "shard %{y}, slice %{x}<br>%{customdata}<br>"
                f"<b>{word}</b><extra></extra>",
            }
        )
    return {
        "data": data,
        "layout": layout(
            "Visits to train each stage, by shard and slice"
            + ("" if numbered else "; hover over a cell for its number"),
            max(260, min(560, 130 + 26 * len(shards))),
            xaxis=axis(
                "slice", automargin=False, dtick=1, range=[0.5, len(slices) + 0.5], showgrid=False
            )
            | {"zeroline": False},
            yaxis=axis(
                "shard",
                automargin=False,
                range=[len(shards) - 0.5, -0.5],
                showgrid=False,
                zeroline=False,
            )
            | ({"dtick": 1} if len(shards) <= 12 else {}),
        ),
    }


def _cell_texts(
    words: list[list[str]], word: str, counts: list[list[int]], text: str
) -> list[list[str]]:
    """Format the counts of the cells with this status; the other cells stay empty."""
    return [
        [text.format(count) if w == word else "" for w, count in zip(row, line, strict=True)]
        for row, line in zip(words, counts, strict=True)
    ]


def _cell(status: str, route: str | None) -> str:
    if status == RETRAIN and route is not None:
        return {EXACT: EXACTLY, APPROXIMATE: APPROXIMATELY}.get(route, NOTHING)
    return {KEPT: STAYS, RETRAIN: UNDECIDED, OUTSTANDING: OWED, EMPTY: NOTHING}[status]


@Drawing
def boundary_bars(workload: Workload, decision: Decision, max_share: float | None = None) -> Spec:
    """Shards that a request affects, cheapest first, with the running sum and the threshold.

    Args:
        workload: workload of the request.
        decision: its routes give the order and the colours of the bars.
        max_share: threshold from 0 to 1; None if the boundary has no threshold.
    """
    routes = decision.routes
    names = [str(route.shard) for route in routes]
    running = list(accumulate(route.share for route in routes))
    forget = {work.shard: (work.forget, work.debt) for work in workload.shards}
    data: list[Spec] = []
    for kind, word in ((EXACT, "exact"), (APPROXIMATE, "approximate"), (LEAVE, "leaves the vote")):
        chosen = [route for route in routes if route.kind == kind]
        if not chosen and kind == LEAVE:
            continue
        data.append(
            {
                "type": "bar",
                "name": word,
                "x": [str(route.shard) for route in chosen] or [None],
                "y": [route.share for route in chosen] or [None],
                "marker": {"color": ROUTE_COLORS[kind]},
                "customdata": [
                    [
                        f"{route.visits:,} visits",
                        _seconds(route.seconds),
                        _debt(*forget[route.shard]),
                    ]
                    for route in chosen
                ],
                "hovertemplate": "shard %{x}: %{customdata[0]}, %{y:.1%}<br>%{customdata[2]}<br>"
                f"<b>{word}</b>%{{customdata[1]}}<extra></extra>",
            }
        )
    data.append(
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "running sum",
            "x": names,
            "y": running,
            "line": {"color": GREY, "width": 1.5, "shape": "hvh"},
            "marker": {"size": 6, "color": GREY},
            "hovertemplate": "%{y:.1%} in total up to shard %{x}<extra></extra>",
        }
    )
    top = max(1.18 * running[-1], 0.02) if running else 1.0
    return {
        "data": data,
        "layout": layout(
            "Cost of retraining each shard, cheapest first",
            max(260, min(560, 130 + 26 * len(workload.stage_status))),
            barmode="overlay",
            bargap=0.25,
            xaxis=axis(
                "shard",
                automargin=False,
                type="category",
                categoryorder="array",
                categoryarray=names,
            )
            | {"showgrid": False},
            yaxis=share_axis("share of full retraining", 0, top * 1.04) | {"automargin": False},
            # What moves with the threshold is a shape: shapes are redrawn without the bars.
            shapes=_threshold(max_share, top, max((route.share for route in routes), default=0.0)),
        ),
    }


def _threshold(max_share: float | None, top: float, tallest: float) -> list[Spec]:
    """Draw the line of a threshold with its label, which stands above the tallest bar."""
    if max_share is None:
        return []
    height = min(max_share, top)
    low = height < 0.5 * top  # keeps the label away from the running sum
    level = max(height, tallest) if low else height
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1}
    return [
        {
            **line,
            "y0": height,
            "y1": height,
            "line": {"color": VERMILLION, "width": 2, "dash": "dash"},
        },
        {
            **line,
            "y0": level,
            "y1": level,
            "line": {"width": 0},
            "label": {
                "text": f"threshold {percent(max_share)}" + (" (above)" if max_share > top else ""),
                "textposition": "end" if low else "start",
                "yanchor": "top" if height > 0.85 * top else "bottom",
            },
        },
    ]


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f", {duration(seconds)} of CPU time"


def _debt(forget: int, debt: int) -> str:
    text = f"{forget} to forget"
    return f"{text}, {debt} owed from before" if debt else text
