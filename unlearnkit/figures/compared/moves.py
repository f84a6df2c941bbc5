"""Figure of a comparison, shard by shard: where each model was, and where unlearning moved it."""

import math

from unlearnkit.evaluation.comparison import Comparison
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


@Drawing
def shard_moves(comparison: Comparison) -> Spec:
    """Distance of each shard's parameters from the retrained model's, before and after unlearning.

    Each row is one shard: a line leads from the original model (ring) to the unlearned one. The
    further a line leads to the left, the more of the forgotten influence is gone. The axis is
    logarithmic; a distance of 0, which only exact retraining reaches, lies in a band of its own.

    Args:
        comparison: a comparison with at least one constituent.
    """
    rows = comparison.constituents.to_dict("records")
    before = [float(row["original_to_scratch_l2"]) for row in rows]
    after = [0.0 if row["bit_identical"] else float(row["unlearned_to_scratch_l2"]) for row in rows]
    xaxis, zero, band = log_axis(
        "distance from the retrained model (L2, logarithmic)",
        [*before, *after],
        zero="0, bit<br>for bit",
    )
    places = {
        "before": [value or zero for value in before],
        "after": [value or zero for value in after],
    }
    # The text stands at the left of the line's end, where there is room for it.
    xaxis["range"] = [xaxis["range"][0] - (0.0 if band else 0.5), xaxis["range"][1]]
    lines: list[list[float | None]] = [[], []]
    for number, (a, b) in enumerate(zip(places["before"], places["after"], strict=True)):
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
            "x": places["before"],
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
        own = [number for number, row in enumerate(rows) if bool(row["bit_identical"]) is exact]
        if not own:
            continue
        data.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": name,
                "x": [places["after"][number] for number in own],
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
            "Before and after, shard by shard: 0 is the retrained model",
            max(220, min(620, 140 + 34 * len(rows))),
            hovermode="closest",
            xaxis=xaxis,
            yaxis=row_axis([f"shard {row['shard']}" for row in rows]),
            shapes=[*row_lines(len(rows)), *band],
        ),
    }


def _left(before: float, after: float) -> str:
    """Say which part of the distance is left.

    >>> _left(0.5, 0.1), _left(0.5, 0.0), _left(0.0, 0.2)
    ('20% left', 'nothing left', '')
    """
    if after == 0:
        return "nothing left"
    return f"{percent(after / before, 0)} left" if before and math.isfinite(before) else ""
