"""Figures of the membership attack: loss distributions with a threshold, and ROC curves."""

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
    share_axis,
)

if TYPE_CHECKING:
    import pandas as pd

Areas = dict[str, tuple[float, tuple[float, float] | None]]
ALL_SHARDS = "all"  # the row of all shards in a table of the attack on constituents
MOST_SHARDS = 12  # shards of which a figure shows the attack
MOST_STEPS = 250  # points of a curve
SMALLEST_LOSS = 1e-7  # nats: float32 has no probability closer to 1 except 1 itself


@Drawing
def membership_losses(losses: "pd.DataFrame", model: str, threshold: float) -> Spec:
    """Cumulative distributions of the losses of forgotten and test examples, and the threshold.

    If the curve of the forgotten examples lies above that of the test examples, low losses reveal
    them. The curve of the retrained model shows how far above it lies without any memory of them.

    Args:
        losses: table that :func:`~unlearnkit.evaluation.membership.membership_losses` returned.
        model: the attacked model.
        threshold: loss in nats up to which an example is called a member.
    """
    name = MODEL_NAMES[model]
    groups = [
        (f"forgotten, {name}", "forget", model, PURPLE, "solid"),
        (f"test, {name}", "test", model, SKY, "solid"),
        ("forgotten, retrained", "forget", "scratch", GREEN, "dot"),
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
                "x": np.maximum(values[chosen], SMALLEST_LOSS).tolist(),
                "y": [(i + 1) / len(values) for i in chosen],
                "line": {"color": color, "width": 2, "dash": dash, "shape": "hv"},
                "hovertemplate": f"{title}: %{{y:.1%}} at or below %{{x:.2g}}<extra></extra>",
            }
        )
    known = [x for trace in data for x in trace["x"]]
    low = math.floor(math.log10(min(known))) if known else -3
    high = math.ceil(math.log10(max(known))) if known else 1
    place = max(threshold, SMALLEST_LOSS)
    right = math.log10(place) > (low + high) / 2
    return {
        "data": data,
        "layout": layout(
            f"Losses of forgotten and of test examples, {name}",
            340,
            xaxis=axis("loss (nats, logarithmic)", type="log", range=[low, high])
            | {"tickvals": [10.0**t for t in range(low, high + 1)]}
            | {"ticktext": [f"{10.0**t:g}" for t in range(low, high + 1)]},
            yaxis=share_axis("share of examples", 0, 1.02),
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
                    # Away from the curves: at the top on the left, at the bottom on the right.
                    "y": 0.02 if right else 1,
                    "yref": "paper",
                    "yanchor": "bottom" if right else "top",
                    "xanchor": "left" if right else "right",
                    "text": "threshold",
                    "showarrow": False,
                }
            ],
        ),
    }


@Drawing
def membership_roc(curves: "pd.DataFrame", areas: Areas, rates: Sequence[Rates] = ()) -> Spec:
    """ROC curves of the attack; the curve of the retrained model is the reference.

    Args:
        curves: table that :func:`~unlearnkit.evaluation.membership.roc_curves` returned.
        areas: areas and 95 % intervals from :func:`~unlearnkit.evaluation.membership.roc_areas`.
        rates: for each model to be marked, its rates at the current threshold with intervals.
    """
    data: list[Spec] = []
    for model in MODELS:
        own = curves[curves["model"] == model]
        chosen = _thinned(len(own))
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"{MODEL_NAMES[model]}, area {_area_text(*areas[model])}",
                "x": own["false_positive_rate"].to_numpy()[chosen].tolist(),
                "y": own["true_positive_rate"].to_numpy()[chosen].tolist(),
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
                "error_x": _error_bars(rate.false, rate.false_interval, color),
                "error_y": _error_bars(rate.true, rate.true_interval, color),
                "hovertemplate": f"threshold, {MODEL_NAMES[rate.model]}: %{{y:.1%}} of forgotten, "
                "%{x:.1%} of test<extra></extra>",
            }
        )
    return {
        "data": data,
        "layout": layout(
            "ROC curves of the attack; the goal is the retrained model's",
            340,
            xaxis=share_axis("test examples called members", -0.02, 1.02),
            yaxis=share_axis("forgotten called members", -0.02, 1.02),
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


@Drawing
def shard_attack(frame: "pd.DataFrame", false: float) -> Spec:
    """Shares of the forgotten examples that an attack finds, for all shards and for each.

    Each example is attacked in the constituent of its shard, calibrated by those of other shards.
    The goal is the retrained model's share. Shards in which most is found come first.

    Args:
        frame: table of :func:`~unlearnkit.evaluation.shard_attack.attack_shards` with ``each``.
        false: the false positive rate to show.
    """
    shown = frame[frame["false_rate"] == false]
    single = shown[shown["shard"] != ALL_SHARDS]
    most = single[single["models"] != "scratch"].groupby("shard")["true_rate"].max()
    order = [ALL_SHARDS, *most.sort_values(ascending=False, kind="stable").index[:MOST_SHARDS]]
    places = {shard: number for number, shard in enumerate(order)}
    data: list[Spec] = []
    for number, model in enumerate(MODELS):
        own = shown[(shown["models"] == model) & shown["shard"].isin(order)]
        low, high, value = (own[name].to_numpy() for name in ("low", "high", "true_rate"))
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": MODEL_NAMES[model],
                "x": value.tolist(),
                "y": [places[shard] + 0.22 * (number - 1) for shard in own["shard"]],
                "marker": {
                    "color": MODEL_COLORS[model],
                    "size": 9,
                    "symbol": "diamond" if model == "scratch" else "circle",
                },
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": (high - value).tolist(),
                    "arrayminus": (value - low).tolist(),
                    "color": MODEL_COLORS[model],
                    "thickness": 1.5,
                    "width": 3,
                },
                "customdata": [
                    [f"{members:,} forgotten", f"[{a:.1%}, {b:.1%}]"]
                    for members, a, b in zip(own["members"], low, high, strict=True)
                ],
                "hovertemplate": f"{MODEL_NAMES[model]}: %{{x:.1%}} %{{customdata[1]}} of "
                "%{customdata[0]}<extra></extra>",
            }
        )
    names = ["all shards", *(f"shard {shard}" for shard in order[1:])]
    return {
        "data": data,
        "layout": layout(
            f"Found in its shard's model, at {false:.1%} false positives",
            110 + 46 * len(order),
            xaxis=share_axis(
                "share of the forgotten examples found",
                -0.02,
                max(0.1, min(1.02, 1.05 * float(shown["high"].max()))),
            ),
            yaxis={
                "tickvals": list(range(len(order))),
                "ticktext": names,
                "range": [len(order) - 0.5, -0.5],
                "showgrid": False,
                "zeroline": False,
                "automargin": True,
            },
            shapes=[
                {
                    "type": "line",
                    "yref": "paper",
                    "y0": 0,
                    "y1": 1,
                    "x0": false,
                    "x1": false,
                    "layer": "below",
                    "line": {"color": GREY, "width": 1, "dash": "dot"},
                }
            ],
        ),
    }


def _thinned(count: int) -> list[int]:
    """Return at most `MOST_STEPS` evenly spaced indices below `count`, including both ends."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, MOST_STEPS))})


def _area_text(area: float, interval: tuple[float, float] | None) -> str:
    if interval is None:
        return "unknown"
    return f"{area:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def _error_bars(value: float, interval: tuple[float, float], color: str) -> Spec:
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
