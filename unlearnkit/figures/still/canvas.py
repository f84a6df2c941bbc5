"""SVG elements, written as text."""

import html
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import UInt8

from unlearnkit.figures.still.colors import INK, paint
from unlearnkit.figures.still.png import data_url
from unlearnkit.figures.still.values import lines_of

QUIET, GRID, PAPER = "#595959", "#e3e3e3", "#ffffff"
SIZE = 12  # pixels of the font
_DASHES = {
    "dot": "1.5,3",
    "dash": "6,4",
    "dashdot": "6,3,1.5,3",
    "longdash": "10,4",
    "longdashdot": "10,3,2,3",
}


def short(value: float) -> str:
    """Write a pixel with one digit after the point.

    >>> short(12.04), short(3.96), short(-0.02)
    ('12', '4', '0')
    """
    text = f"{value:.1f}"
    text = text[:-2] if text.endswith(".0") else text
    return "0" if text == "-0" else text


class Canvas:
    """The elements of a picture, in the order in which they are drawn."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._clips = 0

    def path(
        self,
        path: str,
        *,
        color: Any = None,
        fill: Any = None,
        width: float = 1,
        dash: str = "",
        opacity: float = 1,
    ) -> None:
        """Draw a path with a line, a filling or both."""
        if not path:
            return
        self.parts.append(
            f'<path d="{path}"{_filled(fill, opacity)}{_lined(color, width, dash, opacity)}/>'
        )

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: Any = None,
        color: Any = None,
        line: float = 1,
        dash: str = "",
        opacity: float = 1,
    ) -> None:
        """Draw a rectangle."""
        x, width = min(x, x + width), abs(width)
        y, height = min(y, y + height), abs(height)
        self.parts.append(
            f'<rect x="{short(x)}" y="{short(y)}" width="{short(width)}" height="{short(height)}"'
            f"{_filled(fill, opacity)}{_lined(color, line, dash, opacity)}/>"
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = SIZE,
        anchor: str = "start",
        color: str = INK,
        bold: bool = False,
        turned: bool = False,
        middle: bool = False,
    ) -> None:
        """Write a text of one or several lines; ``y`` is its first base line, or its middle."""
        lines = lines_of(text) if text else []
        if middle:
            y += 0.35 * size - 0.6 * size * (len(lines) - 1)
        weight = ' font-weight="600"' if bold or text.startswith("<b>") else ""
        turn = f' transform="rotate(-90 {short(x)} {short(y)})"' if turned else ""
        own = "" if anchor == "start" else f' text-anchor="{anchor}"'
        ink = "" if color == INK else f' fill="{color}"'
        big = "" if size == SIZE else f' font-size="{size:g}"'
        for number, line in enumerate(lines):
            self.parts.append(
                f'<text x="{short(x)}" y="{short(y + 1.2 * size * number)}"{own}{ink}{big}{weight}'
                f"{turn}>{html.escape(line, quote=False)}</text>"
            )

    def image(
        self,
        pixels: UInt8[np.ndarray, "height width 4"],
        x: float,
        y: float,
        width: float,
        height: float,
    ) -> None:
        """Draw an image of square cells, one for each pixel, over a rectangle."""
        x, width = min(x, x + width), abs(width)
        y, height = min(y, y + height), abs(height)
        self.parts.append(
            f'<image x="{short(x)}" y="{short(y)}" width="{short(width)}" height="{short(height)}" '
            f'preserveAspectRatio="none" style="image-rendering:pixelated" '
            f'href="{data_url(pixels)}"/>'
        )

    def clip(self, x: float, y: float, width: float, height: float) -> None:
        """Begin a group of which only what lies in a rectangle is seen."""
        self._clips += 1
        self.parts.append(
            f'<clipPath id="c{self._clips}"><rect x="{short(x)}" y="{short(y)}" '
            f'width="{short(width)}" height="{short(height)}"/></clipPath>'
            f'<g clip-path="url(#c{self._clips})">'
        )

    def end(self) -> None:
        """End the group."""
        self.parts.append("</g>")

    def picture(self, width: float, height: float) -> str:
        """Return the picture, on white."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{short(width)}" '
            f'height="{short(height)}" viewBox="0 0 {short(width)} {short(height)}" '
            f'font-family="system-ui,sans-serif" font-size="{SIZE}" fill="{INK}">'
            f'<rect width="100%" height="100%" fill="{PAPER}"/>{"".join(self.parts)}</svg>'
        )


def _filled(fill: Any, opacity: float) -> str:
    if fill is None:
        return ' fill="none"'
    color, alpha = paint(fill)
    alpha *= opacity
    return f' fill="{color}"' + (f' fill-opacity="{alpha:.2g}"' if alpha < 1 else "")


def _lined(color: Any, width: float, dash: str, opacity: float) -> str:
    if color is None or not width:
        return ""
    ink, alpha = paint(color)
    alpha *= opacity
    dashed = f' stroke-dasharray="{_DASHES.get(dash, dash)}"' if dash and dash != "solid" else ""
    faint = f' stroke-opacity="{alpha:.2g}"' if alpha < 1 else ""
    return f' stroke="{ink}" stroke-width="{width:g}"{dashed}{faint}'


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """Return a path through points; it is interrupted where one is nan."""
    path, pen, last = [], "M", ""
    for x, y in points:
        if x != x or y != y:
            pen = "M"
            continue
        here = f"{short(x)} {short(y)}"
        if here != last or pen == "M":
            path.append(pen + here)
        pen, last = "L", here
    return "".join(path)


def ellipse(across: float, down: float) -> str:
    """Return a path around the current point, which is its leftmost."""
    arc = f"a{short(across)} {short(down)} 0 1 0 "
    return f"{arc}{short(2 * across)} 0{arc}{short(-2 * across)} 0z"
