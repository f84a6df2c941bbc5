"""Progress: what long work reports while it runs, and how it is stopped.

Every function that takes long accepts ``on_progress``, a callable that gets one
:class:`ProgressEvent` at a time. The default, :func:`silent`, does nothing: the core never prints.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class ProgressEvent:
    """One moment of a piece of work.

    Attributes:
        phase: what is being done: ``"train"``, ``"modify"``, ``"amend"``, ``"scratch"``.
        shard: the shard at work, or None.
        stage: the 1-based stage at work, or None.
        done_visits: example gradients computed so far.
        total_visits: example gradients that the work takes in all.
        loss: mean training loss of the epoch that has just ended, or None.
        epoch: epochs of this stage done.
        num_epochs: epochs of this stage.
    """

    phase: str
    shard: int | None
    stage: int | None
    done_visits: int
    total_visits: int
    loss: float | None = None
    epoch: int = 0
    num_epochs: int = 0

    @property
    def share(self) -> float:
        """Part of the work that is done, from 0 to 1."""
        return self.done_visits / self.total_visits if self.total_visits else 1.0


OnProgress = Callable[[ProgressEvent], None]


def silent(event: ProgressEvent) -> None:
    """Take an event and do nothing with it."""


class Cancelled(RuntimeError):
    """The user stopped the work; what had been finished before is kept."""


def check_cancelled(cancel: threading.Event | None) -> None:
    """Stop here if the user asked for it.

    Raises:
        Cancelled: ``cancel`` is set.
    """
    if cancel is not None and cancel.is_set():
        raise Cancelled("stopped on request; finished stages are kept, the rest can be run again")
