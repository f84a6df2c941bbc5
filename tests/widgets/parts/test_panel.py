"""Plots, jobs and panels without a browser: set values, click, and read what would be sent."""

import base64
import itertools
import threading
import time

import ipywidgets
import numpy as np
import plotly.graph_objects as go
import pytest

from unlearnkit.progress import Cancelled, ProgressEvent, check_cancelled
from unlearnkit.widgets.parts.job import Job
from unlearnkit.widgets.parts.panel import Panel, row
from unlearnkit.widgets.parts.plotview import PlotView


@pytest.fixture(autouse=True)
def close_widgets():
    """Close what a test opened: ipywidgets keeps every open widget alive, to the very exit."""
    yield
    ipywidgets.Widget.close_all()


def event(visit, total=10):
    return ProgressEvent("train", None, None, visit, total)


class FakeComm:
    """What ipywidgets uses of a comm; keeps what would go to the page."""

    comm_id = "fake"
    kernel = object()

    def __init__(self):
        self.sent = []

    def send(self, data=None, metadata=None, buffers=None, **rest):
        self.sent.append(data)

    def on_msg(self, callback):
        pass

    def close(self, *args, **rest):
        pass


# PlotView


def test_a_figure_comes_back_as_it_went_in_without_plotlys_template():
    view = PlotView(go.Figure(go.Bar(x=np.arange(3), y=np.array([1.0, np.nan, 3.0]))))
    assert "template" not in view.spec["layout"]
    y = view.figure.data[0].y  # plotly's typed array: the page decodes it
    np.testing.assert_array_equal(
        np.frombuffer(base64.b64decode(y["bdata"]), y["dtype"]), [1.0, np.nan, 3.0]
    )


def test_a_template_of_the_users_own_is_kept():
    view = PlotView(go.Figure(layout={"template": {"layout": {"colorway": ["#0072B2"]}}}))
    assert view.spec["layout"]["template"]["layout"]["colorway"] == ["#0072B2"]


def test_a_dict_with_arrays_and_nan_is_a_figure_too():
    view = PlotView({"data": [{"z": np.array([[1.0, np.nan]])}]})
    assert view.spec["data"] == [{"z": [[1.0, None]]}]


def test_anything_else_is_refused_by_name():
    with pytest.raises(TypeError, match=r"figure is a list; give a plotly go\.Figure"):
        PlotView([1, 2])


def test_height_is_reserved_before_the_page_draws():
    assert PlotView(height=200).layout.height == "200px"
    view = PlotView(go.Figure(layout={"height": 444}))
    assert view.layout.height == "444px"


def test_an_update_sends_the_figure_and_nothing_else():
    view = PlotView({"data": [{"y": [1]}]})
    view.comm = FakeComm()
    view.comm.sent.clear()
    view.figure = {"data": [{"y": [2]}]}
    view.figure = {"data": [{"y": [2]}]}  # the same again: nothing to send
    assert [message["state"] for message in view.comm.sent] == [
        {"spec": {"data": [{"y": [2]}], "layout": {}}}
    ]


def test_the_script_is_shared_and_comes_back_when_it_was_closed():
    first, second = PlotView(), PlotView()
    assert first.runtime is second.runtime
    assert len(first.runtime.script) < 3_000_000  # Jupyter's limit: 1 MB/s over 3 s
    first.runtime.close()
    assert PlotView().runtime is not first.runtime


def test_every_click_of_the_page_calls_back_until_unsubscribed():
    view, heard = PlotView(), []
    stop = view.on_click(heard.append)
    click = {"curve": 0, "point": 2, "x": 2, "y": 5.0, "customdata": 7}
    view.set_state({"clicked": click | {"count": 1}})
    view.set_state({"clicked": click | {"count": 2}})  # the same point once more
    stop()
    view.set_state({"clicked": click | {"count": 3}})
    assert [one["count"] for one in heard] == [1, 2]
    assert heard[0]["customdata"] == 7


# Job


def test_a_job_ends_done_with_its_result_and_last_progress():
    def work(on_progress, cancel):
        on_progress(event(10))
        return "weights"

    job = Job(work)
    assert (job.state, job.result, job.seconds) == ("idle", None, 0)
    assert job.start().wait(5)
    assert (job.state, job.result, job.progress) == ("done", "weights", event(10))
    assert job.error is None
    assert 0 < job.seconds < 5


@pytest.mark.parametrize("failure", [ValueError("bad batch"), SystemExit(3)])
def test_a_job_that_raises_is_failed_and_keeps_the_exception(failure):
    def work(on_progress, cancel):
        raise failure

    job = Job(work).start()
    job.wait(5)
    assert (job.state, job.error) == ("failed", failure)
    assert job.error.__traceback__.tb_next.tb_frame.f_code.co_name == "work"


def test_cancelling_stops_at_the_works_next_look():
    running = threading.Event()

    def work(on_progress, cancel):
        running.set()
        cancel.wait(5)
        check_cancelled(cancel)

    job = Job(work)
    assert not job.cancel()  # nothing runs yet
    job.start()
    running.wait(5)
    assert job.cancel()
    assert job.wait(5)
    assert job.state == "cancelled"
    assert isinstance(job.error, Cancelled)
    assert not job.cancel()


def test_work_that_finishes_in_spite_of_the_wish_is_done():
    job = Job(lambda on_progress, cancel: cancel.wait(5)).start()
    job.cancel()
    job.wait(5)
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


def test_subscribers_hear_start_and_end_and_a_tenth_of_the_noise():
    heard = []

    def work(on_progress, cancel):
        for visit in range(1, 301):
            on_progress(event(visit, 300))
            time.sleep(0.001)

    job = Job(work, interval=0.05)
    job.subscribe(lambda job: heard.append((time.perf_counter(), job.status)))
    job.start().wait(5)
    times, statuses = zip(*heard, strict=True)
    assert statuses[0].state == "running"
    assert (statuses[-1].state, statuses[-1].progress.done_visits) == ("done", 300)
    assert 3 <= len(heard) <= job.seconds / 0.05 + 2
    assert all(b - a >= 0.049 for a, b in itertools.pairwise(times[:-1]))


def test_the_last_event_before_a_pause_is_delivered_during_the_pause():
    heard, delivered = [], threading.Event()

    def hear(job):
        heard.append(job.progress)
        if job.progress == event(3):
            delivered.set()

    def work(on_progress, cancel):
        for visit in (1, 2, 3):
            on_progress(event(visit))
        return delivered.wait(5)

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
    job.start().wait(5)
    assert (job.state, heard[-1]) == ("done", "done")
    assert isinstance(job.subscriber_errors[0].error, KeyError)
    assert "in broken" in job.subscriber_errors[0].traceback


def test_who_comes_after_the_end_is_told_and_who_has_left_is_not():
    gone, late = [], []
    job = Job(lambda on_progress, cancel: None)
    job.subscribe(gone.append)()
    job.start().wait(5)
    job.subscribe(late.append)
    assert (gone, late) == ([], [job])


# Panel


class Halver(Panel):
    title = "Halves & <more>"
    explanation = "Half of a number."

    def __init__(self):
        super().__init__()
        self.field = ipywidgets.Text("8")
        self.button = ipywidgets.Button(description="halve")
        self.out = ipywidgets.Label()
        self.body.children = [row(self.field, self.button), self.out]
        self.button.on_click(self.guard(lambda button: self.refresh()))

    @property
    def code(self):
        return f"halve({self.field.value!r})"

    def refresh(self):
        number = int(self.field.value)
        if number % 2:
            self.say(f"{number} is odd; rounded down.")
        self.out.value = str(number // 2)


def test_a_panel_shows_what_refresh_made_and_the_python_call():
    panel = Halver().update()
    assert panel.out.value == "4"
    assert panel._code_line.code == "halve('8')"
    assert panel.widget.children[1] is panel.body
    assert "Halves &amp; &lt;more&gt;" in panel.widget.children[0].value


def test_an_error_in_a_callback_is_a_sentence_with_its_traceback_kept():
    panel = Halver().update()
    panel.field.value = "many"
    panel.button.click()
    assert panel.message == "invalid literal for int() with base 10: 'many'"
    assert panel._message.message["kind"] == "error"
    assert "in refresh" in panel.traceback
    assert isinstance(panel.error, ValueError)
    assert panel._code_line.code == "halve('8')"  # still the call that worked

    panel.field.value = "6"
    panel.button.click()
    assert (panel.message, panel.traceback, panel.error, panel.out.value) == ("", "", None, "3")


def test_a_note_survives_the_callback_that_said_it_and_goes_with_the_next():
    panel = Halver().update()
    panel.field.value = "7"
    panel.button.click()
    assert panel.message == "7 is odd; rounded down."
    assert panel._message.message["kind"] == "note"
    panel.field.value = "8"
    panel.button.click()
    assert panel.message == ""


def test_a_jobs_progress_does_not_wipe_away_an_error():
    panel = Halver()
    panel.show_error(ValueError("id 9 is unknown."))
    panel.guard(lambda: None, clears=False)()
    assert panel.message == "id 9 is unknown."


def test_an_error_in_a_jobs_thread_reaches_the_panel():
    panel = Halver()
    job = Job(lambda on_progress, cancel: None)
    job.subscribe(panel.guard(lambda job: 1 / 0, clears=False))
    job.start().wait(5)
    assert panel.message == "ZeroDivisionError: division by zero"
    assert not job.subscriber_errors


def test_guard_passes_arguments_and_results_through():
    assert Halver().guard(lambda a, *, b: a + b)(1, b=2) == 3


def test_a_panel_stands_alone_in_a_cell():
    bundle = Halver().update()._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert "Halves &amp; &lt;more&gt;" in bundle["text/html"]
    assert "halve(&#x27;8&#x27;)" in bundle["text/html"]
    assert bundle["text/plain"] == "Halver()"
