"""A visual selector: a grid of examples, as pictures or as the rows of a table."""

from collections.abc import Sequence
from typing import Any

import ipywidgets
import numpy as np

from unlearnkit.data.examples import Dataset
from unlearnkit.selection.example_map import score_table
from unlearnkit.session import Session
from unlearnkit.unlearning.request import Request, select
from unlearnkit.widgets.parts.html import Html, paragraphs
from unlearnkit.widgets.parts.panel import Panel, row
from unlearnkit.widgets.parts.pictures import are_images, sources
from unlearnkit.widgets.parts.shared import listing
from unlearnkit.widgets.revocation.base import (
    ALL_CLASSES,
    Ids,
    Selector,
    button,
    class_choice,
    facts,
)
from unlearnkit.widgets.revocation.picker import Picker
from unlearnkit.widgets.revocation.selectors import SCORE_MEANING, score_options

PAGE = 48  # pictures per page
ROWS = 20  # table rows per page
BY_ID, BY_GROUP = "id", "group"


class GridSelector(Selector):
    """Selects from pictures of the examples, or from the rows of their table, page by page."""

    meaning = SCORE_MEANING

    def __init__(self, panel: Panel, session: Session) -> None:
        super().__init__(panel, session)
        self.name = grid_name(session.dataset)

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the class and order fields, the page, and the list of picked examples."""
        self.label = class_choice(self.session)
        orders = [("id", BY_ID), *score_options(self.session)]
        noun = self.groups.noun if self.groups else ""
        if noun:
            orders.insert(1, (noun, BY_GROUP))
        self.order = ipywidgets.Dropdown(options=orders, description="ordered by")
        self.order.layout.width = "auto"
        self.order.style.description_width = "initial"
        self.back = button("Back", "Show the examples before these")
        self.on = button("Next", "Show the examples after these")
        self.whole = button("Pick this page", "Pick every example on this page")
        self.none = button("Pick none", "Unpick all examples")
        self.all = button(
            f"Pick whole {noun}s", f"Pick every example of the {noun}s of those picked"
        )
        self.all.layout.display = None if noun else "none"
        self.place = Html(live=True)
        text = [4] if noun else []  # the names of groups
        self.picker = Picker(label="Examples; arrow keys move, the space bar picks", text=text)
        self.chosen = Html(live=True)
        self._page, self._ids = 0, np.empty(0, np.int64)
        self._seen: tuple[object, ...] = ()
        guard = self.panel.guard
        for field in (self.label, self.order):
            self.observed(field)
        self.back.on_click(guard(lambda button: self._turn(-1)))
        self.on.on_click(guard(lambda button: self._turn(1)))
        self.whole.on_click(guard(lambda button: self._pick_page()))
        self.none.on_click(guard(lambda button: self._pick([])))
        self.all.on_click(guard(lambda button: self._pick(self.with_groups(self.picker.picked))))
        self.picker.observe(guard(lambda change: self._say()), names="picked")
        return [
            row(self.label, self.order, self.back, self.on, self.place),
            self.picker,
            row(self.whole, self.all, self.none, self.chosen),
        ]

    def renew(self) -> None:
        """List the examples again if they may have changed, and show the page."""
        session = self.session
        seen = (session.plan, session.last, self.label.value, self.order.value)
        if len(seen) != len(self._seen) or any(
            a is not b and a != b for a, b in zip(seen, self._seen, strict=True)
        ):
            self._seen = ()
            self._ids = self._ordered()
            self._seen, self._page = seen, 0
            alive = set(self._all().tolist())
            self.picker.picked = [i for i in self.picker.picked if i in alive]
        self._show()

    def _all(self) -> Ids:
        plan = self.session.plan
        kept: np.ndarray = plan.partition.ids[plan.retained]
        return kept

    def _ordered(self) -> Ids:
        ids, order = self._all(), self.order.value
        if self.label.value != ALL_CLASSES:
            ids = np.intersect1d(ids, select(self.session.dataset, label=self.label.value))
        if order == BY_ID:
            return ids
        if order == BY_GROUP and self.groups is not None:
            together: np.ndarray = ids[np.argsort(self.groups.of(ids), kind="stable")]
            return together
        if self.session.busy:
            raise RuntimeError("this session is busy; order the examples when it is done")
        frame = score_table(self.session, order).set_index("id").loc[ids]
        ordered: np.ndarray = frame.sort_values(
            order, ascending=False, kind="stable"
        ).index.to_numpy()
        return ordered

    @property
    def _size(self) -> int:
        return PAGE if are_images(self.session.dataset) else ROWS

    def _on_show(self) -> Ids:
        return self._ids[self._page * self._size : (self._page + 1) * self._size]

    def _turn(self, pages: int) -> None:
        last = max(0, -(-len(self._ids) // self._size) - 1)
        self._page = min(last, max(0, self._page + pages))
        self._show()

    def _show(self) -> None:
        ids = self._on_show()
        waiting = np.isin(ids, self.session.pending)
        headers, cells = self._facts(ids)
        drawn = sources(self.session.dataset, ids)
        whose = [] if self.groups is None else self.groups.of(ids).tolist()
        items: list[dict[str, Any]] = []
        for number, (i, line) in enumerate(zip(ids.tolist(), cells, strict=True)):
            label = f"example {i}, {headers[1]} {line[1]}, shard {line[2]}, slice {line[3]}"
            label += self._spoken(line)
            shown: dict[str, Any] = {"cells": line}
            if drawn:
                shown = {"source": drawn[number], "caption": self._caption(line)}
            if self.groups is not None:
                label += f", {self.groups.noun} {line[4]}"
                shown["group"] = whose[number]
            label += ", in the request already" if waiting[number] else ""
            items.append({"id": i, "label": label, "waiting": bool(waiting[number]), **shown})
        self.picker.show(items, () if drawn else headers)
        begin, total = self._page * self._size, len(self._ids)
        self.back.disabled = not begin
        self.on.disabled = begin + len(ids) >= total
        self.place.html = paragraphs(
            f"{begin + 1:,} to {begin + len(ids):,} of {total:,}" if total else "None left."
        )
        self._say()

    def _facts(self, ids: Ids) -> tuple[list[str], list[list[str]]]:
        """Return column titles and cells of the examples, as :func:`facts` does."""
        return facts(self.session, ids)

    def _caption(self, line: list[str]) -> str:
        """Return what stands below a picture, from the cells of its row."""
        return line[0]

    def _spoken(self, line: list[str]) -> str:
        """Return what the accessible name of an example says besides its class and place."""
        return ""

    def _pick_page(self) -> None:
        self._pick([*dict.fromkeys([*self.picker.picked, *self._on_show().tolist()])])

    def _pick(self, ids: list[int]) -> None:
        self.picker.picked = ids

    def _say(self) -> None:
        picked = self.picker.picked
        self.none.disabled = self.all.disabled = not picked
        if self.groups is not None:
            self.picker.kin = np.unique(self.groups.of(picked)).tolist()
        self.chosen.html = paragraphs(
            f"{len(picked):,} picked: {listing(sorted(picked), most=12)}."
            if picked
            else "None picked. Click examples, or move with Tab and the arrow keys and press "
            "space.",
            self.described(picked),
        )

    def ids(self) -> Ids:
        """Return the picked ids."""
        if not self.picker.picked:
            raise ValueError("no example is picked; click some, or press space on them")
        return np.asarray(sorted(self.picker.picked), np.int64)

    def revoke(self) -> Request:
        """Add the picked examples to the request, as whole groups if that is what they are."""
        return self.revoke_whole(self.ids())

    def revoked(self) -> None:
        """Unpick all examples."""
        self.picker.picked = []

    @property
    def code(self) -> str:
        """The call that revokes the selected ids."""
        return self.call(self.picker.picked)


def grid_name(dataset: Dataset) -> str:
    """Return the label of the grid, which shows pictures of images and rows of other data."""
    return "from pictures" if are_images(dataset) else "from a table"
