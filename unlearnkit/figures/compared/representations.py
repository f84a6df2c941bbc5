"""Figures of representations: similarity of layers, and examples in the last hidden layer."""

from typing import TYPE_CHECKING

import numpy as np

from unlearnkit.evaluation.representations import TwinEmbedding
from unlearnkit.figures.drawing import (
    BLUE,
    FAINT,
    GREEN,
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
    percent,
    row_axis,
    row_lines,
)

if TYPE_CHECKING:
    import pandas as pd


@Drawing
def layer_similarity(frame: "pd.DataFrame") -> Spec:
    """Dissimilarity 1 - CKA of each layer's output from the retrained model's; one dot per shard.

    Args:
        frame: table that :func:`~unlearnkit.evaluation.representations.layer_similarity` returned.
    """
    layers = list(dict.fromkeys(frame["layer"]))
    lacking = 1 - frame["cka"]
    zeros = frame["identical"][lacking == 0]
    tick = "0, bit<br>for bit" if zeros.all() else "0"
    xaxis, zero, band = log_axis("1 - CKA (logarithmic); best 0", lacking.tolist(), zero=tick)
    unlearned = frame["model"] == "unlearned"
    groups = {
        "original": (~unlearned, GREY, "circle-open", -0.18),
        "unlearned": (unlearned & ~frame["identical"], ORANGE, "circle", 0.18),
        "unlearned, equal bit for bit": (unlearned & frame["identical"], BLUE, "diamond", 0.18),
    }
    data: list[Spec] = []
    for name, (mask, color, symbol, shift) in groups.items():
        part = frame[mask & frame["cka"].notna()]
        if part.empty:
            continue
        records = part.to_dict("records")
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [float(1 - row["cka"]) or zero for row in records],
                "y": [layers.index(row["layer"]) + shift for row in records],
                "marker": {"color": color, "size": 9, "symbol": symbol}
                | {"line": {"width": 1.5, "color": color}},
                "customdata": [
                    [row["shard"], row["layer"], f"{row['cka']:.6f}"] for row in records
                ],
                "hovertemplate": f"{name}<br>shard %{{customdata[0]}}, %{{customdata[1]}}<br>"
                "CKA %{customdata[2]}<extra></extra>",
            }
        )
    return {
        "data": data,
        "layout": layout(
            "Dissimilarity of each layer's output from the retrained model's",
            max(240, 150 + 44 * len(layers)),
            xaxis=xaxis,
            yaxis=row_axis(layers),
            shapes=[*row_lines(len(layers)), *band],
        ),
    }


@Drawing
def twin_embedding(twin: TwinEmbedding, class_names: tuple[str, ...]) -> Spec:
    """The same examples in the last hidden layers of two models, linked by lines.

    Args:
        twin: coordinates of the examples in both models.
        class_names: names of all classes; empty for a regression.
    """
    name, color = MODEL_NAMES[twin.model], MODEL_COLORS[twin.model]
    links: list[list[float | None]] = [[], []]
    for a, b in zip(twin.scratch.tolist(), twin.other.tolist(), strict=True):
        for line, start, end in zip(links, a, b, strict=True):
            line += [start, end, None]
    data: list[Spec] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "the same example",
            "x": links[0],
            "y": links[1],
            "line": {"color": GREY, "width": 1},
            "hoverinfo": "skip",
        }
    ]
    words = np.array(
        [
            f"example {i}, "
            + (f"class {class_names[label]}" if class_names else f"target {label:.4g}")
            + (", forgotten" if gone else "")
            for i, label, gone in zip(
                twin.ids.tolist(), twin.labels.tolist(), twin.forgotten.tolist(), strict=True
            )
        ],
        object,
    )
    groups = (
        ("retrained", twin.scratch, ~twin.forgotten, GREEN, "diamond-open", 8),
        (name, twin.other, ~twin.forgotten, color, "circle", 5),
        ("forgotten, retrained", twin.scratch, twin.forgotten, PURPLE, "diamond-open", 11),
        (f"forgotten, {name}", twin.other, twin.forgotten, PURPLE, "circle", 7),
    )
    for title, places, mask, ink, symbol, size in groups:
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": title,
                "x": places[mask, 0].tolist(),
                "y": places[mask, 1].tolist(),
                "marker": {"color": ink, "size": size, "symbol": symbol, "opacity": 0.85}
                | {"line": {"width": 1.5, "color": ink}},
                "customdata": words[mask].tolist(),
                "hovertemplate": f"%{{customdata}}<br>{title}<extra></extra>",
            }
        )
    shown = ~twin.forgotten
    centres = {
        label: twin.scratch[shown & (twin.labels == label)].mean(0)
        for label in (np.unique(twin.labels[shown]).tolist() if class_names else ())
    }
    state = ": the same coordinates, bit for bit" if twin.identical else ""
    return {
        "data": data,
        "layout": layout(
            f"{twin.layer.capitalize()} of shard {twin.shard}, {name} and retrained{state}",
            460,
            hovermode="closest",
            xaxis=axis(
                f"first principal axis of the retrained model (both axes: "
                f"{percent(twin.explained, 0)} of its variance)",
                zeroline=False,
                tickformat="~g",
            ),
            yaxis=axis("second principal axis", zeroline=False, tickformat="~g"),
            annotations=[
                {
                    "x": float(x),
                    "y": float(y),
                    "text": f"<b>{class_names[label]}</b>",
                    "showarrow": False,
                    "bgcolor": FAINT,
                    "borderpad": 2,
                }
                for label, (x, y) in centres.items()
            ],
        ),
    }
