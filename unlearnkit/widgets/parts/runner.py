"""A button that runs a job, with a progress bar, the time left, and a cancel button."""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import ipywidgets

from unlearnkit.evaluation.original import cut_traceback
from unlearnkit.figures.drawing import duration
from unlearnkit.progress import OnProgress, ProgressEvent
from unlearnkit.widgets.parts.job import Job
from unlearnkit.widgets.parts.panel import Panel, row

Result = TypeVar("Result")
Work = Callable[[OnProgress, threading.Event], Result]


class Runner(Generic[Result]):
    """The controls that start, follow and stop one kind of job in a panel, one at a time.

    Args:
        panel: the panel that shows errors.
        label: label of the button.
        prepare: called on a click; returns the work to run.
        finished: called with the result, in the job's thread.
        ended: called after every run, failed and cancelled ones included, in the job's thread.
        progressed: called with each progress event that is shown.
        weights: returns the expected seconds of each phase, so that one bar over several phases
            moves evenly.
        pause: called when Pause is clicked; the work is then expected to end soon. Without it
            there is no Pause button.
        stops: what Cancel does, as its tooltip.

    Attributes:
        widget: all controls in one row.
        button: starts the job.
        job: the running job, or None.
    """

    def __init__(
        self,
        panel: Panel,
        label: str,
        prepare: Callable[[], Work[Result]],
        finished: Callable[[Result], object],
        *,
        ended: Callable[[], object] = lambda: None,
        progressed: Callable[[ProgressEvent], object] = lambda event: None,
        weights: Callable[[], Mapping[str, float]] = dict,
        pause: Callable[[], object] | None = None,
        stops: str = "Stop now; finished stages are kept",
    ) -> None:
        self.job: Job[Result] | None = None
        self._panel = panel
        self._ended_at: tuple[Any, ...] | None = None
        panel.runners.append(self)
        self._prepare, self._finished, self._ended = prepare, finished, ended
        self._progressed, self._weights_now = progressed, weights
        self._weights: Mapping[str, float] = {}
        self.button = ipywidgets.Button(description=label, button_style="primary")
        self.button.layout.width = "auto"
        self.cancel = ipywidgets.Button(description="Cancel", tooltip=stops, disabled=True)
        self.cancel.layout.width = "auto"
        self.pause = ipywidgets.Button(
            description="Pause", tooltip="Stop when the current slice is finished; nothing is lost"
        )
        self.pause.layout.width = "auto"
        self._pause = pause
        self.bar = ipywidgets.FloatProgress(0.0, min=0.0, max=1.0)
        self.bar.layout.width = "160px"
        self.label = ipywidgets.Label("")
        self.widget = row(self.button, self.pause, self.cancel, self.bar, self.label)
        for widget in (self.pause, self.cancel, self.bar, self.label):
            widget.layout.display = "none"
        self.button.on_click(panel.guard(lambda button: self.start()))
        self.pause.on_click(panel.guard(lambda button: self.request_pause()))
        self.cancel.on_click(panel.guard(lambda button: self.request_stop()))

    @property
    def running(self) -> bool:
        """Whether the job is running."""
        return self.job is not None and self.job.state == "running"

    def start(self) -> Job[Result]:
        """Run the work in a background thread and return immediately.

        Raises:
            RuntimeError: the job is already running.
        """
        if self.running:
            raise RuntimeError("this job is already running; wait for it to end, or cancel it")
        work = self._prepare()
        self._ended_at = None
        self._weights = self._weights_now()
        self.button.disabled, self.cancel.disabled = True, False
        self.bar.value, self.bar.bar_style, self.label.value = 0.0, "", "starting"
        for widget in (self.cancel, self.bar, self.label):
            widget.layout.display = None
        self.pause.layout.display = "none" if self._pause is None else None
        self.pause.disabled = False
        self.job = Job(work, name=self.button.description)
        self.job.subscribe(self._panel.guard(self._follow, clears=False))
        return self.job.start()

    def request_pause(self) -> None:
        """Ask the work to end at the next point where nothing is lost."""
        if self._pause is not None and self.running:
            self._pause()
            self.pause.disabled = True
            self.label.value = "pausing at the end of the slice"

    def request_stop(self) -> None:
        """Ask the work to stop."""
        if self.job is not None and self.job.cancel():
            self.cancel.disabled = self.pause.disabled = True
            self.label.value = "stopping"

    def _follow(self, job: Job[Result]) -> None:
        status = job.status
        if status.progress is not None:
            self._progressed(status.progress)
        if status.state == "running":
            pausing = self._pause is not None and self.pause.disabled
            if status.progress is not None and not job.cancelling and not pausing:
                self._show(status.progress, job.seconds)
            return
        self.button.disabled, self.cancel.disabled = False, True
        self.cancel.layout.display = self.pause.layout.display = "none"
        # Result and error may hold models that others want to release.
        self.job = None
        job.release()
        if status.error is not None:
            cut_traceback(status.error)
        if status.state == "done":
            self.bar.value, self.bar.bar_style = 1.0, "success"
            self.label.value = f"done in {duration(status.seconds)}"
        else:
            self.bar.bar_style = "warning"
            self.label.value = f"{status.state} after {duration(status.seconds)}"
        try:
            if status.state == "done":
                result: Any = status.result
                self._finished(result)
            elif status.state == "cancelled":
                self._panel.say(f"{str(status.error)[:1].upper()}{str(status.error)[1:]}.")
            elif isinstance(status.error, Exception):
                self._panel.show_error(status.error)
        finally:
            self._ended()
            self._ended_at = self._panel.moment()

    def forget(self) -> None:
        """Hide how the last job ended, once what the panel shows has changed since."""
        before, now = self._ended_at, self._panel.moment()
        if before is None or all(a is b for a, b in zip(before, now, strict=True)):
            return
        self._ended_at = None
        self.bar.value, self.bar.bar_style, self.label.value = 0.0, "", ""
        for widget in (self.bar, self.label):
            widget.layout.display = "none"

    def _show(self, event: ProgressEvent, seconds: float) -> None:
        share = overall(event, self._weights)
        self.bar.value = share
        self.label.value = remaining(event, share, seconds)


def remaining(event: ProgressEvent, share: float, seconds: float) -> str:
    """Say how much is done and how long the rest is going to take.

    Args:
        event: the latest event.
        share: fraction of the total work that is done.
        seconds: how long this took.

    >>> remaining(ProgressEvent("train", 3, 2, 10, 40), 0.25, 2.0)[:19]
    '25%, about 6 s left'
    """
    left = f", about {duration(seconds * (1 - share) / share)} left" if share > 0.02 else ""
    return f"{share:.0%}{left}: {event.sentence}"


def overall(event: ProgressEvent, weights: Mapping[str, float]) -> float:
    """Return the fraction of the total work that is done, over all phases.

    >>> overall(ProgressEvent("modify", 0, None, 1, 2), {"train": 3.0, "modify": 1.0})
    0.875
    """
    total = sum(weights.values())
    if event.phase not in weights or total <= 0:
        return event.share
    before = 0.0
    for phase, weight in weights.items():
        if phase == event.phase:
            return (before + weight * event.share) / total
        before += weight
    return event.share
