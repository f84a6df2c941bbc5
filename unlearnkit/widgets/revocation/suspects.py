"""A visual selector of labels that are probably wrong."""

from collections.abc import Sequence

import ipywidgets
import numpy as np
import pandas as pd

from unlearnkit.display import plural
from unlearnkit.selection.held_out import suspicious_labels
from unlearnkit.session import Session
from unlearnkit.unlearning.request import select
from unlearnkit.widgets.parts.html import Html, paragraphs
from unlearnkit.widgets.parts.panel import Panel
from unlearnkit.widgets.revocation.base import ALL_CLASSES, Ids, button, facts
from unlearnkit.widgets.revocation.grid import GridSelector

MEANING = (
    "The models of the other shards never saw an example, so they cannot have memorised its label. "
    "Their mean prediction is compared with it (confident learning: Northcutt, Jiang and Chuang "
    "2021). A label is suspicious if another class is predicted with at least the probability that "
    "this class has on average among the examples labelled as it. The labels with the highest loss "
    "come first. Ambiguous and rare examples are among them, the more so the less accurate the "
    "models are: look before you revoke."
)


class SuspectSelector(GridSelector):
    """Selects from the examples whose labels the models of the other shards contradict."""

    def __init__(self, panel: Panel, session: Session) -> None:
        super().__init__(panel, session)
        self.name = "suspicious labels"
        noun = self.groups.noun if self.groups else ""
        whole = f"If all labels of a {noun} are wrong, pick the whole {noun}." if noun else ""
        self.meaning = "\n".join(filter(None, [MEANING, whole]))

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the class field, the page, and the list of picked examples."""
        self._found: tuple[tuple[object, ...], pd.DataFrame] | None = None
        pages, picker, picks = super().build()
        self.order.layout.display = "none"
        self.summary = Html(live=True)
        self.every = button("Pick all", "Pick every suspicious example of this class, on all pages")
        self.every.on_click(self.panel.guard(lambda button: self._pick(self._ids.tolist())))
        picks.children = (self.every, *picks.children)
        return [self.summary, pages, picker, picks]

    def renew(self) -> None:
        """Look for suspicious labels again if the models may have changed."""
        if not self.session.trained:
            self.summary.html = paragraphs("The session is not trained yet: that is step 1.")
            return
        if self.session.busy:
            return
        super().renew()
        count, total = len(self._suspects), int(self.session.plan.retained.sum())
        self.every.disabled = not len(self._ids)
        self.summary.html = paragraphs(
            f"{plural(count, 'suspicious label')} among {plural(total, 'example')}: the models "
            "of the other shards, which never saw them, predict another class. Pick those that "
            "are wrong."
            if count
            else f"No label is suspicious among {plural(total, 'example')}."
        )

    @property
    def _suspects(self) -> pd.DataFrame:
        """The suspicious examples by id, computed once per state of the session."""
        seen = (self.session.plan, self.session.last)
        if self._found is None or any(
            a is not b for a, b in zip(seen, self._found[0], strict=True)
        ):
            self.summary.html = paragraphs("Computing ...")
            self._found = (seen, suspicious_labels(self.session).set_index("id"))
        return self._found[1]

    def _all(self) -> Ids:
        ids: Ids = self._suspects.index.to_numpy(np.int64)
        return ids

    def _ordered(self) -> Ids:
        ids = self._all()
        if self.label.value == ALL_CLASSES:
            return ids
        return ids[np.isin(ids, select(self.session.dataset, label=self.label.value))]

    def _facts(self, ids: Ids) -> tuple[list[str], list[list[str]]]:
        headers, cells = facts(self.session, ids)
        place = 4 if self.groups is None else 5
        rows = self._suspects.loc[ids]
        names = self.session.dataset.class_names
        for line, other, p, q in zip(
            cells,
            rows["suggested"],
            rows["suggested_probability"],
            rows["probability"],
            strict=True,
        ):
            line[place:place] = [names[other], f"{p:.0%}", f"{q:.1%}"]
        headers[place:place] = ["looks like", "probability", "probability of its label"]
        return headers, cells

    def _caption(self, line: list[str]) -> str:
        place = 4 if self.groups is None else 5
        return f"{line[1]} \N{RIGHTWARDS ARROW} {line[place]}"

    def _spoken(self, line: list[str]) -> str:
        place = 4 if self.groups is None else 5
        return f", looks like {line[place]} ({line[place + 1]})"

    @property
    def code(self) -> str:
        """The call that revokes the selected ids."""
        picked = self.picker.picked
        if self.groups is None and picked and set(picked) == set(self._all().tolist()):
            return (
                "from unlearnkit.selection.held_out import suspicious_labels\n"
                'session.revoke(suspicious_labels(session)["id"])'
            )
        return super().code
