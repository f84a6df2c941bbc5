"""Figures of a study: expected and actual workloads, and the routes that a policy chose."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from unlearnkit.figures.drawing import (
    BLUE,
    GREY,
    VERMILLION,
    Drawing,
    Spec,
    axis,
    layout,
    share_axis,
    styles,
)
from unlearnkit.figures.studies.study import AT_RANDOM, describe_request, rings

if TYPE_CHECKING:
    import pandas as pd


BROWN = "#8f5200"  # white text is readable on it


@Drawing
def study_workload(frame: "pd.DataFrame", chosen: Collection[Any] = ()) -> Spec:
    """Actual workload of random requests against the workload expected beforehand.

    Args:
        frame: table that :func:`~unlearnkit.studies.study.study` returned.
        chosen: index labels of the rows to mark with a ring.
    """
    uniform = frame[frame["kind"].isin(AT_RANDOM)]
    some = uniform[uniform["policy"] == frame["policy"].iloc[0]]  # the same for all policies
    groups = list(some.groupby(["num_shards", "num_slices"]))
    data: list[Spec] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": f"{shards} x {slices}",
            "x": rows["expected_share"].tolist(),
            "y": rows["workload_share"].tolist(),
            "text": [describe_request(row) for row in rows.itertuples()],
            "customdata": [[label] for label in rows.index.tolist()],
            "marker": {"color": style.color, "symbol": style.symbol, "size": 8, "opacity": 0.75},
            "hovertemplate": "%{text}<br>expected %{x:.1%}, actual %{y:.1%}<extra></extra>",
        }
        for ((shards, slices), rows), style in zip(groups, styles(len(groups)), strict=True)
    ]
    data += rings(uniform.loc[uniform.index.isin(chosen)], "expected_share", "workload_share")
    line = {"color": GREY, "width": 1, "dash": "dot"}
    diagonal = {"type": "line", "x0": 0, "y0": 0, "x1": 1, "y1": 1, "layer": "below", "line": line}
    x = share_axis("expected share of full retraining", 0, 1.02)
    y = share_axis("actual share", 0, 1.02) | {"showgrid": True}
    title = "Workload of exact retraining, by shards x slices"
    return {
        "data": data,
        "layout": layout(title, 380, xaxis=x, yaxis=y, shapes=[diagonal]),
    }


@Drawing
def study_map(
    frame: "pd.DataFrame", policy: str = "adaptive", chosen: Collection[Any] = ()
) -> Spec:
    """Share of shards that a policy unlearns approximately, by shards, slices and request size.

    Args:
        frame: table that :func:`~unlearnkit.studies.study.study` returned; only its random
            requests are shown.
        policy: a name in its ``policy`` column.
        chosen: index labels of the rows whose cells are framed.

    Raises:
        KeyError: the table has no random request of this policy.
    """
    met = frame[(frame["policy"] == policy) & frame["kind"].isin(AT_RANDOM)]
    if not len(met):
        known = ", ".join(dict.fromkeys(frame["policy"]))
        raise KeyError(f"there is no random request with policy {policy!r}; choose from {known}")
    table = met.assign(
        setting=[_setting(row) for row in met.itertuples()],
        share=met["approximate_shards"]
        / (met["approximate_shards"] + met["exact_shards"]).clip(lower=1),
    )
    middle = table.groupby(["setting", "revoked"], sort=False)[["share", "speed"]].median()
    shares, speeds = (middle[column].unstack().sort_index(axis=1) for column in ("share", "speed"))
    columns = [f"{count:,}" for count in shares.columns]
    words = [
        [
            "" if speed != speed else "exact" if not share else f"{speed:.1f}x"
            for share, speed in zip(*rows, strict=True)
        ]
        for rows in zip(shares.to_numpy().tolist(), speeds.to_numpy().tolist(), strict=True)
    ]
    heat = {
        "type": "heatmap",
        "name": policy,
        "x": columns,
        "y": shares.index.tolist(),
        "z": [[None if z != z else z for z in row] for row in shares.to_numpy().tolist()],
        "customdata": words,
        "text": words,
        "texttemplate": "%{text}",
        "textfont": {"color": "white"},
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, BLUE], [1, BROWN]],
        "showscale": False,
        "showlegend": False,
        "xgap": 2,
        "ygap": 2,
        "hovertemplate": "%{y}, %{x} revoked<br>%{z:.0%} of its shards approximate, %{text}"
        "<extra></extra>",
    }
    x = axis("revoked examples", type="category", showgrid=False)
    y = axis("", autorange="reversed", showgrid=False, automargin=True)
    title = f"Routes of {policy!r}: blue exact, brown approximate; speed relative to exact"
    height = max(260, 130 + 30 * len(shares))
    ringed = frame[frame.index.isin(chosen) & frame["kind"].isin(AT_RANDOM)]
    cells = {(_setting(row), row.revoked) for row in ringed.itertuples()}
    sizes: list[Any] = shares.columns.tolist()
    settings: list[Any] = shares.index.tolist()
    shapes = [
        _frame(sizes.index(revoked), settings.index(setting))
        for setting, revoked in sorted(cells)
        if setting in settings and revoked in sizes
    ]
    drawn = layout(title, height, xaxis=x, yaxis=y, shapes=shapes)
    return {"data": [heat], "layout": drawn}


def _frame(column: int, row: int) -> Spec:
    """Draw a frame around a cell of the map."""
    place = {"x0": column - 0.5, "x1": column + 0.5, "y0": row - 0.5, "y1": row + 0.5}
    return {"type": "rect", **place, "line": {"color": VERMILLION, "width": 3}}


def _setting(row: Any) -> str:
    return f"{row.model}, {row.num_shards} x {row.num_slices}"
