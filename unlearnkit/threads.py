"""Threads: independent parts of a computation, dealt to several threads of this process.

Torch lets other threads of Python run while it computes, so threads that each train a shard use as
many cores as there are threads, without starting a process or copying an example. Each of them
computes with the number of compute threads that a plan's spec demands, which is one by default, so
a part gives the same bits in whichever thread it runs, and whatever runs beside it.
"""

import contextvars
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import torch

from unlearnkit.interrupts import Cancelled, Flag, current_stop, stopped_by

Part = TypeVar("Part")
MOST = 64  # threads that are used by default
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # processor time that a container may use
# Torch's own choice when it was imported: the physical cores, or fewer if OMP_NUM_THREADS says so.
AT_IMPORT = torch.get_num_threads()


def available_threads() -> int:
    """Return how many threads are used by default: one for each core that this process may use.

    They are never more than torch's number of compute threads, be it set by ``OMP_NUM_THREADS`` or
    later by ``torch.set_num_threads``, so that either setting restricts this package as well.
    """
    counts = [MOST, AT_IMPORT, torch.get_num_threads(), os.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        counts.append(len(os.sched_getaffinity(0)))
    counts.append(_quota())
    return max(1, min(counts))


def _quota() -> int:
    """Return the number of cores that a container's limit on processor time amounts to."""
    try:
        limit, period = QUOTA.read_text().split()
        return max(1, round(int(limit) / int(period)))
    except (OSError, ValueError):  # there is none: the file is missing, or its limit is "max"
        return MOST


def check_threads(threads: int | None) -> None:
    """Check a number of threads; None means :func:`available_threads`.

    Raises:
        TypeError: the number is not an integer.
        ValueError: the number is below 1.
    """
    if threads is None:
        return
    if isinstance(threads, bool) or not isinstance(threads, int):
        raise TypeError(
            f"threads={threads!r} is a {type(threads).__name__}; give a number of threads such as "
            "2, or None for as many as there are cores"
        )
    if threads < 1:
        raise ValueError(
            f"threads={threads} leaves no thread to train; give 1 or more, or None for as many as "
            "there are cores"
        )


def deal(parts: Iterable[Part], work: Callable[[Iterator[Part]], None], threads: int) -> None:
    """Work off independent parts in several threads, of which the calling thread is one.

    Each thread calls ``work`` with an iterator, from which it takes the next part whenever it has
    finished one. What stops the calling thread stops the others too. If one of them raises, the
    others are asked to stop, which they do where they call :func:`unlearnkit.interrupts.check`.

    Args:
        parts: the parts, in the order in which they are begun.
        work: works off the parts that its iterator yields.
        threads: upper limit of the number of threads.

    Raises:
        BaseException: the first exception of a thread, once all of them have ended; one that only
            says that a thread was cancelled counts if there is no other. A second interrupt of the
            main thread does not wait for them.
    """
    waiting = deque(parts)
    count = min(threads, len(waiting))
    if count < 2:
        work(_taken(waiting))
        return
    stop, outer, compute = Flag(), current_stop(), torch.get_num_threads()
    errors: list[BaseException] = []

    def fail(error: BaseException) -> None:
        errors.append(error)
        stop.asked = True

    def run() -> None:
        try:
            with stopped_by(outer), stopped_by(stop):
                work(_taken(waiting))
        except BaseException as error:
            fail(error)

    # The process may end while they run: abandoned work is stopped then, but not waited for twice.
    others = [
        threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True)
        for _ in range(count - 1)
    ]
    begun: list[threading.Thread] = []
    try:
        for other in others:
            other.start()
            begun.append(other)
    except BaseException as error:
        fail(error)
    run()
    interrupted = False
    try:
        while any(other.is_alive() for other in begun):
            try:
                for other in begun:
                    other.join()
            except BaseException as error:  # the main thread was interrupted while it waited
                if interrupted:
                    raise
                interrupted = True
                fail(error)
        if errors:
            raise next((e for e in errors if not isinstance(e, Cancelled)), errors[0])
    finally:
        torch.set_num_threads(compute)  # new threads begin with the number that was set last
        errors.clear()  # their tracebacks keep this frame


def _taken(waiting: deque[Part]) -> Iterator[Part]:
    """Yield the parts that wait, together with other threads."""
    while True:
        try:
            part = waiting.popleft()
        except IndexError:
            return
        yield part
