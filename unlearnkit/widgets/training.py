"""The first step: train the ensemble, watch it, pause it and continue."""

import threading
from typing import TYPE_CHECKING

import numpy as np

from unlearnkit import figures
from unlearnkit.evaluation.stage_scores import stage_accuracies
from unlearnkit.figures.drawing import duration
from unlearnkit.metrics.tasks import task_of
from unlearnkit.progress import OnProgress, ProgressEvent
from unlearnkit.session import Session
from unlearnkit.store.footprint import size
from unlearnkit.training.train import TrainReport, work_of
from unlearnkit.unlearning.unlearn import Unlearned
from unlearnkit.widgets.amplification import ChaosSection
from unlearnkit.widgets.parts.groups import groups_in
from unlearnkit.widgets.parts.html import Html, paragraphs
from unlearnkit.widgets.parts.job import Job
from unlearnkit.widgets.parts.panel import row
from unlearnkit.widgets.parts.plot import Plot
from unlearnkit.widgets.parts.runner import Runner, Work
from unlearnkit.widgets.parts.shared import SessionPanel, plural

if TYPE_CHECKING:
    import pandas as pd

Trained = tuple[TrainReport, dict[str, float]]


class TrainingPanel(SessionPanel):
    """Trains every shard that has no model, with live loss curves."""

    name = "training"
    title = "1. Train"
    explanation = "Each shard of the data trains its own model, slice after slice; the models vote."
    meaning = (
        "A shard's model is trained on its shard only, so forgetting an example concerns one model "
        "of the ensemble; and a checkpoint is kept after each slice, so retraining starts at the "
        "slice of the forgotten example, not at the beginning (SISA: Bourtoule et al. 2021). "
        "Training runs in the background, so other cells can be run. Pause stops once every shard "
        "in training has finished its slice, so nothing is lost; Cancel stops at once and loses "
        "the unfinished slices. Training can be continued after both and ends in the same bits. "
        "Loss is the mean of the training losses computed during an epoch. Accuracy (for a "
        "regression, R2: 1 is perfect, 0 is predicting the mean) is that of a single shard's "
        "model on probe examples, which are held out and differ from the test examples; the "
        "ensemble is better."
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._events: list[ProgressEvent] = []
        self._accuracy: dict[str, float] = {}
        self._at: Unlearned | None = None  # the last unlearning at the time of the measurement
        self._measuring: Job[dict[str, float]] | None = None
        self._measured: dict[str, float] = {}
        self._done = ""  # what the last run did, as the end of a sentence
        self._pace: float | None = None  # seconds per visit in the last run
        self._pause = threading.Event()
        self.status = Html(live=True)
        self.runner: Runner[Trained] = Runner(
            self,
            "Train",
            self._prepare,
            self._finished,
            ended=self.changed,
            progressed=lambda event: self._draw(),
            pause=self._pause.set,
        )
        self.curves = Plot(name="training-loss", frame=self._losses)
        self.accuracies = Plot(name="shard-accuracy", frame=self._stages)
        self.chaos = ChaosSection(self, session)
        plots = row(self.curves.widget, self.accuracies.widget)
        self.body.children = [self.status, self.runner.widget, plots, self.chaos.widget]
        self.update()

    @property
    def code(self) -> str:
        """The call that trains, and the one that draws the accuracies."""
        if not self._measured:
            return "session.train()"
        return (
            "session.train()\n"
            "from unlearnkit import figures\n"
            "from unlearnkit.evaluation.stage_scores import stage_accuracies\n"
            "figures.accuracy_curves(stage_accuracies(session), session.spec)"
        )

    def refresh(self) -> None:
        """Show how much of the training is done."""
        session = self.session
        plan, trained = session.plan, session.trained
        spec = plan.spec
        what = (
            f"{session.dataset.name}: {plural(int(plan.retained.sum()), 'training example')} in "
            f"{plural(plan.num_shards, 'shard')} of {plural(spec.num_slices, 'slice')}; each shard "
            f"trains one {plan.architecture.title}."
        )
        if (groups := groups_in(session.dataset)) is not None:
            kept = groups.count(len(np.unique(groups.of(plan.partition.ids[plan.retained]))))
            what += f" They belong to {kept}, and the examples of each lie together."
        missing = plan.missing(session.store)
        visits = sum(stage.visits for stage in missing)
        seconds = session.clock.exact_seconds(work_of(plan, missing, session.threads))
        seconds = None if seconds is None else seconds * session.clock.pace
        if seconds is None and self._pace is not None:
            seconds = self._pace * visits
        left = "" if seconds is None else f", about {duration(seconds)} of wall time"
        total = sum(1 for _ in plan.stages)
        if trained:
            state = f"The session is trained{self._done}. {self._accuracy_text()}"
        elif len(missing) < total:
            state = (
                f"Partly trained: {total - len(missing)} of {total} stages are done, "
                f"{visits:,} visits (gradients of one example) remain{left}."
            )
        else:
            state = (
                f"Not trained yet: {plural(total, 'stage')}, {plan.total_visits:,} visits "
                f"(gradients of one example){left}. The checkpoints will take "
                f"{size(plan.checkpoint_bytes)} {session.footprint.where}."
            )
        self.status.html = paragraphs(what, state)
        self.runner.button.disabled = trained or self.runner.running
        resumes = not trained and len(missing) < total
        self.runner.button.description = "Continue training" if resumes else "Train"
        if trained and not self._accuracy and self._measuring is None:
            self._measure()
        # A session whose shards have all lost their examples has nothing to train again.
        offered = trained and any(plan.alive(shard) for shard in range(plan.num_shards))
        self.chaos.widget.layout.display = None if offered else "none"
        if offered:
            self.chaos.renew()

    def _accuracy_text(self) -> str:
        if not self._accuracy:
            return "Measuring its accuracy ..."
        task = task_of(self.session.dataset)
        test, probe = (task.format_score(self._accuracy[part]) for part in ("test", "probe"))
        name = f"{task.score_name[0].upper()}{task.score_name[1:]}"
        now = self.session.last is self._at
        when = "" if now else " before later unlearning (step 4 compares)"
        return (
            f"{name} of the trained ensemble{when}: {test} on test examples, {probe} on probe "
            "examples."
        )

    def _measure(self) -> None:
        """Measure, in the background, a session that was not trained by this panel."""

        def show(job: Job[dict[str, float]]) -> None:
            if job.state == "done":
                self._accuracy, self._at = job.result or {}, at
                self.refresh()
            elif job.state == "failed" and isinstance(job.error, Exception):
                self.show_error(job.error)

        session, at = self.session, self.session.last
        self._measuring = Job(lambda on_progress, cancel: session.score(), name="score")
        self._measuring.subscribe(self.guard(show, clears=False))
        self._measuring.start()

    def _prepare(self) -> Work[Trained]:
        def work(on_progress: OnProgress, cancel: threading.Event) -> Trained:
            def tell(event: ProgressEvent) -> None:
                self._events.append(event)  # keep all events; the job forwards only ten a second
                on_progress(event)

            pause = self._pause
            report = self.session.train(on_progress=tell, cancel=cancel, pause=pause)
            return report, {} if report.paused else self.session.score()

        self._pause.clear()
        self.status.html = paragraphs(
            "Training in the background; other cells can be run meanwhile."
        )
        return work

    def _finished(self, result: Trained) -> None:
        report, self._accuracy = result
        self._at = self.session.last
        if report.visits:
            self._pace = report.seconds / report.visits
            self._done = (
                f": {plural(len(report.runs), 'stage')}, {report.visits:,} visits in "
                f"{duration(report.seconds)} of wall time"
            )
        self._draw()
        if report.paused:
            self.say("Paused: finished stages are kept.")
            self.runner.bar.bar_style = "warning"
            self.runner.bar.value = self._share()
            self.runner.label.value = f"paused after {duration(report.seconds)}"

    def _draw(self) -> None:
        events = [event for event in list(self._events) if event.loss is not None]
        if not events:
            return
        self.curves.show(figures.training_curves.spec(events, self.session.spec))
        ended = {(e.shard, e.stage) for e in events if e.epoch == e.num_epochs}
        if len(ended) > len(self._measured):
            frame = self._stages()
            if len(frame) > len(self._measured):
                scores = frame[task_of(self.session.dataset).score_name]
                self._measured = dict(zip(frame["key"], scores, strict=True))
                self.accuracies.show(figures.accuracy_curves.spec(frame, self.session.spec))

    def _stages(self) -> "pd.DataFrame":
        return stage_accuracies(self.session, self._measured)

    def _losses(self) -> "pd.DataFrame":
        import pandas as pd

        columns = ("shard", "stage", "epoch", "loss")
        trained = [event for event in list(self._events) if event.shard is not None]
        rows = [[getattr(event, name) for name in columns] for event in trained]
        return pd.DataFrame(rows, columns=list(columns))

    def _share(self) -> float:
        plan = self.session.plan
        missing = sum(stage.visits for stage in plan.missing(self.session.store))
        return 1 - missing / max(1, plan.total_visits)
