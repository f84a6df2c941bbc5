"""Figures of the membership attack: losses, a threshold through them, and the curve of all."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from unlearnkit.evaluation.comparison import MODELS
from unlearnkit.evaluation.membership import Rates
from unlearnkit.figures.drawing import (
    GREEN,
    GREY,
    MODEL_COLORS,
    MODEL_NAMES,
    PURPLE,
    SKY,
    VERMILLION,
    Drawing,
    Spec,
    axis,
    layout,
)

if TYPE_CHECKING:
    import pandas as pd

Areas = dict[str, tuple[float, tuple[float, float] | None]]
MOST_STEPS = 250  # of a curve
LEAST_LOSS = 1e-7  # nats: single precision knows no probability nearer to 1 but 1 itself


@Drawing
def membership_losses(losses: "pd.DataFrame", model: str, threshold: float) -> Spec:
    """Share of forgotten and of test examples with a loss up to x, and the threshold.

    Where the forgotten lie above test, a low loss betrays them; from scratch shows how far above
    they would lie had they never been seen.

    Args:
        losses: of :func:`~unlearnkit.evaluation.membership.membership_losses`.
        model: that is attacked.
        threshold: on the loss, in nats.
    """
    name = MODEL_NAMES[model]
    groups = [
        (f"forgotten, {name}", "forget", model, PURPLE, "solid"),
        (f"test, {name}", "test", model, SKY, "solid"),
        ("forgotten, from scratch", "forget", "scratch", GREEN, "dot"),
    ]
    data: list[Spec] = []
    for title, part, column, color, dash in groups if model != "scratch" else groups[:2]:
        values = np.sort(losses.loc[losses["part"] == part, column].to_numpy())
        chosen = _thinned(len(values))
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": title,
                "x": np.maximum(values[chosen], LEAST_LOSS).tolist(),
                "y": [(i + 1) / len(values) for i in chosen],
                "line": {"color": color, "width": 2, "dash": dash, "shape": "hv"},
                "hovertemplate": f"{title}: %{{y:.1%}} at or below %{{x:.2g}}<extra></extra>",
            }
        )
    known = [x for trace in data for x in trace["x"]]
    low = math.floor(math.log10(min(known))) if known else -3
    high = math.ceil(math.log10(max(known))) if known else 1
    place = max(threshold, LEAST_LOSS)
    right = math.log10(place) > (low + high) / 2
    return {
        "data": data,
        "layout": layout(
            f"Losses of forgotten and of test examples, {name}",
            340,
            xaxis=axis("loss (nats, logarithmic)", type="log", range=[low, high])
            | {"tickvals": [10.0**t for t in range(low, high + 1)]}
            | {"ticktext": [f"{10.0**t:g}" for t in range(low, high + 1)]},
            yaxis=axis("share of examples", tickformat=".0%", range=[0, 1.04]),
            shapes=[
                {
                    "type": "line",
                    "yref": "paper",
                    "y0": 0,
                    "y1": 1,
                    "x0": place,
                    "x1": place,
                    "line": {"color": VERMILLION, "width": 2, "dash": "dash"},
                }
            ],
            annotations=[
                {
                    "x": math.log10(place),
                    # Where the curves are not: above on the left, below on the right.
                    "y": 0.02 if right else 1,
                    "yref": "paper",
                    "yanchor": "bottom" if right else "top",
                    "xanchor": "left" if right else "right",
                    "text": "threshold",
                    "showarrow": False,
                    "font": {"color": VERMILLION},
                }
            ],
        ),
    }


@Drawing
def membership_roc(curves: "pd.DataFrame", areas: Areas, rates: Sequence[Rates] = ()) -> Spec:
    """True against false positive rate at every threshold; scratch's curve is the reference.

    Args:
        curves: of :func:`~unlearnkit.evaluation.membership.roc_curves`.
        areas: of :func:`~unlearnkit.evaluation.membership.roc_areas`, with their 95 % intervals.
        rates: at the threshold now, of each model to be marked, with 95 % intervals.
    """
    data: list[Spec] = []
    for model in MODELS:
        own = curves[curves["model"] == model]
        chosen = _thinned(len(own))
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"{MODEL_NAMES[model]}, area {_area(*areas[model])}",
                "x": own["false positive rate"].to_numpy()[chosen].tolist(),
                "y": own["true positive rate"].to_numpy()[chosen].tolist(),
                "line": {
                    "color": MODEL_COLORS[model],
                    "width": 2,
                    "dash": "dash" if model == "scratch" else "solid",
                },
                "hovertemplate": f"{MODEL_NAMES[model]}: %{{y:.1%}} of forgotten, %{{x:.1%}} of "
                "test<extra></extra>",
            }
        )
    for rate in rates:
        if rate.true_interval is None or rate.false_interval is None:
            continue
        color = MODEL_COLORS[rate.model]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "",
                "x": [rate.false],
                "y": [rate.true],
                "marker": {"color": color, "size": 10, "symbol": "circle"},
                "error_x": _error(rate.false, rate.false_interval, color),
                "error_y": _error(rate.true, rate.true_interval, color),
                "hovertemplate": f"threshold, {MODEL_NAMES[rate.model]}: %{{y:.1%}} of forgotten, "
                "%{x:.1%} of test<extra></extra>",
            }
        )
    return {
        "data": data,
        "layout": layout(
            "The attack at every threshold; the goal is from scratch",
            340,
            xaxis=axis("test examples called members", tickformat=".0%", range=[-0.02, 1.02]),
            yaxis=axis("forgotten called members", tickformat=".0%", range=[-0.02, 1.04]),
            shapes=[
                {
                    "type": "line",
                    "x0": 0,
                    "y0": 0,
                    "x1": 1,
                    "y1": 1,
                    "layer": "below",
                    "line": {"color": GREY, "width": 1, "dash": "dot"},
                }
            ],
        ),
    }


def _thinned(count: int) -> list[int]:
    """Places of at most `MOST_STEPS` of so many, both ends among them."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, MOST_STEPS))})


def _area(area: float, interval: tuple[float, float] | None) -> str:
    if interval is None:
        return "unknown"
    return f"{area:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def _error(value: float, interval: tuple[float, float], color: str) -> Spec:
    low, high = interval
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value],
        "arrayminus": [value - low],
        "color": color,
        "thickness": 1.5,
        "width": 4,
    }
