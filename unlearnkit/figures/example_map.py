"""Figure for selecting examples: a two-dimensional map of the training examples."""

from collections.abc import Collection

import numpy as np

from unlearnkit.figures.drawing import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Drawing,
    Spec,
    axis,
    layout,
    percent,
)
from unlearnkit.selection.example_map import ExampleMap

# Colours and symbols together distinguish 18 classes; vermillion marks the request.
_COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY, GREY)
_SYMBOLS = ("circle", "diamond", "square")


@Drawing
def example_map(
    found: ExampleMap, class_names: tuple[str, ...], waiting: Collection[int] = ()
) -> Spec:
    """Map of training examples by class or target, with rings around those of the request.

    Args:
        found: the map: ids, coordinates and labels of the examples.
        class_names: names of all classes; empty for a regression.
        waiting: ids that the request would forget.
    """
    data: list[Spec] = []
    x, y = found.places.T.round(4)
    classes = np.unique(found.labels).tolist() if class_names else []
    if not class_names:
        data.append(_by_target(found))
    for label in classes:
        mask = found.labels == label
        color = _COLORS[label % len(_COLORS)]
        symbol = _SYMBOLS[label // len(_COLORS) % len(_SYMBOLS)]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": class_names[label],
                "x": x[mask].tolist(),
                "y": y[mask].tolist(),
                "customdata": found.ids[mask].tolist(),
                "marker": {"color": color, "symbol": symbol, "size": 6, "opacity": 0.8},
                "selected": {"marker": {"opacity": 1, "size": 8}},
                "unselected": {"marker": {"opacity": 0.15}},
                "hovertemplate": f"example %{{customdata}}, class {class_names[label]}"
                "<extra></extra>",
            }
        )
    ringed = np.isin(found.ids, np.asarray(list(waiting), np.int64))
    if ringed.any():
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "in the request",
                "x": x[ringed].tolist(),
                "y": y[ringed].tolist(),
                "customdata": found.ids[ringed].tolist(),
                "marker": {"color": VERMILLION, "symbol": "circle-open", "size": 11}
                | {"line": {"width": 2, "color": VERMILLION}},
                "hoverinfo": "skip",
            }
        )
    place = f"their {found.layer}"
    if found.shard is not None:
        place = f"the {found.layer} of shard {found.shard}'s model"
    centres = [
        (class_names[label], *np.median(found.places[found.labels == label], 0).tolist())
        for label in classes
    ]
    return {
        "data": data,
        "layout": layout(
            f"{len(found.ids):,} of {found.total:,} training examples by {place}",
            480,
            dragmode="lasso",
            clickmode="event+select",
            hovermode="closest",
            xaxis=axis(
                f"first principal axis (both axes: {percent(found.explained, 0)} of the variance)",
                zeroline=False,
                tickformat="~g",
            ),
            yaxis=axis("second principal axis", zeroline=False, tickformat="~g"),
            annotations=[
                {
                    "x": x,
                    "y": y,
                    "text": f"<b>{name}</b>",
                    "showarrow": False,
                    "bgcolor": FAINT,
                    "borderpad": 2,
                }
                for name, x, y in (centres if len(centres) > 3 else ())  # else the legend will do
            ],
        ),
    }


def _by_target(found: ExampleMap) -> Spec:
    """Draw all examples of a regression, coloured by their target."""
    x, y = found.places.T.round(4)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "examples",
        "showlegend": False,
        "x": x.tolist(),
        "y": y.tolist(),
        "customdata": found.ids.tolist(),
        "text": [f"{value:.4g}" for value in found.labels.tolist()],
        "marker": {"color": found.labels.tolist(), "colorscale": "Viridis", "size": 6}
        | {"opacity": 0.8, "showscale": True, "colorbar": {"title": {"text": "target"}}},
        "selected": {"marker": {"opacity": 1, "size": 8}},
        "unselected": {"marker": {"opacity": 0.15}},
        "hovertemplate": "example %{customdata}, target %{text}<extra></extra>",
    }
