"""Selectors of examples to forget: by a query, from a list of ids, by a score."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets
import numpy as np

from unlearnkit.selection.example_map import hardest_of, score_table
from unlearnkit.selection.queries import (
    EXAMPLE,
    HELD_OUT,
    INFLUENCE,
    LOSS,
    SCORES,
    column_names,
    ids_in,
    query_ids,
)
from unlearnkit.session import Session
from unlearnkit.unlearning.request import Request, Revocations
from unlearnkit.widgets.parts.html import Html, fold, paragraphs
from unlearnkit.widgets.parts.panel import row
from unlearnkit.widgets.parts.shared import plural
from unlearnkit.widgets.revocation.base import ALL_CLASSES, Ids, Selector, class_choice

if TYPE_CHECKING:
    import pandas as pd

SCORE_NAMES = {
    HELD_OUT: "highest held-out loss",
    LOSS: "highest loss",
    INFLUENCE: "highest self-influence",
}
SCORE_HEADS = {
    HELD_OUT: "held-out loss (nats)",
    LOSS: "loss (nats)",
    INFLUENCE: "self-influence",
}
SCORE_MEANING = (
    "Held-out loss: the loss of the mean prediction of all other shards' models, which never saw "
    "the example. It finds wrong labels best, because the model of the example's own shard may "
    "have memorised them. Loss: the training loss of the example under the model of its own shard, "
    "the only one that was trained on it. Self-influence: as in TracIn (Pruthi, Liu, Sundararajan "
    "and Kale 2020), in the last layer: the learning rate times the squared norm of the gradient "
    "of the example's own loss, summed over the shard's checkpoints that have trained on it, once "
    "for each epoch. Rare, mislabelled and unusual examples rank high: models memorise them, and "
    "they are the hardest to forget."
)
MOST_ROWS = 10


def score_options(session: Session) -> list[tuple[str, str]]:
    """Return the scores to choose from, as (text, name); one shard has no held-out loss."""
    known = session.spec.num_shards > 1
    return [(text, name) for name, text in SCORE_NAMES.items() if known or name != HELD_OUT]


class QuerySelector(Selector):
    """Selects training examples by a pandas query on their table."""

    name = "by query"

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the query field, its results, and the list of columns."""
        self.query = ipywidgets.Text(
            "",
            placeholder=self._example,
            description="query",
            continuous_update=False,
            layout={"width": "480px"},
        )
        self.query.style.description_width = "initial"
        self.query.observe(self.panel.guard(lambda change: self._search()), names="value")
        self.found, self.columns = Html(live=True), Html()
        self._describe()
        return [row(self.query), self.found, self.columns]

    @property
    def _example(self) -> str:
        return "target > 100 and shard in [0, 2]" if self.session.dataset.is_regression else EXAMPLE

    def _describe(self) -> None:
        names = [*column_names(self.session.dataset)[:40], *SCORES]
        self.columns.html = paragraphs(
            "A condition in the syntax of pandas (DataFrame.query); Enter shows what matches."
        ) + fold(
            "The columns",
            paragraphs(
                ", ".join(names) + ".",
                "held_out_loss, loss and self_influence need trained models. Features are as the "
                "dataset stores them, scaled and encoded. Put names with blanks or = in backticks. "
                "The table itself is example_table(session), from "
                "unlearnkit.selection.example_map.",
                SCORE_MEANING,
            ),
        )

    def _search(self) -> None:
        if not self.query.value.strip():
            self.found.html = ""
            return
        self.found.html = paragraphs("Searching ...")
        try:
            ids = self.ids()
        except Exception:
            self.found.html = ""
            raise
        few = f"The first {MOST_ROWS}" if len(ids) > MOST_ROWS else "All of them"
        text = f"{plural(len(ids), 'training example')} found."
        if self.groups is not None:
            text = f"{self.groups.counted(ids)} found."
        self.found.html = paragraphs(text) + (
            self.examples(ids[:MOST_ROWS], few) if len(ids) else ""
        )

    def ids(self) -> Ids:
        """Return the ids that match the query."""
        session = self.session
        gone = Revocations().with_request(session.revoked)
        return query_ids(session.dataset, session.plan, session.store, self.query.value, gone)

    def revoke(self) -> Request:
        """Run the query again, because the data may have changed."""
        return self.session.revoke(query=self.query.value)

    @property
    def code(self) -> str:
        """The call that revokes by this query."""
        return f"session.revoke(query={(self.query.value.strip() or self._example)!r})"


class ListSelector(Selector):
    """Selects the ids in a text: a list, or a column of a table."""

    name = "from a list"

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the text field, the file upload, and the name of the column."""
        self.text = ipywidgets.Textarea(
            "", placeholder="id,reason\n3,asked\n141,left", description="list or CSV", rows=5
        )
        self.text.layout.width = "420px"
        self.column = ipywidgets.Text("", placeholder="id", description="column")
        self.column.layout.width = "170px"
        self.file = ipywidgets.FileUpload(accept=".csv,.tsv,.txt", description="Read a file")
        self.file.tooltip = "Copy the content of a file into the field"
        self.file.layout.width = "auto"
        for field in (self.text, self.column):
            field.style.description_width = "initial"
            field.observe(self.panel.guard(lambda change: None), names="value")
        self.file.observe(self.panel.guard(lambda change: self._read()), names="value")
        hint = (
            "Paste ids, or rows below a line of column names (one of them id, or the column named "
            "here). Separate entries by commas, semicolons, tabs or blanks."
        )
        return [row(self.text), row(self.column, self.file), Html(html=paragraphs(hint))]

    def _read(self) -> None:
        if not self.file.value:
            return
        name, content = uploaded(self.file.value)
        self.text.value = content.decode("utf-8-sig", errors="replace")
        self.panel.say(f"{name} was read; press Revoke to add its ids to the request.")

    def ids(self) -> Ids:
        """Return the ids in the text."""
        return np.asarray(ids_in(self.text.value, self.column.value.strip() or None), np.int64)

    @property
    def code(self) -> str:
        """The call that revokes these ids; a long list is read from a file."""
        named = f", column={self.column.value.strip()!r}" if self.column.value.strip() else ""
        text = self.text.value
        if not text or len(text) > 2000:
            return (
                "from pathlib import Path\n"
                "from unlearnkit.selection.queries import ids_in\n"
                f'session.revoke(ids_in(Path("ids.csv").read_text(){named}))'
            )
        return (
            "from unlearnkit.selection.queries import ids_in\n"
            f"session.revoke(ids_in({text!r}{named}))"
        )


def uploaded(value: Any) -> tuple[str, bytes]:
    """Return name and content of the uploaded file, from either version of ipywidgets.

    >>> uploaded(({"name": "a.csv", "content": memoryview(b"3")},))
    ('a.csv', b'3')
    >>> uploaded({"a.csv": {"metadata": {}, "content": b"3"}})  # ipywidgets 7
    ('a.csv', b'3')
    """
    if isinstance(value, dict):
        [name, given] = next(iter(value.items()))
        return str(name), bytes(given["content"])
    return str(value[0]["name"]), bytes(value[0]["content"])


class HardestSelector(Selector):
    """Selects the examples with the highest held-out loss, loss or self-influence."""

    name = "hardest examples"
    meaning = SCORE_MEANING

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the score, class and number fields and the list of examples."""
        self._seen: tuple[tuple[object, ...], pd.DataFrame] | None = None
        self.by = ipywidgets.Dropdown(options=score_options(self.session), description="by")
        self.by.layout.width = "230px"
        self.label = class_choice(self.session)
        self.number = ipywidgets.BoundedIntText(
            10, min=1, max=len(self.session.dataset.train), description="number"
        )
        self.number.layout.width = "150px"
        for field in (self.by, self.label, self.number):
            field.style.description_width = "initial"
            self.observed(field)
        self.listed = Html(live=True)
        return [row(self.by, self.label, self.number), self.listed]

    def renew(self) -> None:
        """Rank the examples and list the first."""
        if not self.session.trained:
            self.listed.html = paragraphs("The session is not trained yet: that is step 1.")
            return
        if self.session.busy:
            return
        self.listed.html = paragraphs("Computing ...")
        try:
            ids = self.ids()
        except Exception:
            self.listed.html = ""
            raise
        few = ids[:MOST_ROWS]
        caption = f"{SCORE_NAMES[self.by.value].capitalize()} first"
        caption += f"; {len(ids) - len(few)} more follow" if len(ids) > len(few) else ""
        scores = self._ranked().set_index("id")[self.by.value]
        head = SCORE_HEADS[self.by.value]
        self.listed.html = self.examples(few, caption, scores[few].to_dict(), head)

    def _ranked(self) -> "pd.DataFrame":
        """Return the scores of all examples, computed once per state of the session."""
        seen = (self.session.plan, self.session.last, self.by.value)
        if self._seen is None or any(a is not b for a, b in zip(seen, self._seen[0], strict=True)):
            self._seen = (seen, score_table(self.session, self.by.value))
        return self._seen[1]

    def ids(self) -> Ids:
        """Return the ids of the hardest examples."""
        label = None if self.label.value == ALL_CLASSES else self.label.value
        by, dataset = self.by.value, self.session.dataset
        return hardest_of(self._ranked(), self.number.value, by, dataset, label)

    @property
    def code(self) -> str:
        """The call that ranks and revokes."""
        more = "" if self.by.value == HELD_OUT else f", {self.by.value!r}"
        more += "" if self.label.value == ALL_CLASSES else f", label={self.label.value!r}"
        return f"session.revoke(uk.hardest(session, {self.number.value}{more}))"
