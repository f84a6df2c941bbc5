"""Figures of a comparison of the original, the unlearned and the retrained model."""

import math
from typing import TYPE_CHECKING

from unlearnkit.evaluation.comparison import MODELS, PARTS, Comparison
from unlearnkit.evaluation.distances.seed_distances import SEED
from unlearnkit.figures.drawing import (
    BLUE,
    FAINT,
    GREY,
    MODEL_COLORS,
    MODEL_NAMES,
    MODEL_SYMBOLS,
    ORANGE,
    PURPLE,
    Drawing,
    Spec,
    axis,
    layout,
    log_axis,
    row_axis,
    row_lines,
    share_axis,
)

if TYPE_CHECKING:
    import pandas as pd

    # By legend name: mask of rows, colour, symbol and vertical offset from the layer's line.
    Groups = dict[str, tuple[pd.Series[bool], str, str, float]]


@Drawing
def comparison_accuracy(comparison: Comparison) -> Spec:
    """Accuracy (in regression: RMSE) of the three models on forget, retain and test examples."""
    data: list[Spec] = []
    task = comparison.task
    classes = task.name == "classification"
    values = comparison.scores.to_dict()
    # Points of equal value would hide each other, so each model has a vertical offset.
    for model, shift in zip(MODELS, (-0.22, 0.0, 0.22), strict=True):
        accuracies = [float(values[part][model]) for part in PARTS]
        data.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": MODEL_NAMES[model],
                "x": accuracies,
                "y": [row + shift for row in range(len(PARTS))],
                "text": [task.format_part_score(score) for score in accuracies],
                "textposition": "middle right",
                "marker": {"color": MODEL_COLORS[model], "size": 11, "symbol": MODEL_SYMBOLS[model]}
                | {"line": {"width": 2, "color": MODEL_COLORS[model]}},
                "customdata": list(PARTS),
                "hovertemplate": f"{MODEL_NAMES[model]}, %{{customdata}}: "
                f"%{{x:{'.2%' if classes else '.5g'}}}<extra></extra>",
            }
        )
    known = [x for trace in data for x in trace["x"] if not math.isnan(x)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    pad = max(0.02 if classes else 0.02 * high, 0.18 * (high - low))
    title = "Accuracy" if classes else "Prediction error"
    words = "accuracy" if classes else "RMSE in units of the targets"
    return {
        "data": data,
        "layout": layout(
            f"{title}: the closer to the retrained model, the better",
            300,
            xaxis=share_axis(words, low - pad, high + 2.2 * pad)
            if classes
            else axis(words, tickformat="~g") | {"range": [low - pad, high + 2.2 * pad]},
            yaxis=row_axis(PARTS),
            shapes=row_lines(len(PARTS)),
        ),
    }


@Drawing
def layer_distances(comparison: Comparison) -> Spec:
    """Distance of each parameter tensor from the retrained model's, relative to its norm.

    Each shard is one dot. The axis is logarithmic; distances of 0 are drawn in a separate band at
    its left end.
    """
    frame = comparison.layers
    exact = {
        int(row["shard"]) for _, row in comparison.constituents.iterrows() if row["bit_identical"]
    }
    unlearned, same = frame["model"] == "unlearned", frame["shard"].isin(exact)
    groups: Groups = {
        "original": (frame["model"] == "original", GREY, "circle-open", -0.18),
        "unlearned, approximate": (unlearned & ~same, ORANGE, "circle", 0.18),
        "unlearned, exact": (unlearned & same, BLUE, "diamond", 0.18),
    }
    return _by_layer("Distance of each layer from the retrained model", frame, groups)


@Drawing
def seed_distances(frame: "pd.DataFrame") -> Spec:
    """Layer distances of one constituent, beside those of a retrained model with another seed.

    Args:
        frame: table that
            :func:`unlearnkit.evaluation.distances.seed_distances.seed_distances` returned.
    """
    styles = {
        "original": (GREY, "circle-open", -0.2),
        "unlearned": (ORANGE, "circle", 0.0),
        SEED: (PURPLE, "diamond", 0.2),
    }
    groups: Groups = {name: (frame["model"] == name, *style) for name, style in styles.items()}
    title = "Distance of each layer from the retrained model, with that of another seed"
    return _by_layer(title, frame, groups)


def _by_layer(title: str, frame: "pd.DataFrame", groups: "Groups") -> Spec:
    """Draw relative L2 distances with one row per layer."""
    layers = list(dict.fromkeys(frame["layer"]))
    # There is no relative distance to a tensor of norm 0, so the axis ignores these.
    known = [0.0 if row["l2"] == 0 else row["relative_l2"] for _, row in frame.iterrows()]
    xaxis, zero, band = log_axis(
        "relative L2 distance (logarithmic)", known, zero="0, bit<br>for bit"
    )
    data: list[Spec] = [_links(frame, groups, layers, zero)]
    for name, (mask, color, symbol, shift) in groups.items():
        part = frame[mask]
        if part.empty:
            continue
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [_position(row["l2"], row["relative_l2"], zero) for _, row in part.iterrows()],
                "y": [layers.index(layer) + shift for layer in part["layer"]],
                "marker": {"color": color, "size": 9, "symbol": symbol}
                | {"line": {"width": 1.5, "color": color}},
                "customdata": [
                    [int(row["shard"]), row["layer"], _distance_text(row["l2"], row["relative_l2"])]
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
            shapes=[*row_lines(len(layers)), *band],
        ),
    }


def _links(frame: "pd.DataFrame", groups: "Groups", layers: list[str], zero: float) -> Spec:
    """Link the dots of each shard in each layer, so that one sees what moved where."""
    ends: dict[tuple[int, str], list[tuple[float | None, float]]] = {}
    for mask, _, _, shift in groups.values():
        for row in frame[mask].to_dict("records"):
            place = _position(row["l2"], row["relative_l2"], zero)
            key = (int(row["shard"]), str(row["layer"]))
            ends.setdefault(key, []).append((place, layers.index(row["layer"]) + shift))
    xs: list[float | None] = []
    ys: list[float | None] = []
    for found in ends.values():
        xs += [*(x for x, _ in found), None]
        ys += [*(y for _, y in found), None]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "the same shard",
        "x": xs,
        "y": ys,
        "line": {"color": FAINT, "width": 1.5},
        "hoverinfo": "skip",
    }


@Drawing
def output_divergence(comparison: Comparison) -> Spec:
    """Mean KL of test outputs from the retrained model, for the unlearned and the original model.

    In regression it is half the mean squared difference
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
            "Divergence of outputs from the retrained model",
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
    """AUC of membership inference minus the retrained model's, with 95 % intervals; best 0."""
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
            "Membership inference: gap to the retrained model",
            200,
            showlegend=False,
            margin={"l": 100, "r": 24, "t": 44, "b": 44},
            xaxis=axis("attack AUC minus the retrained model's; best 0", nticks=6)
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


def _position(absolute: float, relative: float, zero: float) -> float | None:
    """Return the position of a distance; None if the retrained tensor's norm alone is 0."""
    if absolute == 0:
        return zero
    return None if math.isnan(relative) else float(relative)


def _distance_text(absolute: float, relative: float) -> str:
    if absolute == 0:
        return "distance 0"
    return f"L2 {absolute:.3g}, relative {relative:.3g}"
