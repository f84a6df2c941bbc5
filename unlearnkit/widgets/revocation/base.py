"""What all selectors of examples to forget share."""

from collections.abc import Hashable, Sequence

import ipywidgets
import numpy as np
from jaxtyping import Int

from unlearnkit.data.examples import Dataset
from unlearnkit.data.reading.texts import Texts
from unlearnkit.display import plural
from unlearnkit.session import Session
from unlearnkit.unlearning.request import Request
from unlearnkit.widgets.parts.groups import groups_in
from unlearnkit.widgets.parts.html import table
from unlearnkit.widgets.parts.panel import Panel
from unlearnkit.widgets.parts.pictures import are_images, pictures

ALL_CLASSES = "all classes"
MOST_FEATURES = 6  # columns of a table
MOST_CHARACTERS = 80  # of a text that a table shows

Ids = Int[np.ndarray, " example"]


class Selector:
    """One way to select examples; its widgets are created when it is first shown.

    Attributes:
        name: label of the selector in the panel.
        meaning: what the panel's "What does this mean?" says of the selector.
        panel: the panel that shows errors.
        groups: the groups of the data; None without groups.
        widget: the controls.
    """

    name: str = ""
    meaning: str = ""

    def __init__(self, panel: Panel, session: Session) -> None:
        self.panel, self.session = panel, session
        self.groups = groups_in(session.dataset)
        self._built = False
        self.widget = ipywidgets.VBox()
        self.widget.add_class("uk-body")
        self.widget.layout.display = "none"

    def show(self, shown: bool) -> None:
        """Show or hide the selector."""
        if shown and not self._built:
            self.widget.children = self.build()
            self._built = True
        self.widget.layout.display = None if shown else "none"
        if shown:
            self.renew()

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the widgets."""
        raise NotImplementedError

    def renew(self) -> None:
        """Update after the session has changed or the selector is shown again."""

    def ids(self) -> Ids:
        """Return the selected ids.

        Raises:
            ValueError: no example is selected, or the input is invalid.
        """
        raise NotImplementedError

    def revoke(self) -> Request:
        """Add the selected examples to the request."""
        return self.session.revoke(self.ids())

    def names_of(self, ids: Ids | list[int]) -> list[Hashable]:
        """Return the names of the groups that these examples are; none if they hold a part of one.

        Examples that are forgotten already are not asked for.
        """
        groups = self.groups
        if groups is None or not len(ids):
            return []
        numbers = np.unique(groups.of(ids))
        left = np.setdiff1d(groups.rows(numbers), self.session.revoked, assume_unique=True)
        names = [groups.name(number) for number in numbers.tolist()]
        return names if len(left) == len(ids) and can_be_written(names) else []

    def revoke_whole(self, ids: Ids) -> Request:
        """Add examples to the request, as whole groups if that is what they are."""
        names = self.names_of(ids)
        return self.session.revoke(groups=names) if names else self.session.revoke(ids)

    def call(self, ids: list[int]) -> str:
        """Return the Python call that revokes these examples, or the groups that they are."""
        names = self.names_of(ids)
        return group_call(names) if names else revoke_call(ids)

    def with_groups(self, ids: Ids | list[int]) -> list[int]:
        """Return all examples of the groups of these examples, without those forgotten already."""
        if self.groups is None:
            return [int(i) for i in ids]
        rows = self.groups.rows(np.unique(self.groups.of(ids)))
        found: list[int] = np.setdiff1d(rows, self.session.revoked, assume_unique=True).tolist()
        return found

    def described(self, ids: list[int]) -> str:
        """Say which groups the selected examples belong to; empty without groups."""
        if self.groups is None or not ids:
            return ""
        numbers = np.unique(self.groups.of(ids))
        text = f"From {self.groups.count(len(numbers))}: {self.groups.listing(numbers)}."
        rest = len(self.with_groups(ids)) - len(ids)
        if rest:
            text += f" {plural(rest, 'other example')} of theirs {_verb(rest)} not selected."
        return text

    def revoked(self) -> None:
        """Reset the selection after it was added to the request."""

    @property
    def code(self) -> str:
        """The equivalent Python call."""
        raise NotImplementedError

    def observed(self, widget: ipywidgets.Widget) -> None:
        """Renew the selector whenever this control changes."""
        widget.observe(self.panel.guard(lambda change: self.renew()), names="value")

    def examples(
        self, ids: Ids, caption: str, score: dict[int, float] | None = None, head: str = ""
    ) -> str:
        """Return a table of examples, with pictures of images and an optional score."""
        headers, cells = facts(self.session, ids)
        if score is not None:
            headers = [*headers[:4], head, *headers[4:]]
            cells = [
                [*line[:4], f"{score[int(i)]:.3g}", *line[4:]]
                for i, line in zip(ids, cells, strict=True)
            ]
        lead = pictures(self.session.dataset, ids)
        text = (1,) if self.groups is None else (1, headers.index(self.groups.noun, 4))
        return table(headers, cells, caption=caption, text=text, lead=lead)


def class_choice(session: Session) -> ipywidgets.Dropdown:
    """Return a dropdown of all classes; it is hidden if the data have none."""
    field = ipywidgets.Dropdown(
        options=[ALL_CLASSES, *session.dataset.class_names], description="class"
    )
    field.layout.width = "190px"
    field.layout.display = None if session.dataset.class_names else "none"
    field.style.description_width = "initial"
    return field


def facts(session: Session, ids: Ids) -> tuple[list[str], list[list[str]]]:
    """Return column titles and cells of a table of examples: id, label, place, group, features."""
    dataset, groups = session.dataset, groups_in(session.dataset)
    labels = dataset.labels(ids)
    places = _places(session, ids)
    whose = [] if groups is None else [[groups.texts[n]] for n in groups.of(ids).tolist()]
    cells: list[list[str]] = [[] for _ in ids]
    names: Sequence[str] = ()
    if isinstance(dataset.train.features, Texts):
        names, cells = ["text"], [[text[:MOST_CHARACTERS]] for text in dataset.raw(ids)]
    elif not are_images(dataset):
        features = _features(dataset, ids)
        names = dataset.feature_names or [f"x{i}" for i in range(features.shape[1])]
        names = names[: features.shape[1]]
        cells = [[f"{value:.4g}" for value in values] for values in features.tolist()]
    noun = [] if groups is None else [groups.noun]
    headers = ["id", dataset.label_kind, "shard", "slice", *noun, *names]
    return headers, [
        [str(i), label, *place, *whom, *values]
        for i, label, place, whom, values in zip(
            ids.tolist(),
            dataset.label_texts(labels),
            places,
            whose or [[]] * len(ids),
            cells,
            strict=True,
        )
    ]


def _places(session: Session, ids: Ids) -> list[list[str]]:
    """Return shard and slice of each example; of the probe and test parts, a dash and the part."""
    partition, data = session.plan.partition, session.dataset
    places = [["-", "-"] for _ in ids]
    trained = np.flatnonzero(np.isin(ids, partition.ids))
    rows = partition.rows(ids[trained])
    for at, shard, stage in zip(
        trained.tolist(),
        partition.shard[rows].tolist(),
        partition.slice_[rows].tolist(),
        strict=True,
    ):
        places[at] = [str(shard), str(stage)]
    for part in ("probe", "test"):
        for at in np.flatnonzero(np.isin(ids, data.parts[part].ids)).tolist():
            places[at] = [part, "-"]
    return places


def _features(dataset: Dataset, ids: Ids) -> np.ndarray:
    """Return the first features of each example, as the dataset stores them."""
    width = min(MOST_FEATURES, dataset.train.features[:1].flatten(1).shape[1])
    found = np.empty((len(ids), width))
    for part in dataset.parts.values():
        rows, there = part.find(ids)
        found[there] = part.features[rows[there]].flatten(1)[:, :width].numpy()
    return found


def _verb(count: int) -> str:
    return "is" if count == 1 else "are"


def can_be_written(names: Sequence[Hashable]) -> bool:
    """Return whether a Python call can hold these names without an import, as dates need one."""
    return all(isinstance(name, str | bytes | int | float) for name in names)


def group_call(names: Sequence[Hashable]) -> str:
    """Return the Python call that revokes these groups."""
    return f"session.revoke({f'group={names[0]!r}' if len(names) == 1 else f'groups={names!r}'})"


def revoke_call(ids: Sequence[int]) -> str:
    """Return the Python call that revokes these ids."""
    return f"session.revoke([{', '.join(map(str, sorted(ids))) or '...'}])"


def button(label: str, tooltip: str) -> ipywidgets.Button:
    """Return a button with a text for those who point at it."""
    found = ipywidgets.Button(description=label, tooltip=tooltip)
    found.layout.width = "auto"
    return found
