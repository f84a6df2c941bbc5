"""Jobs: how they end, and who hears of it."""

import itertools
import threading
import time

import pytest

from unlearnkit.interrupts import Cancelled, check_cancelled
from unlearnkit.progress import ProgressEvent
from unlearnkit.widgets.parts.job import Job


def event(visit, total=10):
    return ProgressEvent("train", None, None, visit, total)


def test_a_job_ends_done_with_its_result_and_last_progress():
    def work(on_progress, cancel):
        on_progress(event(10))
        return "weights"

    job = Job(work)
    assert (job.state, job.result, job.seconds) == ("idle", None, 0)
    assert job.start().wait(60)
    assert (job.state, job.result, job.progress) == ("done", "weights", event(10))
    assert job.error is None
    assert job.seconds > 0


@pytest.mark.parametrize("failure", [ValueError("bad batch"), SystemExit(3)])
def test_a_job_that_raises_is_failed_and_keeps_the_exception(failure):
    def work(on_progress, cancel):
        raise failure

    job = Job(work).start()
    job.wait(60)
    assert (job.state, job.error) == ("failed", failure)
    assert job.error.__traceback__.tb_next.tb_frame.f_code.co_name == "work"


def test_cancelling_stops_at_the_works_next_look():
    running = threading.Event()

    def work(on_progress, cancel):
        running.set()
        cancel.wait(60)
        check_cancelled(cancel)

    job = Job(work)
    assert not job.cancel()  # nothing runs yet
    job.start()
    running.wait(60)
    assert job.cancel()
    assert job.wait(60)
    assert job.state == "cancelled"
    assert isinstance(job.error, Cancelled)
    assert not job.cancel()


def test_work_that_finishes_in_spite_of_the_wish_is_done():
    job = Job(lambda on_progress, cancel: cancel.wait(60)).start()
    job.cancel()
    job.wait(60)
    assert (job.state, job.result) == ("done", True)


def test_a_job_runs_once_and_cannot_wait_for_itself():
    job = Job(lambda on_progress, cancel: job.wait(), name="training")
    with pytest.raises(RuntimeError, match="has not been started"):
        job.wait()
    job.start()
    with pytest.raises(RuntimeError, match="a job runs once; make a new Job"):
        job.start()
    while job.state == "running":
        time.sleep(0.001)
    assert "training cannot wait for itself" in str(job.error)


def test_subscribers_hear_start_and_end_and_a_part_of_the_noise():
    heard = []

    def work(on_progress, cancel):
        for visit in itertools.count(1):
            on_progress(event(visit))
            time.sleep(0.001)
            if len(heard) >= 4:  # however busy the machine is
                return visit

    job = Job(work, interval=0.05)
    job.subscribe(lambda job: heard.append(job.status))
    job.start().wait(60)
    assert heard[0].state == "running"
    assert (heard[-1].state, heard[-1].progress) == ("done", event(job.result))
    assert len(heard) <= job.seconds / 0.05 + 2


def test_the_last_event_before_a_pause_is_delivered_during_the_pause():
    heard, delivered = [], threading.Event()

    def hear(job):
        heard.append(job.progress)
        if job.progress == event(3):
            delivered.set()

    def work(on_progress, cancel):
        for visit in (1, 2, 3):
            on_progress(event(visit))
        return delivered.wait(60)

    job = Job(work, interval=0.02)
    job.subscribe(hear)
    job.start().wait(6)
    assert job.result is True


def test_a_broken_subscriber_is_recorded_and_stops_nobody():
    heard = []

    def broken(job):
        raise KeyError("no such bar")

    job = Job(lambda on_progress, cancel: 1)
    job.subscribe(broken)
    job.subscribe(lambda job: heard.append(job.state))
    job.start().wait(60)
    assert (job.state, heard[-1]) == ("done", "done")
    assert isinstance(job.subscriber_errors[0].error, KeyError)
    assert "in broken" in job.subscriber_errors[0].traceback


def test_who_comes_after_the_end_is_told_and_who_has_left_is_not():
    gone, late = [], []
    job = Job(lambda on_progress, cancel: None)
    job.subscribe(gone.append)()
    job.start().wait(60)
    job.subscribe(late.append)
    assert (gone, late) == ([], [job])
