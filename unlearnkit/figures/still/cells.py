"""The cells of heat maps in a still picture."""

import math
from collections import defaultdict
from typing import Any

import numpy as np

from unlearnkit.figures.still.axes import Axis, spread
from unlearnkit.figures.still.canvas import Canvas, short
from unlearnkit.figures.still.colors import (
    SEQUENTIAL,
    color_at,
    flat_color,
    limits,
    readable,
    scale_of,
)
from unlearnkit.figures.still.values import Spec, filled_in, listed, number, plain

MOST_RECTANGLES = 60  # heat maps with more cells are drawn as one image


def heatmap(canvas: Canvas, trace: Spec, x: Axis, y: Axis, coloraxes: Spec) -> None:
    """Draw the cells of a heat map, with their texts."""
    rows = [listed(row) for row in listed(trace.get("z"))]
    if not rows or not rows[0]:
        return
    xs = listed(trace.get("x")) or list(range(len(rows[0])))
    ys = listed(trace.get("y")) or list(range(len(rows)))
    axis = {**trace, **coloraxes.get(str(trace.get("coloraxis")), {})}
    known = [number(z) for row in rows for z in row if math.isfinite(number(z))]
    low, high = limits(axis, known)
    scale = scale_of(axis.get("colorscale") or SEQUENTIAL)
    wide = spread([x.place(value) for value in xs])
    tall = spread([y.place(value) for value in ys])
    shades = [
        [
            None
            if math.isnan(number(z))
            else round(40 * (number(z) - low) / ((high - low) or 1)) / 40
            for z in row
        ]
        for row in rows
    ]
    gap = (float(trace.get("xgap") or 0), float(trace.get("ygap") or 0))
    if len(known) > MOST_RECTANGLES and not any(gap):
        pixels = np.zeros((len(rows), len(rows[0]), 4), np.uint8)
        for i, row in enumerate(shades):
            for j, shade in enumerate(row):
                if shade is not None:
                    code = color_at(scale, shade)
                    pixels[i, j] = [*(int(code[k : k + 2], 16) for k in (1, 3, 5)), 255]
        left, right = x.at(x.place(xs[0]) - wide / 2), x.at(x.place(xs[-1]) + wide / 2)
        first, last = y.at(y.place(ys[0]) - tall / 2), y.at(y.place(ys[-1]) + tall / 2)
        pixels = pixels[::-1] if first > last else pixels
        pixels = pixels[:, ::-1] if left > right else pixels
        canvas.image(pixels, left, first, right - left, last - first)
    else:
        paths: dict[str, str] = defaultdict(str)
        for b, row in zip(ys, shades, strict=False):
            for a, shade in zip(xs, row, strict=False):
                if shade is None:
                    continue
                ends = [x.at(x.place(a) - wide / 2), x.at(x.place(a) + wide / 2)]
                sides = [y.at(y.place(b) - tall / 2), y.at(y.place(b) + tall / 2)]
                left, right = min(ends) + gap[0] / 2, max(ends) - gap[0] / 2
                top, bottom = min(sides) + gap[1] / 2, max(sides) - gap[1] / 2
                box_path = (
                    f"M{short(left)} {short(top)}H{short(right)}V{short(bottom)}H{short(left)}z"
                )
                color = flat_color(trace, scale, shade)
                paths[color] += box_path
        for color, path in paths.items():
            canvas.path(path, fill=color)
    _cell_texts(canvas, trace, rows, xs, ys, x, y, axis, scale, shades)


def _cell_texts(
    canvas: Canvas,
    trace: Spec,
    rows: list[list[Any]],
    xs: list[Any],
    ys: list[Any],
    x: Axis,
    y: Axis,
    axis: Spec,
    scale: Any,
    shades: list[list[float | None]],
) -> None:
    template = trace.get("texttemplate")
    if not template:
        return
    texts = [listed(row) for row in listed(trace.get("text"))]
    font = trace.get("textfont") or {}
    for i, (b, row) in enumerate(zip(ys, rows, strict=False)):
        for j, (a, z) in enumerate(zip(xs, row, strict=False)):
            if shades[i][j] is None:
                continue
            own = texts[i][j] if texts else ""
            text = plain(filled_in(template, {"z": z, "text": own}))
            color = font.get("color") or readable(flat_color(trace, scale, shades[i][j] or 0.0))
            canvas.text(
                x.pixel(a), y.pixel(b), text, size=11, anchor="middle", color=color, middle=True
            )
