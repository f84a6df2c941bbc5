"""Figures of the workload: the cost of every stage, and of a request beside the expected cost."""

from typing import TYPE_CHECKING

import numpy as np

from unlearnkit.display import plural
from unlearnkit.figures.decision import MOST_NUMBERED, workload_map
from unlearnkit.figures.drawing import (
    BLUE,
    GREY,
    PURPLE,
    VERMILLION,
    Drawing,
    Spec,
    axis,
    duration,
    layout,
    percent,
)
from unlearnkit.unlearning.workload import Workload

if TYPE_CHECKING:
    import pandas as pd

UNITS = ("visits", "share", "seconds")
_AXES = {
    "visits": "visits",
    "share": "share of full retraining",
    "seconds": "predicted CPU seconds",
}


def format_amount(value: float, unit: str) -> str:
    """Format a number in its unit.

    >>> format_amount(1234, "visits"), format_amount(0.25, "share"), format_amount(1.5, "seconds")
    ('1,234', '25%', '1.5 s')
    """
    if not np.isfinite(value):
        return "not timed yet"
    if unit == "visits":
        return f"{value:,.0f}"
    return percent(value) if unit == "share" else duration(value)


@Drawing
def stage_map(workload: Workload, unit: str = "visits", owed: "np.ndarray | None" = None) -> Spec:
    """Map of shards and slices: status and cost of each stage.

    Args:
        workload: workload of a request.
        unit: unit of the costs, one of ``UNITS``.
        owed: number of examples owed by shard and slice; cells that owe some are marked.
    """
    spec = workload_map.spec(workload)
    values = {
        "visits": workload.stage_visits,
        "share": workload.stage_visits / max(1, workload.total_visits),
        "seconds": workload.stage_seconds,
    }[unit]
    words = [[format_amount(value, unit) for value in row] for row in values.tolist()]
    numbered = workload.stage_visits.size <= MOST_NUMBERED
    noun = " visits" if unit == "visits" else ""
    for trace in spec["data"]:
        trace["customdata"] = [[f"{word}{noun}" for word in row] for row in words]
        short = [["" if word == "not timed yet" else word for word in row] for row in words]
        trace["text"] = [
            [word if cell else "" for word, cell in zip(row, line, strict=True)]
            for row, line in zip(short, trace["z"], strict=True)
        ]
    what = {
        "visits": "Visits to train each stage",
        "seconds": "Predicted CPU seconds of each stage",
    }
    spec["layout"]["title"]["text"] = (
        f"{what.get(unit, 'Share of full retraining of each stage')}, by shard and slice"
        + ("" if numbered else "; hover over a cell for its number")
    )
    if owed is not None and owed.any():
        shards, slices = np.nonzero(owed)
        # Next to the number, and within a row that is low where there are many shards.
        aside, above = (0.36, 0.3 if len(owed) <= 6 else 0.15) if numbered else (0.0, 0.0)
        spec["data"].append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "debt: examples owed from here",
                "x": (slices + 1 + aside).tolist(),
                "y": (shards - above).tolist(),
                "marker": {"symbol": "diamond", "size": 10, "color": VERMILLION}
                | {"line": {"width": 1.5, "color": "white"}},
                "customdata": [
                    f"shard {s}, slice {r + 1}: {owed[s, r]} owed"
                    for s, r in zip(shards.tolist(), slices.tolist(), strict=True)
                ],
                "hovertemplate": "%{customdata}<extra></extra>",
            }
        )
    return spec


@Drawing
def expected_curve(
    curve: "pd.DataFrame",
    unit: str = "visits",
    actual: tuple[int, float] | None = None,
    without_debt: float | None = None,
    groups: "tuple[str, pd.DataFrame] | None" = None,
) -> Spec:
    """Expected workload by number of forgotten examples, with the workload of the request.

    Args:
        curve: table that :func:`~unlearnkit.unlearning.expected_workload.expected_curve` returned.
        unit: one of ``UNITS``.
        actual: number of examples of the request, and its workload in this unit.
        without_debt: workload of the request if nothing were owed from before.
        groups: what a group is called, such as ``"person"``, and the table that
            :func:`~unlearnkit.unlearning.expected_workload.expected_group_curve` returned.
    """
    data: list[Spec] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "expected for random examples",
            "x": curve["revoked"].tolist(),
            "y": curve[unit].tolist(),
            "line": {"color": GREY, "width": 2},
            "customdata": [format_amount(value, unit) for value in curve[unit]],
            "hovertemplate": "%{x:,} examples: %{customdata}<extra></extra>",
        }
    ]
    if groups is not None and len(groups[1]):
        noun, by_group = groups
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"expected for random {noun}s",
                "x": by_group["revoked"].tolist(),
                "y": by_group[unit].tolist(),
                "line": {"color": BLUE, "width": 2, "dash": "dash"},
                "customdata": [
                    f"{plural(count, noun)}: {format_amount(value, unit)}"
                    for count, value in zip(by_group["groups"], by_group[unit], strict=True)
                ],
                "hovertemplate": "%{customdata}<extra></extra>",
            }
        )
    marks = [
        ("this request without the debt", without_debt, PURPLE, "diamond-open"),
        ("this request", None if actual is None else actual[1], VERMILLION, "circle"),
    ]
    for name, value, color, symbol in marks:
        if actual is None or value is None or not np.isfinite(value):
            continue
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [actual[0]],
                "y": [value],
                "marker": {"color": color, "size": 11, "symbol": symbol}
                | {"line": {"width": 2, "color": color}},
                "hovertemplate": f"{name}: {format_amount(value, unit)}<extra></extra>",
            }
        )
    yaxis = axis(_AXES[unit], rangemode="tozero")
    if unit == "share":
        yaxis |= {"tickformat": ".0%"}
    return {
        "data": data,
        "layout": layout(
            "Workload by size of the request",
            300,
            hovermode="closest",
            xaxis=axis("examples to forget (logarithmic)", type="log", tickformat="~s", dtick=1),
            yaxis=yaxis,
        ),
    }
