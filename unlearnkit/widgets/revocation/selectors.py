"""Ways to choose what is to be forgotten: by a query, from a list, by how hard an example is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import ipywidgets
import numpy as np
from jaxtyping import Int

from unlearnkit.selection.example_map import hardest_of, score_table
from unlearnkit.selection.queries import (
    EXAMPLE,
    INFLUENCE,
    LOSS,
    SCORES,
    column_names,
    ids_in,
    query_ids,
)
from unlearnkit.session import Session
from unlearnkit.unlearning.request import Request
from unlearnkit.widgets.parts.html import Html, fold, paragraphs, table
from unlearnkit.widgets.parts.panel import Panel, row
from unlearnkit.widgets.parts.pictures import are_images, pictures
from unlearnkit.widgets.parts.shared import plural

if TYPE_CHECKING:
    import pandas as pd

ALL_CLASSES = "all classes"
SCORE_NAMES = {LOSS: "highest loss", INFLUENCE: "highest self-influence"}
SCORE_MEANING = (
    "Loss: the training loss of the example under the model of its own shard, the only one that "
    "has seen it. Self-influence: that of TracIn (Pruthi, Liu, Sundararajan and Kale 2020) in the "
    "last layer, the learning rate times the squared norm of the gradient of the example's own "
    "loss, added up over the shard's checkpoints that have trained on it, once for each epoch. "
    "Rare, wrongly labelled and odd examples rank high; they are the ones that a model learns by "
    "heart, and the hardest to forget."
)
MOST_FEATURES = 6  # columns of a table
MOST_ROWS = 10

Ids = Int[np.ndarray, " example"]


class Selector:
    """One way to choose; its widgets are made when it is first shown.

    Attributes:
        name: in the panel's choice.
        panel: shows what goes wrong.
        widget: its controls.
    """

    name: ClassVar[str] = ""

    def __init__(self, panel: Panel, session: Session) -> None:
        self.panel, self.session = panel, session
        self._built = False
        self.widget = ipywidgets.VBox()
        self.widget.add_class("uk-body")
        self.widget.layout.display = "none"

    def show(self, shown: bool) -> None:
        """Show or hide it."""
        if shown and not self._built:
            self.widget.children = self.build()
            self._built = True
        self.widget.layout.display = None if shown else "none"
        if shown:
            self.renew()

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Make the widgets."""
        raise NotImplementedError

    def renew(self) -> None:
        """The session has changed, or the way is shown again."""

    def ids(self) -> Ids:
        """What is chosen.

        Raises:
            ValueError: nothing, or something that cannot be read.
        """
        raise NotImplementedError

    def revoke(self) -> Request:
        """Put what is chosen on the request."""
        return self.session.revoke(self.ids())

    def revoked(self) -> None:
        """What was chosen is on the request now."""

    @property
    def code(self) -> str:
        """The same in Python; empty while nothing is chosen."""
        raise NotImplementedError

    def observed(self, widget: ipywidgets.Widget) -> None:
        """Renew whenever a control changes."""
        widget.observe(self.panel.guard(lambda change: self.renew()), names="value")

    def examples(
        self, ids: Ids, caption: str, score: dict[int, float] | None = None, head: str = ""
    ) -> str:
        """A table of a few examples, with pictures where they are images, and perhaps a score."""
        headers, cells = facts(self.session, ids)
        if score is not None:
            headers = [*headers[:4], head, *headers[4:]]
            cells = [
                [*line[:4], f"{score[int(i)]:.3g}", *line[4:]]
                for i, line in zip(ids, cells, strict=True)
            ]
        lead = pictures(self.session.dataset, ids)
        return table(headers, cells, caption=caption, text=(1,), lead=lead)


class QuerySelector(Selector):
    """An expression of pandas on the table of the training examples."""

    name = "by query"

    def build(self) -> Sequence[ipywidgets.Widget]:
        """A field, what it finds, and the columns."""
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
            "A condition in the words of pandas (DataFrame.query); Enter shows what it finds."
        ) + fold(
            "The columns",
            paragraphs(
                ", ".join(names) + ".",
                "loss and self_influence need trained models. Features are as the dataset keeps "
                "them: after the scale and the categories that it was made with. Names with blanks "
                "or = stand in backticks. The table itself is example_table(session), from "
                "unlearnkit.selection.example_map.",
                SCORE_MEANING,
            ),
        )

    def _search(self) -> None:
        if not self.query.value.strip():
            self.found.html = ""
            return
        self.found.html = paragraphs("Looking ...")
        try:
            ids = self.ids()
        except Exception:
            self.found.html = ""
            raise
        few = f"The first {MOST_ROWS}" if len(ids) > MOST_ROWS else "All of them"
        text = f"{plural(len(ids), 'training example')} found."
        self.found.html = paragraphs(text) + (
            self.examples(ids[:MOST_ROWS], few) if len(ids) else ""
        )

    def ids(self) -> Ids:
        """Those of which the query holds."""
        session = self.session
        return query_ids(session.dataset, session.plan, session.store, self.query.value)

    def revoke(self) -> Request:
        """Ask again: the data may have changed."""
        return self.session.revoke(query=self.query.value)

    @property
    def code(self) -> str:
        """The query."""
        return f"session.revoke(query={(self.query.value.strip() or self._example)!r})"


class ListSelector(Selector):
    """Ids in a text: a list, or a column of a table."""

    name = "from a list"

    def build(self) -> Sequence[ipywidgets.Widget]:
        """A field to paste into, a file, and the column's name."""
        self.text = ipywidgets.Textarea(
            "", placeholder="id,reason\n3,asked\n141,left", description="list or CSV", rows=5
        )
        self.text.layout.width = "420px"
        self.column = ipywidgets.Text("", placeholder="id", description="column")
        self.column.layout.width = "170px"
        self.file = ipywidgets.FileUpload(accept=".csv,.tsv,.txt", description="Read a file")
        self.file.tooltip = "put the content of a file into the field"
        self.file.layout.width = "auto"
        for field in (self.text, self.column):
            field.style.description_width = "initial"
            field.observe(self.panel.guard(lambda change: None), names="value")
        self.file.observe(self.panel.guard(lambda change: self._read()), names="value")
        hint = (
            "Paste ids, or rows with a line of column names (one of them id, or the one named "
            "here). Commas, semicolons, tabs and blanks separate."
        )
        return [row(self.text), row(self.column, self.file), Html(html=paragraphs(hint))]

    def _read(self) -> None:
        if not self.file.value:
            return
        given = self.file.value[0]
        self.text.value = bytes(given["content"]).decode("utf-8-sig", errors="replace")
        self.panel.say(f"{given['name']} read; press Revoke to put its ids on the request.")

    def ids(self) -> Ids:
        """Those in the text."""
        return np.asarray(ids_in(self.text.value, self.column.value.strip() or None), np.int64)

    @property
    def code(self) -> str:
        """The ids, or a file that is read."""
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


class HardestSelector(Selector):
    """Those with the highest loss or self-influence."""

    name = "hardest examples"

    def build(self) -> Sequence[ipywidgets.Widget]:
        """The score, the class, how many, and the list."""
        self._seen: tuple[tuple[object, ...], pd.DataFrame] | None = None
        self.by = ipywidgets.Dropdown(
            options=[(text, name) for name, text in SCORE_NAMES.items()], description="by"
        )
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
        meaning = Html(html=fold("What does this mean?", paragraphs(SCORE_MEANING)))
        return [row(self.by, self.label, self.number), self.listed, meaning]

    def renew(self) -> None:
        """Rank, and list the first."""
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
        head = {LOSS: "loss (nats)", INFLUENCE: "self-influence"}[self.by.value]
        self.listed.html = self.examples(few, caption, scores[few].to_dict(), head)

    def _ranked(self) -> "pd.DataFrame":
        """Scores of all examples, computed once for a state of the session."""
        seen = (self.session.plan, self.session.last, self.by.value)
        if self._seen is None or any(a is not b for a, b in zip(seen, self._seen[0], strict=True)):
            self._seen = (seen, score_table(self.session, self.by.value))
        return self._seen[1]

    def ids(self) -> Ids:
        """The hardest."""
        label = None if self.label.value == ALL_CLASSES else self.label.value
        by, dataset = self.by.value, self.session.dataset
        return hardest_of(self._ranked(), self.number.value, by, dataset, label)

    @property
    def code(self) -> str:
        """The call that ranks."""
        more = "" if self.by.value == LOSS else f", {self.by.value!r}"
        more += "" if self.label.value == ALL_CLASSES else f", label={self.label.value!r}"
        return f"session.revoke(uk.hardest(session, {self.number.value}{more}))"


def class_choice(session: Session) -> ipywidgets.Dropdown:
    """A choice of one class, or all; not on show where there are none."""
    field = ipywidgets.Dropdown(
        options=[ALL_CLASSES, *session.dataset.class_names], description="class"
    )
    field.layout.width = "190px"
    field.layout.display = None if session.dataset.class_names else "none"
    field.style.description_width = "initial"
    return field


def facts(session: Session, ids: Ids) -> tuple[list[str], list[list[str]]]:
    """Heads and cells of a table of examples: id, class or target, shard, slice; features."""
    dataset, partition = session.dataset, session.plan.partition
    _, labels = dataset.examples(ids)
    rows = partition.rows(ids)
    features = np.empty((len(ids), 0))
    names: Sequence[str] = ()
    if not are_images(dataset):
        places = dataset.train.rows(ids)
        features = dataset.train.features[places].flatten(1)[:, :MOST_FEATURES].numpy()
        names = dataset.feature_names or [f"x{i}" for i in range(features.shape[1])]
    headers = ["id", dataset.label_kind, "shard", "slice", *names[: features.shape[1]]]
    return headers, [
        [
            str(i),
            label,
            str(shard),
            str(stage),
            *(f"{value:.4g}" for value in values),
        ]
        for i, label, shard, stage, values in zip(
            ids.tolist(),
            dataset.label_texts(labels),
            partition.shard[rows].tolist(),
            partition.slice_[rows].tolist(),
            features.tolist(),
            strict=True,
        )
    ]
