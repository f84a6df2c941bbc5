"""Axes of a still picture: from values to pixels, with ticks that can be read."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from unlearnkit.figures.still.values import Spec, UnknownPartError, listed, number, text_of, written

PAD = 0.05  # share of the range that is added at both ends where points lie
WIDE = 7.0  # pixels of an average character of tick labels


class Axis:
    """One axis of a figure.

    Attributes:
        name: plotly's short name, such as ``"x"`` or ``"y2"``.
        spec: the axis of the layout.
        kind: ``"linear"``, ``"log"`` or ``"category"``.
        low, high: the ends of the range; logarithms of a log axis, positions of categories.
        start, end: the pixels of the two ends.
        title: the text of its title.
    """

    def __init__(
        self, name: str, spec: Spec, values: Sequence[Any], *, edges: Sequence[float], zero: bool
    ) -> None:
        self.name, self.spec = name, spec
        self.title = text_of(spec.get("title"))
        self.start = self.end = 0.0
        kind = spec.get("type")
        if kind in ("date", "multicategory"):
            raise UnknownPartError(f"an axis of type {kind}")
        texts = [value for value in values if isinstance(value, str)]
        self.kind = (
            kind if kind in ("linear", "log", "category") else "category" if texts else "linear"
        )
        self.categories: list[Any] = []
        if self.kind == "category":
            ordered = listed(spec.get("categoryarray"))
            known = [value for value in values if value is not None]
            self.categories = list(dict.fromkeys([*ordered, *known]))
        self.low, self.high = self._range(values, edges, zero)

    def _range(
        self, values: Sequence[Any], edges: Sequence[float], zero: bool
    ) -> tuple[float, float]:
        given = listed(self.spec.get("range"))
        reverse = self.spec.get("autorange") == "reversed"
        if len(given) == 2 and all(end is not None for end in given):
            low, high = (self.place(end) if isinstance(end, str) else float(end) for end in given)
            return (low, high)
        if self.kind == "category":
            low, high = -0.5, max(0.5, len(self.categories) - 0.5)
        else:
            found = [self.place(value) for value in values]
            found = [value for value in found if math.isfinite(value)]
            low, high = (min(found), max(found)) if found else (0.0, 1.0)
            if edges:
                low, high = min(low, *edges), max(high, *edges)
            pad = PAD * (high - low) or (0.5 if self.kind == "log" else max(abs(high), 1.0) * 0.1)
            tight = set(edges) >= {low, high}
            low, high = (low, high) if tight else (low - pad, high + pad)
            if zero and self.kind == "linear":
                low, high = (0.0 if low + pad >= 0 else low), (0.0 if high - pad <= 0 else high)
        return (high, low) if reverse else (low, high)

    def place(self, value: Any) -> float:
        """Return the position of a value on the axis; nan if it has none."""
        if self.kind == "category":
            if value in self.categories:
                return float(self.categories.index(value))
            return number(value)
        found = number(value)
        if self.kind == "log":
            return math.log10(found) if found > 0 else math.nan
        return found

    def pixel(self, value: Any) -> float:
        """Return the pixel of a value."""
        return self.at(self.place(value))

    def at(self, position: float) -> float:
        """Return the pixel of a position, which is a logarithm on a log axis."""
        span = self.high - self.low or 1.0
        return self.start + (position - self.low) / span * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Return the positions and texts of the ticks, few enough to be read."""
        spec, low, high = self.spec, min(self.low, self.high), max(self.low, self.high)
        if spec.get("visible") is False or spec.get("showticklabels") is False:
            return []
        given = listed(spec.get("tickvals"))
        if given:
            texts = [str(text) for text in listed(spec.get("ticktext"))]
            texts = texts or [self._text(number(value), value) for value in given]
            found = [(self.place(value), text) for value, text in zip(given, texts, strict=False)]
        elif self.kind == "category":
            found = [(float(at), str(value)) for at, value in enumerate(self.categories)]
        else:
            found = [
                (self.place(value), self._text(value, value)) for value in self._steps(low, high)
            ]
        slack = 1e-6 * (high - low)
        return [(at, text) for at, text in found if low - slack <= at <= high + slack]

    def _text(self, value: float, raw: Any) -> str:
        return str(raw) if math.isnan(value) else written(value, self.spec.get("tickformat"))

    def _steps(self, low: float, high: float) -> Iterable[float]:
        if self.kind == "log":
            return _decades(low, high)
        step = self.spec.get("dtick")
        if not step:
            room = 70 if self.name[0] == "x" else 34
            most = self.spec.get("nticks") or max(4, int(abs(self.end - self.start) / room))
            step = _round_step((high - low) / most)
        first = math.ceil(low / step - 1e-9)
        return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]

    def thinned(self, ticks: list[tuple[float, str]]) -> list[tuple[float, str]]:
        """Leave out ticks of a horizontal axis whose texts would run into each other."""
        kept: list[tuple[float, str]] = []
        until = -math.inf
        for at, text in sorted(ticks, key=lambda tick: self.at(tick[0])):
            half = WIDE * max(map(len, text.split("<br>"))) / 2
            if self.at(at) - half >= until:
                kept.append((at, text))
                until = self.at(at) + half + 6
        return kept


def _round_step(step: float) -> float:
    if not step > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return float(next(m * power for m in (1, 2, 5, 10) if m * power >= step * (1 - 1e-9)))


def _decades(low: float, high: float) -> list[float]:
    """Return the ticks of a log axis: powers of ten, with 2 and 5 between them if they are few."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    digits = (1, 2, 5) if high - low < 2.2 else (1,)
    step = max(1, round((high - low) / 7)) if digits == (1,) else 1
    ticks = [digit * 10.0**power for power in powers if power % step == 0 for digit in digits]
    return [tick for tick in ticks if low - 1e-9 <= math.log10(tick) <= high + 1e-9]


def spread(values: Sequence[float]) -> float:
    """Return the least distance between two of the values; 1 if there is none."""
    known = np.unique([value for value in values if math.isfinite(value)])
    return float(np.diff(known).min()) if len(known) > 1 else 1.0
