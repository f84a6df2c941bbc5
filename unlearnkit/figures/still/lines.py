"""Lines and points of a still picture, with their texts and error bars."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from unlearnkit.figures.palette import PALETTE
from unlearnkit.figures.still.axes import Axis
from unlearnkit.figures.still.canvas import Canvas, polyline
from unlearnkit.figures.still.markers import markers
from unlearnkit.figures.still.values import Spec, listed, number, texts_of


def color_of(trace: Spec, number_of_trace: int) -> str:
    """Return the main colour of a trace."""
    marker, line = trace.get("marker") or {}, trace.get("line") or {}
    own = marker.get("color") if "lines" not in trace.get("mode", "") else line.get("color")
    own = own if isinstance(own, str) else line.get("color") or marker.get("color")
    return own if isinstance(own, str) else PALETTE[number_of_trace % len(PALETTE)]


def mode_of(trace: Spec) -> str:
    """Return the mode of a scatter trace."""
    few = len(listed(trace.get("x") if trace.get("x") is not None else trace.get("y"))) < 20
    return str(trace.get("mode") or ("lines+markers" if few else "lines"))


def scatter(canvas: Canvas, trace: Spec, x: Axis, y: Axis, color: str, coloraxes: Spec) -> None:
    """Draw points, lines, texts and error bars."""
    ys = listed(trace.get("y"))
    xs = listed(trace.get("x")) or list(range(len(ys)))
    ys = ys or list(range(len(xs)))
    points = [(x.pixel(a), y.pixel(b)) for a, b in zip(xs, ys, strict=False)]
    opacity = float(trace.get("opacity") or 1)
    mode, line = mode_of(trace), trace.get("line") or {}
    if trace.get("fill") in ("tozeroy", "tonexty") and points:
        _fill(canvas, _stepped(points, line.get("shape", "")), y, trace.get("fillcolor"), color)
    if "lines" in mode:
        canvas.path(
            polyline(_stepped(points, line.get("shape", ""))),
            color=line.get("color") or color,
            width=line.get("width") or 2,
            dash=line.get("dash") or "",
            opacity=opacity,
        )
    _errors(canvas, trace, xs, ys, x, y, color)
    if "markers" in mode:
        markers(canvas, trace, points, color, coloraxes, opacity)
    if "text" in mode:
        place = str(trace.get("textposition", "middle center"))
        for (a, b), text in zip(points, texts_of(trace, len(points)), strict=True):
            if a == a and b == b and text:
                _beside(canvas, a, b, text, place)


def _stepped(points: list[tuple[float, float]], shape: str) -> list[tuple[float, float]]:
    if shape not in ("hv", "vh", "hvh", "vhv"):
        return points
    found = points[:1]
    for (a, b), (c, d) in pairwise(points):
        middle = {
            "hv": [(c, b)],
            "vh": [(a, d)],
            "hvh": [((a + c) / 2, b), ((a + c) / 2, d)],
            "vhv": [(a, (b + d) / 2), (c, (b + d) / 2)],
        }[shape]
        found += [*middle, (c, d)]
    return found


def _fill(
    canvas: Canvas, points: Sequence[tuple[float, float]], y: Axis, fill: Any, color: str
) -> None:
    known = [point for point in points if point[0] == point[0] and point[1] == point[1]]
    if not known:
        return
    ground = y.pixel(0.0) if y.kind != "log" else y.start
    closed = [(known[0][0], ground), *known, (known[-1][0], ground)]
    canvas.path(polyline(closed) + "Z", fill=fill or color, opacity=1 if fill else 0.3)


def _errors(
    canvas: Canvas, trace: Spec, xs: list[Any], ys: list[Any], x: Axis, y: Axis, color: str
) -> None:
    for key, upright in (("error_x", False), ("error_y", True)):
        bars = trace.get(key) or {}
        above = listed(bars.get("array"))
        if not above or bars.get("visible") is False:
            continue
        below = listed(bars.get("arrayminus")) if bars.get("symmetric") is False else above
        along, across = (y, x) if upright else (x, y)
        path = []
        for a, b, more, less in zip(
            *((ys, xs) if upright else (xs, ys)), above, below or above, strict=False
        ):
            if math.isnan(number(a)) or math.isnan(number(more)):
                continue
            ends = [along.pixel(a - less), along.pixel(a + more)]
            place = across.pixel(b)
            if all(map(math.isfinite, [*ends, place])):
                pair = [(place, end) if upright else (end, place) for end in ends]
                path.append(polyline(pair))
        canvas.path(
            "".join(path), color=bars.get("color") or color, width=bars.get("thickness") or 1.5
        )


def _beside(canvas: Canvas, x: float, y: float, text: str, place: str) -> None:
    up, _, side = place.partition(" ")
    dx = {"left": -9, "right": 9}.get(side, 0)
    dy = {"top": -11, "bottom": 12}.get(up, 0)
    anchor = {"left": "end", "right": "start"}.get(side, "middle")
    canvas.text(x + dx, y + dy, text, size=11, anchor=anchor, middle=True)
