"""A job: work in a thread of its own, which cells and widgets can watch and stop.

No widget is known here. Two threads serve a job: the *worker* runs the function, the *notifier*
tells the subscribers, so that a slow subscriber never slows the work down.
"""

import atexit
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

from unlearnkit.progress import Cancelled, OnProgress, ProgressEvent

Result = TypeVar("Result")
GRACE = 10.0  # seconds that running jobs get to stop when Python exits
_RUNNING: "weakref.WeakSet[Job[Any]]" = weakref.WeakSet()
State = Literal["idle", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class JobStatus(Generic[Result]):
    """A job at one moment: read it once where its fields must fit together.

    Attributes:
        state: ``"idle"``, ``"running"``, ``"done"``, ``"failed"`` or ``"cancelled"``.
        progress: the last event that the work has reported, or None.
        result: what the work returned; None unless done.
        error: what the work raised; None unless failed or cancelled.
        seconds: time at work, once it has ended; 0 before.
    """

    state: State = "idle"
    progress: ProgressEvent | None = None
    result: Result | None = None
    error: BaseException | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class SubscriberError:
    """An exception that a subscriber raised.

    Attributes:
        error: the exception.
        traceback: its traceback, as text.
    """

    error: Exception
    traceback: str


class Job(Generic[Result]):
    """Work in a daemon thread, with progress, a result and a way to stop it.

    A job runs once. Python's interrupt does not reach a thread, so the work is handed an event to
    look at: it stops by raising :class:`~unlearnkit.progress.Cancelled`.

    Args:
        work: called with ``on_progress`` and the cancel event.
        name: what runs, for threads and messages.
        interval: least seconds between two calls of the subscribers; the last event is always
            delivered.

    Attributes:
        subscriber_errors: the latest exceptions that subscribers raised (20 are kept), with their
            tracebacks; the other subscribers and the work go on.

    >>> job = Job(lambda on_progress, cancel: 6 * 7).start()
    >>> job.wait(5), job.state, job.result
    (True, 'done', 42)
    """

    def __init__(
        self,
        work: Callable[[OnProgress, threading.Event], Result],
        *,
        name: str = "job",
        interval: float = 0.1,
    ) -> None:
        self.name = name
        self.subscriber_errors: deque[SubscriberError] = deque(maxlen=20)
        self._work = work
        self._interval = interval
        self._cancel = threading.Event()
        self._status: JobStatus[Result] = JobStatus()
        self._started = 0.0
        self._subscribers: list[Callable[[Job[Result]], object]] = []
        # Guards all of the above and wakes the notifier.
        self._news = threading.Condition()
        self._pending = False
        self._ended = threading.Event()
        self._delivered = threading.Event()
        self._threads: tuple[threading.Thread, ...] = ()

    def start(self) -> "Job[Result]":
        """Start the work and return at once.

        Raises:
            RuntimeError: the job was started before.
        """
        with self._news:
            if self._status.state != "idle":
                raise RuntimeError(
                    f"{self.name} is {self._status.state} and a job runs once; make a new Job."
                )
            self._started = time.perf_counter()
            self._status = JobStatus("running")
            self._pending = True
            self._threads = tuple(
                threading.Thread(target=target, name=f"{self.name}-{role}", daemon=True)
                for role, target in (("worker", self._run), ("notifier", self._notify))
            )
        _RUNNING.add(self)
        for thread in self._threads:
            thread.start()
        return self

    def cancel(self) -> bool:
        """Ask the work to stop; it does so at its next look. False if nothing was running."""
        with self._news:
            running = self._status.state == "running"
            if running:
                self._cancel.set()
                self._pending = True
                self._news.notify()
        return running

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the work has ended and every subscriber has heard of it.

        Args:
            timeout: seconds to wait at most; None for no limit.

        Returns:
            True if it has ended.

        Raises:
            RuntimeError: called before the start, or by the job's own work or subscribers, which
                would wait for themselves.
        """
        if not self._threads:
            raise RuntimeError(f"{self.name} has not been started; call start() first.")
        if threading.current_thread() in self._threads:
            raise RuntimeError(f"{self.name} cannot wait for itself; wait in another thread.")
        return self._delivered.wait(timeout)

    def subscribe(self, callback: Callable[["Job[Result]"], object]) -> Callable[[], None]:
        """Call ``callback`` with this job, in the notifier's thread, whenever there is news.

        News are the start, progress, a wish to cancel and the end; a newcomer hears the present
        state. Calls come one at a time, at most one per ``interval``, and at once for the end.
        Who comes after the end is called before this returns.

        Returns:
            A function that ends the subscription.
        """
        with self._news:
            late = self._delivered.is_set()
            if not late:
                self._subscribers.append(callback)
                self._pending = True
                self._news.notify()
        if late:
            self._call(callback)

        def unsubscribe() -> None:
            with self._news:
                if callback in self._subscribers:
                    self._subscribers.remove(callback)

        return unsubscribe

    @property
    def status(self) -> JobStatus[Result]:
        """The job at this moment, as one frozen value."""
        return self._status

    @property
    def state(self) -> State:
        """One of ``"idle"``, ``"running"``, ``"done"``, ``"failed"``, ``"cancelled"``."""
        return self._status.state

    @property
    def progress(self) -> ProgressEvent | None:
        """The last event that the work has reported."""
        return self._status.progress

    @property
    def result(self) -> Result | None:
        """What the work returned; None until it is done."""
        return self._status.result

    @property
    def error(self) -> BaseException | None:
        """What the work raised, with its traceback."""
        return self._status.error

    @property
    def seconds(self) -> float:
        """Seconds at work so far, or in all once it has ended."""
        status = self._status
        return time.perf_counter() - self._started if status.state == "running" else status.seconds

    @property
    def cancelling(self) -> bool:
        """Whether the work was asked to stop and has not stopped yet."""
        return self._cancel.is_set() and self._status.state == "running"

    def __repr__(self) -> str:
        progress = f", {self.progress.share:.0%}" if self.progress else ""
        return f"Job({self.name!r}, {self.state}{progress}, {self.seconds:.1f} s)"

    def _run(self) -> None:
        state: State = "done"
        result: Result | None = None
        error: BaseException | None = None
        try:
            result = self._work(self._on_progress, self._cancel)
        except Cancelled as stopped:
            state, error = "cancelled", stopped
        # Whatever ends the work must end the job, SystemExit too, or it would run for ever.
        except BaseException as failure:
            state, error = "failed", failure
        seconds = time.perf_counter() - self._started
        with self._news:
            self._status = replace(
                self._status, state=state, result=result, error=error, seconds=seconds
            )
            self._pending = True
            self._ended.set()
            self._news.notify()

    def _on_progress(self, event: ProgressEvent) -> None:
        with self._news:
            self._status = replace(self._status, progress=event)
            self._pending = True
            self._news.notify()

    def _notify(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._pending)
                self._pending = False
                ended = self._ended.is_set()
                subscribers = list(self._subscribers)
            for callback in subscribers:
                self._call(callback)
            if not ended:
                self._ended.wait(self._interval)
                continue
            with self._news:
                if not self._pending:  # else someone came in during the last calls
                    self._subscribers.clear()  # a finished job keeps no widget alive
                    self._delivered.set()
                    return

    def _call(self, callback: Callable[["Job[Result]"], object]) -> None:
        try:
            callback(self)
        # One broken view must stop neither the work nor the other views.
        except Exception as error:
            self.subscriber_errors.append(SubscriberError(error, traceback.format_exc()))


@atexit.register
def _stop_all() -> None:
    """Stop what still runs before Python goes: torch aborts the process if it loses its thread."""
    running = [job for job in _RUNNING if job.state == "running"]
    for job in running:
        job.cancel()
    deadline = time.monotonic() + GRACE
    for job in running:
        job.wait(max(0.0, deadline - time.monotonic()))
