"""A figure in words, for those who cannot see it: its axes, and the numbers of each trace."""

import math
from collections.abc import Sequence
from typing import Any

from unlearnkit.figures.still.values import Spec, listed, number, plain, text_of, written

MOST_TRACES, MOST_VALUES = 8, 5


def describe(figure: Spec) -> str:
    """Describe a figure in a few sentences with its numbers.

    Args:
        figure: a figure as plotly JSON.

    >>> print(describe({
    ...     "data": [{"type": "bar", "name": "cost", "x": ["a", "b"], "y": [1, 2.5]}],
    ...     "layout": {"title": {"text": "Costs"}, "yaxis": {"title": {"text": "seconds"}}},
    ... }))
    Costs. The y axis shows seconds. cost: a 1, b 2.5.
    """
    layout = figure.get("layout") or {}
    sentences = [plain(text_of(layout.get("title"))).strip().rstrip(".") or "Figure"]
    for letter in "xy":
        title = plain(text_of((layout.get(f"{letter}axis") or {}).get("title")))
        if title:
            sentences.append(f"The {letter} axis shows {title}")
    traces = [trace for trace in figure.get("data", []) if _has_points(trace)]
    sentences += [told for trace in traces[:MOST_TRACES] if (told := _trace(trace, layout))]
    if len(traces) > MOST_TRACES:
        sentences.append(f"There are {len(traces) - MOST_TRACES} more series")
    return ". ".join(sentence for sentence in sentences if sentence) + "."


def _has_points(trace: Spec) -> bool:
    return bool(trace.get("name") or trace.get("type") in ("heatmap", "bar")) and any(
        len(listed(trace.get(key))) for key in ("x", "y", "z")
    )


def _trace(trace: Spec, layout: Spec) -> str:
    name = plain(trace.get("name") or "")
    if trace.get("type") == "heatmap":
        return _cells(trace, name)
    flat = trace.get("orientation") == "h"
    places, values = listed(trace.get("x")), listed(trace.get("y"))
    along = "yaxis"
    if flat or _are_rows(layout, "yaxis"):
        places, values, along = values, places, "xaxis"
    along += str(trace.get(along) or "")[1:]
    form = (layout.get(along) or {}).get("tickformat")
    values = values or list(range(len(places)))
    places = places or list(range(len(values)))
    pairs = [(place, number(value)) for place, value in zip(places, values, strict=False)]
    known = [(place, value) for place, value in pairs if math.isfinite(value)]
    lead = f"{name}: " if name else ""
    if not known:
        return ""
    if len(known) <= MOST_VALUES:
        axis = "yaxis" if along.startswith("x") else "xaxis"
        return lead + ", ".join(
            f"{_place(place, layout.get(axis) or {})} {written(value, form)}".strip()
            for place, value in known
        )
    (first, begin), (last, end) = known[0], known[-1]
    numbers = [value for _, value in known]
    low, high = min(numbers), max(numbers)
    told = f"{lead}{len(known):,} points from {written(low, form)} to {written(high, form)}"
    if "lines" in str(trace.get("mode", "")):
        ends = [f"{written(v, form)} at {_said(p)}" for p, v in ((first, begin), (last, end))]
        told += f", starting with {ends[0]} and ending with {ends[1]}"
    return told


def _are_rows(layout: Spec, name: str) -> bool:
    """Whether an axis has one named row for each thing that is compared."""
    axis = layout.get(name) or {}
    texts = listed(axis.get("ticktext"))
    return axis.get("type") == "category" or any(
        number(text) != number(text) and not _numeral(text) for text in texts
    )


def _numeral(text: Any) -> bool:
    try:
        float(str(text).replace(",", "").rstrip("%"))
    except ValueError:
        return False
    return True


def _place(place: Any, axis: Spec) -> str:
    texts, ticks = listed(axis.get("ticktext")), listed(axis.get("tickvals"))
    found = number(place)
    if texts and found == found:
        near = min(range(len(ticks)), key=lambda i: abs(number(ticks[i]) - found))
        if abs(number(ticks[near]) - found) < 0.5:
            return plain(texts[near])
    return _said(place)


def _said(value: Any) -> str:
    found = number(value)
    return plain(value) if math.isnan(found) else written(found)


def _cells(trace: Spec, name: str) -> str:
    values = [number(z) for row in listed(trace.get("z")) for z in listed(row)]
    known: Sequence[float] = [value for value in values if math.isfinite(value)]
    if not known:
        return ""
    lead = f"{name}: " if name else ""
    cells = f"{lead}{len(known):,} cell{'' if len(known) == 1 else 's'}"
    if min(known) == max(known):
        return cells
    return f"{cells} from {written(min(known), '.3g')} to {written(max(known), '.3g')}"
