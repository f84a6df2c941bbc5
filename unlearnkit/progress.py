"""Progress: what long work reports while it runs, and how it is stopped.

Every function that takes long accepts ``on_progress``:

- None, the default, shows a progress bar on stderr once the work has taken a second, if stderr is a
  terminal or this is a notebook; elsewhere nothing is shown;
- False shows nothing, and True shows the bar at once wherever stderr leads;
- a callable gets one :class:`ProgressEvent` at a time, and no bar is shown.

The public function opens a :class:`Run` with :func:`running` and hands it down; the functions below
report to the run and never print.
"""

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

DELAY, INTERVAL = 1.0, 0.1  # seconds before a bar appears, and between two drawings of it
PHASES = {
    "train": "training",
    "scratch": "training from scratch",
    "modify": "modifying",
    "amend": "amending",
    "relearn": "relearning",
    "study": "measuring requests",
    "stream": "unlearning requests",
    "population": "training models",
}


@dataclass(frozen=True)
class ProgressEvent:
    """One moment of a piece of work.

    Attributes:
        phase: what is being done: one of ``PHASES``.
        shard: the shard at work, or None.
        stage: the 1-based stage at work, or None.
        done_visits: example gradients computed so far; of ``"study"``, ``"stream"``,
            ``"population"`` and ``"relearn"`` the requests, models or shards that are done.
        total_visits: the same for the whole work.
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

    @property
    def sentence(self) -> str:
        """The phase, and the shard and slice at work.

        >>> ProgressEvent("train", 3, 2, 10, 40).sentence
        'training shard 3, slice 2'
        """
        shard = "" if self.shard is None else f" shard {self.shard}"
        stage = "" if self.stage is None else f", slice {self.stage}"
        return f"{PHASES.get(self.phase, self.phase)}{shard}{stage}"


OnProgress = Callable[[ProgressEvent], None]
Progress = OnProgress | bool | None  # what public functions accept


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


@dataclass(frozen=True)
class Run:
    """How one piece of work reports, how it is stopped, and how many workers share it.

    Attributes:
        on_progress: gets every event.
        cancel: stops the work when set.
        pause: ends training when set, at the next point where nothing is lost.
        parallel: workers that train shards beside each other; None for this process alone.
        losses: whether the events are to hold the loss of every epoch, which has to be measured.
    """

    on_progress: OnProgress = silent
    cancel: threading.Event | None = None
    pause: threading.Event | None = None
    parallel: int | None = None
    losses: bool = False

    def check(self) -> None:
        """Stop here if the user asked for it.

        Raises:
            Cancelled: ``cancel`` is set.
        """
        check_cancelled(self.cancel)

    @property
    def pausing(self) -> bool:
        """Whether training is to end where nothing is lost."""
        return self.pause is not None and self.pause.is_set()

    @property
    def details(self) -> OnProgress:
        """For a call inside this work: its events name the shard at work in the bar, if any."""
        return self.on_progress.details if isinstance(self.on_progress, _Bar) else silent


@contextmanager
def running(
    on_progress: Progress = None,
    cancel: threading.Event | None = None,
    *,
    pause: threading.Event | None = None,
    parallel: int | None = None,
) -> Iterator[Run]:
    """The run of a public function, with a progress bar where one is wanted.

    Args:
        on_progress: see the module's text.
        cancel: stops the work when set.
        pause: see :class:`Run`.
        parallel: see :class:`Run`.

    Raises:
        TypeError: ``on_progress`` is neither None, a bool nor callable.
    """
    if not (on_progress is None or isinstance(on_progress, bool) or callable(on_progress)):
        raise TypeError(
            f"on_progress={on_progress!r} is a {type(on_progress).__name__}; give True for a "
            "progress bar, False for none, or a callable that takes a ProgressEvent"
        )
    if on_progress is True or (on_progress is None and _is_watched()):
        bar = _Bar(0.0 if on_progress else DELAY)
        try:
            yield Run(bar, cancel, pause, parallel)
        finally:
            bar.close()
    else:
        own = on_progress if callable(on_progress) else silent
        yield Run(own, cancel, pause, parallel, losses=_reads_losses(own))


def _reads_losses(on_progress: OnProgress) -> bool:
    """Whether a callable may look at the losses of events; a bar does not."""
    return on_progress is not silent and not isinstance(
        getattr(on_progress, "__self__", None), _Bar
    )


def _is_watched() -> bool:
    """Whether a person sees what stderr shows: on a terminal, or in a notebook."""
    try:
        if sys.stderr.isatty():
            return True
    except (AttributeError, ValueError):  # there is no stderr, or it is closed
        return False
    # A kernel has imported IPython already; nothing else needs to.
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class _Bar:
    """A bar of tqdm's that appears once the work has taken a while, one phase after the other."""

    def __init__(self, delay: float) -> None:
        self._next = time.monotonic() + delay  # when to draw at the earliest
        self._event: ProgressEvent | None = None
        self._inside = False
        self._line: tqdm[Any] | None = None

    def __call__(self, event: ProgressEvent) -> None:
        """Show how far the work is."""
        self._inside = False
        self._turn(event)
        self._show("")

    def details(self, event: ProgressEvent) -> None:
        """Show what is being done inside the work, such as training for a study."""
        if self._event is None or self._inside:
            self._inside = True  # nothing of the work itself is done yet
            self._turn(event)
        self._show(event.sentence)

    def close(self) -> None:
        """Take the bar away again."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _turn(self, event: ProgressEvent) -> None:
        old, self._event = self._event, event
        if old is not None and (old.phase, old.total_visits) != (event.phase, event.total_visits):
            self.close()

    def _show(self, details: str) -> None:
        event = self._event
        if event is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + INTERVAL
        if self._line is None:
            self._line = _line(event)
        self._line.n = event.done_visits
        self._line.set_description_str(event.sentence, refresh=False)
        self._line.set_postfix_str("" if self._inside else details, refresh=False)
        self._line.refresh()


def _line(event: ProgressEvent) -> "tqdm[Any]":
    # Importing tqdm takes longer than much of the work that finishes before a bar appears.
    from tqdm import tqdm

    # tqdm draws nothing on a terminal that does not tell its size; this takes it for 80 by 24.
    size = shutil.get_terminal_size()
    return tqdm(
        total=event.total_visits,
        initial=event.done_visits,
        desc=event.sentence,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
        file=sys.stderr,
        leave=False,
        ncols=size.columns - 1,
        nrows=size.lines,
    )
