"""The frame of a still picture: the axes of a figure, their ranges and their places."""

from collections.abc import Sequence
from typing import Any

from unlearnkit.figures.still.axes import WIDE, Axis, spread
from unlearnkit.figures.still.values import Spec, listed, number, plain

Area = tuple[float, float, float, float]  # left, top, right and bottom of all axes


def axes_of(traces: Sequence[Spec], layout: Spec) -> dict[str, Axis]:
    """Return all axes that traces are drawn on, with their ranges."""
    axes: dict[str, Axis] = {}
    for letter in "xy":
        names = list(dict.fromkeys(pair_of(trace)[letter == "y"] for trace in traces)) or [letter]
        specs = {name: layout.get(f"{letter}axis{name[1:]}") or {} for name in names}
        for name in names:
            kin = {
                name,
                *(n for n in names if specs[n].get("matches") == name),
                *(n for n in [specs[name].get("matches")] if n),
            }
            own = [t for t in traces if pair_of(t)[letter == "y"] in kin]
            values: list[Any] = []
            edges: list[float] = []
            zero = specs[name].get("rangemode") == "tozero"
            for trace in own:
                found, ends, ground = _extent(trace, letter, own, layout)
                values, edges, zero = values + found, edges + ends, zero or ground
            axes[name] = Axis(name, specs[name], values, edges=edges, zero=zero)
    return axes


def _extent(
    trace: Spec, letter: str, own: Sequence[Spec], layout: Spec
) -> tuple[list[Any], list[float], bool]:
    """Return values of a trace on an axis, the edges of its cells, and whether 0 is shown."""
    kind = trace.get("type", "scatter")
    other = listed(trace.get("y" if letter == "x" else "x"))
    values = listed(trace.get(letter))
    flat = trace.get("orientation") == "h"
    if kind == "heatmap":
        rows = listed(trace.get("z"))
        values = values or list(
            range(len(listed(rows[0])) if letter == "x" and rows else len(rows))
        )
        known = [number(value) for value in values]
        if any(v != v for v in known):
            return values, [], False
        half = spread(known) / 2
        return values, [min(known) - half, max(known) + half] if known else [], False
    if not values and kind == "box":
        values = [trace.get("name", "")]
    values = values or list(range(len(other)))
    long = (letter == "x") == flat
    if kind == "bar" and long:
        if layout.get("barmode", "group") in ("stack", "relative"):
            values = values + _stacked([t for t in own if t.get("type") == "bar"], letter)
        return values, [], True
    if kind == "bar":
        known = [number(value) for value in values]
        if known and all(v == v for v in known):
            half = spread(known) / 2
            return values, [min(known) - half, max(known) + half], False
        return values, [], False
    error = trace.get(f"error_{letter}") or {}
    above = listed(error.get("array"))
    below = listed(error.get("arrayminus")) or above
    ends = [
        end
        for value, more, less in zip(values, above, below, strict=False)
        for end in (number(value) + number(more), number(value) - number(less))
        if end == end
    ]
    return values + ends, [], trace.get("fill") == "tozeroy" and letter == "y"


def _stacked(traces: Sequence[Spec], letter: str) -> list[float]:
    sums: dict[tuple[Any, bool], float] = {}
    for trace in traces:
        places = listed(trace.get("y" if letter == "x" else "x"))
        for place, value in zip(places, listed(trace.get(letter)), strict=False):
            if number(value) == number(value):
                key = (place, number(value) < 0)
                sums[key] = sums.get(key, 0.0) + number(value)
    return list(sums.values())


def fit_axes(axes: dict[str, Axis], area: Area) -> Area:
    """Give each axis its pixels within an area, and return what the labels leave of the area."""
    left, top, right, bottom = area
    inner = (left + 60, top, right, bottom - 44)
    # Which ticks there are depends on the room, and the room on the widest label of a tick.
    for _ in range(2):
        place_axes(axes, inner)
        beside, below = _margins(axes)
        inner = (left + beside, top, right, bottom - below)
    place_axes(axes, inner)
    return inner


def _margins(axes: dict[str, Axis]) -> tuple[float, float]:
    """Return the room for tick labels and titles at the left and below."""
    left, bottom = 16.0, 14.0
    for name, axis in axes.items():
        lines = [line for _, text in axis.ticks() for line in text.split("<br>")]
        if name[0] == "x":
            deep = max((text.count("<br>") + 1 for _, text in axis.ticks()), default=0)
            bottom = max(bottom, 12 + 15 * deep + (20 if axis.title else 0))
        else:
            wide = WIDE * max(map(len, map(plain, lines)), default=0)
            left = max(left, 16 + min(wide, 240) + (28 if axis.title else 0))
    return left, bottom


def place_axes(axes: dict[str, Axis], area: Area) -> None:
    """Give each axis its pixels; axes of equal units shrink."""
    left, top, right, bottom = area
    for name, axis in axes.items():
        over = axis.spec.get("overlaying")
        spec = axes[over].spec if over in axes else axis.spec
        low, high = listed(spec.get("domain")) or [0, 1]
        if name[0] == "x":
            axis.start, axis.end = left + low * (right - left), left + high * (right - left)
        else:
            axis.start, axis.end = bottom - low * (bottom - top), bottom - high * (bottom - top)
    for name, axis in axes.items():
        # An axis that matches one of equal units has equal units too, with its own partner.
        leader = axes.get(str(axis.spec.get("matches")), axis)
        if axis.spec.get("scaleanchor") is None and leader.spec.get("scaleanchor") is None:
            continue
        partner = axis.spec.get("anchor") or axis.spec.get("scaleanchor")
        kin = axes.get(str(partner))
        if kin is None:
            continue
        x, y = (axis, kin) if name[0] == "x" else (kin, axis)
        units = [abs((a.end - a.start) / ((a.high - a.low) or 1)) for a in (x, y)]
        for one, unit in ((x, units[0]), (y, units[1])):
            length = (one.end - one.start) * min(units) / unit
            towards = one.spec.get("constraintoward", "")
            spare = (one.end - one.start) - length
            first = (
                0.0
                if towards in ("left", "bottom")
                else spare
                if towards in ("top", "right")
                else spare / 2
            )
            one.start, one.end = one.start + first, one.start + first + length


def pair_of(trace: Spec) -> tuple[str, str]:
    """Return the names of the axes on which a trace is drawn."""
    return str(trace.get("xaxis") or "x"), str(trace.get("yaxis") or "y")
