"""Figures of a study: how fast each policy was, and what it left.

A figure can ring rows of its frame, named by their labels in its index; a point's ``customdata``
holds the labels of the rows that it stands for.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from unlearnkit.figures.drawing import (
    FAINT,
    GREY,
    VERMILLION,
    Drawing,
    Spec,
    axis,
    layout,
    shades,
)

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
def study_speed(frame: "pd.DataFrame", chosen: Collection[Any] = ()) -> Spec:
    """Speed over exact retraining against the number of revoked examples, a line a policy.

    A panel a model. Points are medians over whatever else was varied; bars reach from the least to
    the greatest. Requests are uniform ones, where there are any.

    Args:
        frame: of :func:`~unlearnkit.studies.study.study`.
        chosen: labels of rows to ring.
    """
    return _lines(
        frame,
        "speed",
        "Speed over exact retraining",
        SPEEDS,
        [_band(*PAPER_SPEEDS), _level(1.0)],
        chosen,
    )


@Drawing
def study_gap(frame: "pd.DataFrame", chosen: Collection[Any] = ()) -> Spec:
    """Part of doing nothing's gap that is removed against the number of revoked examples.

    Args:
        frame: of :func:`~unlearnkit.studies.study.study`.
        chosen: labels of rows to ring.
    """
    title = "Gap to from scratch that is removed"
    share = axis("share of doing nothing's output KL", tickformat=".0%", showgrid=True)
    return _lines(frame, "gap_removed", title, share, [_level(1.0), _level(0.0)], chosen)


@Drawing
def study_frontier(frame: "pd.DataFrame", chosen: Collection[Any] = ()) -> Spec:
    """Speed against gap removed, a point a request: right and up is better.

    The line joins the points that no other beats in both. Doing nothing is at 0 %, however fast.

    Args:
        frame: of :func:`~unlearnkit.studies.study.study`.
        chosen: labels of rows to ring.
    """
    groups = list(_ways(frame))
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": rows["speed"].tolist(),
            "y": rows["gap_removed"].tolist(),
            "text": [request_words(row) for row in rows.itertuples()],
            "customdata": [[label] for label in rows.index.tolist()],
            "marker": {"color": color, "size": 8, "opacity": 0.7},
            "hovertemplate": f"{name}<br>%{{text}}<br>%{{x:.2g}}x, %{{y:.0%}} removed"
            "<extra></extra>",
        }
        for (name, rows), color in zip(groups, shades(len(groups)), strict=True)
    ]
    best = _unbeaten(frame)
    data.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "beaten by none",
            "x": best["speed"].tolist(),
            "y": best["gap_removed"].tolist(),
            "line": {"color": GREY, "width": 1.5, "shape": "vh"},
            "hoverinfo": "skip",
        }
    )
    data += rings(frame.loc[frame.index.isin(chosen)], "speed", "gap_removed")
    share = axis("share of doing nothing's output KL removed", tickformat=".0%", showgrid=True)
    shapes = [_level(1.0), _level(0.0), {**_band(*PAPER_SPEEDS), **_upright(*PAPER_SPEEDS)}]
    title = "Speed against what is removed"
    return {"data": data, "layout": layout(title, 420, xaxis=SPEEDS, yaxis=share, shapes=shapes)}


def _lines(
    frame: "pd.DataFrame",
    column: str,
    title: str,
    y: Spec,
    shapes: list[Spec],
    chosen: Collection[Any],
) -> Spec:
    """A line a policy in a panel a model; uniform requests, where there are any."""
    uniform = frame[frame["kind"] == "uniform"]
    frame = uniform if len(uniform) else frame
    models = list(dict.fromkeys(frame["model"]))
    wide = 1 / len(models)
    sizes = sorted(frame["revoked"].unique().tolist())
    ticks: Spec = {"tickvals": sizes} if len(sizes) <= 6 else {"dtick": 1}
    data: list[Spec] = []
    axes: Spec = {}
    titles: list[Spec] = []
    for number, model in enumerate(models):
        suffix = "" if not number else str(number + 1)
        left = number * wide
        domain = [left, left + wide * (0.94 if number + 1 < len(models) else 1)]
        axes[f"xaxis{suffix}"] = axis("revoked examples", type="log", domain=domain) | ticks
        if len(models) > 1:
            place = {"x": sum(domain) / 2, "y": 1, "xref": "paper", "yref": "paper"}
            font = {"color": GREY}
            titles.append(
                {"text": model, "showarrow": False, "yanchor": "bottom", "font": font, **place}
            )
        groups = list(_ways(frame[frame["model"] == model]))
        for (name, rows), color in zip(groups, shades(len(groups)), strict=True):
            known = rows.dropna(subset=[column])
            by = known.groupby("revoked")[column]
            middle, low, high = by.median(), by.min(), by.max()
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": name,
                    "legendgroup": name,
                    "showlegend": not number,
                    "xaxis": f"x{suffix}",
                    "x": middle.index.tolist(),
                    "y": middle.tolist(),
                    "customdata": [
                        known.index[known["revoked"] == k].tolist() for k in middle.index
                    ],
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
        ringed = frame[(frame["model"] == model) & frame.index.isin(chosen)]
        data += rings(ringed, "revoked", column, xaxis=f"x{suffix}")
    drawn = layout(title, 400, **axes, yaxis=y, shapes=shapes, annotations=titles)
    drawn["margin"] = {**drawn["margin"], "t": 84}
    drawn["legend"] = {**drawn["legend"], "y": 1.08 if len(models) > 1 else 1.02}
    return {"data": data, "layout": drawn}


def _ways(frame: "pd.DataFrame") -> list[tuple[str, "pd.DataFrame"]]:
    """Rows of every policy with its method and amend, named by what differs among them."""
    several = [column for column in WAY[1:] if frame[column].nunique() > 1]
    return [
        (", ".join(str(rows.iloc[0][column]) for column in ["policy", *several]), rows)
        for _, rows in frame.groupby(WAY, sort=False)
    ]


def request_words(row: Any) -> str:
    """A request in words."""
    return f"{row.model}, {row.num_shards} x {row.num_slices}, {row.revoked} revoked ({row.kind})"


def _unbeaten(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Rows that no other is both faster and better than, slowest first."""
    ordered = frame.dropna(subset=["gap_removed"]).sort_values("speed", ascending=False)
    best = ordered["gap_removed"].cummax()
    rows = ordered[ordered["gap_removed"] >= best].drop_duplicates("gap_removed")
    return rows.iloc[::-1]


def rings(rows: "pd.DataFrame", x: str, y: str, **more: str) -> list[Spec]:
    """A ring around each of some rows."""
    if not len(rows):
        return []
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "x": rows[x].tolist(),
            "y": rows[y].tolist(),
            "marker": {
                "color": VERMILLION,
                "size": 16,
                "symbol": "circle-open",
                "line": {"width": 3},
            },
            "hoverinfo": "skip",
            "showlegend": False,
            **more,
        }
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
