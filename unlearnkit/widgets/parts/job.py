"""A job: work in a background thread that cells and widgets can watch and stop.

This module does not depend on widgets. A job has two threads: the *worker* runs the function and
the *notifier* calls the subscribers, so that a slow subscriber never slows down the work.
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

from unlearnkit.interrupts import Cancelled, stop_when_idle
from unlearnkit.progress import OnProgress, ProgressEvent

Result = TypeVar("Result")
GRACE = 10.0  # seconds that running jobs have to stop when Python exits
_RUNNING: "weakref.WeakSet[Job[Any]]" = weakref.WeakSet()
State = Literal["idle", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class JobStatus(Generic[Result]):
    """The state of a job at one moment, as a consistent snapshot.

    Attributes:
        state: ``"idle"``, ``"running"``, ``"done"``, ``"failed"`` or ``"cancelled"``.
        progress: the last progress event, or None.
        result: the return value of the work; None unless done.
        error: the exception that the work raised; None unless failed or cancelled.
        seconds: duration of the work once it has ended; 0 before.
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
    """Work in a daemon thread, with progress, a result, and cancellation.

    A job runs once. A keyboard interrupt does not reach a thread, so the work gets an event to
    check, and stops by raising :class:`~unlearnkit.progress.Cancelled`.

    Args:
        work: the function to run; called with ``on_progress`` and the cancel event.
        name: name of the job in thread names and messages.
        interval: minimum seconds between two calls of the subscribers; the last event is always
            delivered.

    Attributes:
        subscriber_errors: the last 20 exceptions that subscribers raised, with their tracebacks;
            the work and the other subscribers continue.

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
        self._work: Callable[[OnProgress, threading.Event], Result] | None = work
        self._interval = interval
        self._cancel = threading.Event()
        self._status: JobStatus[Result] = JobStatus()
        self._started = 0.0
        self._subscribers: list[Callable[[Job[Result]], object]] = []
        # Guards the fields above and wakes the notifier.
        self._changed = threading.Condition()
        self._pending = False
        self._ended = threading.Event()
        self._delivered = threading.Event()
        self._threads: tuple[threading.Thread, ...] = ()

    def start(self) -> "Job[Result]":
        """Start the work and return immediately.

        Raises:
            RuntimeError: the job has been started before.
        """
        with self._changed:
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
        stop_when_idle(_cancel_all, lambda: bool(_running()))
        return self

    def cancel(self) -> bool:
        """Ask the work to stop at its next check; return False if it was not running."""
        with self._changed:
            running = self._status.state == "running"
            if running:
                self._cancel.set()
                self._pending = True
                self._changed.notify()
        return running

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the work has ended and every subscriber has been notified.

        Args:
            timeout: maximum seconds to wait; None for no limit.

        Returns:
            Whether the job has ended.

        Raises:
            RuntimeError: the job was not started, or its own work or subscribers called this and
                would wait for themselves.
        """
        if not self._threads:
            raise RuntimeError(f"{self.name} has not been started; call start() first.")
        if threading.current_thread() in self._threads:
            raise RuntimeError(f"{self.name} cannot wait for itself; wait in another thread.")
        return self._delivered.wait(timeout)

    def release(self) -> None:
        """Drop the result, once whoever asked for it has taken it; it may hold models."""
        with self._changed:
            self._status = replace(self._status, result=None)

    def subscribe(self, callback: Callable[["Job[Result]"], object]) -> Callable[[], None]:
        """Call ``callback`` with this job, in the notifier's thread, after every change.

        Changes are the start, progress, a request to cancel, and the end. A new subscriber is
        first notified of the current state. Calls come one at a time and at most one per
        ``interval``; the end is reported at once. After the end, the callback is called before
        this method returns.

        Returns:
            A function that cancels the subscription.
        """
        with self._changed:
            late = self._delivered.is_set()
            if not late:
                self._subscribers.append(callback)
                self._pending = True
                self._changed.notify()
        if late:
            self._call(callback)

        def unsubscribe() -> None:
            with self._changed:
                if callback in self._subscribers:
                    self._subscribers.remove(callback)

        return unsubscribe

    @property
    def status(self) -> JobStatus[Result]:
        """A consistent snapshot of the job."""
        return self._status

    @property
    def state(self) -> State:
        """One of ``"idle"``, ``"running"``, ``"done"``, ``"failed"``, ``"cancelled"``."""
        return self._status.state

    @property
    def progress(self) -> ProgressEvent | None:
        """The last progress event, or None."""
        return self._status.progress

    @property
    def result(self) -> Result | None:
        """The return value of the work; None until it is done."""
        return self._status.result

    @property
    def error(self) -> BaseException | None:
        """The exception that the work raised, or None."""
        return self._status.error

    @property
    def seconds(self) -> float:
        """Seconds since the start; the total once the work has ended."""
        status = self._status
        return time.perf_counter() - self._started if status.state == "running" else status.seconds

    @property
    def cancelling(self) -> bool:
        """Whether the work has been asked to stop but has not stopped yet."""
        return self._cancel.is_set() and self._status.state == "running"

    def __repr__(self) -> str:
        progress = f", {self.progress.share:.0%}" if self.progress else ""
        return f"Job({self.name!r}, {self.state}{progress}, {self.seconds:.1f} s)"

    def _run(self) -> None:
        state: State = "done"
        result: Result | None = None
        error: BaseException | None = None
        work, self._work = self._work, None  # it may hold models, such as those of a fork
        try:
            assert work is not None  # a job runs once
            result = work(self._on_progress, self._cancel)
        except Cancelled as stopped:
            state, error = "cancelled", stopped
        # Any exception, even SystemExit, must end the job, or it would appear to run for ever.
        except BaseException as failure:
            state, error = "failed", failure
        del work
        seconds = time.perf_counter() - self._started
        with self._changed:
            self._status = replace(
                self._status, state=state, result=result, error=error, seconds=seconds
            )
            self._pending = True
            self._ended.set()
            self._changed.notify()

    def _on_progress(self, event: ProgressEvent) -> None:
        with self._changed:
            self._status = replace(self._status, progress=event)
            self._pending = True
            self._changed.notify()

    def _notify(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending)
                self._pending = False
                ended = self._ended.is_set()
                subscribers = list(self._subscribers)
            for callback in subscribers:
                self._call(callback)
            if not ended:
                self._ended.wait(self._interval)
                continue
            with self._changed:
                if not self._pending:  # otherwise someone subscribed during the last calls
                    self._subscribers.clear()  # a finished job must not keep widgets alive
                    self._delivered.set()
                    return

    def _call(self, callback: Callable[["Job[Result]"], object]) -> None:
        try:
            callback(self)
        # A failing subscriber must stop neither the work nor the other subscribers.
        except Exception as error:
            self.subscriber_errors.append(SubscriberError(error, traceback.format_exc()))


def _running() -> list[Job[Any]]:
    return [job for job in _RUNNING if job.state == "running"]


def _cancel_all() -> None:
    for job in _running():
        job.cancel()


@atexit.register
def _stop_all() -> None:
    """Stop running jobs at exit; torch aborts the process if its thread disappears."""
    running = _running()
    _cancel_all()
    deadline = time.monotonic() + GRACE
    for job in running:
        job.wait(max(0.0, deadline - time.monotonic()))
