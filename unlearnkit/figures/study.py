"""Figures of a study: how fast each policy was, and what it left."""

from typing import TYPE_CHECKING, Any

from unlearnkit.figures.drawing import (
    BLUE,
    FAINT,
    GREY,
    ORANGE,
    PURPLE,
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
def study_speed(frame: "pd.DataFrame") -> Spec:
    """Speed over exact retraining against the number of revoked examples, a line a policy.

    A panel a model. Points are medians over whatever else was varied; bars reach from the least to
    the greatest. Requests are uniform ones, where there are any.

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

    The line joins the points that no other beats in both. Doing nothing is at 0 %, however fast.

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
            "text": [_request(row) for row in rows.itertuples()],
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
    share = axis("share of doing nothing's output KL removed", tickformat=".0%", showgrid=True)
    shapes = [_level(1.0), _level(0.0), {**_band(*PAPER_SPEEDS), **_upright(*PAPER_SPEEDS)}]
    title = "Speed against what is removed"
    return {"data": data, "layout": layout(title, 420, xaxis=SPEEDS, yaxis=share, shapes=shapes)}


@Drawing
def study_workload(frame: "pd.DataFrame") -> Spec:
    """Workload of uniform requests: expected before they were known, and met.

    Args:
        frame: of :func:`~unlearnkit.study.study`.
    """
    some = frame[(frame["kind"] == "uniform") & (frame["policy"] == frame["policy"].iloc[0])]
    groups = list(some.groupby(["num_shards", "num_slices"]))
    data: list[Spec] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": f"{shards} x {slices}",
            "x": rows["expected_share"].tolist(),
            "y": rows["workload_share"].tolist(),
            "text": [_request(row) for row in rows.itertuples()],
            "marker": {"color": color, "size": 8, "opacity": 0.7},
            "hovertemplate": "%{text}<br>expected %{x:.1%}, met %{y:.1%}<extra></extra>",
        }
        for ((shards, slices), rows), color in zip(groups, shades(len(groups)), strict=True)
    ]
    line = {"color": GREY, "width": 1, "dash": "dot"}
    diagonal = {"type": "line", "x0": 0, "y0": 0, "x1": 1, "y1": 1, "layer": "below", "line": line}
    x = axis("expected, as a part of from scratch", tickformat=".0%", range=[0, 1.05])
    y = axis("met", tickformat=".0%", showgrid=True, range=[0, 1.05])
    title = "Workload of exact retraining, by shards x slices"
    return {
        "data": data,
        "layout": layout(title, 380, xaxis=x, yaxis=y, shapes=[diagonal]),
    }


@Drawing
def study_map(frame: "pd.DataFrame", policy: str = "adaptive") -> Spec:
    """Where a policy goes exact and where approximate, by shards, slices and size of a request.

    Args:
        frame: of :func:`~unlearnkit.study.study`; uniform requests are shown.
        policy: a name in it.

    Raises:
        KeyError: it has no such policy.
    """
    chosen = frame[(frame["policy"] == policy) & (frame["kind"] == "uniform")]
    if not len(chosen):
        known = ", ".join(dict.fromkeys(frame["policy"]))
        raise KeyError(f"no uniform request was met by a policy {policy!r}; known are {known}")
    table = chosen.assign(
        setting=[f"{r.model}, {r.num_shards} x {r.num_slices}" for r in chosen.itertuples()],
        share=chosen["approximate_shards"]
        / (chosen["approximate_shards"] + chosen["exact_shards"]).clip(lower=1),
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
        "colorscale": [[0, BLUE], [1, "#b36b00"]],
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "hovertemplate": "%{y}, %{x} revoked<br>%{z:.0%} of its shards approximate, %{text}"
        "<extra></extra>",
    }
    x = axis("revoked examples", type="category", showgrid=False)
    y = axis("", autorange="reversed", showgrid=False, automargin=True)
    title = f"Routes by {policy!r}: blue exact, brown approximate, with its speed over exact"
    height = max(260, 130 + 30 * len(shares))
    return {"data": [heat], "layout": layout(title, height, xaxis=x, yaxis=y)}


@Drawing
def stream_debt(frame: "pd.DataFrame") -> Spec:
    """Debt and cost over a stream of requests.

    Args:
        frame: of :func:`~unlearnkit.stream.stream`.
    """
    x = frame["round"].tolist()
    costs = {
        "always exact": (frame["exact_cpu_seconds"].cumsum(), GREY),
        "by the boundary": (frame["cpu_seconds"].cumsum(), ORANGE),
    }
    data: list[Spec] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": x,
            "y": sums.tolist(),
            "line": {"color": color, "width": 2},
            "hovertemplate": f"{name}, request %{{x}}: %{{y:.3g}} s so far<extra></extra>",
        }
        for name, (sums, color) in costs.items()
    ]
    data.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "debt",
            "x": x,
            "y": frame["debt"].tolist(),
            "yaxis": "y2",
            "fill": "tozeroy",
            "line": {"color": PURPLE, "width": 1.5, "shape": "hv"},
            "hovertemplate": "after request %{x}: %{y} ids owed<extra></extra>",
        }
    )
    retrained = frame[frame["exact_operations"] > 0]
    data.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "shards retrained exactly",
            "x": retrained["round"].tolist(),
            "y": retrained["debt"].tolist(),
            "yaxis": "y2",
            "text": retrained["exact_operations"].tolist(),
            "marker": {"color": BLUE, "size": 8},
            "hovertemplate": "request %{x}: %{text} shards retrained<extra></extra>",
        }
    )
    last = float(frame["speed"].iloc[-1])
    return {
        "data": data,
        "layout": layout(
            f"A stream of {len(frame)} requests: {last:.1f} times cheaper than always exact",
            440,
            xaxis=axis("request", anchor="y2"),
            yaxis=axis("CPU seconds so far", domain=[0.5, 1], showgrid=True, rangemode="tozero"),
            yaxis2=axis("ids owed", domain=[0, 0.4], showgrid=True, rangemode="tozero"),
        ),
    }


def _lines(frame: "pd.DataFrame", column: str, title: str, y: Spec, shapes: list[Spec]) -> Spec:
    """A line a policy in a panel a model; uniform requests, where there are any."""
    uniform = frame[frame["kind"] == "uniform"]
    frame = uniform if len(uniform) else frame
    models = list(dict.fromkeys(frame["model"]))
    wide = 1 / len(models)
    data: list[Spec] = []
    axes: Spec = {}
    titles: list[Spec] = []
    for number, model in enumerate(models):
        suffix = "" if not number else str(number + 1)
        left = number * wide
        domain = [left, left + wide * (0.94 if number + 1 < len(models) else 1)]
        axes[f"xaxis{suffix}"] = axis("revoked examples", type="log", dtick=1, domain=domain)
        if len(models) > 1:
            place = {"x": sum(domain) / 2, "y": 1, "xref": "paper", "yref": "paper"}
            font = {"color": GREY}
            titles.append(
                {"text": model, "showarrow": False, "yanchor": "bottom", "font": font, **place}
            )
        groups = list(_ways(frame[frame["model"] == model]))
        for (name, rows), color in zip(groups, shades(len(groups)), strict=True):
            by = rows.dropna(subset=[column]).groupby("revoked")[column]
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


def _request(row: Any) -> str:
    return f"{row.model}, {row.num_shards} x {row.num_slices}, {row.revoked} revoked ({row.kind})"


def _unbeaten(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Rows that no other is both faster and better than, slowest first."""
    ordered = frame.dropna(subset=["gap_removed"]).sort_values("speed", ascending=False)
    best = ordered["gap_removed"].cummax()
    rows = ordered[ordered["gap_removed"] >= best].drop_duplicates("gap_removed")
    return rows.iloc[::-1]


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
