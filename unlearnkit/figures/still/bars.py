"""Bars and boxes of a still picture."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from unlearnkit.figures.still.axes import Axis, spread
from unlearnkit.figures.still.canvas import Canvas, polyline
from unlearnkit.figures.still.colors import INK, marker_colors
from unlearnkit.figures.still.markers import mark
from unlearnkit.figures.still.values import Spec, listed, number, texts_of


def bars(
    canvas: Canvas, traces: Sequence[tuple[Spec, str]], x: Axis, y: Axis, layout: Spec
) -> None:
    """Draw all bars of a pair of axes: beside, on top of, or over each other."""
    flat = any(trace.get("orientation") == "h" for trace, _ in traces)
    along, across = (x, y) if flat else (y, x)
    mode, gap = layout.get("barmode", "group"), float(layout.get("bargap") or 0.2)
    groups = list(dict.fromkeys(str(t.get("offsetgroup", i)) for i, (t, _) in enumerate(traces)))
    side = len(groups) if mode == "group" else 1
    positions = [across.place(v) for t, _ in traces for v in listed(t.get("y" if flat else "x"))]
    unit = spread(positions) * (1 - gap)
    tops: dict[tuple[float, bool], float] = defaultdict(float)
    zero = 0.0 if along.kind != "log" else min(along.low, along.high)
    for index, (trace, color) in enumerate(traces):
        lengths = listed(trace.get("x" if flat else "y"))
        places = listed(trace.get("y" if flat else "x")) or list(range(len(lengths)))
        base = listed(trace.get("base"))
        group = groups.index(str(trace.get("offsetgroup", index))) if side > 1 else 0
        colors = marker_colors(trace.get("marker") or {}, {}, len(lengths), color)
        texts = texts_of(trace, len(lengths))
        for i, (place, length) in enumerate(zip(places, lengths, strict=False)):
            middle, value = across.place(place), number(length)
            if math.isnan(middle) or math.isnan(value):
                continue
            start = zero
            if mode in ("stack", "relative"):
                start = tops[(middle, value < 0)]
                tops[(middle, value < 0)] += value
            elif base:
                start = number(base[i % len(base)])
            end = along.place(value) if along.kind == "log" else start + value
            width = unit / side
            left = middle - unit / 2 + group * width
            a, b = across.at(left), across.at(left + width)
            c, d = along.at(start), along.at(end)
            if flat:
                canvas.rect(c, a, d - c, b - a, fill=colors[i])
                _bar_text(canvas, texts[i], (d, (a + b) / 2), True, value)
            else:
                canvas.rect(a, c, b - a, d - c, fill=colors[i])
                _bar_text(canvas, texts[i], ((a + b) / 2, d), False, value)


def _bar_text(
    canvas: Canvas, text: str, end: tuple[float, float], flat: bool, value: float
) -> None:
    if not text:
        return
    if flat:
        canvas.text(
            end[0] + (5 if value >= 0 else -5),
            end[1],
            text,
            size=11,
            anchor="start" if value >= 0 else "end",
            middle=True,
        )
    else:
        canvas.text(
            end[0], end[1] + (-8 if value >= 0 else 9), text, size=11, anchor="middle", middle=True
        )


def box(canvas: Canvas, trace: Spec, x: Axis, y: Axis, color: str) -> None:
    """Draw the boxes of a trace, or only its points where plotly draws a strip."""
    flat = trace.get("orientation") == "h"
    along, across = (x, y) if flat else (y, x)
    values = listed(trace.get("x" if flat else "y"))
    places = listed(trace.get("y" if flat else "x")) or [trace.get("name", "")] * len(values)
    strip = trace.get("boxpoints") == "all" and "rgba(255,255,255,0)" in str(trace.get("fillcolor"))
    groups: dict[Any, list[float]] = defaultdict(list)
    for place, value in zip(places, values, strict=False):
        if math.isfinite(number(value)):
            groups[place].append(number(value))
    for place, found in groups.items():
        middle = across.place(place)
        if strip:
            # Points are spread across evenly, which needs no random numbers.
            where = [middle + 0.25 * ((i * 0.618034) % 1 - 0.5) for i in range(len(found))]
            dots = [(along.pixel(v), across.at(w)) for v, w in zip(found, where, strict=True)]
            mark(canvas, "circle", 5, color, _turned(dots, flat), {}, 0.7)
            continue
        low, first, half, third, high = np.percentile(found, [0, 25, 50, 75, 100]).tolist()
        a, b = across.at(middle - 0.25), across.at(middle + 0.25)
        q, m, t = (along.pixel(v) for v in (first, half, third))
        ends = [along.pixel(v) for v in (low, high)]
        corners = _turned([(q, a), (t, a), (t, b), (q, b)], flat)
        centre = (a + b) / 2
        canvas.path(polyline(corners) + "Z", fill=color, color=color, opacity=0.5)
        canvas.path(polyline(_turned([(m, a), (m, b)], flat)), color=INK, width=2)
        for inner, outer in ((q, ends[0]), (t, ends[1])):
            canvas.path(polyline(_turned([(inner, centre), (outer, centre)], flat)), color=color)


def _turned(pairs: Sequence[tuple[float, float]], flat: bool) -> list[tuple[float, float]]:
    return list(pairs) if flat else [(b, a) for a, b in pairs]
