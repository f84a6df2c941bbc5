"""Interrupts: a stop button, or Ctrl-C, that leaves nothing half done.

Python raises ``KeyboardInterrupt`` in the main thread between any two of its instructions, also
between the replacement of a manifest and the assignment that takes note of it. So the steps of a
session run in a separate thread, in which nothing is raised from outside, while the main thread
waits. An interrupt of the main thread becomes a request to stop, which the work honours where it
calls :func:`check`: between batches, never inside a commit.
"""

import _thread
import asyncio
import atexit
import contextvars
import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, ParamSpec, TypeVar

from unlearnkit.torch_settings import check_defaults

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
WAIT_SECONDS = 1.0  # between two looks at work that has been waited for
POLL_SECONDS = 0.05  # between two looks at the kernel's own handler of SIGINT


class Cancelled(RuntimeError):
    """The user cancelled the work by setting its ``cancel`` event.

    Stages of training, repaid shards and rows of a study that were finished before are kept; a
    request that was being unlearned stays pending, and nothing is changed.

    >>> import threading
    >>> import unlearnkit as uk
    >>> session = uk.Session("digits", model="logistic", epochs=2, seed=0)
    >>> cancel = threading.Event()
    >>> cancel.set()  # usually in another thread, while the work runs
    >>> try:
    ...     session.train(cancel=cancel)
    ... except uk.Cancelled:
    ...     print("stopped")
    stopped
    """


def check_cancelled(cancel: threading.Event | None) -> None:
    """Raise :class:`Cancelled` if the user has cancelled the work.

    Raises:
        Cancelled: ``cancel`` is set.
    """
    if cancel is not None and cancel.is_set():
        raise Cancelled(
            "stopped on request; finished stages are kept, and another call continues from them"
        )


class _Either(threading.Event):
    """An event that is set as soon as one of two others is."""

    def __init__(self, *events: threading.Event) -> None:
        super().__init__()
        self._events = events

    def is_set(self) -> bool:
        return any(event.is_set() for event in self._events)


class _Current(threading.local):
    stop: threading.Event | None = None


_CURRENT = _Current()


def check() -> None:
    """Raise :class:`Cancelled` if the work of this thread has been asked to stop.

    Raises:
        Cancelled: the ``cancel`` event of a call around this one is set, or the main thread, which
            waits for this work, was interrupted.
    """
    check_cancelled(_CURRENT.stop)


def current_stop() -> threading.Event | None:
    """Return the event that stops the work of this thread, to let it stop other threads as well."""
    return _CURRENT.stop


@contextmanager
def stopped_by(cancel: threading.Event | None) -> Iterator[None]:
    """Let an event stop the work in the context, beside the events that stop it already.

    Args:
        cancel: the event, or None.
    """
    before = _CURRENT.stop
    if cancel is not None:
        _CURRENT.stop = cancel if before is None else _Either(before, cancel)
    try:
        yield
    finally:
        _CURRENT.stop = before


@contextmanager
def finishing() -> Iterator[None]:
    """Let nothing stop the work in the context: what it completes has been committed already."""
    before, _CURRENT.stop = _CURRENT.stop, None
    try:
        yield
    finally:
        _CURRENT.stop = before


def interruptible(
    stopped: str = "nothing was changed", completed: str | None = None
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Run a function in a separate thread when the main thread calls it.

    If the main thread is interrupted, by ``KeyboardInterrupt`` or by another exception that a
    signal handler raises, the function is asked to stop. The interrupt is raised again when the
    function has ended; a second interrupt is raised at once. In other threads, which no signal
    interrupts, the function is called directly.

    Args:
        stopped: what a stopped call leaves behind, for the message of the ``KeyboardInterrupt``.
        completed: what is said if the function completed its work in spite of the interrupt; None
            for functions that change nothing, which are then stopped in any case.
    """

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        @functools.wraps(function)
        def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            if threading.current_thread() is not threading.main_thread():
                return function(*args, **kwargs)
            check_defaults()  # torch's default device is one of this thread
            work = _Work(lambda: function(*args, **kwargs))
            try:
                work.begin()
                work.wait()
            except BaseException as interrupt:
                work.stop.asked = True
                if not work.claimed.acquire(blocking=False):  # it has begun
                    work.wait()
                if isinstance(interrupt, KeyboardInterrupt):
                    raise KeyboardInterrupt(work.after(stopped, completed)) from work.error
                raise
            try:
                if work.error is not None:
                    raise work.error
                return work.result.pop()  # its thread may take a moment to end
            finally:
                del work  # the traceback of its error would keep it, and it the error

        return call

    return decorate


class Flag(threading.Event):
    """An event that is set by an assignment, which no interrupt can tear apart."""

    asked = False

    def is_set(self) -> bool:
        """Whether the flag was set."""
        return self.asked


class _Work(Generic[Result]):
    """A function that runs in a separate thread.

    The classes of ``threading`` are written in Python. An interrupt in the middle of one of their
    methods can leave a lock behind that is never released, so plain locks and threads are used.

    Attributes:
        stop: asks the function to stop.
        claimed: is acquired by the thread as it begins, or by a caller that gives up before.
        result: the function's result, if there is one.
        error: what it raised.
    """

    def __init__(self, function: Callable[[], Result]) -> None:
        self.stop, self.claimed = Flag(), _thread.allocate_lock()
        self.result: list[Result] = []
        self.error: BaseException | None = None
        self._function = function
        self._workers = _joblib_settings()
        self._has_ended, self._ended = False, _thread.allocate_lock()
        self._ended.acquire()

    def begin(self) -> None:
        """Start the thread."""
        _thread.start_new_thread(contextvars.copy_context().run, (self._run,))

    def wait(self) -> None:
        """Wait until the thread has ended."""
        while not self._has_ended:
            self._ended.acquire(timeout=WAIT_SECONDS)  # it may be acquired and then interrupted

    def after(self, stopped: str, completed: str | None) -> str:
        """Say what an interrupted call left behind."""
        if self.result and completed is not None:
            return completed
        return f"stopped; {stopped}"

    def _run(self) -> None:
        if not self.claimed.acquire(blocking=False):
            return
        _RUNNING.add(self)
        sys.settrace(threading.gettrace())  # debuggers follow
        sys.setprofile(threading.getprofile())
        try:
            _set_joblib_settings(self._workers)
            with stopped_by(self.stop):
                self.result.append(self._function())
        except BaseException as error:
            self.error = error
        finally:
            self._has_ended = True
            self._ended.release()
            _RUNNING.discard(self)


_RUNNING: set[_Work[Any]] = set()


@atexit.register
def _stop_all() -> None:
    """Stop abandoned work at exit; torch aborts the process if its thread disappears."""
    for work in tuple(_RUNNING):
        work.stop.asked = True
    for work in tuple(_RUNNING):
        work.wait()


def stop_when_idle(stop: Callable[[], object], running: Callable[[], bool]) -> None:
    """Let a kernel's stop button stop work in other threads, such as that of panels.

    While no cell runs, a Jupyter kernel ignores SIGINT, which the stop button sends. A cell that
    runs is interrupted alone, as always. Outside the main thread of a kernel nothing is changed.

    Args:
        stop: called at every press, in the main thread.
        running: whether there is anything to stop; afterwards the kernel ignores SIGINT again.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # a script: Ctrl-C ends whatever its main thread waits for
        return

    def handle(number: int, frame: object) -> None:
        stop()

    def look() -> None:
        now = signal.getsignal(signal.SIGINT)
        if running():
            if now is signal.SIG_IGN:  # no cell runs, nor the message of a click
                signal.signal(signal.SIGINT, handle)
            loop.call_later(POLL_SECONDS, look)
        elif now is handle:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    look()


def _joblib_settings() -> dict[str, Any]:
    """The settings of ``joblib.parallel_config``, such as a cluster, which belong to a thread."""
    return dict(vars(_joblib_local()))


def _set_joblib_settings(settings: dict[str, Any]) -> None:
    vars(_joblib_local()).update(settings)


def _joblib_local() -> object:
    # joblib offers no public way to pass them on. If it was never imported there are none.
    return getattr(sys.modules.get("joblib.parallel"), "_backend", threading.local())
