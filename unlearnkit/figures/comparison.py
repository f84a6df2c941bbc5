"""Figures of the judgement: original, unlearned and from-scratch models side by side."""

import math
from typing import TYPE_CHECKING

from unlearnkit.evaluation.comparison import MODELS, PARTS, Comparison
from unlearnkit.evaluation.seed_distances import SEED
from unlearnkit.figures.drawing import (
    BLUE,
    GREY,
    MODEL_COLORS,
    MODEL_NAMES,
    ORANGE,
    PURPLE,
    Drawing,
    Spec,
    axis,
    layout,
    log_axis,
    row_axis,
    rules,
)

if TYPE_CHECKING:
    import pandas as pd

    # Of each name its rows, color, symbol and place beside the layer's line.
    Groups = dict[str, tuple[pd.Series[bool], str, str, float]]

_SYMBOLS = {"original": "circle-open", "unlearned": "circle", "scratch": "diamond"}


@Drawing
def comparison_accuracy(comparison: Comparison) -> Spec:
    """Accuracy of the three models on forgotten, retained and test examples; or RMSE."""
    data: list[Spec] = []
    task = comparison.task
    classes = task.name == "classification"
    values = comparison.scores.to_dict()
    # Equal values would hide each other, so the models stand a little apart.
    for model, shift in zip(MODELS, (-0.22, 0.0, 0.22), strict=True):
        accuracies = [float(values[part][model]) for part in PARTS]
        data.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": MODEL_NAMES[model],
                "x": accuracies,
                "y": [row + shift for row in range(len(PARTS))],
                "text": [task.part_words(score) for score in accuracies],
                "textposition": "middle right",
                "marker": {"color": MODEL_COLORS[model], "size": 11, "symbol": _SYMBOLS[model]}
                | {"line": {"width": 2, "color": MODEL_COLORS[model]}},
                "customdata": list(PARTS),
                "hovertemplate": f"{MODEL_NAMES[model]}, %{{customdata}}: "
                f"%{{x:{'.2%' if classes else '.5g'}}}<extra></extra>",
            }
        )
    known = [x for trace in data for x in trace["x"] if not math.isnan(x)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    pad = max(0.02 if classes else 0.02 * high, 0.18 * (high - low))
    title = "Accuracy" if classes else "Error of the predictions"
    words = "accuracy" if classes else "RMSE, in the units of the targets"
    return {
        "data": data,
        "layout": layout(
            f"{title}: the nearer to from scratch, the better",
            300,
            xaxis=axis(words, tickformat=".0%" if classes else "~g")
            | {"range": [low - pad, high + 2.2 * pad]},
            yaxis=row_axis(PARTS),
            shapes=rules(len(PARTS)),
        ),
    }


@Drawing
def layer_distances(comparison: Comparison) -> Spec:
    """How far each parameter tensor is from scratch's, relative to its norm; one dot a shard.

    Distances are on a logarithmic axis, which has no zero: those that are 0 stand apart at its
    left end, marked so.
    """
    frame = comparison.layers
    exact = {
        int(row["shard"]) for _, row in comparison.constituents.iterrows() if row["bit identical"]
    }
    unlearned, same = frame["model"] == "unlearned", frame["shard"].isin(exact)
    groups: Groups = {
        "original": (frame["model"] == "original", GREY, "circle-open", -0.18),
        "unlearned, approximate": (unlearned & ~same, ORANGE, "circle", 0.18),
        "unlearned, exact": (unlearned & same, BLUE, "diamond", 0.18),
    }
    return _by_layer("Distance of each layer to from scratch", frame, groups)


@Drawing
def seed_distances(frame: "pd.DataFrame") -> Spec:
    """The same of one constituent, beside its twin of another seed.

    Args:
        frame: of :func:`unlearnkit.evaluation.seed_distances.seed_distances`.
    """
    looks = {
        "original": (GREY, "circle-open", -0.2),
        "unlearned": (ORANGE, "circle", 0.0),
        SEED: (PURPLE, "diamond", 0.2),
    }
    groups: Groups = {name: (frame["model"] == name, *look) for name, look in looks.items()}
    title = "Distance of each layer to from scratch, and what chance does"
    return _by_layer(title, frame, groups)


def _by_layer(title: str, frame: "pd.DataFrame", groups: "Groups") -> Spec:
    """Relative L2 distances, a row a layer."""
    layers = list(dict.fromkeys(frame["layer"]))
    # A scratch whose norm is 0 gives no relative distance; the axis is for those that have one.
    known = [0.0 if row["L2"] == 0 else row["relative L2"] for _, row in frame.iterrows()]
    xaxis, zero, band = log_axis(
        "relative L2 distance (logarithmic)", known, zero="0, bit<br>for bit"
    )
    data: list[Spec] = []
    for name, (mask, color, symbol, shift) in groups.items():
        part = frame[mask]
        if part.empty:
            continue
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [_place(row["L2"], row["relative L2"], zero) for _, row in part.iterrows()],
                "y": [layers.index(layer) + shift for layer in part["layer"]],
                "marker": {"color": color, "size": 9, "symbol": symbol}
                | {"line": {"width": 1.5, "color": color}},
                "customdata": [
                    [int(row["shard"]), row["layer"], _distance(row["L2"], row["relative L2"])]
                    for _, row in part.iterrows()
                ],
                "hovertemplate": f"{name}<br>shard %{{customdata[0]}}, %{{customdata[1]}}<br>"
                "%{customdata[2]}<extra></extra>",
            }
        )
    return {
        "data": data,
        "layout": layout(
            title,
            max(260, 150 + 44 * len(layers)),
            xaxis=xaxis,
            yaxis=row_axis(layers),
            shapes=[*rules(len(layers)), *band],
        ),
    }


@Drawing
def output_divergence(comparison: Comparison) -> Spec:
    """Mean KL of outputs on the test part to scratch: unlearned, and doing nothing.

    Of a regression half the mean squared difference
    (:class:`~unlearnkit.metrics.tasks.Regression`).
    """
    classes = comparison.task.name == "classification"
    what = "KL" if classes else "half squared difference"
    values = [comparison.output_kl["original"], comparison.output_kl["unlearned"]]
    top = max([value for value in values if math.isfinite(value)] or [1.0]) or 1.0
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "name": "output KL",
                "x": values,
                "y": ["doing nothing", "unlearned"],
                "marker": {"color": [GREY, ORANGE]},
                "text": ["0" if value == 0 else f"{value:.2g}" for value in values],
                "textposition": "outside",
                "cliponaxis": False,
                "hovertemplate": "%{y}: %{x:.3g} nats<extra></extra>",
            }
        ],
        "layout": layout(
            "Difference of outputs to from scratch",
            200,
            showlegend=False,
            margin={"l": 100, "r": 24, "t": 44, "b": 44},
            xaxis=axis(f"mean {what} on test examples (nats); best 0", range=[0, 1.2 * top])
            | {"nticks": 5, "tickformat": "~g"},
            yaxis={"showgrid": False, "automargin": True, "autorange": "reversed"},
        ),
    }


@Drawing
def membership_gaps(comparison: Comparison) -> Spec:
    """Membership-inference score less scratch's, with 95 % intervals; best 0."""
    rows = {
        "doing nothing": (comparison.original_membership_gap, GREY),
        "unlearned": (comparison.membership_gap, ORANGE),
    }
    data: list[Spec] = []
    extent = 0.01
    for name, (measure, color) in rows.items():
        value = None if math.isnan(measure.value) else measure.value
        low, high = measure.interval or (measure.value, measure.value)
        error = {} if value is None else {"array": [high - value], "arrayminus": [value - low]}
        if value is not None:
            extent = max(extent, abs(low), abs(high))
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [value],
                "y": [name],
                "marker": {"color": color, "size": 12},
                "error_x": {"type": "data", "symmetric": False, "color": color, "thickness": 2}
                | error,
                "hovertemplate": f"{name}: {measure!r}<extra></extra>",
            }
        )
    return {
        "data": data,
        "layout": layout(
            "Membership inference: gap to from scratch",
            200,
            showlegend=False,
            margin={"l": 100, "r": 24, "t": 44, "b": 44},
            xaxis=axis("attack score less from scratch's; best 0", nticks=6)
            | {"range": [-1.1 * extent, 1.1 * extent], "zeroline": True, "zerolinewidth": 2},
            yaxis={
                "type": "category",
                "automargin": True,
                "categoryarray": list(rows),
                "categoryorder": "array",
                "range": [1.6, -0.6],
            },
        ),
    }


def _place(absolute: float, relative: float, zero: float) -> float | None:
    """Where a distance stands; nowhere if scratch's norm is 0 and the distance is not."""
    if absolute == 0:
        return zero
    return None if math.isnan(relative) else float(relative)


def _distance(absolute: float, relative: float) -> str:
    if absolute == 0:
        return "distance 0"
    return f"L2 {absolute:.3g}, relative {relative:.3g}"
