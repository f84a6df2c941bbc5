"""The base of all sections of the comparison panel: access to the comparison and saved data."""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import ipywidgets

from unlearnkit.evaluation.comparison import Comparison
from unlearnkit.figures.drawing import MODEL_NAMES
from unlearnkit.session import Session
from unlearnkit.widgets.parts.html import Html
from unlearnkit.widgets.parts.panel import Panel
from unlearnkit.widgets.parts.plot import Plot
from unlearnkit.widgets.parts.section import Section

if TYPE_CHECKING:
    import pandas as pd

WHOLE = -1  # means the whole ensemble where a shard is expected
OTHERS = [(MODEL_NAMES[name], name) for name in ("unlearned", "original")]


class HasComparison(Protocol):
    """The part of a panel that its sections use."""

    session: Session
    comparison: Comparison | None


class View(Section):
    """A section on the panel's comparison; it reads the comparison from the panel each time."""

    def __init__(self, panel: Panel, source: HasComparison) -> None:
        super().__init__(panel)
        self._source = source
        self._plots: list[Plot] = []
        self._texts: list[Html] = []
        self._frames: dict[str, pd.DataFrame] = {}

    @property
    def comparison(self) -> Comparison:
        """The comparison on show.

        Raises:
            RuntimeError: the comparison was discarded.
        """
        if self._source.comparison is None:
            raise RuntimeError("the comparison was discarded; press Compare for a new one")
        return self._source.comparison

    def clear(self) -> None:
        """Clear the plots, the texts and the data behind them."""
        for plot in self._plots:
            plot.clear()
        for prose in self._texts:
            prose.html = ""
        self._frames.clear()

    def on_open(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` whenever the section has been opened, by a click or by code."""

        def opened(change: dict[str, object]) -> None:
            if change["new"]:
                callback()

        self._head.observe(opened, names="expanded")

    def plot(self, name: str) -> Plot:
        """Return a new plot that saves the frame of that name."""
        frame = functools.partial(self._frame, name)
        self._plots.append(Plot(name=name, frame=frame))
        return self._plots[-1]

    def text(self) -> Html:
        """Return a new text that screen readers announce."""
        self._texts.append(Html(live=True))
        return self._texts[-1]

    def choice(self, description: str, options: Sequence[object]) -> ipywidgets.Dropdown:
        """Return a new dropdown that redraws the section when it changes."""
        field = ipywidgets.Dropdown(options=list(options), description=description)
        field.style.description_width = "initial"
        field.layout.width = "auto"
        field.observe(self.panel.guard(lambda change: self._chosen()), names="value")
        return field

    def shard_choice(self) -> ipywidgets.Dropdown:
        """Return a new, still empty, dropdown of the compared shards."""
        return self.choice("constituent", [])

    def offer_shards(self, field: ipywidgets.Dropdown, *, whole: bool = False) -> int:
        """Offer the compared shards, approximate ones first, and return the chosen one.

        Args:
            field: the dropdown to update.
            whole: whether to offer the whole ensemble as well, as the first choice.
        """
        frame = self.comparison.constituents.sort_values(["bit_identical", "shard"])
        options = [
            (f"shard {shard} ({'exact' if same else 'approximate'})", int(shard))
            for shard, same in zip(frame["shard"], frame["bit_identical"], strict=True)
        ]
        if whole:
            options.insert(0, ("the whole ensemble", WHOLE))
        if not options:
            raise ValueError("no shard was compared, so there is no constituent to show")
        if list(field.options) != options:
            with field.hold_trait_notifications():
                field.options = options
        if field.value is None:
            field.value = options[0][1]
        return int(field.value)

    def _frame(self, name: str) -> "pd.DataFrame":
        return self._frames[name]

    def _chosen(self) -> None:
        # A section may set its own controls while it draws.
        if self.open and not self._drawing:
            self.redraw()

    _drawing = False

    def redraw(self) -> None:
        """Draw the section, ignoring changes that drawing makes to its own controls."""
        self._drawing = True
        try:
            super().redraw()
        finally:
            self._drawing = False
