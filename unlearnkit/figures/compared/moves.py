"""Figure of a comparison, shard by shard: where each model was, and where unlearning moved it."""

import math
from typing import TYPE_CHECKING

from unlearnkit.figures.drawing import (
    BLUE,
    GREY,
    ORANGE,
    Drawing,
    Spec,
    layout,
    log_axis,
    percent,
    row_axis,
    row_lines,
)

if TYPE_CHECKING:
    import pandas as pd

_AXES = {
    "forget": ("outputs on forgotten examples", "divergence (nats, logarithmic)"),
    "test": ("outputs on test examples", "divergence (nats, logarithmic)"),
    "parameters": ("parameters", "L2 distance (logarithmic)"),
}


@Drawing
def shard_moves(frame: "pd.DataFrame", measure: str = "forget") -> Spec:
    """Distance of each shard's model from the retrained one, before and after unlearning.

    Each row is one shard: a line leads from the original model (ring) to the unlearned one. The
    further a line leads to the left, the more of the forgotten influence is gone. The axis is
    logarithmic; a distance of 0, which only exact retraining reaches, lies in a separate band.

    Args:
        frame: table that :func:`~unlearnkit.evaluation.distances.shard_moves.shard_moves` returned.
        measure: its measure, for the titles.
    """
    rows = frame.to_dict("records")
    before = [float(row["original"]) for row in rows]
    after = [0.0 if row["exact"] else float(row["unlearned"]) for row in rows]
    what, title = _AXES[measure]
    xaxis, zero, band = log_axis(title, [*before, *after], zero="0, bit<br>for bit")
    starts, ends = ([_place(value, zero) for value in values] for values in (before, after))
    lines: list[list[float | None]] = [[], []]
    for number, (a, b) in enumerate(zip(starts, ends, strict=True)):
        lines[0] += [a, b, None]
        lines[1] += [number, number, None]
    data: list[Spec] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "moved by unlearning",
            "x": lines[0],
            "y": lines[1],
            "line": {"color": GREY, "width": 2},
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "original",
            "x": starts,
            "y": list(range(len(rows))),
            "marker": {"color": GREY, "symbol": "circle-open", "size": 11, "line": {"width": 2}},
            "customdata": [
                [row["shard"], f"{value:.3g}"] for row, value in zip(rows, before, strict=True)
            ],
            "hovertemplate": "shard %{customdata[0]}, original: %{customdata[1]}<extra></extra>",
        },
    ]
    kinds = (
        ("unlearned, exact", BLUE, "diamond", True),
        ("unlearned, approximate", ORANGE, "circle", False),
    )
    left = [_left(a, b) for a, b in zip(before, after, strict=True)]
    for name, color, symbol, exact in kinds:
        own = [number for number, row in enumerate(rows) if bool(row["exact"]) is exact]
        if not own:
            continue
        data.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": name,
                "x": [ends[number] for number in own],
                "y": own,
                "text": ["" if exact else left[number] for number in own],
                "textposition": "top center",
                "marker": {"color": color, "symbol": symbol, "size": 12},
                "customdata": [
                    [rows[number]["shard"], f"{after[number]:.3g}", left[number]] for number in own
                ],
                "hovertemplate": f"shard %{{customdata[0]}}, {name}: %{{customdata[1]}}, "
                "%{customdata[2]}<extra></extra>",
            }
        )
    return {
        "data": data,
        "layout": layout(
            f"Before and after: distance from the retrained model, {what}",
            max(220, min(560, 140 + 34 * len(rows))),
            hovermode="closest",
            xaxis=xaxis,
            yaxis=row_axis([f"shard {row['shard']}" for row in rows]),
            shapes=[*row_lines(len(rows)), *band],
        ),
    }


def _place(value: float, zero: float) -> float | None:
    return zero if value == 0 else value if math.isfinite(value) else None


def _left(before: float, after: float) -> str:
    """Say which part of the distance is left.

    >>> _left(0.5, 0.1), _left(0.5, 0.0), _left(0.0, 0.2)
    ('20% left', 'nothing left', '')
    """
    if after == 0:
        return "nothing left"
    if not before or not math.isfinite(before) or not math.isfinite(after):
        return ""
    return f"{percent(after / before, 0)} left"
