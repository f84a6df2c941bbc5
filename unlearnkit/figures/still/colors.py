"""Colours of a still picture: colour scales, and the colours of markers and cells."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from plotly.colors import get_colorscale

from unlearnkit.figures.still.values import Spec, UnknownPartError, listed, number

Color = tuple[float, float, float]
SEQUENTIAL = "Viridis"
INK = "#333333"


def scale_of(colors: Any) -> list[tuple[float, Color]]:
    """Return a colour scale, given by name or by its stops, as places and colours."""
    stops = get_colorscale(colors) if isinstance(colors, str) else colors
    if stops and isinstance(stops[0], str):
        stops = [[i / max(1, len(stops) - 1), color] for i, color in enumerate(stops)]
    return [(float(place), _channels(color)) for place, color in stops]


def color_at(scale: Sequence[tuple[float, Color]], place: float) -> str:
    """Return the colour at a place from 0 to 1 of a colour scale.

    >>> color_at(scale_of([[0, "#000000"], [1, "#ffffff"]]), 0.5)
    '#808080'
    """
    place = min(1.0, max(0.0, place))
    for (low, first), (high, second) in pairwise(scale):
        if place <= high:
            share = (place - low) / (high - low) if high > low else 1.0
            mixed = (a + share * (b - a) for a, b in zip(first, second, strict=True))
            return "#" + "".join(f"{round(channel):02x}" for channel in mixed)
    return "#" + "".join(f"{round(channel):02x}" for channel in scale[-1][1])


def paint(color: Any) -> tuple[str, float]:
    """Return a CSS colour as one that every viewer of SVG knows, and its opacity.

    >>> paint("rgba(128,128,128,0.25)"), paint("red")
    (('rgb(128,128,128)', 0.25), ('red', 1.0))
    """
    text = str(color)
    if text.startswith("rgba("):
        *channels, alpha = text[5:-1].split(",")
        return f"rgb({','.join(channel.strip() for channel in channels)})", float(alpha)
    return ("#000000", 0.0) if text == "transparent" else (text, 1.0)


def limits(axis: Spec, known: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the colour scale of a heat map."""
    low = axis.get("zmin") if axis.get("zmin") is not None else axis.get("cmin")
    high = axis.get("zmax") if axis.get("zmax") is not None else axis.get("cmax")
    return (
        float(min(known, default=0.0) if low is None else low),
        float(max(known, default=1.0) if high is None else high),
    )


def marker_colors(marker: Spec, coloraxes: Spec, count: int, color: str) -> list[str]:
    """Return the colour of each marker of a trace; `color` is that of the trace."""
    given = marker.get("color")
    if given is None or isinstance(given, str):
        return [given or color] * count
    values = each(given, count, None)
    if any(isinstance(value, str) for value in values):
        return [value if isinstance(value, str) else color for value in values]
    axis = {**marker, **coloraxes.get(str(marker.get("coloraxis")), {})}
    known = [number(value) for value in values if math.isfinite(number(value))]
    low, high = limits(axis, known)
    scale = scale_of(axis.get("colorscale") or SEQUENTIAL)
    shades = {
        value: round(24 * (number(value) - low) / ((high - low) or 1)) / 24
        for value in set(values)
        if math.isfinite(number(value))
    }
    return [color_at(scale, shades[value]) if value in shades else color for value in values]


def each(value: Any, count: int, default: Any) -> list[Any]:
    """Return one value for each of `count` marks, given one for all or one for each."""
    if isinstance(value, list | tuple | dict | np.ndarray):
        found = listed(value)
        return [found[i] if i < len(found) else default for i in range(count)]
    return [default if value is None else value] * count


def flat_color(trace: Spec, scale: Any, shade: float) -> str:
    """Return the colour of a cell at a place from 0 to 1 of its colour scale."""
    stops = trace.get("colorscale")
    # A scale of one colour may be translucent, which a mixture would lose.
    if isinstance(stops, list | tuple) and len({str(color) for _, color in stops}) == 1:
        return str(stops[0][1])
    return color_at(scale, shade)


def readable(background: str) -> str:
    """Return black or white, whichever is easier to read on a colour."""
    if not background.startswith("#") or len(background) != 7:
        return INK
    channels = [int(background[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if light > 0.179 else "#ffffff"


def _channels(color: str) -> Color:
    if color.startswith("#"):
        digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:4])
        return (int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:6], 16))
    if color.startswith("rgb"):
        red, green, blue, *_ = color[color.index("(") + 1 : -1].split(",")
        return (float(red), float(green), float(blue))
    known = {"black": (0.0, 0.0, 0.0), "white": (255.0, 255.0, 255.0), "red": (255.0, 0.0, 0.0)}
    if color not in known:
        raise UnknownPartError(f"the colour {color!r} in a colour scale")
    return known[color]
