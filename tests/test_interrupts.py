"""Interrupts are raised at any line of the main thread, and sent while any line of the work runs.

What stands afterwards is compared with what the folder says and with an undisturbed run.
"""

import asyncio
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from joblib.parallel import register_parallel_backend

import unlearnkit
from cases import CASES
from unlearnkit import Cancelled, DiskStore, Session
from unlearnkit.interrupts import check, finishing, interruptible, stop_when_idle, stopped_by
from unlearnkit.records.audit import audit
from unlearnkit.widgets.parts.job import Job

PACKAGE = str(Path(unlearnkit.__file__).parent)
IDS = CASES["logistic"].dataset().train.ids
REQUEST, OTHER = IDS[:3], IDS[20:22]


class Interrupter:
    """Interrupts the main thread when a thread has run a number of the package's lines."""

    def __init__(self, at: int | None, by: Callable[[], None]) -> None:
        self.at, self.by, self.count = at, by, 0

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        return self.line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def line(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            self.count += 1
            if self.count == self.at:
                self.by()
        return self.line

    @contextmanager
    def watching(self, settrace: Callable[[Any], None]) -> Iterator[None]:
        settrace(self)
        try:
            yield
        finally:
            settrace(None)


def in_main(at: int | None) -> tuple[Interrupter, Callable[[Any], None]]:
    return Interrupter(at, lambda: signal.raise_signal(signal.SIGINT)), sys.settrace


def in_work(at: int | None) -> tuple[Interrupter, Callable[[Any], None]]:
    return Interrupter(at, lambda: os.kill(os.getpid(), signal.SIGINT)), threading.settrace


def exactly(session: Session) -> None:
    session.withdraw()
    session.revoke(REQUEST)
    session.unlearn(1.0)


def approximately(session: Session) -> None:
    session.withdraw()
    session.revoke(REQUEST)
    session.unlearn(0.0)


def enqueue(session: Session) -> None:
    from datetime import timedelta

    session.revoke(REQUEST, deadline=timedelta(days=1))


STEPS: dict[str, tuple[Callable[[Session], None], Callable[[Session], object]]] = {
    "train": (lambda session: None, lambda session: session.train()),
    "exactly": (lambda session: session.train(), exactly),
    "approximately": (lambda session: session.train(), approximately),
    "repay": (lambda session: (session.train(), approximately(session)), lambda s: s.repay()),
    "queue": (lambda session: session.train(), enqueue),
}


def state_of(session: Session) -> dict[str, Any]:
    return {
        "revoked": session.revoked.tolist(),
        "queue": sorted(session.queue.deadlines),
        "debt": {shard: ids.tolist() for shard, ids in session.debt.items()},
        "models": session.ensemble.digest if session.trained else None,
        "requests": len(session.ledger()),
    }


def opened(folder: Path) -> Session:
    return CASES["logistic"].session(store=DiskStore(folder))


def interrupted(base: Path, folder: Path, step: str, begin: Any, at: int | None) -> Interrupter:
    """Interrupt a step once, then check what stands, and that the step can be made again."""
    shutil.copytree(base, folder)
    session, act = opened(folder), STEPS[step][1]
    before = state_of(session)
    interrupter, settrace = begin(at)
    threads = torch.get_num_threads()
    with suppress(KeyboardInterrupt), interrupter.watching(settrace):
        act(session)
        # A signal of the last lines may arrive after the call.
        time.sleep(0)
    assert torch.is_grad_enabled() and torch.get_num_threads() == threads and not session.busy
    now, head = state_of(session), session.store.head
    twin = folder.with_name(f"{folder.name}-twin")
    shutil.copytree(folder, twin)
    fresh = opened(twin)
    assert state_of(fresh) == now
    assert set(session.queue.deadlines) <= set(session.pending.tolist())
    assert now["revoked"] in (before["revoked"], sorted({*before["revoked"], *REQUEST.tolist()}))
    fresh.store.close()
    if session.store.manifest is not None:  # otherwise nothing has been begun
        assert list(audit(twin, head))
    act(session)
    session.store.close()
    assert list(audit(folder, head))
    interrupter.end = state_of(session)  # type: ignore[attr-defined]
    return interrupter


def check_interrupts(folder: Path, step: str, begin: Any, count: int) -> None:
    """Interrupt a step at a number of lines, half of them among the last, where it is committed."""
    base = folder / "base"
    session = opened(base)
    STEPS[step][0](session)
    session.store.close()
    whole = interrupted(base, folder / "whole", step, begin, None)
    assert whole.count > 5
    evenly = np.linspace(1, whole.count, min(count, whole.count)).astype(int)
    late = np.linspace(max(1, whole.count - 200), whole.count, count).astype(int)
    for at in sorted({*evenly.tolist(), *late.tolist()}):
        again = interrupted(base, folder / str(at), step, begin, at)
        assert again.end == whole.end, at  # type: ignore[attr-defined]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("begin", [in_main, in_work], ids=["in_main", "in_work"])
def test_an_interrupted_step_is_not_begun_or_completed(
    tmp_path: Path, step: str, begin: Any
) -> None:
    check_interrupts(tmp_path, step, begin, 2)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("begin", [in_main, in_work], ids=["in_main", "in_work"])
def test_steps_interrupted_at_many_lines(tmp_path: Path, step: str, begin: Any) -> None:
    check_interrupts(tmp_path, step, begin, 8)


def interrupt_when(begun: threading.Event) -> None:
    """Interrupt the main thread once an event is set."""

    def wait() -> None:
        begun.wait()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait).start()


def test_the_message_says_what_is_left() -> None:
    session, begun = CASES["logistic"].session(), threading.Event()
    interrupt_when(begun)

    def report(event: object) -> None:
        begun.set()
        time.sleep(0.02)  # the signal arrives between two batches

    with pytest.raises(KeyboardInterrupt, match="stopped; finished stages are kept") as caught:
        session.train(on_progress=report)
    assert isinstance(caught.value.__cause__, Cancelled)
    session.train()
    whole = CASES["logistic"].session()
    whole.train()
    assert session.ensemble.digest == whole.ensemble.digest


def test_an_interrupt_of_completed_work_says_so() -> None:
    begun = threading.Event()

    @interruptible("nothing was changed", "it was completed")
    def work() -> int:
        with finishing():
            begun.set()
            time.sleep(0.05)
            check()  # nothing stops what has been committed
        return 7

    interrupt_when(begun)
    with pytest.raises(KeyboardInterrupt, match="it was completed"):
        work()


def test_a_second_interrupt_does_not_wait() -> None:
    begun, free, ended = threading.Event(), threading.Event(), threading.Event()

    @interruptible()
    def work() -> None:
        begun.set()
        free.wait(30)
        ended.set()

    def press() -> None:
        begun.wait()
        while not ended.is_set() and not pressed.is_set():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    pressed = threading.Event()
    thread = threading.Thread(target=press)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        assert not ended.is_set()
    finally:
        with suppress(KeyboardInterrupt):
            pressed.set()
            thread.join()
        free.set()
    assert ended.wait(30)


def test_an_exception_of_a_handler_stops_the_work_too() -> None:
    """The usual way to limit seconds raises in the handler of an alarm."""

    class TooLong(Exception):
        pass

    def handle(number: int, frame: object) -> None:
        raise TooLong

    stopped = threading.Event()

    @interruptible()
    def work() -> None:
        os.kill(os.getpid(), signal.SIGALRM)
        try:
            while True:
                check()
        except Cancelled:
            stopped.set()
            raise

    before = signal.signal(signal.SIGALRM, handle)
    try:
        with pytest.raises(TooLong):
            work()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert stopped.is_set()


def test_errors_and_results_pass_through() -> None:
    @interruptible()
    def divide(a: int, b: int) -> float:
        assert threading.current_thread() is not threading.main_thread()
        return a / b

    assert divide(1, b=2) == 0.5
    with pytest.raises(ZeroDivisionError):
        divide(1, 0)


def test_events_are_joined() -> None:
    outer, inner = threading.Event(), threading.Event()
    with stopped_by(outer):
        with stopped_by(inner):
            check()
            outer.set()
            with pytest.raises(Cancelled):
                check()
        outer.clear()
        inner.set()
        check()  # the inner event belongs to its context
    with stopped_by(None):
        check()


def test_workers_chosen_by_the_caller_are_used() -> None:
    used = []

    class Counting(joblib._parallel_backends.ThreadingBackend):
        def submit(self, func: Any, callback: Any = None) -> Any:
            used.append(threading.current_thread())
            return super().submit(func, callback)

    register_parallel_backend("counting", Counting)
    session = CASES["logistic"].session(parallel=2)
    with joblib.parallel_config("counting"):
        session.train()
    whole = CASES["logistic"].session()
    whole.train()
    assert used and session.ensemble.digest == whole.ensemble.digest


def test_the_callers_default_device_is_refused_before_any_work() -> None:
    session = CASES["logistic"].session()
    with torch.device("meta"), pytest.raises(ValueError, match="default device"):
        session.train()


def test_the_stop_button_stops_jobs_of_panels_while_the_kernel_is_idle() -> None:
    """A kernel handles messages with Python's handler, and ignores the signal in between."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    started = threading.Event()

    def work(on_progress: object, cancel: threading.Event) -> None:
        started.set()
        if cancel.wait(30):
            raise Cancelled("stopped")

    async def kernel() -> Job[None]:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the message of a click
        job = Job(work).start()
        await asyncio.sleep(0.15)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as after every message
        started.wait(30)
        while signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            await asyncio.sleep(0.01)
        signal.raise_signal(signal.SIGINT)
        assert job.wait(30)
        while signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            await asyncio.sleep(0.01)
        return job

    try:
        assert asyncio.run(kernel()).state == "cancelled"
    finally:
        signal.signal(signal.SIGINT, before)


def test_scripts_keep_their_handler() -> None:
    before = signal.getsignal(signal.SIGINT)
    stop_when_idle(lambda: None, lambda: True)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
@pytest.mark.skipif(find_spec("distributed") is None, reason="needs Dask")
def test_a_cluster_chosen_by_the_caller_trains() -> None:
    from distributed import Client, LocalCluster

    session, whole = CASES["uneven"].session(parallel=2), CASES["uneven"].session()
    whole.train()
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
        joblib.parallel_config("dask"),
    ):
        session.train()
        done = client.run(lambda dask_worker: len(dask_worker.state.log))
    assert sum(done.values()) > 0 and session.ensemble.digest == whole.ensemble.digest
