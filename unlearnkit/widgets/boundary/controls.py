"""The choice of a boundary: a threshold set by hand, the adaptive boundary, or a named one."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import ipywidgets

from unlearnkit.unlearning.boundary import BOUNDARIES
from unlearnkit.unlearning.boundary.adaptive import AdaptiveBoundary
from unlearnkit.unlearning.boundary.chosen import OverriddenBoundary
from unlearnkit.unlearning.boundary.fixed import UNITS, FixedBoundary
from unlearnkit.unlearning.boundary.protocol import Boundary
from unlearnkit.widgets.boundary.approximation import offer
from unlearnkit.widgets.parts.panel import row
from unlearnkit.widgets.parts.percent_slider import PercentSlider

HAND, ADAPTIVE, OWN = "by hand", "adaptive", "the session's own"


class BoundaryChoice:
    """The choice of a boundary and its settings.

    Attributes:
        widget: all controls.
        mode: by hand, adaptive, the name of a user's entry in ``BOUNDARIES``, or the session's
            boundary if it is none of these.

    Args:
        boundary: the initial boundary; fields of an adaptive one without a control here are kept.
        changed: called after every change.
    """

    def __init__(self, boundary: Boundary, changed: Callable[[Any], object]) -> None:
        self._adaptive = boundary if type(boundary) is AdaptiveBoundary else AdaptiveBoundary()
        fixed = boundary if type(boundary) is FixedBoundary else FixedBoundary()
        self._own: Boundary | None = None
        mode = {FixedBoundary: HAND, AdaptiveBoundary: ADAPTIVE}.get(type(boundary))
        if mode is None:
            mode = next((name for name in _own() if BOUNDARIES[name] == boundary), OWN)
        if mode == OWN:
            self._own = boundary
        self.mode = ipywidgets.RadioButtons(options=[mode], value=mode, description="boundary")
        self.offer()
        self.slider = PercentSlider(value=100 * fixed.max_share, description="threshold")
        self.unit = ipywidgets.Dropdown(
            options=list(UNITS), value=fixed.unit, description="measured in"
        )
        self.unit.layout.width = "190px"
        self.whole = ipywidgets.Checkbox(fixed.whole, description="all shards alike", indent=False)
        self.whole.layout.width = "auto"
        self.whole.tooltip = "One decision for the whole request, as in the paper's abstract"
        given = self._adaptive
        self.seconds = _text(
            "deadline (wall s)",
            given.seconds,
            "Seconds of wall time for the request; leave empty for no deadline",
        )
        self.error = _text(
            "error budget (nats)",
            given.error,
            "Bound on the predicted error; leave empty for no bound",
        )
        self.light = _text(
            "light (%)", 100 * given.light, "Requests up to this share are retrained exactly"
        )
        self.gain = _text(
            "gain at least (x)",
            given.min_gain,
            "Approximate only if it is this many times faster than exact",
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
        self.mode.observe(lambda change: self._show(), names="value")
        self._show()

    @property
    def boundary(self) -> Boundary:
        """The boundary that the controls describe.

        Raises:
            ValueError: a field does not hold a number, or holds one out of range.
        """
        if self.mode.value == OWN and self._own is not None:
            return self._own
        if self.mode.value not in (HAND, ADAPTIVE):
            return BOUNDARIES[self.mode.value]
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

    @property
    def by_hand(self) -> FixedBoundary | None:
        """The fixed boundary of the threshold; None if another boundary is chosen."""
        chosen = self.boundary if self.mode.value == HAND else None
        return chosen if isinstance(chosen, FixedBoundary) else None

    @property
    def phrase(self) -> str:
        """The beginning of a sentence that names a boundary not set by hand."""
        if self.mode.value == OWN:
            return "With the session's own boundary"
        named = self.mode.value not in (HAND, ADAPTIVE)
        return f"With the boundary {self.mode.value!r}" if named else "With the adaptive boundary"

    def offer(self) -> None:
        """Offer the boundaries that are registered in ``BOUNDARIES``."""
        offer(self.mode, [HAND, ADAPTIVE, *_own(), *[OWN] * (self._own is not None)])

    def arguments(self, overrides: Mapping[int, str]) -> str:
        """Return the argument of a call, with its overrides; empty for the default boundary."""
        if self.mode.value in (HAND, ADAPTIVE):
            chosen = self.boundary
            if isinstance(chosen, FixedBoundary) and not overrides:
                if chosen == FixedBoundary(chosen.max_share):
                    return f"{chosen.max_share:g}"
            if overrides:
                chosen = OverriddenBoundary(chosen, overrides)
            return f"boundary={code_of(chosen)}"
        name = repr(self.mode.value)
        if not overrides:
            return "" if self.mode.value == OWN else f"boundary={name}"
        base = "session.boundary" if self.mode.value == OWN else f"uk.BOUNDARIES[{name}]"
        return f"boundary=uk.OverriddenBoundary({base}, {dict(overrides)!r})"

    def _show(self) -> None:
        self._by_hand.layout.display = None if self.mode.value == HAND else "none"
        self._by_rule.layout.display = None if self.mode.value == ADAPTIVE else "none"


def _own() -> list[str]:
    """Return the names of a user's entries, except those that are choices of the panel itself."""
    return [name for name in BOUNDARIES.own if name not in (HAND, ADAPTIVE, OWN)]


def code_of(boundary: Boundary) -> str:
    """Return the call that creates a boundary; default values are left out.

    >>> code_of(FixedBoundary(0.5)), code_of(AdaptiveBoundary(seconds=5.0))
    ('uk.FixedBoundary(0.5)', 'uk.AdaptiveBoundary(seconds=5)')
    >>> code_of(OverriddenBoundary(AdaptiveBoundary(), {3: "exact"}))
    "uk.OverriddenBoundary(uk.AdaptiveBoundary(), {3: 'exact'})"
    """
    if isinstance(boundary, OverriddenBoundary):
        base = code_of(BOUNDARIES.choose(boundary.base))
        return f"uk.OverriddenBoundary({base}, {dict(boundary.routes)!r})"
    arguments = [f"{boundary.max_share:g}"] if isinstance(boundary, FixedBoundary) else []
    for field in fields(boundary):  # type: ignore[arg-type]
        value = getattr(boundary, field.name)
        if value != field.default and field.name != "max_share":
            arguments.append(
                f"{field.name}={value:g}" if type(value) is float else f"{field.name}={value!r}"
            )
    return f"uk.{type(boundary).__name__}({', '.join(arguments)})"


def _text(label: str, value: float | None, tooltip: str) -> ipywidgets.Text:
    field = ipywidgets.Text(
        "" if value is None else f"{value:g}",
        description=label,
        placeholder="none",
        tooltip=tooltip,
        continuous_update=False,
    )
    field.layout.width = "210px"
    return field


def number_of(field: ipywidgets.Text, otherwise: float | None = None) -> Any:
    """Return the typed number, or the other value if the field is empty.

    Raises:
        ValueError: the text is not a number.
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
            f"{field.description}: {typed!r} is not a number; give one, or leave it empty"
        )
    return value
