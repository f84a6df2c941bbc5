"""Figures of predictions: disagreement with the retrained model, by class or by target."""

from typing import TYPE_CHECKING, Any

import numpy as np

from unlearnkit.evaluation.comparison import MODELS
from unlearnkit.figures.drawing import (
    GREY,
    MODEL_COLORS,
    MODEL_NAMES,
    MODEL_SYMBOLS,
    ORANGE,
    VERMILLION,
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

MOST_NUMBERED = 15  # classes; in a larger table numbers would be too small to read


@Drawing
def prediction_confusion(
    table: "np.ndarray[Any, np.dtype[np.integer[Any]]]",
    class_names: tuple[str, ...],
    model: str = "unlearned",
    part: str = "test",
) -> Spec:
    """Counts of examples by class predicted by the retrained (row) and another model (column).

    Args:
        table: counts that :func:`~unlearnkit.evaluation.predictions.prediction_confusion` returned.
        class_names: names of the rows and columns.
        model: model of the columns.
        part: part that the examples are from, for the title.
    """
    names = [str(name) for name in class_names]
    total, same = int(table.sum()), int(np.trace(table))
    places = list(range(len(names)))
    numbered = len(names) <= MOST_NUMBERED
    diagonal = np.eye(len(names), dtype=bool)
    data: list[Spec] = []
    for kind, mask, scale, top in (
        ("agree", diagonal, [[0, "#b8b8b8"], [1, "#b8b8b8"]], table.max()),
        ("differ", ~diagonal, [[0, ORANGE], [1, VERMILLION]], table[~diagonal].max(initial=1)),
    ):
        shown = mask & (table > 0)
        data.append(
            {
                "type": "heatmap",
                "name": kind,
                "x": places,
                "y": places,
                "z": [
                    [int(v) if here else None for v, here in zip(row, line, strict=True)]
                    for row, line in zip(table, shown, strict=True)
                ],
                "zmin": 0,
                "zmax": int(top) or 1,
                "colorscale": scale,
                "showscale": False,
                "xgap": 2,
                "ygap": 2,
                "hoverongaps": False,
                "texttemplate": "%{z}" if numbered else "",
                "textfont": {"size": 11, "color": "black"},
                "customdata": [
                    [f"retrained {a}, {MODEL_NAMES[model]} {b}" for b in names] for a in names
                ],
                "hovertemplate": "%{customdata}: %{z}<extra></extra>",
            }
        )
    differ = f"{total - same:,} of {total:,}" if total - same else f"none of {total:,}"
    ticks: Spec = {"tickvals": places, "ticktext": names, "showgrid": False, "zeroline": False}
    return {
        "data": data,
        "layout": layout(
            f"Predicted class, {part} examples: {differ} differ from the retrained model",
            max(300, min(640, 150 + 26 * len(names))),
            showlegend=False,
            xaxis=axis(f"predicted class, {MODEL_NAMES[model]}")
            | ticks
            | {"range": [-0.5, len(names) - 0.5]},
            yaxis=axis("predicted class, retrained") | ticks | {"range": [len(names) - 0.5, -0.5]},
        ),
    }


@Drawing
def class_accuracy(frame: "pd.DataFrame", class_names: tuple[str, ...], part: str = "test") -> Spec:
    """Accuracy of the three models in each class.

    Args:
        frame: table that :func:`~unlearnkit.evaluation.predictions.class_agreement` returned.
        class_names: names of all classes.
        part: part that the examples are from, for the title.
    """
    names = _names(frame, class_names)
    data: list[Spec] = []
    # Points of equal value would hide each other, so each model has a vertical offset.
    for model, shift in zip(MODELS, (-0.22, 0.0, 0.22), strict=True):
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": MODEL_NAMES[model],
                "x": frame[model].astype(float).tolist(),
                "y": [row + shift for row in range(len(names))],
                "marker": {"color": MODEL_COLORS[model], "size": 9, "symbol": MODEL_SYMBOLS[model]}
                | {"line": {"width": 1.5, "color": MODEL_COLORS[model]}},
                "customdata": [
                    f"class {name}, {count} examples"
                    for name, count in zip(names, frame["examples"], strict=True)
                ],
                "hovertemplate": f"{MODEL_NAMES[model]}, %{{customdata}}: %{{x:.1%}}"
                "<extra></extra>",
            }
        )
    values = frame[list(MODELS)].to_numpy()
    low = float(values.min()) if len(values) else 0.0
    return {
        "data": data,
        "layout": layout(
            f"Accuracy by class, {part} examples; the goal is the retrained model's",
            _height(names),
            xaxis=share_axis("accuracy", max(low - 0.05, -0.02), 1.02),
            yaxis=row_axis(names) | {"title": {"text": "class"}},
            shapes=row_lines(len(names)),
        ),
    }


@Drawing
def class_divergence(
    frame: "pd.DataFrame", class_names: tuple[str, ...], part: str = "test"
) -> Spec:
    """Mean KL of outputs from the retrained model in each class, unlearned and doing nothing.

    Args:
        frame: table that :func:`~unlearnkit.evaluation.predictions.class_agreement` returned.
        class_names: names of all classes.
        part: part that the examples are from, for the title.
    """
    names = _names(frame, class_names)
    columns = {"original": ("doing nothing", GREY), "unlearned": ("unlearned", ORANGE)}
    every = [float(value) for model in columns for value in frame[f"{model}_kl"]]
    # Rounding can make a mean slightly negative.
    xaxis, zero, band = log_axis(
        "mean KL from the retrained model (nats, logarithmic); best 0", [max(v, 0.0) for v in every]
    )
    data: list[Spec] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": [max(float(value), 0.0) or zero for value in frame[f"{model}_kl"]],
            "y": [row + shift for row in range(len(names))],
            "marker": {"color": color, "size": 9, "symbol": MODEL_SYMBOLS[model]}
            | {"line": {"width": 1.5, "color": color}},
            "customdata": [f"{max(value, 0.0):.3g}" for value in frame[f"{model}_kl"]],
            "hovertemplate": f"{name}: %{{customdata}} nats<extra></extra>",
        }
        for (model, (name, color)), shift in zip(columns.items(), (-0.15, 0.15), strict=True)
    ]
    return {
        "data": data,
        "layout": layout(
            f"Divergence of outputs from the retrained model by class, {part} examples",
            _height(names),
            xaxis=xaxis,
            yaxis=row_axis(names) | {"title": {"text": "class"}},
            shapes=[*row_lines(len(names)), *band],
        ),
    }


@Drawing
def predicted_targets(
    frame: "pd.DataFrame", target: str | int, model: str = "unlearned", part: str = "test"
) -> Spec:
    """Predictions of a regression against the true targets, of the retrained and another model.

    Args:
        frame: table that :func:`~unlearnkit.evaluation.predictions.predictions` returned.
        target: name or number of the target.
        model: model that is shown beside the retrained one.
        part: part that the examples are from, for the title.
    """
    own = frame[frame["target"] == target]
    ends = [float(own["true"].min()), float(own["true"].max())] if len(own) else [0.0, 1.0]
    data: list[Spec] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "a perfect prediction",
            "x": ends,
            "y": ends,
            "line": {"color": GREY, "width": 1, "dash": "dot"},
            "hoverinfo": "skip",
        }
    ]
    for name, symbol, size in (("scratch", "diamond-open", 9), (model, "circle", 5)):
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": MODEL_NAMES[name],
                "x": own["true"].tolist(),
                "y": own[name].tolist(),
                "customdata": own["id"].tolist(),
                "marker": {"color": MODEL_COLORS[name], "symbol": symbol, "size": size},
                "hovertemplate": f"{MODEL_NAMES[name]}, example %{{customdata}}: %{{y:.4g}} for "
                "%{x:.4g}<extra></extra>",
            }
        )
    return {
        "data": data,
        "layout": layout(
            f"Predicted {target} of {part} examples, {MODEL_NAMES[model]} and retrained",
            380,
            hovermode="closest",
            xaxis=axis("true", zeroline=False, tickformat="~g"),
            yaxis=axis("predicted", zeroline=False, tickformat="~g"),
        ),
    }


def _names(frame: "pd.DataFrame", class_names: tuple[str, ...]) -> list[str]:
    return [str(class_names[label]) for label in frame["class"]]


def _height(names: list[str]) -> int:
    return max(240, min(900, 130 + 20 * len(names)))
