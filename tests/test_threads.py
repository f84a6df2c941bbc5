"""Parts dealt to threads: all are done once, errors are raised once, and settings are restored."""

import threading

import pytest
import torch

from unlearnkit import interrupts
from unlearnkit import threads as threads_module
from unlearnkit.interrupts import Cancelled
from unlearnkit.threads import available_threads, check_threads, deal


@pytest.mark.parametrize("threads", [1, 2, 3, 9])
def test_every_part_is_done_once(threads: int) -> None:
    done: list[int] = []
    deal(range(7), done.extend, threads)
    assert sorted(done) == list(range(7))


def test_threads_work_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=60)
    deal(range(2), lambda parts: [meeting.wait() for _ in parts], 2)
    assert not meeting.broken


def test_one_error_stops_the_others_and_is_raised_once() -> None:
    begun, stopped = threading.Barrier(3, timeout=60), []

    def work(parts):
        for part in parts:
            begun.wait()
            if part == 1:
                raise KeyError("part 1")
            try:
                while True:
                    interrupts.check()
            except Cancelled:
                stopped.append(part)
                raise

    with pytest.raises(KeyError, match="part 1"):
        deal(range(3), work, 3)
    assert sorted(stopped) == [0, 2]


def test_what_stops_the_caller_stops_all() -> None:
    begun, cancel = threading.Barrier(2, timeout=60), threading.Event()

    def work(parts):
        for part in parts:
            begun.wait()
            if part:
                cancel.set()
            while True:
                interrupts.check()

    with interrupts.stopped_by(cancel), pytest.raises(Cancelled):
        deal(range(2), work, 2)
    interrupts.check()  # nothing stops this thread any more


def test_an_error_is_told_rather_than_the_cancelling_beside_it() -> None:
    begun, cancel = threading.Barrier(2, timeout=60), threading.Event()

    def work(parts):
        for part in parts:
            begun.wait()
            if part:
                cancel.set()
            try:
                while True:
                    interrupts.check()
            except Cancelled:
                if part:
                    raise OSError("the disk is full") from None
                raise

    with interrupts.stopped_by(cancel), pytest.raises(OSError, match="disk is full"):
        deal(range(2), work, 2)


def test_compute_threads_are_restored_for_this_thread_and_for_new_ones() -> None:
    before, found = torch.get_num_threads(), []
    deal(range(2), lambda parts: [torch.set_num_threads(1) for _ in parts], 2)
    new = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    new.start()
    new.join()
    assert [torch.get_num_threads(), *found] == [before, before]


def test_settings_restrict_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(threads_module, "AT_IMPORT", 8)
    monkeypatch.setattr(threads_module.os, "cpu_count", lambda: 8)
    cores = set(range(6))
    monkeypatch.setattr(threads_module.os, "sched_getaffinity", lambda _: cores, raising=False)
    monkeypatch.setattr(threads_module.torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(threads_module, "QUOTA", tmp_path / "cpu.max")
    assert available_threads() == 6
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert available_threads() == 6
    (tmp_path / "cpu.max").write_text("300000 100000\n")
    assert available_threads() == 3
    monkeypatch.setattr(threads_module.torch, "get_num_threads", lambda: 2)  # OMP_NUM_THREADS
    assert available_threads() == 2


def test_a_number_of_threads_is_checked() -> None:
    check_threads(None)
    check_threads(3)
    with pytest.raises(TypeError, match=r"threads=True is a bool; give a number"):
        check_threads(True)
    with pytest.raises(ValueError, match=r"threads=0 leaves no thread"):
        check_threads(0)
