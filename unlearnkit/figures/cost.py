"""Figure of a request's cost and remaining error or debt as functions of the threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

from unlearnkit.figures.drawing import (
    BLUE,
    GREY,
    ORANGE,
    VERMILLION,
    Drawing,
    Spec,
    axis,
    duration,
    layout,
)

HEADROOM = 1.5  # length of a y axis over its largest value, so that labels fit above the points


@dataclass(frozen=True)
class CurvePoint:
    """Predicted cost and consequences of a decision at one threshold.

    Attributes:
        share: the threshold, or the share of retraining that the exact part amounts to.
        seconds: predicted CPU seconds of the whole request.
        exact: number of shards that are retrained exactly.
        owed: number of examples that the affected shards would owe afterwards.
        error: bound on the ensemble's error, in nats; None if it is unknown.
    """

    share: float
    seconds: float
    exact: int
    owed: int
    error: float | None = None


@Drawing
def cost_curve(points: Sequence[CurvePoint], now: CurvePoint) -> Spec:
    """Predicted CPU seconds of the whole request, and its error or debt, by threshold.

    The lower panel shows the error bounds if every point has one, else the examples owed.

    Args:
        points: by ascending threshold: the first is approximate only, the last exact only.
        now: the current decision. It may lie off the curve if shards were overridden.
    """
    bounded = all(point.error is not None for point in (*points, now))
    left = [(point.error or 0.0) if bounded else float(point.owed) for point in points]
    left_now = (now.error or 0.0) if bounded else float(now.owed)
    word = "nats at most" if bounded else "owed"
    ends = {
        "approximate only": (points[0], left[0], ORANGE),
        "exact only": (points[-1], left[-1], BLUE),
    }
    shares, seconds = [p.share for p in points], [p.seconds for p in points]
    exact = [f"{p.exact} shard{'' if p.exact == 1 else 's'} exact" for p in points]
    line = {"color": GREY, "width": 2, "shape": "hv"}
    data: list[Spec] = []
    for axis_y, values, unit in (("y", seconds, "CPU s"), ("y2", left, word)):
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": shares,
                "y": values,
                "yaxis": axis_y,
                "customdata": exact,
                "line": line,
                "hovertemplate": f"from %{{x:.1%}}: %{{y:.2g}} {unit}, %{{customdata}}"
                "<extra></extra>",
            }
        )
        for name, (point, low, color) in ends.items():
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    **({"name": name} if axis_y == "y" else {}),
                    "x": [point.share],
                    "y": [point.seconds if axis_y == "y" else low],
                    "yaxis": axis_y,
                    "cliponaxis": False,
                    "marker": {"color": color, "size": 9, "symbol": "diamond"},
                    "hovertemplate": f"{name}: %{{y:.2g}} {unit}<extra></extra>",
                }
            )
    # An entry for the legend only: the point moves with the threshold and is drawn as a shape.
    dot = {"color": VERMILLION, "size": 11}
    data.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "now",
            "x": [None],
            "y": [None],
            "marker": dot,
        }
    )
    after = f"error at most {now.error:.2g} nats" if bounded else f"{now.owed:,} owed"
    words = f"{left_now:.2g}" if bounded else f"{now.owed:,}"
    top = max(*seconds, now.seconds)
    below = max(*left, left_now)
    return {
        "data": data,
        "layout": layout(
            f"Whole request: {duration(now.seconds)} of CPU time predicted, {after}",
            260,
            hovermode="closest",
            shapes=[
                *_dot(now.share, "y", now.seconds, shares, seconds, duration(now.seconds)),
                *_dot(now.share, "y2", left_now, shares, left, words),
            ],
            xaxis=axis("threshold", tickformat=".0%", anchor="y2") | {"range": [-0.02, 1.02]},
            yaxis=axis("CPU seconds", range=[0, HEADROOM * top or 1], domain=[0.56, 1], nticks=4),
            yaxis2=axis(
                "error, nats" if bounded else "owed",
                range=[0, HEADROOM * below or 1],
                domain=[0, 0.42],
                nticks=4,
            ),
        ),
    }


def _dot(
    x: float, axis_y: str, y: float, shares: Sequence[float], values: Sequence[float], words: str
) -> list[Spec]:
    """Draw a point and its value as shapes with sizes in pixels.

    The value is written on the side of the point that has more room, and above or below the curve
    so that they do not overlap.
    """
    place = {"xref": "x", "yref": axis_y, "xanchor": x, "yanchor": y}
    pixels = {"xsizemode": "pixel", "ysizemode": "pixel"}
    left = x < 0.5  # whether the point is in the left half
    side = 10 if left else -10
    there = [v for s, v in zip(shares, values, strict=True) if (s > x if left else s < x)]
    beside = y if not there else there[0] if left else there[-1]
    above = beside <= y or y < 0.3 * max(values)  # a low point has no room below it
    height = 7 if above else -7
    return [
        {
            "type": "circle",
            **place,
            **pixels,
            **{"x0": -6, "x1": 6, "y0": -6, "y1": 6},
            "fillcolor": VERMILLION,
            "line": {"width": 0},
        },
        {
            "type": "line",
            **place,
            **pixels,
            **{"x0": side, "x1": side, "y0": height, "y1": height},
            "line": {"width": 0},
            "label": {
                "text": words,
                "xanchor": "left" if left else "right",
                "yanchor": "bottom" if above else "top",
                "padding": 0,
            },
        },
    ]
