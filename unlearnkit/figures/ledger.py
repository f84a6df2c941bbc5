"""Figure of the ledger: predicted and measured CPU seconds, and the debt."""

from typing import TYPE_CHECKING

import numpy as np

from unlearnkit.figures.drawing import BLUE, GREY, ORANGE, PURPLE, Drawing, Spec, axis, layout

if TYPE_CHECKING:
    import pandas as pd

_TICKS = [digit * 10.0**power for power in range(-4, 5) for digit in (1, 3)]


@Drawing
def ledger_costs(frame: "pd.DataFrame") -> Spec:
    """Predicted and measured CPU seconds of each request and repayment, and the debt after it.

    Wall seconds are drawn where a table does not have the CPU seconds measured: for requests that
    workers carried out, and in ledgers by earlier versions, which predicted wall seconds too.

    Args:
        frame: non-empty table that :meth:`~unlearnkit.session.Session.ledger` returned.
    """
    measured = frame["seconds"].astype(float)
    if "cpu_seconds" in frame:
        measured = frame["cpu_seconds"].astype(float).fillna(measured)
    numbered = frame.assign(number=range(1, len(frame) + 1), measured=measured)
    data: list[Spec] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "predicted",
            "x": numbered["number"].tolist(),
            "y": numbered["predicted_seconds"].astype(float).tolist(),
            "marker": {"color": GREY, "size": 10, "symbol": "diamond-open"},
            "hovertemplate": "%{x}: predicted %{y:.2g} CPU s<extra></extra>",
        }
    ]
    for word, kind, color in (("request", "unlearn", ORANGE), ("repayment", "repay", BLUE)):
        rows = numbered[numbered["kind"] == kind]
        if not len(rows):
            continue
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"measured, {word}",
                "x": rows["number"].tolist(),
                "y": rows["measured"].tolist(),
                "customdata": rows[["exact_shards", "approximate_shards"]].to_numpy().tolist(),
                "marker": {"color": color, "size": 9},
                "hovertemplate": f"{word} %{{x}}: %{{y:.2g}} s<br>%{{customdata[0]}} shards exact, "
                "%{customdata[1]} approximate<extra></extra>",
            }
        )
    data.append(
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "examples owed",
            "x": [0, *numbered["number"]],
            "y": [int(frame["debt_before"].iloc[0]), *frame["debt_after"].tolist()],
            "yaxis": "y2",
            "line": {"color": PURPLE, "width": 1.5, "shape": "hv"},
            "marker": {"color": PURPLE, "size": 5},
            "hovertemplate": "after %{x}: %{y} owed<extra></extra>",
        }
    )
    last = len(frame)
    # The range extends to the surrounding ticks, so that it always shows at least two.
    shown = np.log10(numbered[["predicted_seconds", "measured"]].astype(float).to_numpy())
    ticks = np.log10(_TICKS)
    low = max([*ticks[ticks <= np.nanmin(shown)], ticks[0]])
    high = min([*ticks[ticks > np.nanmax(shown)], ticks[-1]])
    return {
        "data": data,
        "layout": layout(
            "CPU seconds and debt, request by request",
            300,
            xaxis=axis("request or repayment, oldest first", anchor="y2", zeroline=False)
            | {"range": [-0.02 * last, last + 0.5], "tickformat": "d"}
            | ({"dtick": 1} if last <= 20 else {}),
            yaxis=axis(
                "CPU seconds", type="log", domain=[0.42, 1], tickvals=_TICKS, tickformat="~g"
            )
            | {"range": [low - 0.1, high + 0.1]},
            yaxis2=axis("owed", domain=[0, 0.3], rangemode="tozero", nticks=4),
        ),
    }
