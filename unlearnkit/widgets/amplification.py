"""A section of the training panel: how well this training can be approximated."""

import threading
from collections.abc import Sequence

import ipywidgets

from unlearnkit.evaluation.amplification import Amplification, default_shard, visits_of
from unlearnkit.figures.drawing import duration, percent
from unlearnkit.progress import OnProgress
from unlearnkit.session import Session
from unlearnkit.training.train import work_of
from unlearnkit.widgets.parts.html import Html, paragraphs
from unlearnkit.widgets.parts.runner import Runner, Work
from unlearnkit.widgets.parts.section import Section
from unlearnkit.widgets.parts.shared import SessionPanel


class ChaosSection(Section):
    """Trains one shard from slightly changed weights, and shows how far its outputs move apart.

    Attributes:
        said: what the measurement costs, or what it found.
        runner: starts the measurement.
        found: the result; None before.
    """

    title = "How well can the models be approximated?"
    explanation = "Measures how far a small change of the initial weights changes the outputs."
    meaning = (
        "Training is chaotic where a small change of the initial weights leads to quite different "
        "outputs. Correcting a model for forgotten examples then removes little of their "
        "influence, whatever the method (the measure is ours)."
    )

    def __init__(self, panel: SessionPanel, session: Session) -> None:
        super().__init__(panel)
        self._session, self._shown_in = session, panel
        self.found: Amplification | None = None

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the sentence and the button."""
        self.said = Html(live=True)
        self.runner: Runner[Amplification] = Runner(
            self.panel,
            "Measure",
            self._prepare,
            self._measured,
            ended=self._shown_in.update,
            stops="Stop now; nothing was changed",
        )
        self.runner.button.button_style = ""
        self.runner.button.tooltip = "Measure how much approximations can remove"
        return [self.said, self.runner.widget]

    @property
    def code(self) -> str:
        """The call that measures."""
        return "session.amplification()"

    def draw(self) -> None:
        """Say what the measurement costs, or what it found."""
        self.runner.button.disabled = self.runner.running
        if self.found is not None:
            self.said.html = paragraphs(self.found.sentence)
        elif not self.runner.running:
            self.said.html = paragraphs(self._cost())

    def clear(self) -> None:
        """Discard the result."""
        self.found = None

    def _cost(self) -> str:
        session, plan = self._session, self._session.plan
        shard = default_shard(plan, session.store)
        visits = visits_of(plan, session.store, shard)
        once = sum(stage.visits for stage in plan.chains[shard])
        seconds = session.clock.exact_seconds(work_of(plan, plan.chains[shard]))
        time = ""
        if seconds is not None:
            wall = seconds * session.clock.pace * visits / once
            time = f", about {duration(wall)} of wall time"
        return (
            f"Shard {shard} is trained {'once more' if visits == once else 'twice'}, from slightly "
            f"changed initial weights: {visits:,} visits, "
            f"{percent(visits / plan.total_visits)} of training{time}. Nothing is stored or "
            "changed."
        )

    def _prepare(self) -> Work[Amplification]:
        def work(on_progress: OnProgress, cancel: threading.Event) -> Amplification:
            return self._session.amplification(on_progress=on_progress, cancel=cancel)

        return work

    def _measured(self, found: Amplification) -> None:
        self.found = found
