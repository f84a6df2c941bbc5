"""What all selectors of examples to forget share."""

from collections.abc import Sequence

import ipywidgets
import numpy as np
from jaxtyping import Int

from unlearnkit.session import Session
from unlearnkit.unlearning.request import Request
from unlearnkit.widgets.parts.html import table
from unlearnkit.widgets.parts.panel import Panel
from unlearnkit.widgets.parts.pictures import are_images, pictures

ALL_CLASSES = "all classes"
MOST_FEATURES = 6  # columns of a table

Ids = Int[np.ndarray, " example"]


class Selector:
    """One way to select examples; its widgets are created when it is first shown.

    Attributes:
        name: label of the selector in the panel.
        panel: the panel that shows errors.
        widget: the controls.
    """

    name: str = ""

    def __init__(self, panel: Panel, session: Session) -> None:
        self.panel, self.session = panel, session
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
        return table(headers, cells, caption=caption, text=(1,), lead=lead)


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
    """Return column titles and cells of a table of examples: id, label, shard, slice, features."""
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


def revoke_call(ids: Sequence[int]) -> str:
    """Return the Python call that revokes these ids."""
    return f"session.revoke([{', '.join(map(str, sorted(ids))) or '...'}])"


def button(label: str, tooltip: str) -> ipywidgets.Button:
    """Return a button with a text for those who point at it."""
    found = ipywidgets.Button(description=label, tooltip=tooltip)
    found.layout.width = "auto"
    return found
