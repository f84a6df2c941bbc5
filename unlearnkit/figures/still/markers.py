"""Markers of a still picture."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from unlearnkit.figures.still.canvas import Canvas, ellipse, short
from unlearnkit.figures.still.colors import each, marker_colors
from unlearnkit.figures.still.values import Spec


def markers(
    canvas: Canvas,
    trace: Spec,
    points: list[tuple[float, float]],
    color: str,
    coloraxes: Spec,
    opacity: float,
) -> None:
    """Draw the markers of a trace."""
    marker = trace.get("marker") or {}
    opacity *= (
        float(marker.get("opacity") or 1) if not isinstance(marker.get("opacity"), list) else 1
    )
    count = len(points)
    sizes, symbols = (
        each(marker.get("size"), count, 6),
        each(marker.get("symbol"), count, "circle"),
    )
    colors = marker_colors(marker, coloraxes, count, color)
    # Many small points need neither edges nor tenths of pixels, which take most of the bytes.
    edge = {} if count > 300 else marker.get("line") or {}
    many = count > 800
    groups: dict[tuple[Any, ...], dict[tuple[float, float], None]] = defaultdict(dict)
    for point, size, symbol, own in zip(points, sizes, symbols, colors, strict=True):
        if point[0] == point[0] and point[1] == point[1]:
            # Points that would lie on the same pixel are drawn once.
            at = (round(point[0], 0 if many else 1), round(point[1], 0 if many else 1))
            groups[(symbol, size, own)][at] = None
    for (symbol, size, own), found in groups.items():
        mark(canvas, str(symbol), float(size), own, list(found), edge, opacity)


def mark(
    canvas: Canvas,
    symbol: str,
    size: float,
    color: str,
    points: Sequence[tuple[float, float]],
    edge: Spec,
    opacity: float = 1,
) -> None:
    """Draw markers of one kind at several places."""
    hollow = symbol.endswith("-open")
    name = symbol.removesuffix("-open").removesuffix("-dot")
    width = edge.get("width") if isinstance(edge.get("width"), int | float) else 0
    line = edge.get("color") if isinstance(edge.get("color"), str) else color
    if name == "circle" and not hollow and not (width and line != color):
        dots = "".join(f"M{short(x)} {short(y)}h0" for x, y in points)
        ink = f'stroke="{color}" stroke-width="{size:g}" stroke-linecap="round"'
        faint = f' stroke-opacity="{opacity:.2g}"' if opacity < 1 else ""
        canvas.parts.append(f'<path d="{dots}" fill="none" {ink}{faint}/>')
        return
    half = size / 2
    path = "".join(f"M{short(x)} {short(y)}{_outline(name, half)}" for x, y in points)
    thin = name in ("x-thin", "cross-thin", "line-ew", "line-ns")
    fill = None if hollow or thin else color
    canvas.path(
        path,
        fill=fill,
        color=line if hollow or thin or width else None,
        width=width or 1.5,
        opacity=opacity,
    )


def _outline(name: str, r: float) -> str:
    """Return the outline of a symbol around the current point."""
    c = 0.35 * r
    if name == "circle":
        return f"m{short(-r)} 0{ellipse(r, r)}"
    corners = {
        "square": [(-r, -r), (r, -r), (r, r), (-r, r)],
        "diamond": [(0, -1.3 * r), (1.3 * r, 0), (0, 1.3 * r), (-1.3 * r, 0)],
        "triangle-up": [(0, -1.2 * r), (1.15 * r, 0.8 * r), (-1.15 * r, 0.8 * r)],
        "triangle-down": [(0, 1.2 * r), (1.15 * r, -0.8 * r), (-1.15 * r, -0.8 * r)],
        "triangle-left": [(-1.2 * r, 0), (0.8 * r, -1.15 * r), (0.8 * r, 1.15 * r)],
        "triangle-right": [(1.2 * r, 0), (-0.8 * r, -1.15 * r), (-0.8 * r, 1.15 * r)],
        "cross": [
            (-c, -r),
            (c, -r),
            (c, -c),
            (r, -c),
            (r, c),
            (c, c),
            (c, r),
            (-c, r),
            (-c, c),
            (-r, c),
            (-r, -c),
            (-c, -c),
        ],
        "bowtie": [(-r, -r), (0, -0.2 * r), (r, -r), (r, r), (0, 0.2 * r), (-r, r)],
        "hourglass": [(-r, -r), (r, -r), (0.2 * r, 0), (r, r), (-r, r), (-0.2 * r, 0)],
        "star": [
            (
                math.sin(i * math.pi / 5) * r * (1.4 if i % 2 == 0 else 0.6),
                -math.cos(i * math.pi / 5) * r * (1.4 if i % 2 == 0 else 0.6),
            )
            for i in range(10)
        ],
        "pentagon": [
            (math.sin(2 * i * math.pi / 5) * 1.15 * r, -math.cos(2 * i * math.pi / 5) * 1.15 * r)
            for i in range(5)
        ],
        "hexagon": [
            (math.sin(2 * i * math.pi / 6) * 1.1 * r, -math.cos(2 * i * math.pi / 6) * 1.1 * r)
            for i in range(6)
        ],
    }
    if name in ("x", "x-thin"):
        turned = [((a - b) * 0.75, (a + b) * 0.75) for a, b in corners["cross"]]
        return _closed(turned)
    if name == "line-ew":
        return f"m{short(-r)} 0h{short(2 * r)}"
    if name == "line-ns":
        return f"m0 {short(-r)}v{short(2 * r)}"
    return _closed(corners.get(name, corners["square"]))


def _closed(corners: Sequence[tuple[float, float]]) -> str:
    (x, y), *others = corners
    path = f"m{short(x)} {short(y)}"
    for a, b in others:
        path += f"l{short(a - x)} {short(b - y)}"
        x, y = a, b
    return path + "z"
