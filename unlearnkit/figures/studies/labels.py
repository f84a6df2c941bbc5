"""Names written beside lines and clouds of points, so that no legend has to be looked up."""

from collections.abc import Sequence
from itertools import pairwise

from unlearnkit.figures.drawing import Spec
from unlearnkit.figures.palette import SYMBOLS, Style

GLYPHS = dict(
    zip(
        SYMBOLS,
        "\N{BLACK CIRCLE}\N{BLACK DIAMOND}\N{BLACK SQUARE}\N{BLACK UP-POINTING TRIANGLE}"
        "\N{MULTIPLICATION X}\N{BLACK STAR}\N{BLACK HOURGLASS}",
        strict=True,
    )
)
LINE, LETTER = 15.0, 7.0  # pixels of a line of text and of a letter
WIDE = 560.0  # pixels that a figure is taken to be wide where the page decides

Label = tuple[str, Style, float, float]  # name, style, and the place of what it names


def named(name: str, style: Style) -> str:
    """Return a name after the symbol of its group, in the group's colour."""
    return f'<span style="color:{style.color}">{GLYPHS[style.symbol]}</span> {name}'


def beside_ends(labels: Sequence[Label], span: float, height: float) -> list[Spec]:
    """Write names at the right edge, each at the height of its line's end, without overlaps.

    Args:
        labels: the names; of their places only the height counts, in units of the axis.
        span: length of the y axis in these units.
        height: length of the y axis in pixels.
    """
    pixel = height / (span or 1.0)
    ordered = sorted(labels, key=lambda label: label[3])
    places = spread([y * pixel for *_, y in ordered], LINE)
    return [
        {
            "text": named(name, style),
            "x": 1,
            "xref": "paper",
            "xanchor": "left",
            "xshift": 10,
            "y": y,
            "yshift": place - y * pixel,
            "showarrow": False,
        }
        for (name, style, _, y), place in zip(ordered, places, strict=True)
    ]


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Move ascending places apart, so that neighbours keep a gap, and as little as that takes.

    >>> spread([0, 1, 30], 10)
    [-4.5, 5.5, 30.0]
    >>> spread([0, 0, 0], 10)
    [-10.0, 0.0, 10.0]
    """
    groups = [[float(place)] for place in places]
    while True:
        for number, (low, high) in enumerate(pairwise(groups)):
            if _middle(high) - _middle(low) < gap * (len(low) + len(high)) / 2 - 1e-9:
                groups[number : number + 2] = [low + high]
                break
        else:
            return [
                _middle(group) + gap * (number - (len(group) - 1) / 2)
                for group in groups
                for number in range(len(group))
            ]


def _middle(group: Sequence[float]) -> float:
    return sum(group) / len(group)


def beside_points(labels: Sequence[Label], spans: tuple[float, float], height: float) -> list[Spec]:
    """Write names beside places in the plane, moved up or down until none covers another.

    Args:
        labels: the names and their places, in units of the axes.
        spans: lengths of both axes in these units.
        height: length of the y axis in pixels.
    """
    found: list[Spec] = []
    taken: list[tuple[float, float, float]] = []  # left, right, height of the middle
    for name, style, x, y in sorted(labels, key=lambda label: -label[3]):
        left, up = x * WIDE / (spans[0] or 1.0), y * height / (spans[1] or 1.0)
        right = left + LETTER * (len(name) + 2)
        for step in sorted(range(-len(labels), len(labels) + 1), key=abs):
            place = up + step * LINE
            if not any(a < right and left < b and abs(place - c) < LINE for a, b, c in taken):
                break
        taken.append((left, right, place))
        found.append(
            {
                "text": named(name, style),
                "x": x,
                "y": y,
                "xanchor": "left",
                "showarrow": True,
                "arrowhead": 0,
                "arrowwidth": 1,
                "arrowcolor": style.color,
                "ax": 9,
                "ay": up - place,
            }
        )
    return found
