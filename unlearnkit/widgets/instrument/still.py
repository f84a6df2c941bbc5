"""A picture of the instrument at one threshold, for readers that run no scripts."""

import base64
import math
from itertools import groupby
from typing import Any

INK, QUIET, LINE, MARK = "#222", "#595959", "#c8c8c8", "#d55e00"
COLORS = {"e": "#0072b2", "a": "#e69f00", "l": "none", "": "#d9d9d9"}
OWED = "#cc79a7"
WIDTH, LEFT, TOP = 760, 34, 30
Json = dict[str, Any]


def still(data: Json, table: Json | None, kinds: str, threshold: float | None) -> str:
    """Return the address of a picture of the map, the bars and the line, in dark ink on white.

    It is an SVG picture within its address, which sanitisers leave where they remove scripts.

    Args:
        data: what the page shows of the request.
        table: the table on show; None if no shard is hit.
        kinds: the routes of the table's shards, one letter each.
        threshold: from 0 to 1; None if the boundary has no threshold.
    """
    shards, slices = data["shards"], data["slices"]
    order = table["shards"] if table else []
    rest = [shard for shard in range(len(shards)) if shard not in order]
    height = max(4.0, min(14.0, 260 / max(1, len(shards))))
    wide = min(16.0, 190 / max(1, slices))
    start, end = LEFT + wide * slices + 22, WIDTH - 20
    largest = max([0.0, *table["sums"]] if table else [0.0])
    scale = min(1.0, 1.08 * max(largest, 1e-6))
    if threshold is None and table:
        scale = 1.1 * max(1e-6, *table["costs"])
    low = TOP + height * len(shards)

    def x(share: float) -> float:
        return float(start + (end - start) * min(1.0, share / scale))

    rectangles: list[tuple[str, str]] = []  # (colour and opacity, path)
    names, step = [], f"M{start:.0f},{TOP}"
    for i, shard in enumerate([*order, *rest]):
        y, kind = TOP + i * height, kinds[i] if i < len(kinds) else ""
        if height >= 10 or i % round(12 / height) == 0:
            names.append(_text(LEFT - 6, y + height / 2 + 4, str(shard), "end"))
        cells = zip(shards[shard]["visits"], shards[shard]["status"], strict=True)
        for j, (visits, status) in enumerate(cells):
            if status != "e":
                paint = _paint(status, kind, visits / data["most"])
                rectangles.append((paint, _box(LEFT + j * wide, y, wide - 1, height - 1)))
        if table and i < len(order):
            bar = x(table["costs"][i]) - start
            if kind != "l":
                paint = f'fill="{COLORS[kind]}"'
                rectangles.append((paint, _box(start, y, max(0.5, bar), height - 1)))
            step += f"H{x(table['sums'][i]):.1f}V{y + height:.1f}"
    parts = [
        f'<path d="{"".join(path for _, path in group)}" {paint}/>'
        for paint, group in groupby(sorted(rectangles), key=lambda one: one[0])
    ]
    parts += [*names, _text(LEFT, 14, "shard \u00d7 slice", "start")]
    if table:
        parts.append(_text(start, 14, "cost of retraining each shard; line: running sum", "start"))
        parts += [*_legend(end), *_axis(x, scale, low)]
    if table and threshold is not None:
        at = x(threshold)
        parts.append(f'<path d="{step}" fill="none" stroke="{INK}"/>')
        parts.append(
            f'<path d="M{at:.1f},{TOP - 8}V{low:.1f}" stroke="{MARK}" stroke-width="2" '
            'stroke-dasharray="6 4"/>'
        )
        parts.append(f'<circle cx="{at:.1f}" cy="{TOP - 8}" r="5" fill="{MARK}"/>')
    tall = low + 24
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {tall:.0f}" '
        f'width="{WIDTH}" height="{tall:.0f}" font-family="sans-serif" font-size="11" '
        f'fill="{QUIET}"><rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>'
    )
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _legend(end: float) -> list[str]:
    parts = []
    for at, kind, word in ((end - 150, "e", "exact"), (end - 84, "a", "approximate")):
        parts.append(f'<path d="{_box(at, 5, 10, 10)}" fill="{COLORS[kind]}"/>')
        parts.append(_text(at + 14, 14, word, "start"))
    return parts


def _axis(x: Any, scale: float, low: float) -> list[str]:
    """Return ticks at round shares, with their labels."""
    ten = 10 ** math.floor(math.log10(scale / 4))
    tick = next(n * ten for n in (1, 2, 2.5, 5, 10) if n * ten * 5 >= scale)
    parts = []
    for number in range(int(scale / tick + 1e-9) + 1):
        share = number * tick
        parts.append(
            f'<path d="M{x(share):.1f},{TOP}V{low + 3:.1f}" stroke="{LINE}" stroke-width=".75"/>'
        )
        parts.append(_text(x(share), low + 15, f"{100 * share:.3g}%", "middle"))
    return parts


def _paint(status: str, kind: str, part: float) -> str:
    """Return fill and opacity of a cell; few opacities, so that few paths are needed."""
    if status == "k" or (status == "r" and not kind):
        return f'fill="{COLORS[""]}"'
    color = OWED if status == "o" else COLORS[kind]
    return f'fill="{color}" fill-opacity="{0.3 + 0.7 * round(6 * part) / 6:.2f}"'


def _box(x: float, y: float, width: float, height: float) -> str:
    return f"M{x:.1f},{y:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{text}</text>'
