"""CPU time of the work: what a computation costs, whatever else the machine does meanwhile."""

import os
import time
from collections.abc import Callable

from unlearnkit.training.plan import Plan


def cpu_clock(plan: Plan, sharing: int = 1) -> Callable[[], float]:
    """Return the function whose differences are the CPU seconds of work in the calling thread.

    With one compute thread, all of the work is done by the calling thread, and its own CPU time is
    read; the work of other threads and processes is not counted. Every thread has its own clock, so
    both readings of a difference have to be taken in the same thread, and the cost of work that was
    dealt to several threads is the sum over them.

    torch's further compute threads cannot be told apart from the other threads of the process, so
    with several of them the CPU time of the whole process is read. It includes what unrelated
    threads do meanwhile, and is divided equally among the threads that work at the same time.

    Other devices than the CPU are waited for rather than computed on, and Windows counts the time
    of a thread in ticks of 16 ms, which most of the timed pieces are shorter than. Wall time is
    read in both cases.

    Args:
        plan: says on which device and with how many compute threads of torch the work is done.
        sharing: number of threads of this process that do such work at the same time.
    """
    if plan.device.type != "cpu" or os.name == "nt":
        return time.perf_counter
    if plan.spec.num_threads == 1:
        return time.thread_time
    return time.process_time if sharing == 1 else lambda: time.process_time() / sharing
