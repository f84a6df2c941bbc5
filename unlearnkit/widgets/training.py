"""The first step: train the ensemble, watch it learn, stop it and go on."""

import threading

from unlearnkit import figures
from unlearnkit.progress import OnProgress, ProgressEvent
from unlearnkit.session import Session
from unlearnkit.training import TrainReport
from unlearnkit.widgets.job import Job
from unlearnkit.widgets.plot import Plot
from unlearnkit.widgets.prose import Prose, paragraphs
from unlearnkit.widgets.runner import Runner, Work
from unlearnkit.widgets.shared import SessionPanel, plural

Trained = tuple[TrainReport, dict[str, float]]


class TrainingPanel(SessionPanel):
    """Train every shard that has no model, with its loss curves live."""

    name = "training"
    title = "1. Train"
    explanation = (
        "Each shard of the data trains a model of its own, slice after slice; together they vote."
    )
    meaning = (
        "A shard's model has seen its shard only, so forgetting an example concerns one model of "
        "the ensemble; and a checkpoint is kept after each slice, so retraining starts at the "
        "slice of the forgotten example, not at the beginning (SISA: Bourtoule et al. 2021). "
        "Training runs in a thread: other cells stay free, Cancel keeps all finished stages."
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._events: list[ProgressEvent] = []
        self._accuracy: dict[str, float] = {}
        self._measuring: Job[dict[str, float]] | None = None
        self.status = Prose(live=True)
        self.runner: Runner[Trained] = Runner(
            self,
            "Train",
            self._prepare,
            self._finished,
            ended=self.changed,
            progressed=lambda event: self._draw(),
        )
        self.curves = Plot()
        self.body.children = [self.status, self.runner.widget, self.curves.widget]
        self.update()

    @property
    def code(self) -> str:
        """The call that trains."""
        return "session.train()"

    def refresh(self) -> None:
        """Say how far the training is."""
        session = self.session
        plan, trained = session.plan, session.trained
        spec = plan.spec
        what = (
            f"{session.dataset.name}: {plural(int(plan.retained.sum()), 'training example')} in "
            f"{plural(plan.num_shards, 'shard')} of {plural(spec.num_slices, 'slice')}, "
            f"one {plan.architecture.name} each."
        )
        missing = plan.missing(session.store)
        total = sum(1 for _ in plan.stages)
        if trained:
            state = "The session is trained. " + self._accuracy_words()
        elif len(missing) < total:
            state = (
                f"Partly trained: {total - len(missing)} of {total} stages are kept, "
                f"{sum(stage.visits for stage in missing):,} visits (gradients of one example) "
                "to go."
            )
        else:
            state = (
                f"Not trained yet: {plural(total, 'stage')}, {plan.total_visits:,} visits "
                "(gradients of one example)."
            )
        self.status.html = paragraphs(what, state)
        self.runner.button.disabled = trained or self.runner.running
        resumes = not trained and len(missing) < total
        self.runner.button.description = "Go on training" if resumes else "Train"
        if trained and not self._accuracy and self._measuring is None:
            self._measure()

    def _accuracy_words(self) -> str:
        if not self._accuracy:
            return "Measuring its accuracy ..."
        return (
            f"Accuracy of the trained ensemble: {self._accuracy['test']:.1%} on test examples, "
            f"{self._accuracy['probe']:.1%} on probe examples."
        )

    def _measure(self) -> None:
        """Measure the accuracy of a session that was trained elsewhere, beside the cells."""

        def show(job: Job[dict[str, float]]) -> None:
            if job.state == "done":
                self._accuracy = job.result or {}
                self.refresh()
            elif job.state == "failed" and isinstance(job.error, Exception):
                self.show_error(job.error)

        session = self.session
        self._measuring = Job(lambda on_progress, cancel: session.accuracy(), name="accuracy")
        self._measuring.subscribe(self.guard(show, clears=False))
        self._measuring.start()

    def _prepare(self) -> Work[Trained]:
        def work(on_progress: OnProgress, cancel: threading.Event) -> Trained:
            def tell(event: ProgressEvent) -> None:
                self._events.append(event)  # all of them; the job passes on ten a second
                on_progress(event)

            report = self.session.train(on_progress=tell, cancel=cancel)
            return report, self.session.accuracy()

        self.status.html = paragraphs(
            "Training, in a thread of its own: other cells stay free meanwhile."
        )
        return work

    def _finished(self, result: Trained) -> None:
        report, self._accuracy = result
        self._draw()
        self.say(
            f"{plural(len(report.runs), 'stage')} trained: {report.visits:,} visits in "
            f"{report.seconds:.1f} s."
        )

    def _draw(self) -> None:
        events = [event for event in list(self._events) if event.loss is not None]
        if events:
            self.curves.show(figures.training_curves.spec(events, self.session.spec))
