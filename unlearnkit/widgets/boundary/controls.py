"""The choice of a boundary: a threshold set by hand, the adaptive boundary, or a named one."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import ipywidgets

from unlearnkit.unlearning.boundary import BOUNDARIES
from unlearnkit.unlearning.boundary.adaptive import AdaptiveBoundary
from unlearnkit.unlearning.boundary.chosen import OverriddenBoundary
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import Boundary
from unlearnkit.widgets.boundary.approximation import offer
from unlearnkit.widgets.instrument import view
from unlearnkit.widgets.instrument.calls import argument
from unlearnkit.widgets.instrument.data import DECIDED, Decided
from unlearnkit.widgets.instrument.view import InstrumentView
from unlearnkit.widgets.parts.elements.choice import Choice
from unlearnkit.widgets.parts.html import Html, paragraphs
from unlearnkit.widgets.parts.panel import row

HAND, ADAPTIVE, OWN = "by hand", "adaptive", "the session's own"
RULE = (
    "A light request, which costs at most this share of training, is retrained exactly. The shards "
    "of any other are modified if that is faster by the gain. With a deadline, as many shards are "
    "retrained as fit into it. An approximation whose error may exceed the limit is refused."
)


class BoundaryChoice:
    """The choice of a boundary and its settings; the instrument has the threshold and its unit.

    Attributes:
        widget: all controls but those of the instrument.
        mode: by hand, adaptive, the name of a user's entry in ``BOUNDARIES``, or the session's
            boundary if it is none of these.

    Args:
        boundary: the initial boundary; fields of an adaptive one without a control here are kept.
        instrument: shows and changes the threshold, and may turn to it from another boundary.
        changed: called after every change.
    """

    def __init__(
        self, boundary: Boundary, instrument: InstrumentView, changed: Callable[[Any], object]
    ) -> None:
        self._instrument = instrument
        self._adaptive = boundary if type(boundary) is AdaptiveBoundary else AdaptiveBoundary()
        fixed = boundary if type(boundary) is FixedBoundary else FixedBoundary()
        self._own: Boundary | None = None
        mode = {FixedBoundary: HAND, AdaptiveBoundary: ADAPTIVE}.get(type(boundary))
        if mode is None:
            mode = next((name for name in _own() if BOUNDARIES[name] == boundary), OWN)
        if mode == OWN:
            self._own = boundary
        self.mode = Choice([mode], value=mode, description="boundary")
        self.offer()
        instrument.set_trait("threshold", float(fixed.max_share))
        instrument.set_trait("unit", fixed.unit)
        instrument.set_trait("whole", fixed.whole)
        given = self._adaptive
        self.seconds = _text(
            "deadline (wall s)",
            given.seconds,
            "Seconds of wall time for the request; leave empty for no deadline",
        )
        self.error = _text(
            "error at most (nats)",
            given.error,
            "Bound on the predicted error; leave empty for no bound",
        )
        self.light = _text(
            "light up to (%)", 100 * given.light, "Requests up to this share are retrained exactly"
        )
        self.gain = _text(
            "gain at least (times)",
            given.min_gain,
            "Approximate only if it is this many times faster than exact",
        )
        fields = row(self.seconds, self.error, self.light, self.gain)
        self._by_rule = ipywidgets.VBox([Html(html=paragraphs(RULE)), fields])
        self.widget = ipywidgets.VBox([self.mode, self._by_rule])
        self.widget.add_class("uk-body")
        for control in (self.mode, self.seconds, self.error, self.light, self.gain):
            if hasattr(control, "style"):
                control.style.description_width = "initial"
            control.observe(changed, names="value")
        self.mode.observe(lambda change: self._show(), names="value")
        instrument.observe(lambda change: self._turn(), names="mode")
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
            return self._instrument.fixed
        return replace(
            self._adaptive,
            seconds=number_of(self.seconds),
            error=number_of(self.error),
            light=number_of(self.light, 100 * AdaptiveBoundary.light) / 100,
            min_gain=number_of(self.gain, AdaptiveBoundary.min_gain),
        )

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
            return argument(OverriddenBoundary(chosen, overrides) if overrides else chosen)
        name = repr(self.mode.value)
        if not overrides:
            return "" if self.mode.value == OWN else f"boundary={name}"
        base = "session.boundary" if self.mode.value == OWN else f"uk.BOUNDARIES[{name}]"
        return f"boundary=uk.OverriddenBoundary({base}, {dict(overrides)!r})"

    def decided(self, overrides: Mapping[int, str]) -> Decided | None:
        """Return the boundary if it is one without a threshold.

        Raises:
            ValueError: as for :attr:`boundary`.
        """
        if self.mode.value == HAND:
            return None
        return Decided(self.boundary, self.phrase, self.arguments(overrides))

    def _show(self) -> None:
        hand = self.mode.value == HAND
        self._instrument.mode = view.HAND if hand else DECIDED
        self._by_rule.layout.display = None if self.mode.value == ADAPTIVE else "none"

    def _turn(self) -> None:
        """Turn to the threshold after the page did, such as for retraining everything."""
        if self._instrument.mode == view.HAND:
            self.mode.value = HAND


def _own() -> list[str]:
    """Return the names of a user's entries, except those that are choices of the panel itself."""
    return [name for name in BOUNDARIES.own if name not in (HAND, ADAPTIVE, OWN)]


def _text(label: str, value: float | None, tooltip: str) -> ipywidgets.Text:
    field = ipywidgets.Text(
        "" if value is None else f"{value:g}",
        description=label,
        placeholder="none",
        tooltip=tooltip,
        continuous_update=False,
    )
    field.layout.width = "186px"
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
