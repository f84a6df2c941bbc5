"""Visual selectors: a grid of examples, and a map of the data with a lasso."""

from collections.abc import Sequence
from typing import Any

import ipywidgets
import numpy as np

from unlearnkit import figures
from unlearnkit.data.examples import Dataset
from unlearnkit.selection.example_map import ExampleMap, example_map, score_table
from unlearnkit.session import Session
from unlearnkit.unlearning.request import select
from unlearnkit.widgets.parts.html import Html, fold, paragraphs
from unlearnkit.widgets.parts.panel import Panel, row
from unlearnkit.widgets.parts.picker import Picker
from unlearnkit.widgets.parts.pictures import are_images, sources
from unlearnkit.widgets.parts.plot import Plot
from unlearnkit.widgets.parts.shared import label_counts, listing, plural
from unlearnkit.widgets.revocation.selectors import (
    ALL_CLASSES,
    SCORE_MEANING,
    SCORE_NAMES,
    Ids,
    Selector,
    class_choice,
    facts,
)

PAGE = 48  # pictures per page
ROWS = 20  # table rows per page
BY_ID = "id"
INPUTS = -1  # means the inputs where a shard is expected


class GridSelector(Selector):
    """Selects from pictures of the examples, or from the rows of their table, page by page."""

    def __init__(self, panel: Panel, session: Session) -> None:
        super().__init__(panel, session)
        self.name = grid_name(session.dataset)

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the class and order fields, the page, and the list of picked examples."""
        self.label = class_choice(self.session)
        orders = [("id", BY_ID), *((text, name) for name, text in SCORE_NAMES.items())]
        self.order = ipywidgets.Dropdown(options=orders, description="ordered by")
        self.order.layout.width = "250px"
        self.order.style.description_width = "initial"
        self.back = _button("Previous page", "Show the examples before these")
        self.on = _button("Next page", "Show the examples after these")
        self.whole = _button("Pick this page", "Pick every example on this page")
        self.none = _button("Pick none", "Unpick all examples")
        self.place = Html(live=True)
        self.picker = Picker(label="Examples; arrow keys move, the space bar picks")
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
        self.picker.observe(guard(lambda change: self._say()), names="picked")
        meaning = Html(
            html=fold("What do loss and self-influence mean?", paragraphs(SCORE_MEANING))
        )
        return [
            row(self.label, self.order),
            row(self.back, self.on, self.place),
            self.picker,
            row(self.whole, self.none, self.chosen),
            meaning,
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
            self.picker.picked = [i for i in self.picker.picked if i in set(self._all().tolist())]
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
        headers, cells = facts(self.session, ids)
        drawn = sources(self.session.dataset, ids)
        items: list[dict[str, Any]] = []
        for number, (i, line) in enumerate(zip(ids.tolist(), cells, strict=True)):
            label = f"example {i}, {headers[1]} {line[1]}, shard {line[2]}, slice {line[3]}"
            label += ", in the request already" if waiting[number] else ""
            shown = {"source": drawn[number]} if drawn else {"cells": line}
            items.append({"id": i, "label": label, "waiting": bool(waiting[number]), **shown})
        self.picker.show(items, () if drawn else headers)
        begin, total = self._page * self._size, len(self._ids)
        self.back.disabled = not begin
        self.on.disabled = begin + len(ids) >= total
        self.place.html = paragraphs(
            f"{begin + 1:,} to {begin + len(ids):,} of {total:,}" if total else "None left."
        )
        self._say()

    def _pick_page(self) -> None:
        self._pick([*dict.fromkeys([*self.picker.picked, *self._on_show().tolist()])])

    def _pick(self, ids: list[int]) -> None:
        self.picker.picked = ids

    def _say(self) -> None:
        picked = self.picker.picked
        self.none.disabled = not picked
        self.chosen.html = paragraphs(
            f"{len(picked):,} picked: {listing(sorted(picked), most=12)}."
            if picked
            else "None picked. Click examples, or move with Tab and the arrow keys and press space."
        )

    def ids(self) -> Ids:
        """Return the picked ids."""
        if not self.picker.picked:
            raise ValueError("no example is picked; click some, or press space on them")
        return np.asarray(sorted(self.picker.picked), np.int64)

    def revoked(self) -> None:
        """Unpick all examples."""
        self.picker.picked = []

    @property
    def code(self) -> str:
        """The call that revokes the selected ids."""
        return revoke_call(self.picker.picked)


class MapSelector(Selector):
    """Selects from a scatter plot of the data with a lasso or a box."""

    name = "on a map"

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the choice of the projected features, the map, and the list of selected ids."""
        self.source = ipywidgets.Dropdown(options=[("inputs", INPUTS)], description="placed by")
        self.source.layout.width = "250px"
        self.source.style.description_width = "initial"
        self.observed(self.source)
        self.summary, self.chosen = Html(), Html(live=True)
        self.plot = Plot(name="example-map", frame=lambda: self._found().to_frame())
        self.plot.view.on_select(self.panel.guard(self._selected))
        self._map: ExampleMap | None = None
        self._asked = self._drawn = np.empty(0, np.int64)
        self._seen: tuple[object, ...] = ()
        self._picked: list[int] = []
        self._rounds = 0
        meaning = (
            "Every dot is a training example, placed by principal component analysis (Pearson "
            "1901) in the plane of greatest variance of the inputs, or of their features in the "
            "last hidden layer of one shard's model, which was trained on its own shard only. Dots "
            "that are close in the plane can be far apart in space: the axes give the share of the "
            "variance that is shown. The name of a class stands at the median of its dots."
        )
        return [
            row(self.source),
            self.summary,
            self.plot.widget,
            self.chosen,
            Html(html=fold("What does this mean?", paragraphs(meaning))),
        ]

    def renew(self) -> None:
        """Compute the map again if it may have changed, and ring the examples of the request."""
        session = self.session
        if session.busy:
            if self._map is None:
                self.summary.html = paragraphs(
                    "The session is busy; the map is drawn when it is done."
                )
            return
        options = [("the inputs", INPUTS)]
        if session.trained:
            alive = [c.shard for c in session.ensemble.constituents]
            options += [(f"the model of shard {s}", s) for s in alive]
        if list(self.source.options) != options:
            kept = self.source.value if self.source.value in dict(options).values() else INPUTS
            self.source.options = options
            self.source.value = kept
        seen = (session.plan, session.last, self.source.value)
        again = len(self._seen) != 3 or any(
            a is not b and a != b for a, b in zip(seen, self._seen, strict=True)
        )
        waiting = session.pending
        # A map of a large request leaves out part of it, so this is checked once per request.
        outside = waiting is not self._asked and not np.isin(waiting, self._drawn).all()
        if again or outside:
            self._seen = ()
            shard = None if self.source.value == INPUTS else self.source.value
            self._map, self._seen = example_map(session, shard), seen
            self._asked, self._drawn = waiting, self._map.ids
            self._picked = []
            self._rounds += 1
        self._draw()

    def _draw(self) -> None:
        found, session = self._found(), self.session
        spec = figures.example_map.spec(found, session.dataset.class_names, session.pending)
        spec["layout"] |= {"selectionrevision": self._rounds, "uirevision": str(self.source.value)}
        self.plot.show(spec)
        drawn = len(found.ids)
        sampled = (
            f"{drawn:,} of {found.total:,} training examples are drawn: a uniform sample and those "
            "of the request. "
            if drawn < found.total
            else "All training examples are drawn. "
        )
        self.summary.html = paragraphs(
            f"{sampled}Select examples with the lasso or the box, or click them; hold Shift to add "
            f"more. With the keyboard, choose {grid_name(session.dataset)!r} or 'by query'."
        )
        self._say()

    def _found(self) -> ExampleMap:
        if self._map is None:
            raise RuntimeError("the map has not been drawn yet; wait until it is shown")
        return self._map

    def _selected(self, event: dict[str, Any]) -> None:
        self._picked = sorted({int(i) for i in event["customdata"]})
        self._say()

    def _say(self) -> None:
        if not self._picked:
            self.chosen.html = paragraphs("None selected.")
            return
        self.chosen.html = paragraphs(
            f"{plural(len(self._picked), 'example')} selected. "
            + label_counts(self.session.dataset, self._picked)
        )

    def ids(self) -> Ids:
        """Return the ids inside the selection."""
        if not self._picked:
            raise ValueError("no example is selected; draw a line around some on the map")
        return np.asarray(self._picked, np.int64)

    def revoked(self) -> None:
        """Remove the selection."""
        self._picked = []
        self._rounds += 1
        self._draw()

    @property
    def code(self) -> str:
        """The call that revokes the selected ids."""
        return revoke_call(self._picked)


def grid_name(dataset: Dataset) -> str:
    """Return the label of the grid, which shows pictures of images and rows of other data."""
    return "from pictures" if are_images(dataset) else "from a table"


def revoke_call(ids: Sequence[int]) -> str:
    """Return the Python call that revokes these ids."""
    return f"session.revoke([{', '.join(map(str, sorted(ids))) or '...'}])"


def _button(label: str, tooltip: str) -> ipywidgets.Button:
    button = ipywidgets.Button(description=label, tooltip=tooltip)
    button.layout.width = "auto"
    return button
