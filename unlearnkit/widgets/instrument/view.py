"""The instrument's view: what the front end shows and what a person does with it."""

from typing import Any

import anywidget
import traitlets

from unlearnkit.unlearning.boundary.fixed import TOLERANCE, UNITS, FixedBoundary
from unlearnkit.widgets.instrument.data import AT, DECIDED, nothing, table_name
from unlearnkit.widgets.instrument.frozen import MODULE, frozen, picture

HAND = "hand"
IDLE: dict[str, Any] = {"running": False, "share": 0.0, "text": "", "error": False}
IDLE |= {"busy": False, "answered": 0}


class InstrumentView(anywidget.AnyWidget):
    """Shard by slice map, cost bars, their running sum and the cost curve, with one threshold.

    The page holds every outcome and follows the threshold by itself; at the end of a gesture it
    sends the new threshold once. It uses nothing but the front-end interface of anywidget, so that
    it works wherever widgets do.

    Attributes:
        data: all that is shown (:func:`~unlearnkit.widgets.instrument.data.data_of`).
        threshold: from 0 to 1.
        unit: ``"visits"`` or ``"seconds"``, in which the threshold is measured.
        whole: whether one decision is made for all shards.
        mode: ``"hand"`` for a threshold, ``"decided"`` for the boundary without one.
        switch: whether the page offers to change the mode.
        chosen: overriding routes, by shard as text.
        asked: the latest request of the page, with an ``action`` and a ``number``.
        guided: whether what stands around the instrument has the buttons and shows the progress.
        copies: ids of pictures of the instrument, which the page hides while it is alive.
        state: what the kernel is doing: whether it is ``running`` the work, with its ``share`` done
            and a ``text``; whether it is ``busy`` with it elsewhere; whether the text is an
            ``error``; and the number of the request that was ``answered``.
    """

    _esm = MODULE
    data: "traitlets.Dict[str, Any]" = traitlets.Dict(nothing("")).tag(sync=True)
    threshold = traitlets.Float(FixedBoundary.max_share, min=0.0, max=1.0).tag(sync=True)
    unit = traitlets.Enum(UNITS, UNITS[0]).tag(sync=True)
    whole = traitlets.Bool(False).tag(sync=True)
    mode = traitlets.Enum((HAND, DECIDED), HAND).tag(sync=True)
    switch = traitlets.Bool(False).tag(sync=True)
    chosen: "traitlets.Dict[str, str]" = traitlets.Dict().tag(sync=True)
    asked: "traitlets.Dict[str, Any]" = traitlets.Dict().tag(sync=True)
    guided = traitlets.Bool(False).tag(sync=True)
    copies: "traitlets.List[str]" = traitlets.List().tag(sync=True)
    state: "traitlets.Dict[str, Any]" = traitlets.Dict(IDLE).tag(sync=True)

    @property
    def overrides(self) -> dict[int, str]:
        """The overriding routes by shard, in ascending order."""
        return {int(shard): self.chosen[shard] for shard in sorted(self.chosen, key=int)}

    @property
    def fixed(self) -> FixedBoundary:
        """The fixed boundary of the threshold."""
        return FixedBoundary(self.threshold, whole=self.whole, unit=self.unit)

    @property
    def table(self) -> dict[str, Any] | None:
        """The part of the data that the page shows; None if there is nothing to decide."""
        tables = self.data["tables"]
        if not tables:
            return None
        if self.mode == DECIDED and DECIDED in tables:
            return dict(tables[DECIDED])
        return dict(tables.get(table_name(self.unit, self.whole), tables[UNITS[0]]))

    @property
    def outcome(self) -> dict[str, Any] | None:
        """The entry of the table that the page shows; None if there is nothing to decide."""
        table = self.table
        if table is None:
            return None
        outcomes = table["outcomes"]
        if self.threshold >= 1:
            return dict(outcomes[-1])
        past = [one for one in outcomes if one["start"] <= self.threshold + TOLERANCE]
        return dict(past[-1])

    @property
    def sentence(self) -> str:
        """What the page says of the decision, or why there is none."""
        found = self.outcome
        if found is None:
            return str(self.data["nothing"])
        return str(found["sentence"]).replace(AT, f"{100 * self.threshold:.10g}%")

    def picture(self) -> str:
        """Return what stands for the instrument where there is no kernel, as HTML."""
        found, decided = self.outcome, self.mode == DECIDED and DECIDED in self.data["tables"]
        kinds = "" if found is None else str(found["kinds"])
        line = None if decided else self.threshold
        shown = picture(self.data, self.table, kinds, line, self.sentence)
        if not self.data["shards"]:
            return shown
        names = ("data", "threshold", "unit", "whole", "mode", "switch", "chosen")
        values = {name: getattr(self, name) for name in names}
        return frozen(values | {"copies": [], "state": {}, "asked": {}}, shown)

    def tell(self, **changes: Any) -> None:
        """Change a part of the state that the page shows."""
        self.state = {**self.state, **changes}
