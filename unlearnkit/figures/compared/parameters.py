"""Figures of parameters: unlearned against retrained, their shifts, and first-layer weights."""

from typing import TYPE_CHECKING, Any

import numpy as np

from unlearnkit.evaluation.comparison import MODELS
from unlearnkit.evaluation.parameters import ParameterSample, Shifts, WeightImages
from unlearnkit.figures.drawing import (
    DIVERGING,
    GREEN,
    GREY,
    MODEL_NAMES,
    ORANGE,
    PURPLE,
    Drawing,
    Spec,
    axis,
    layout,
    line_colors,
)

if TYPE_CHECKING:
    import pandas as pd

EQUAL = "equal, bit for bit"


@Drawing
def parameter_scatter(sample: ParameterSample) -> Spec:
    """Parameters of the unlearned constituent against the retrained one's, coloured by their shift.

    On the dotted diagonal both agree. The colour is the unlearned minus the original value; it
    saturates for the 2 % with the largest shifts, which are drawn on top.
    """
    moved = (sample.frame["unlearned"] - sample.frame["original"]).abs()
    frame = sample.frame.loc[moved.sort_values(kind="stable").index]
    shift = frame["unlearned"] - frame["original"]
    limit = float(moved.quantile(0.98)) or float(moved.max()) or 1.0
    extent = _axis_range(frame["scratch"], frame["unlearned"])
    state = f": all {EQUAL}" if sample.identical else ""
    trace = {
        "type": "scatter",
        "mode": "markers",
        "name": "parameters",
        "x": frame["scratch"].astype(float).tolist(),
        "y": frame["unlearned"].astype(float).tolist(),
        "marker": {
            "color": shift.astype(float).tolist(),
            "colorscale": DIVERGING,
            "cmin": -limit,
            "cmax": limit,
            "size": 5,
            "line": {"width": 0.5, "color": "rgba(80,80,80,0.6)"},
            "colorbar": {
                "title": {"text": "shift", "side": "top", "font": {"size": 12}},
                "thickness": 10,
                "outlinewidth": 0,
                "nticks": 5,
                "tickformat": ".1~g",
            },
        },
        "customdata": _parameter_names(frame),
        "hovertemplate": "%{customdata}<br>retrained %{x:.4g}<br>unlearned %{y:.4g}<br>"
        "shifted by %{marker.color:.2g}<extra></extra>",
    }
    return {
        "data": [trace],
        "layout": layout(
            f"Parameters of shard {sample.shard}, unlearned against retrained{state}",
            360,
            showlegend=False,
            xaxis=axis("retrained", range=extent, zeroline=False, tickformat="~g"),
            yaxis=axis("unlearned", range=extent, zeroline=False, tickformat="~g"),
            shapes=[_diagonal(extent)],
        ),
    }


@Drawing
def shift_scatter(sample: ParameterSample) -> Spec:
    """Shift that unlearning made against the shift that was needed, by layer.

    The needed shift leads from the original to the retrained model. On the dotted diagonal
    unlearning made exactly the needed shift; doing nothing would lie at a height of 0.
    """
    data: list[Spec] = []
    layers = list(sample.sizes)
    needed = sample.frame["scratch"] - sample.frame["original"]
    made = sample.frame["unlearned"] - sample.frame["original"]
    words = np.array(_parameter_names(sample.frame), object)
    for layer, color in zip(layers, line_colors(len(layers)), strict=True):
        own = (sample.frame["layer"] == layer).to_numpy()
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": layer,
                "x": needed[own].astype(float).tolist(),
                "y": made[own].astype(float).tolist(),
                "marker": {"color": color, "size": 5, "opacity": 0.75},
                "customdata": words[own].tolist(),
                "hovertemplate": "%{customdata}<br>needed %{x:.2g}<br>made %{y:.2g}<extra></extra>",
            }
        )
    extent = _axis_range(needed, made)
    state = f": {EQUAL}" if sample.identical else ""
    return {
        "data": data,
        "layout": layout(
            f"Shift made against shift needed, shard {sample.shard}{state}",
            360,
            xaxis=axis("needed: retrained minus original", range=extent, tickformat="~g"),
            yaxis=axis("made: unlearned minus original", range=extent, tickformat="~g"),
            shapes=[_diagonal(extent)],
        ),
    }


@Drawing
def shift_histogram(shifts: Shifts) -> Spec:
    """Histograms over the parameters of the needed, the made and the remaining shift."""
    middles = ((shifts.frame["low"] + shifts.frame["high"]) / 2).tolist()
    left = "left: 0, bit for bit" if shifts.identical else f"left, norm {shifts.left:.3g}"
    lines = {
        "needed": (f"needed, norm {shifts.needed:.3g}", GREEN, "diamond-open"),
        "made": (f"made, norm {shifts.made:.3g}", ORANGE, "circle"),
        "left": (left, PURPLE, "square"),
    }
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": middles,
            # A logarithmic axis has no 0, so an empty bin is a gap.
            "y": [int(count) or None for count in shifts.frame[key]],
            "line": {"color": color, "width": 1.75, "shape": "hvh"},
            "marker": {"size": 5, "symbol": symbol},
            "hovertemplate": f"{key} about %{{x:.2g}}: %{{y:,}} parameters<extra></extra>",
        }
        for key, (name, color, symbol) in lines.items()
    ]
    return {
        "data": data,
        "layout": layout(
            f"Shifts of all {shifts.num_parameters:,} parameters of shard {shifts.shard}",
            320,
            xaxis=axis("shift", tickformat="~g"),
            yaxis=axis("parameters (logarithmic)", type="log", dtick=1, rangemode="tozero"),
        ),
    }


@Drawing
def weight_images(images: WeightImages, names: tuple[str, ...] = ()) -> Spec:
    """First-layer weights as images of the three models and of the remaining difference.

    Each column is one unit. The last row is the unlearned minus the retrained model.

    Args:
        images: weight images of one constituent.
        names: names of the units if they are classes.
    """
    left = images.images["unlearned"] - images.images["scratch"]
    limit = max(float(np.abs(image).max()) for image in images.images.values()) or 1.0
    largest = float(np.abs(left).max())
    _, height, width = left.shape
    stack = [images.images[model] for model in MODELS]
    zero = "0, bit for bit" if images.identical else f"up to {largest:.2g}"
    rows = [*(MODEL_NAMES[model] for model in MODELS), f"left:<br>{zero}"]
    down, across = height + 1, width + 1
    last = down * len(stack)
    data = [
        _mosaic(
            stack,
            0,
            limit,
            {"title": _bar_title("weight"), "y": 1, "yanchor": "top", "len": 0.7},
        ),
        _mosaic(
            [left],
            last,
            largest or 1.0,
            {"title": _bar_title("left"), "y": 0, "yanchor": "bottom", "len": 0.3, "nticks": 3},
        ),
    ]
    units = [names[unit] if names else str(unit) for unit in images.units]
    return {
        "data": data,
        "layout": layout(
            f"Weights of the first layer ({images.layer}), shard {images.shard}: the "
            f"{len(units)} units that had to change most",
            370,
            showlegend=False,
            margin={"l": 90, "r": 70, "t": 64, "b": 44},
            xaxis=axis("class" if names else "unit")
            | {
                "tickvals": [across * i + (width - 1) / 2 for i in range(len(units))],
                "ticktext": units,
                "showgrid": False,
                "zeroline": False,
                "constrain": "domain",
                "constraintoward": "left",
                "range": [-0.5, across * len(units) - 1.5],
            },
            yaxis={
                "tickvals": [down * i + (height - 1) / 2 for i in range(len(rows))],
                "ticktext": rows,
                "range": [down * len(rows) - 1.5, -0.5],
                "scaleanchor": "x",
                "showgrid": False,
                "zeroline": False,
                "constrain": "domain",
                "constraintoward": "top",
            },
        ),
    }


def _bar_title(text: str) -> Spec:
    return {"text": text, "side": "top", "font": {"size": 12}}


def _mosaic(rows: list[np.ndarray], top: int, limit: float, bar: Spec) -> Spec:
    """Draw rows of images with gaps between them, blue below 0 and vermillion above."""
    count, height, width = rows[0].shape
    canvas = np.full(((height + 1) * len(rows) - 1, (width + 1) * count - 1), np.nan)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            y, x = i * (height + 1), j * (width + 1)
            canvas[y : y + height, x : x + width] = image
    # A colour shows fewer than three digits, and rounding keeps the message small.
    z = [[None if np.isnan(v) else float(f"{v:.3g}") for v in line] for line in canvas]
    return {
        "type": "heatmap",
        "name": "",
        "x": list(range(canvas.shape[1])),
        "y": list(range(top, top + canvas.shape[0])),
        "z": z,
        "zmin": -limit,
        "zmax": limit,
        "colorscale": DIVERGING,
        "showscale": any(value for line in z for value in line),
        "colorbar": {"thickness": 10, "outlinewidth": 0, "tickformat": ".1~g", **bar},
        "hoverongaps": False,
        "hovertemplate": "%{z:.3g}<extra></extra>",
    }


def _parameter_names(frame: "pd.DataFrame") -> list[str]:
    return [
        f"{layer} [{index}]" for layer, index in zip(frame["layer"], frame["index"], strict=True)
    ]


def _axis_range(*columns: "pd.Series[Any]") -> list[float]:
    low = min(float(column.min()) for column in columns)
    high = max(float(column.max()) for column in columns)
    pad = 0.05 * (high - low) or 1.0
    return [low - pad, high + pad]


def _diagonal(extent: list[float]) -> Spec:
    low, high = extent
    line = {"color": GREY, "width": 1, "dash": "dot"}
    return {"type": "line", "x0": low, "y0": low, "x1": high, "y1": high, "line": line} | {
        "layer": "below"
    }
