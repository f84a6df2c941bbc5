"""The fourth step: compare the original, unlearned and retrained models."""

import functools
import threading

import ipywidgets

from unlearnkit.evaluation.comparison import Comparison
from unlearnkit.evaluation.parameters import image_layer
from unlearnkit.progress import OnProgress
from unlearnkit.session import Session
from unlearnkit.widgets.comparison.membership import MembershipView
from unlearnkit.widgets.comparison.networks import (
    EmbeddingView,
    LayerView,
    ParameterView,
    SeedView,
    WeightView,
)
from unlearnkit.widgets.comparison.overview import DistanceView, MeasuresView, MovesView, ScoresView
from unlearnkit.widgets.comparison.predictions import ClassView, PredictionView, TargetView
from unlearnkit.widgets.comparison.tabs import Tabs
from unlearnkit.widgets.comparison.verdict import verdict, verdict_table
from unlearnkit.widgets.parts.elements.confirm import Confirm
from unlearnkit.widgets.parts.html import Html, bullets, paragraphs
from unlearnkit.widgets.parts.panel import row
from unlearnkit.widgets.parts.runner import Runner, Work
from unlearnkit.widgets.parts.shared import SessionPanel
from unlearnkit.widgets.parts.view import View

VERDICT = "Verdict"  # the first tab, which stays when the comparison is discarded
VIEWS: tuple[type[View], ...] = (
    *(MovesView, ScoresView, ClassView, PredictionView, TargetView, MembershipView),
    *(DistanceView, ParameterView, SeedView, WeightView, LayerView, EmbeddingView, MeasuresView),
)


class ComparisonPanel(SessionPanel):
    """Retrains the affected shards from scratch, and compares the unlearned models with them."""

    name = "comparison"
    title = "4. Compare"
    explanation = (
        "Three models: the original (the result of doing nothing), the unlearned model, and the "
        "retrained model, trained from scratch without the forgotten examples, which is the goal."
    )
    meaning = (
        "Every measure is a gap to the retrained model, best 0. Accuracy alone cannot distinguish "
        "good forgetting from none. Parameters can be compared one by one because all three models "
        "start from the same weights and see the retained examples in the same order. Membership "
        "inference asks whether an attacker can distinguish forgotten from unseen examples by "
        "their loss (Yeom et al. 2018); the target is not 0.5 but the score of the retrained "
        "model. Intervals are wide if few examples were forgotten. An ensemble can hide the leak "
        "of one shard, so look at the single shards too. Each tab is computed when it is chosen."
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.comparison: Comparison | None = None
        self._compared: tuple[object, ...] = ()
        self._owed: tuple[int, ...] = ()  # the shards with debt at the time of the comparison
        self.note = Html(live=True)
        self.runner: Runner[Comparison] = Runner(
            self, "Compare", self._prepare, self._finished, ended=self.changed
        )
        self.discard = Confirm(
            self,
            "Discard original",
            "Without the original models, nothing can be compared until the next unlearning.",
            "Discard",
            self._discard,
            tooltip="Delete the models from before the last unlearning from memory",
        )
        self.verdict = Html(live=True)
        self.tabs = Tabs(names=[VERDICT], label="Parts of the comparison")
        self.tabs.observe(self.guard(lambda change: self._show_chosen()), names="chosen")
        # The sections are created with the first comparison, and compute when they are chosen.
        self.sections: list[View] = []
        self._shown = ipywidgets.VBox([self.verdict])
        self._shown.add_class("uk-body")
        self._results = ipywidgets.VBox([self.tabs, self._shown])
        self._results.add_class("uk-body")
        self._results.layout.display = "none"
        self.body.children = [
            row(self.runner.widget, self.discard.widget),
            self._results,
            self.note,
        ]
        self.update()

    @property
    def code(self) -> str:
        """The call that compares the models."""
        return "session.compare()"

    def refresh(self) -> None:
        """Say what can be compared; discard the results of an earlier request."""
        session = self.session
        kept = session.original is not None
        if session.last is None:
            lines = ["Nothing has been unlearned yet: that is step 3."]
        elif not kept:
            lines = ["The original models were discarded; there is nothing to compare with."]
        else:
            lines = [
                "The original models are kept in memory only, for this comparison, until you "
                "discard them or the kernel stops."
            ]
        if self.comparison is not None and self._owed != tuple(session.debt):
            lines.insert(
                0,
                "Debt was repaid after this comparison, which shows the models from before; press "
                "Compare to see the present ones.",
            )
        self.note.html = paragraphs(*lines)
        self.runner.button.disabled = not kept or self.runner.running
        self.discard.widget.layout.display = None if kept else "none"
        if self._compared and self._state() != self._compared and kept:
            self._compared = ()
            self._forget()
            self._results.layout.display = "none"

    def _released(self) -> None:
        """Release a comparison whose original the session has discarded or replaced."""
        if self._is_outdated():
            self.guard(self._forget)()
            self.update()

    def _is_outdated(self) -> bool:
        held = self.comparison
        return held is not None and held.original is not self.session.original

    def _state(self) -> tuple[object, ...]:
        """Return a value that changes with every unlearning, but not with a repayment."""
        return (id(self.session.last),)

    def _prepare(self) -> Work[Comparison]:
        if self.session.busy:
            raise RuntimeError("this session is busy; compare when it is done")

        def work(on_progress: OnProgress, cancel: threading.Event) -> Comparison:
            return self.session.compare(on_progress=on_progress, cancel=cancel)

        return work

    def _finished(self, result: Comparison) -> None:
        self.session.on_discard(self._released)
        self.comparison, self._compared = result, self._state()
        self._owed = tuple(self.session.debt)
        if self._is_outdated():
            self.comparison = None
            self.say("The original models were discarded meanwhile, and this comparison with them.")
            return
        self.verdict.html = verdict_table(result) + bullets(verdict(result))
        self._results.layout.display = None
        if not self.sections:
            self._build()
        self.tabs.names = [VERDICT, *(section.title for section in self.sections)]
        for section in self.sections:
            section.renew()
        self._show_chosen()

    def _build(self) -> None:
        """Create the sections that suit the data and the model."""
        has_images = image_layer(self.session.plan.architecture) is not None
        lacks: set[type[View]] = {TargetView}
        if self.session.dataset.is_regression:
            lacks = {ClassView, PredictionView}
        lacks |= set() if has_images else {WeightView}
        self.sections = [kind(self, self) for kind in VIEWS if kind not in lacks]
        self._shown.children = [self.verdict, *(section.widget for section in self.sections)]
        for number, section in enumerate(self.sections, 1):
            section.widget.layout.display = "none"
            section.on_open(functools.partial(self._choose, number))

    def _choose(self, at: int) -> None:
        self.tabs.chosen = at

    def _show_chosen(self) -> None:
        """Show the verdict, or the section of the chosen tab, and close all other sections."""
        at = self.tabs.chosen if self.comparison is not None else 0
        self.verdict.layout.display = None if at == 0 else "none"
        for number, section in enumerate(self.sections, 1):
            section.widget.layout.display = None if number == at else "none"
            if number != at and section.open:
                section.open = False
        if at and not self.sections[at - 1].open:
            self.sections[at - 1].open = True

    def _forget(self) -> None:
        """Discard the comparison, which holds the original models, and everything drawn from it."""
        self.comparison = None
        for section in self.sections:
            section.forget()
        self.tabs.chosen = 0
        self.tabs.names = [VERDICT]
        self._show_chosen()

    def _discard(self) -> None:
        self.session.discard_original()
        self.say("The original models were discarded. The verdict stays until the next comparison.")
        self.changed()
