"""Figures of a study: the speed of each policy, and the gap to retraining that it removed.

The figures draw rings around chosen rows, which are given by their index labels. The
``customdata`` of a point holds the index labels of its rows.
"""

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearnkit.figures.drawing import (
    FAINT,
    GREY,
    VERMILLION,
    Drawing,
    Spec,
    axis,
    layout,
    styles,
)
from unlearnkit.figures.palette import Style
from unlearnkit.figures.studies.labels import LETTER, beside_ends, beside_points

if TYPE_CHECKING:
    import pandas as pd

# The speed-up that the abstract of Li, Yu, Wang et al. 2024 reports, drawn as a band for
# orientation; it is not a claim about these runs.
PAPER_SPEEDS = (1.5, 8.0)
AT_RANDOM = ("uniform", "likely")  # kinds of requests whose examples are drawn from all
GROUP_COLUMNS = ["policy", "method", "amend"]
SPEEDS = axis(
    "speed relative to exact retraining",
    type="log",
    showgrid=True,
    tickvals=[0.1, 0.2, 0.5, 1, 2, 4, 8, 16, 32, 64],
)


@Drawing
def study_speed(frame: "pd.DataFrame", chosen: Collection[Any] = ()) -> Spec:
    """Speed relative to exact retraining by number of revoked examples, one line per policy.

    There is one panel per model. Points are medians over all other settings, and bars reach from
    the minimum to the maximum. If there are requests of examples at random, only these are shown.

    Args:
        frame: table that :func:`~unlearnkit.studies.study.study` returned.
        chosen: index labels of the rows to mark with a ring.
    """
    return _lines(
        frame,
        "speed",
        "Speed relative to exact retraining",
        SPEEDS,
        [_band(*PAPER_SPEEDS), _level(1.0)],
        chosen,
    )


@Drawing
def study_gap(frame: "pd.DataFrame", chosen: Collection[Any] = ()) -> Spec:
    """Share of the gap to the retrained model that is removed, by number of revoked examples.

    The gap is the mean KL of test outputs from the retrained model, relative to doing nothing.

    Args:
        frame: table that :func:`~unlearnkit.studies.study.study` returned.
        chosen: index labels of the rows to mark with a ring.
    """
    title = "Share of the gap to the retrained model that is removed"
    share = axis("share of doing nothing's output KL", tickformat=".0%", showgrid=True)
    return _lines(frame, "gap_removed", title, share, [_level(1.0), _level(0.0)], chosen)


@Drawing
def study_frontier(frame: "pd.DataFrame", chosen: Collection[Any] = ()) -> Spec:
    """Speed against the share of the gap that is removed, one point per request.

    Points further right and further up are better. The line is the Pareto front: the points that
    no other point exceeds in both. Doing nothing lies at 0 %.

    Args:
        frame: table that :func:`~unlearnkit.studies.study.study` returned.
        chosen: index labels of the rows to mark with a ring.
    """
    groups = list(_groups(frame))
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": rows["speed"].tolist(),
            "y": rows["gap_removed"].tolist(),
            "text": [describe_request(row) for row in rows.itertuples()],
            "customdata": [[label] for label in rows.index.tolist()],
            "marker": {"color": style.color, "symbol": style.symbol, "size": 8, "opacity": 0.75},
            "hovertemplate": f"{name}<br>%{{text}}<br>%{{x:.2g}}x, %{{y:.0%}} removed"
            "<extra></extra>",
        }
        for (name, rows), style in zip(groups, styles(len(groups)), strict=True)
    ]
    best = _pareto_front(frame)
    data.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "Pareto front",
            "x": best["speed"].tolist(),
            "y": best["gap_removed"].tolist(),
            "line": {"color": GREY, "width": 1.5, "shape": "vh"},
            "hoverinfo": "skip",
        }
    )
    data += rings(frame.loc[frame.index.isin(chosen)], "speed", "gap_removed")
    share = axis("share of doing nothing's output KL removed", tickformat=".0%", showgrid=True)
    shapes = [_level(1.0), _level(0.0), {**_band(*PAPER_SPEEDS), **_vertical(*PAPER_SPEEDS)}]
    title = "Speed against the share of the gap that is removed; line: Pareto front"
    drawn = layout(title, 420, xaxis=SPEEDS, yaxis=share, shapes=shapes)
    drawn |= {"annotations": _name_clouds(groups, frame, 310), "showlegend": False}
    return {"data": data, "layout": drawn}


def _lines(
    frame: "pd.DataFrame",
    column: str,
    title: str,
    y: Spec,
    shapes: list[Spec],
    chosen: Collection[Any],
) -> Spec:
    """Draw one line per policy in one panel per model, of requests at random if there are any."""
    uniform = frame[frame["kind"].isin(AT_RANDOM)]
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
            titles.append({"text": model, "showarrow": False, "yanchor": "bottom", **place})
        groups = list(_groups(frame[frame["model"] == model]))
        looks = styles(len(groups))
        for (name, rows), style in zip(groups, looks, strict=True):
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
                    "line": {"color": style.color, "dash": style.dash, "width": 1.75},
                    "marker": {"color": style.color, "symbol": style.symbol, "size": 8},
                    "hovertemplate": f"{name}, %{{x}} revoked: %{{y:.2f}}<extra></extra>",
                }
            )
        ringed = frame[(frame["model"] == model) & frame.index.isin(chosen)]
        data += rings(ringed, "revoked", column, xaxis=f"x{suffix}")
    drawn = layout(title, 400, **axes, yaxis=y, shapes=shapes, annotations=titles)
    drawn["margin"] = {**drawn["margin"], "t": 84}
    drawn["legend"] = {**drawn["legend"], "y": 1.08 if len(models) > 1 else 1.02}
    if len(models) == 1:
        _name_lines(data, drawn, dict(zip((name for name, _ in groups), looks, strict=True)))
    return {"data": data, "layout": drawn}


def _name_lines(data: list[Spec], drawn: Spec, looks: dict[str, Style]) -> None:
    """Write the name of each line at its end, in place of a legend."""
    log = drawn["yaxis"].get("type") == "log"
    scaled = math.log10 if log else float
    lines = [trace for trace in data if trace.get("name") in looks and trace["y"]]
    ends = [
        scaled(max(value, 1e-9) if log else value)
        for trace in lines
        for middle, above, below in zip(
            trace["y"], trace["error_y"]["array"], trace["error_y"]["arrayminus"], strict=True
        )
        for value in (middle + above, middle - below)
    ]
    if not ends:
        return
    pad = 0.06 * (max(ends) - min(ends)) or 0.1
    low, high = min(ends) - pad, max(ends) + pad
    longest = max(map(len, looks))
    drawn["margin"] = {**drawn["margin"], "r": min(240, 40 + round(LETTER * longest)), "t": 48}
    drawn["showlegend"] = False
    drawn["yaxis"] = {**drawn["yaxis"], "range": [low, high]}
    labels = [
        (
            trace["name"],
            looks[trace["name"]],
            0.0,
            scaled(max(trace["y"][-1], 1e-9) if log else trace["y"][-1]),
        )
        for trace in lines
    ]
    height = drawn["height"] - drawn["margin"]["t"] - drawn["margin"]["b"]
    drawn["annotations"] = [*drawn["annotations"], *beside_ends(labels, high - low, height)]


def _name_clouds(
    groups: "list[tuple[str, pd.DataFrame]]", frame: "pd.DataFrame", height: float
) -> list[Spec]:
    """Write the name of each group beside its median point."""
    known = frame.dropna(subset=["gap_removed"])
    if known.empty:
        return []
    x, y = np.log10(known["speed"].clip(lower=1e-9)), known["gap_removed"]
    labels = []
    for (name, rows), style in zip(groups, styles(len(groups)), strict=True):
        own = rows.dropna(subset=["gap_removed"])
        if len(own):
            place = math.log10(max(float(own["speed"].median()), 1e-9))
            labels.append((name, style, place, float(own["gap_removed"].median())))
    spans = (1.1 * float(x.max() - x.min()), 1.1 * float(y.max() - y.min()))
    return beside_points(labels, spans, height)


def _groups(frame: "pd.DataFrame") -> list[tuple[str, "pd.DataFrame"]]:
    """Group rows by policy, method and amend, named by the columns that vary."""
    several = [column for column in GROUP_COLUMNS if frame[column].nunique() > 1] or ["policy"]
    return [
        (", ".join(str(rows.iloc[0][column]) for column in several), rows)
        for _, rows in frame.groupby(GROUP_COLUMNS, sort=False)
    ]


def describe_request(row: Any) -> str:
    """Describe a request in a few words."""
    return f"{row.model}, {row.num_shards} x {row.num_slices}, {row.revoked} revoked ({row.kind})"


def _pareto_front(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the Pareto-optimal rows in speed and gap removed, slowest first."""
    ordered = frame.dropna(subset=["gap_removed"]).sort_values("speed", ascending=False)
    best = ordered["gap_removed"].cummax()
    rows = ordered[ordered["gap_removed"] >= best].drop_duplicates("gap_removed")
    return rows.iloc[::-1]


def rings(rows: "pd.DataFrame", x: str, y: str, **more: str) -> list[Spec]:
    """Draw a ring around each of these rows."""
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
    """Draw the band of speeds that the paper reports."""
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
            "font": {"size": 11},
        },
    }


def _vertical(low: float, high: float) -> Spec:
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
