"""A visual selector: a map of the data with a lasso."""

from collections.abc import Sequence
from typing import Any

import ipywidgets
import numpy as np

from unlearnkit import figures
from unlearnkit.selection.example_map import ExampleMap, example_map
from unlearnkit.unlearning.request import Request
from unlearnkit.widgets.parts.html import Html, paragraphs
from unlearnkit.widgets.parts.panel import row
from unlearnkit.widgets.parts.pictures import are_images, sources
from unlearnkit.widgets.parts.plot import Plot
from unlearnkit.widgets.parts.shared import label_counts, plural
from unlearnkit.widgets.revocation.base import Ids, Selector, button
from unlearnkit.widgets.revocation.grid import grid_name

INPUTS = -1  # means the inputs where a shard is expected
MOST_FOLLOWED = 10  # groups whose examples are ringed together
MOST_HEIGHT = 350  # pixels, so that the map fits on a screen with what acts on it


class MapSelector(Selector):
    """Selects from a scatter plot of the data with a lasso or a box."""

    name = "on a map"
    meaning = (
        "Every dot is a training example, placed by principal component analysis (Pearson "
        "1901) in the plane of greatest variance of the inputs, or of their features in the "
        "last hidden layer of one shard's model, which was trained on its own shard only. Dots "
        "that are close in the plane can be far apart in space: the axes give the share of the "
        "variance that is shown. The name of a class stands at the median of its dots."
    )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the choice of the projected features, the map, and the list of selected ids."""
        self.source = ipywidgets.Dropdown(options=[("inputs", INPUTS)], description="placed by")
        self.source.layout.width = "250px"
        self.source.style.description_width = "initial"
        self.observed(self.source)
        self.summary, self.chosen = Html(), Html(live=True)
        noun = self.groups.noun if self.groups else ""
        self.all = button(f"Select whole {noun}s", f"Add all examples of the {noun}s selected")
        self.all.on_click(self.panel.guard(lambda pressed: self._select_whole()))
        self.all.layout.display = None if noun else "none"
        shows = self._picture_of if are_images(self.session.dataset) else None
        self.plot = Plot(
            name="example-map", frame=lambda: self._found().to_frame(), picture_of=shows
        )
        self.plot.view.on_select(self.panel.guard(self._selected))
        self._map: ExampleMap | None = None
        self._asked = self._drawn = np.empty(0, np.int64)
        self._seen: tuple[object, ...] = ()
        self._picked: list[int] = []
        self._rounds = 0
        return [
            row(self.source),
            self.summary,
            self.plot.widget,
            row(self.all, self.chosen),
        ]

    def _picture_of(self, number: int) -> str:
        """Return the picture of an example on the map; empty for an id that is not on it."""
        if self._map is None or number not in self._map.ids:
            return ""
        return sources(self.session.dataset, np.array([number], np.int64))[0]

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
        whose: list[str] = []
        if self.groups is not None:
            numbers = self.groups.of(found.ids).tolist()
            whose = [f"{self.groups.noun} {self.groups.texts[number]}" for number in numbers]
        spec = figures.example_map.spec(
            found, session.dataset.class_names, session.pending, whose=whose, kin=self._kin()
        )
        spec["layout"] |= {"selectionrevision": self._rounds, "uirevision": str(self.source.value)}
        spec["layout"]["height"] = min(MOST_HEIGHT, spec["layout"]["height"])
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
        before = self._kin()
        self._picked = sorted({int(i) for i in event["customdata"]})
        if self._kin() != before:
            self._draw()
        self._say()

    def _select_whole(self) -> None:
        self._picked = sorted(self.with_groups(self._picked))
        self._draw()

    def _kin(self) -> list[int]:
        """Return all examples of the groups selected, unless these are too many to follow."""
        if self.groups is None or not self._picked:
            return []
        if len(np.unique(self.groups.of(self._picked))) > MOST_FOLLOWED:
            return []
        return self.with_groups(self._picked)

    def _say(self) -> None:
        self.all.disabled = not self._picked
        if not self._picked:
            self.chosen.html = paragraphs("None selected.")
            return
        self.chosen.html = paragraphs(
            f"{plural(len(self._picked), 'example')} selected. "
            + label_counts(self.session.dataset, self._picked),
            self.described(self._picked),
        )

    def ids(self) -> Ids:
        """Return the ids inside the selection."""
        if not self._picked:
            raise ValueError("no example is selected; draw a line around some on the map")
        return np.asarray(self._picked, np.int64)

    def revoke(self) -> Request:
        """Add the selected examples to the request, as whole groups if that is what they are."""
        return self.revoke_whole(self.ids())

    def revoked(self) -> None:
        """Remove the selection."""
        self._picked = []
        self._rounds += 1
        self._draw()

    @property
    def code(self) -> str:
        """The call that revokes the selected ids."""
        return self.call(self._picked)
