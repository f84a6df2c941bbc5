"""Figure for selecting examples: a two-dimensional map of the training examples."""

import html
from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Bool

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
    found: ExampleMap,
    class_names: tuple[str, ...],
    waiting: Collection[int] = (),
    *,
    whose: Sequence[str] = (),
    kin: Collection[int] = (),
) -> Spec:
    """Map of training examples by class or target, with rings around those of the request.

    Args:
        found: the map: ids, coordinates and labels of the examples.
        class_names: names of all classes; empty for a regression.
        waiting: ids that the request would forget.
        whose: the group of each example, such as ``"person 17"``, shown where one points.
        kin: ids of examples to ring because they belong together.
    """
    data: list[Spec] = []
    owners = np.array([f", {html.escape(one)}" for one in whose] or [""] * len(found.ids), object)
    x, y = found.places.T.round(4)
    classes = np.unique(found.labels).tolist() if class_names else []
    if not class_names:
        data.append(_by_target(found, owners))
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
                **({"text": owners[mask].tolist()} if whose else {}),
                "hovertemplate": f"example %{{customdata}}, class {class_names[label]}"
                + ("%{text}" if whose else "")
                + "<extra></extra>",
            }
        )
    together = np.isin(found.ids, np.asarray(list(kin), np.int64))
    if together.any():
        data.append(_rings(found, together, "belong together", BLUE, 13))
    ringed = np.isin(found.ids, np.asarray(list(waiting), np.int64))
    if ringed.any():
        data.append(_rings(found, ringed, "in the request", VERMILLION, 11))
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


def _rings(
    found: ExampleMap, mask: Bool[np.ndarray, " point"], name: str, color: str, size: int
) -> Spec:
    """Draw rings around some examples."""
    x, y = found.places[mask].T.round(4)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": x.tolist(),
        "y": y.tolist(),
        "customdata": found.ids[mask].tolist(),
        "marker": {"color": color, "symbol": "circle-open", "size": size}
        | {"line": {"width": 2, "color": color}},
        "hoverinfo": "skip",
    }


def _by_target(found: ExampleMap, owners: np.ndarray) -> Spec:
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
        "text": [
            f"{value:.4g}{owner}"
            for value, owner in zip(found.labels.tolist(), owners.tolist(), strict=True)
        ],
        "marker": {"color": found.labels.tolist(), "colorscale": "Viridis", "size": 6}
        | {"opacity": 0.8, "showscale": True, "colorbar": {"title": {"text": "target"}}},
        "selected": {"marker": {"opacity": 1, "size": 8}},
        "unselected": {"marker": {"opacity": 0.15}},
        "hovertemplate": "example %{customdata}, target %{text}<extra></extra>",
    }
