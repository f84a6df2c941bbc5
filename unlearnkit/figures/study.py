"""Figures of a study: how fast each policy was, and what it left."""

from typing import TYPE_CHECKING

from unlearnkit.figures.drawing import FAINT, GREY, Drawing, Spec, axis, layout, shades

if TYPE_CHECKING:
    import pandas as pd

# The speed-up that the paper's abstract reports (Li, Yu, Wang et al. 2024); a band to look at, not
# a claim about these runs.
PAPER_SPEEDS = (1.5, 8.0)
WAY = ["policy", "method", "amend"]
SPEEDS = axis(
    "times exact retraining's speed",
    type="log",
    showgrid=True,
    tickvals=[0.1, 0.2, 0.5, 1, 2, 4, 8, 16, 32, 64],
)


@Drawing
def study_speed(frame: "pd.DataFrame") -> Spec:
    """Speed over exact retraining against the number of revoked examples, a line a policy.

    Points are medians over whatever else was varied; bars reach from the least to the greatest.

    Args:
        frame: of :func:`~unlearnkit.study.study`.
    """
    return _lines(
        frame,
        "speed",
        "Speed over exact retraining",
        SPEEDS,
        [_band(*PAPER_SPEEDS), _level(1.0)],
    )


@Drawing
def study_gap(frame: "pd.DataFrame") -> Spec:
    """Part of doing nothing's gap that is removed against the number of revoked examples.

    Args:
        frame: of :func:`~unlearnkit.study.study`.
    """
    title = "Gap to from scratch that is removed"
    share = axis("share of doing nothing's output KL", tickformat=".0%", showgrid=True)
    return _lines(frame, "gap_removed", title, share, [_level(1.0), _level(0.0)])


@Drawing
def study_frontier(frame: "pd.DataFrame") -> Spec:
    """Speed against gap removed, a point a request: right and up is better.

    Args:
        frame: of :func:`~unlearnkit.study.study`.
    """
    groups = list(_ways(frame))
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": rows["speed"].tolist(),
            "y": rows["gap_removed"].tolist(),
            "text": [
                f"{row.model}, {row.num_shards} x {row.num_slices}, {row.revoked} revoked"
                for row in rows.itertuples()
            ],
            "marker": {"color": color, "size": 9, "opacity": 0.8},
            "hovertemplate": f"{name}<br>%{{text}}<br>%{{x:.2g}}x, %{{y:.0%}} removed"
            "<extra></extra>",
        }
        for (name, rows), color in zip(groups, shades(len(groups)), strict=True)
    ]
    share = axis("share of doing nothing's output KL removed", tickformat=".0%", showgrid=True)
    shapes = [_level(1.0), {**_band(*PAPER_SPEEDS), **_upright(*PAPER_SPEEDS)}]
    return {
        "data": data,
        "layout": layout(
            "Speed against what is removed", 380, xaxis=SPEEDS, yaxis=share, shapes=shapes
        ),
    }


def _lines(frame: "pd.DataFrame", column: str, title: str, y: Spec, shapes: list[Spec]) -> Spec:
    data = []
    groups = list(_ways(frame))
    for (name, rows), color in zip(groups, shades(len(groups)), strict=True):
        by = rows.dropna(subset=[column]).groupby("revoked")[column]
        middle, low, high = by.median(), by.min(), by.max()
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": middle.index.tolist(),
                "y": middle.tolist(),
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": (high - middle).tolist(),
                    "arrayminus": (middle - low).tolist(),
                    "thickness": 1,
                    "width": 3,
                },
                "line": {"color": color, "width": 1.75},
                "hovertemplate": f"{name}, %{{x}} revoked: %{{y:.2f}}<extra></extra>",
            }
        )
    x = axis("revoked examples", type="log", dtick=1)
    return {"data": data, "layout": layout(title, 380, xaxis=x, yaxis=y, shapes=shapes)}


def _ways(frame: "pd.DataFrame") -> list[tuple[str, "pd.DataFrame"]]:
    """Rows of every policy with its method and amend, named by what differs among them."""
    several = [column for column in WAY[1:] if frame[column].nunique() > 1]
    return [
        (", ".join(str(rows.iloc[0][column]) for column in ["policy", *several]), rows)
        for _, rows in frame.groupby(WAY, sort=False)
    ]


def _band(low: float, high: float) -> Spec:
    """The speeds that the paper reports."""
    return {
        "type": "rect",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": low,
        "y1": high,
        "layer": "below",
        "line": {"width": 0},
        "fillcolor": FAINT,
        "label": {
            "text": "1.5x to 8x: the paper's abstract",
            "textposition": "top left",
            "font": {"size": 11, "color": GREY},
        },
    }


def _upright(low: float, high: float) -> Spec:
    return {"xref": "x", "yref": "paper", "x0": low, "x1": high, "y0": 0, "y1": 1}


def _level(y: float) -> Spec:
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": y,
        "y1": y,
        "layer": "below",
        "line": {"color": GREY, "width": 1, "dash": "dot"},
    }
