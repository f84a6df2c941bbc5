"""Panels without a browser: set values, click, and read what is on show."""

import ipywidgets

from unlearnkit.widgets.parts.job import Job
from unlearnkit.widgets.parts.panel import Panel, row
from unlearnkit.widgets.revocation.panel import parse_ids


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
    head, message, body = panel.widget.children
    assert head.title == "Halves & <more>" and body is panel.body
    assert message.message["text"] == ""


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


def test_a_mistake_that_the_package_explains_shows_no_traceback():
    panel = Halver()
    panel.guard(parse_ids)("3, seven")
    assert panel.message.startswith("'seven' is not an id; give whole numbers")
    assert panel.traceback == "" and isinstance(panel.error, ValueError)


def test_a_watcher_hears_of_every_callback():
    panel, heard = Halver(), []
    panel.watch(lambda: heard.append(panel.message))
    panel.guard(lambda: None)()
    panel.guard(lambda: 1 / 0)()
    assert heard == ["", "ZeroDivisionError: division by zero"]


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
