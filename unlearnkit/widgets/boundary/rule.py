"""The controls of a boundary: a threshold by hand, or the settings of the adaptive one."""

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import ipywidgets

from unlearnkit.unlearning.boundary.adaptive import AdaptiveBoundary
from unlearnkit.unlearning.boundary.chosen import OverriddenBoundary
from unlearnkit.unlearning.boundary.fixed import UNITS, FixedBoundary
from unlearnkit.unlearning.boundary.protocol import Boundary
from unlearnkit.widgets.parts.panel import row
from unlearnkit.widgets.parts.slider import PercentSlider

HAND, ADAPTIVE = "by hand", "adaptive"


class Rules:
    """Which boundary decides, and its settings.

    Attributes:
        widget: all controls.
        mode: by hand or adaptive.

    Args:
        boundary: to begin with; what has no control here of an adaptive one stays as it is.
        changed: called after every change.
    """

    def __init__(self, boundary: Boundary, changed: Callable[[Any], object]) -> None:
        adaptive = isinstance(boundary, AdaptiveBoundary)
        self._adaptive = boundary if isinstance(boundary, AdaptiveBoundary) else AdaptiveBoundary()
        fixed = boundary if isinstance(boundary, FixedBoundary) else FixedBoundary()
        self.mode = ipywidgets.RadioButtons(
            options=[HAND, ADAPTIVE], value=ADAPTIVE if adaptive else HAND, description="boundary"
        )
        self.slider = PercentSlider(value=100 * fixed.max_share, description="threshold")
        self.unit = ipywidgets.Dropdown(
            options=list(UNITS), value=fixed.unit, description="measured in"
        )
        self.unit.layout.width = "190px"
        self.whole = ipywidgets.Checkbox(fixed.whole, description="all shards alike", indent=False)
        self.whole.layout.width = "auto"
        self.whole.tooltip = "one decision for the whole request, as the paper's abstract has it"
        given = self._adaptive
        self.seconds = _text("deadline (s)", given.seconds, "seconds for the request; empty: none")
        self.error = _text("error budget (nats)", given.error, "by calibration; empty: none")
        self.light = _text("light (%)", 100 * given.light, "retrained anyway up to this share")
        self.gain = _text(
            "gain at least (x)", given.min_gain, "times faster than exact, else exact"
        )
        self._by_hand = row(self.slider, self.unit, self.whole)
        self._by_rule = row(self.seconds, self.error, self.light, self.gain)
        self.widget = ipywidgets.VBox([self.mode, self._by_hand, self._by_rule])
        self.widget.add_class("uk-body")
        settings = (self.slider, self.unit, self.whole, self.mode)
        for control in (*settings, self.seconds, self.error, self.light, self.gain):
            if "description_width" in getattr(control, "style", ipywidgets.Widget()).traits():
                control.style.description_width = "initial"
            control.observe(changed, names="value")
        self.mode.observe(lambda change: self._offer(), names="value")
        self._offer()

    @property
    def boundary(self) -> FixedBoundary | AdaptiveBoundary:
        """What the controls stand for.

        Raises:
            ValueError: a field holds no number, or one out of range.
        """
        if self.mode.value == HAND:
            share = round(self.slider.value / 100, 4)
            return FixedBoundary(share, whole=self.whole.value, unit=self.unit.value)
        return replace(
            self._adaptive,
            seconds=number_of(self.seconds),
            error=number_of(self.error),
            light=number_of(self.light, 100 * AdaptiveBoundary.light) / 100,
            min_gain=number_of(self.gain, AdaptiveBoundary.min_gain),
        )

    def _offer(self) -> None:
        by_hand = self.mode.value == HAND
        self._by_hand.layout.display = None if by_hand else "none"
        self._by_rule.layout.display = "none" if by_hand else None


def code_of(boundary: Boundary) -> str:
    """The call that makes a boundary; what is as by default is left out.

    >>> code_of(FixedBoundary(0.5)), code_of(AdaptiveBoundary(seconds=5.0))
    ('uk.FixedBoundary(0.5)', 'uk.AdaptiveBoundary(seconds=5)')
    >>> code_of(OverriddenBoundary(AdaptiveBoundary(), {3: "exact"}))
    "uk.OverriddenBoundary(uk.AdaptiveBoundary(), {3: 'exact'})"
    """
    if isinstance(boundary, OverriddenBoundary):
        return f"uk.OverriddenBoundary({code_of(boundary.base)}, {dict(boundary.routes)!r})"
    words = [f"{boundary.max_share:g}"] if isinstance(boundary, FixedBoundary) else []
    for field in fields(boundary):  # type: ignore[arg-type]
        value = getattr(boundary, field.name)
        if value != field.default and field.name != "max_share":
            words.append(
                f"{field.name}={value:g}" if type(value) is float else f"{field.name}={value!r}"
            )
    return f"uk.{type(boundary).__name__}({', '.join(words)})"


def _text(words: str, value: float | None, tooltip: str) -> ipywidgets.Text:
    field = ipywidgets.Text(
        "" if value is None else f"{value:g}",
        description=words,
        placeholder="none",
        tooltip=tooltip,
        continuous_update=False,
    )
    field.layout.width = "210px"
    return field


def number_of(field: ipywidgets.Text, otherwise: float | None = None) -> Any:
    """What was typed as a number; the other value where nothing was.

    Raises:
        ValueError: it is none.
    """
    typed = field.value.strip()
    if not typed:
        return otherwise
    try:
        value = float(typed)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(
            f"{field.description}: {typed!r} is no number; give one, or leave it empty"
        )
    return value
