"""Progress events, the run that they are reported to, and the progress bar."""

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from unlearnkit.interrupts import check, check_cancelled, stopped_by
from unlearnkit.threads import available_threads, check_threads
from unlearnkit.torch_settings import own_settings

if TYPE_CHECKING:
    from tqdm import tqdm

DELAY, INTERVAL = 1.0, 0.1  # seconds until a bar appears, and between two updates of it
FEATURES = "features"  # the phase in which a frozen backbone computes features
PHASES = {
    FEATURES: "computing features",
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
    """The state of running work at one moment.

    Attributes:
        phase: the kind of work, a key of ``PHASES``.
        shard: the shard that is being processed, or None.
        stage: its stage that is being processed, counted from 1, or None.
        done_visits: the example gradients computed so far. In the phases ``"study"`` and
            ``"stream"`` requests are counted instead, in ``"population"`` seeds, in ``"relearn"``
            shards, and in ``"features"`` examples.
        total_visits: the same count for all of the work.
        loss: the mean training loss of the epoch that has just ended, or None.
        epoch: the number of completed epochs of the stage.
        num_epochs: the number of epochs of the stage.
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
        """The share of the work that is done, from 0 to 1."""
        return self.done_visits / self.total_visits if self.total_visits else 1.0

    @property
    def sentence(self) -> str:
        """The phase, shard and slice in words, for display.

        >>> ProgressEvent("train", 3, 2, 10, 40).sentence
        'training shard 3, slice 2'
        """
        shard = "" if self.shard is None else f" shard {self.shard}"
        stage = "" if self.stage is None else f", slice {self.stage}"
        return f"{PHASES.get(self.phase, self.phase)}{shard}{stage}"


OnProgress = Callable[[ProgressEvent], None]
Progress = OnProgress | bool | None  # what public functions accept


def silent(event: ProgressEvent) -> None:
    """Ignore an event."""


@dataclass(frozen=True)
class Run:
    """How a call reports progress and is stopped, and how many workers it may use.

    Attributes:
        on_progress: receives every event.
        cancel: setting this event stops the work.
        pause: setting this event ends training after the current stages, so that no work is lost.
        parallel: the number of worker processes; None trains in this process.
        threads: upper limit of the number of threads of this process that train shards.
        losses: whether events must contain the loss of each epoch, which takes time to measure.
    """

    on_progress: OnProgress = silent
    cancel: threading.Event | None = None
    pause: threading.Event | None = None
    parallel: int | None = None
    threads: int = 1
    losses: bool = False

    def check(self) -> None:
        """Raise :class:`Cancelled` if the user has cancelled or interrupted the work.

        Raises:
            Cancelled: ``cancel`` is set, or the call was interrupted.
        """
        check_cancelled(self.cancel)
        check()

    @property
    def pausing(self) -> bool:
        """Whether training should end after the current stages."""
        return self.pause is not None and self.pause.is_set()

    @property
    def details(self) -> OnProgress:
        """The ``on_progress`` for a nested call: the bar, if any, shows its events as details."""
        return self.on_progress.details if isinstance(self.on_progress, _Bar) else silent


@contextmanager
def running(
    on_progress: Progress = None,
    cancel: threading.Event | None = None,
    *,
    pause: threading.Event | None = None,
    parallel: int | None = None,
    threads: int | None = None,
) -> Iterator[Run]:
    """Open the run of a public function, with a progress bar if one is to be shown.

    The work runs in :func:`~unlearnkit.torch_settings.own_settings`.

    Args:
        on_progress: None, a bool or a callable, as :mod:`unlearnkit.progress` describes.
        cancel: setting this event stops the work.
        pause: setting this event ends training after the current stages.
        parallel: the number of worker processes; None trains in this process.
        threads: upper limit of the number of threads that train shards in this process; None uses
            one for each core (:func:`~unlearnkit.threads.available_threads`).

    Raises:
        TypeError: ``on_progress`` is neither None, a bool nor callable; or ``threads`` is not an
            integer.
        ValueError: ``threads`` is below 1, or torch's default dtype or default device cannot be
            used.
    """
    if not (on_progress is None or isinstance(on_progress, bool) or callable(on_progress)):
        raise TypeError(
            f"on_progress={on_progress!r} is a {type(on_progress).__name__}; give True for a "
            "progress bar, False for none, or a callable that takes a ProgressEvent"
        )
    check_threads(threads)
    threads = available_threads() if threads is None else threads
    with own_settings(), stopped_by(cancel):
        if on_progress is True or (on_progress is None and _is_watched()):
            bar = _Bar(0.0 if on_progress else DELAY)
            try:
                yield Run(bar, cancel, pause, parallel, threads)
            finally:
                bar.close()
        else:
            own = on_progress if callable(on_progress) else silent
            losses = _reads_losses(own)
            harmless = _harmless(own) if losses else own
            yield Run(harmless, cancel, pause, parallel, threads, losses)


def _reads_losses(on_progress: OnProgress) -> bool:
    """Whether the losses of events may be read; a bar does not read them."""
    return on_progress is not silent and not isinstance(
        getattr(on_progress, "__self__", None), _Bar
    )


def _harmless(on_progress: OnProgress) -> OnProgress:
    """Return a callable that leaves this thread's settings of torch, on which bits depend."""

    def report(event: ProgressEvent) -> None:
        threads = torch.get_num_threads()
        try:
            on_progress(event)
        finally:
            torch.set_grad_enabled(True)
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)

    return report


def _is_watched() -> bool:
    """Whether stderr is shown to a person, on a terminal or in a notebook."""
    try:
        if sys.stderr.isatty():
            return True
    except (AttributeError, ValueError):  # stderr is missing or closed
        return False
    # In a notebook the kernel has imported IPython already, so there is no need to import it.
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class _Bar:
    """A tqdm bar that appears after a delay and is replaced when the phase changes."""

    def __init__(self, delay: float) -> None:
        self._next = time.monotonic() + delay  # time of the next drawing
        self._event: ProgressEvent | None = None
        self._inside = False
        self._line: tqdm[Any] | None = None

    def __call__(self, event: ProgressEvent) -> None:
        """Show the progress of the work."""
        self._inside = False
        self._turn(event)
        self._show("")

    def details(self, event: ProgressEvent) -> None:
        """Show the progress of a nested call, such as training within a study."""
        if self._event is None or self._inside:
            self._inside = True  # the work itself has not reported yet
            self._turn(event)
        self._show(event.sentence)

    def close(self) -> None:
        """Remove the bar."""
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
    # Most work ends before a bar appears and need not wait for the import of tqdm.
    from tqdm import tqdm

    # tqdm draws nothing on a terminal of unknown size; get_terminal_size then returns 80 x 24.
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
