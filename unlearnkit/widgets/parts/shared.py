"""The base of all panels on a session, which keeps the panels of one session up to date."""

import weakref
from collections import deque
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from IPython import get_ipython
from jaxtyping import Int

from unlearnkit.data.examples import Dataset
from unlearnkit.display import listing as listing
from unlearnkit.display import plural as plural
from unlearnkit.session import Session
from unlearnkit.widgets.parts.panel import Panel

# The panels to refresh when a session changes. Widgets are not garbage-collected while their kernel
# runs, so rerunning a cell would add panels without end: only the latest are refreshed.
_MOST_PANELS = 24
_PANELS: "weakref.WeakKeyDictionary[Session, deque[weakref.ref[SessionPanel]]]" = (
    weakref.WeakKeyDictionary()
)
# Dashboards, which are refreshed after the panels.
_FOLLOWERS: "weakref.WeakKeyDictionary[Session, deque[weakref.ref[Follower]]]" = (
    weakref.WeakKeyDictionary()
)
# The state of each session when its panels were last refreshed.
_SEEN: "weakref.WeakKeyDictionary[Session, tuple[Any, ...]]" = weakref.WeakKeyDictionary()


class Follower(Protocol):
    """An object that shows a session and is refreshed after the session's panels."""

    def refresh(self) -> None:
        """Show the present state of the session."""


class SessionPanel(Panel):
    """A panel on a session, alone or beside others; a change in one refreshes the others.

    Attributes:
        session: the session that the panel shows and drives.
        name: key of the panel in ``PANELS``.
        reads_models: whether the panel reads the store, which changes while work is running.
    """

    name: ClassVar[str] = ""
    reads_models: ClassVar[bool] = True

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.widget.add_class(f"uk-{self.name}")
        _PANELS.setdefault(session, deque(maxlen=_MOST_PANELS)).append(weakref.ref(self))
        _SEEN.setdefault(session, _state(session))
        watch_cells()

    def update(self) -> Self:
        """Refresh from the session; while work is running, wait for its end to refresh."""
        for runner in self.runners:
            runner.forget()
        if not (self.reads_models and self.session.busy):
            self.guard(self.refresh, clears=False)()
        return self

    def moment(self) -> tuple[Any, ...]:
        """Return objects of which one is replaced whenever the session has changed."""
        return _state(self.session)

    def changed(self) -> None:
        """Refresh every panel of this session after a change."""
        update_panels(self.session)


def update_panels(session: Session) -> None:
    """Refresh every panel of a session."""
    _SEEN[session] = _state(session)
    for reference in list(_PANELS.get(session, ())):
        panel = reference()
        if panel is not None:
            panel.update()
    for known in list(_FOLLOWERS.get(session, ())):
        follower = known()
        if follower is not None:
            follower.refresh()


def follow(session: Session, follower: Follower) -> None:
    """Refresh ``follower`` after the panels of a session, for as long as it lives."""
    _FOLLOWERS.setdefault(session, deque(maxlen=_MOST_PANELS)).append(weakref.ref(follower))
    watch_cells()


def _state(session: Session) -> tuple[Any, ...]:
    """Return objects of which at least one is replaced whenever the session changes."""
    # A flag represents the original models, since a reference would keep discarded ones alive.
    kept = session.original is not None
    return (session.plan, session.pending, kept, session.last, session.clock)


def _after_cell(*result: Any) -> None:
    """Refresh the panels of every session that the last cell has changed."""
    for session in {*_PANELS, *_FOLLOWERS}:
        seen, now = _SEEN.get(session), _state(session)
        if not session.busy and (
            seen is None or any(a is not b for a, b in zip(seen, now, strict=True))
        ):
            update_panels(session)


def watch_cells() -> None:
    """Refresh panels after each cell; outside Jupyter this does nothing."""
    shell = get_ipython()
    if shell is not None and _after_cell not in shell.events.callbacks["post_run_cell"]:
        shell.events.register("post_run_cell", _after_cell)


def label_counts(dataset: Dataset, ids: Int[np.ndarray, " example"] | list[int]) -> str:
    """Describe how many examples of each class there are, or the range of the targets."""
    labels = dataset.labels(ids)
    values = dataset.label_values(labels)
    if dataset.is_regression:
        return f"Targets: {values.min():.4g} to {values.max():.4g}."
    counts = np.bincount(values, minlength=dataset.num_classes)
    found = np.flatnonzero(counts)
    classes = ", ".join(f"{dataset.class_names[c]} ({counts[c]})" for c in found[:12].tolist())
    return f"By class: {classes}{', ...' if len(found) > 12 else ''}."


def strip(images: list[str], ids: Int[np.ndarray, " example"], total: int) -> str:
    """Return a row of pictures with their ids, and count those that are not shown."""
    shown = "".join(
        f"<figure>{image}{int(i)}</figure>" for image, i in zip(images, ids, strict=True)
    )
    more = f'<span class="uk-quiet">and {total - len(ids):,} more</span>'
    return f'<div class="uk-strip">{shown}{more if total > len(ids) else ""}</div>'
