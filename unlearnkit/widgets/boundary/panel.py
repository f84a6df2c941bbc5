"""The third step: see the workload, set the boundary, and unlearn."""

import threading
from dataclasses import replace
from typing import Any

from unlearnkit.data.examples import Dataset
from unlearnkit.progress import OnProgress
from unlearnkit.session import Session
from unlearnkit.unlearning.assessment import Assessment
from unlearnkit.unlearning.boundary.chosen import OverriddenBoundary
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.outcomes import Circumstances, error_bound
from unlearnkit.unlearning.boundary.protocol import APPROXIMATE, EXACT, Boundary, Decision
from unlearnkit.unlearning.boundary.verdict import quietly
from unlearnkit.unlearning.inspection import Check
from unlearnkit.unlearning.unlearn import Unlearned
from unlearnkit.widgets.boundary.approximation import ApproximationChoice
from unlearnkit.widgets.boundary.controls import HAND, BoundaryChoice
from unlearnkit.widgets.boundary.route_table import RouteTable
from unlearnkit.widgets.boundary.sentences import (
    ALL_EXACT,
    checked,
    checks_table,
    notes,
    outcome,
    outstanding,
    predicted_error,
    refusals,
)
from unlearnkit.widgets.instrument.data import Choices, circumstances, data_of, nothing
from unlearnkit.widgets.instrument.view import InstrumentView
from unlearnkit.widgets.parts.groups import counted, groups_in
from unlearnkit.widgets.parts.html import Html, fold, paragraphs
from unlearnkit.widgets.parts.panel import row
from unlearnkit.widgets.parts.runner import Runner, Work
from unlearnkit.widgets.parts.shared import SessionPanel

NOT_TRAINED = "The session is not trained yet: that is step 1."


class BoundaryPanel(SessionPanel):
    """Shows the workload of the request, the choice of a boundary, and the button that unlearns."""

    name = "boundary"
    title = "3. Decide and unlearn"
    explanation = (
        "By hand, drag the dashed line: shards above it are retrained, those below are modified."
    )
    meaning = (
        "A visit is one gradient computation for one example. A shard's bar is the cost of "
        "retraining it from the first stage that the request touches, as a share of training the "
        "whole ensemble from scratch. The cheapest shard comes first, and the thin line adds the "
        "costs up, so the dashed line meets it where exact retraining ends. The curves below show "
        "the predicted CPU time of the whole request and the debt that it leaves at every "
        "threshold, each from zero to its largest value. Exact means byte for byte the model that "
        "training from scratch without the examples gives. Approximate means that influence "
        "functions correct the parameters and the last epochs are replayed: this is cheaper and "
        "close, and leaves a debt that a later exact retraining clears. The adaptive boundary "
        "retrains everything if the request is light or if modifying is not much faster; it checks "
        "every correction before the replay and the outputs on the probe afterwards, and retrains "
        "the shards whose approximation it refuses. An approximation that may be no better than "
        "doing nothing is called doubtful, whichever boundary decides. Trying on a copy computes "
        "the approximations without changing the session. Errors are predicted from past "
        "repayments, each of which measures the error of the approximation that it replaces "
        "(split-conformal bound, Vovk, Gammerman and Shafer 2005); the error of an ensemble is at "
        "most the mean of its constituents' errors (KL is convex, Cover and Thomas 2006). A spot "
        "check modifies one shard, which is drawn before anything is modified, and then retrains "
        "it exactly too. The gap of doing nothing is the divergence of the model before the "
        "request from the retrained one; the check measures which share of it modifying removed. "
        "Boundaries, methods and amends of your own are offered once they are in uk.BOUNDARIES, "
        "uk.METHODS or uk.AMENDS. The idea is that of Li, Yu, Wang et al. (CSE 2024, arXiv "
        "2412.14505), of which only the abstract is public to us; formulas, rules and defaults are "
        "ours."
    )

    def __init__(self, session: Session, max_share: float | None = None) -> None:
        """Create the panel.

        Args:
            session: the session to show and drive.
            max_share: the initial threshold, from 0 to 1; the session's own boundary by default.
        """
        super().__init__(session)
        self._assessment: Assessment | None = None
        self._known = Circumstances()
        self._request: object = None
        self._shown: object = None  # what the instrument's data were made of
        self._checks: dict[int, Check] = {}
        self.decision: Decision | None = None
        first = session.boundary if max_share is None else FixedBoundary(max_share)
        decide = self.guard(lambda change: self.decide())
        self.instrument = InstrumentView()
        self.approximation = ApproximationChoice(self.guard(lambda change: self._reassess()))
        self.boundary_choice = BoundaryChoice(first, self.instrument, decide)
        self.instrument.observe(decide, names=["threshold", "unit", "whole"])
        self.instrument.observe(self.guard(self._overrode), names="chosen")
        self.instrument.observe(self.guard(self._asked), names="asked")
        self.notes = Html(live=True)
        self.table = RouteTable()
        self.table.observe(self.guard(self._overrode), names="chosen")
        self.result = Html(live=True)
        self.tried = Html(live=True)
        self.runner: Runner[Unlearned] = Runner(
            self,
            "Unlearn",
            self._prepare,
            self._finished,
            ended=self._ended,
            weights=self._weights,
        )
        self.runner.button.layout.display = "none"  # the instrument has the button
        self.trial: Runner[tuple[Decision, Boundary]] = Runner(
            self, "Try approximations on a copy", self._prepare_trial, self._was_tried
        )
        self.trial.button.button_style = ""
        self._methods = row(self.approximation.widget, self.trial.widget)
        self.body.children = [
            self.boundary_choice.widget,
            self.instrument,
            self.runner.widget,
            self.notes,
            self.result,
            self._methods,
            self.table,
            self.tried,
        ]
        self.update()

    @property
    def assessment(self) -> Assessment | None:
        """The assessed request; None before training."""
        return self._assessment

    def choose(self, boundary: FixedBoundary) -> None:
        """Set the threshold by hand, as by dragging the line."""
        self._override({})
        self.boundary_choice.mode.value = HAND
        self.instrument.threshold = float(boundary.max_share)

    @property
    def boundary(self) -> Boundary:
        """The boundary that the controls and overrides describe."""
        base, overrides = self.boundary_choice.boundary, self.table.overrides
        return OverriddenBoundary(base, overrides) if overrides else base

    @property
    def sentence(self) -> str:
        """What the instrument says of the decision, or why there is none."""
        return self.instrument.sentence

    @property
    def code(self) -> str:
        """The call that previews and the call that unlearns."""
        named = [f"{name}={value!r}" for name, value in self.approximation.names.items()]
        first = self.boundary_choice.arguments(self.table.overrides)
        argument = ", ".join([first, *named] if first else named)
        return (
            f"session.preview({argument})   # changes nothing\n"
            f"session.unlearn({argument})   # acts on the request"
        )

    def refresh(self) -> None:
        """Assess the request and decide on it."""
        session = self.session
        request = (session.plan, session.pending.tobytes())
        if request != self._request:
            self._request, self._checks, self.tried.html = request, {}, ""
            self._override({})
        self.boundary_choice.offer()
        self.approximation.offer(session.plan)
        self._assessment = None
        if session.trained:
            self._assessment = session.assess(**self.approximation.names)
            self._known = circumstances(session, self._assessment, self._checks)
        self.result.html = _result(session.last, session.dataset) if session.last else ""
        self.decide()

    def _reassess(self) -> None:
        """Assess the request under another method or amend, and discard earlier trials."""
        self._checks, self.tried.html = {}, ""
        self.refresh()

    def decide(self) -> None:
        """Apply the boundary to the assessed request and show the decision."""
        assessment = self._assessment
        hit = assessment is not None and bool(assessment.workload.shards)
        for widget, visible in (
            (self.boundary_choice.widget, hit),
            (self.approximation.widget, hit),
            (self._methods, hit or self.trial.running),
        ):
            widget.layout.display = None if visible else "none"
        if assessment is None or not hit:
            self.decision = self._shown = None
            self.table.clear()
            self.notes.html = ""
            if assessment is None:
                self.instrument.data = nothing(NOT_TRAINED)
            else:
                said = self._nothing(assessment)
                self.instrument.data = data_of(assessment, self._known, Choices(), said)
            return
        decided = self.boundary_choice.decided(self.table.overrides)
        choices = Choices(self.table.overrides, self.approximation.names, decided)
        shown = (assessment, self._known, choices)
        if self._shown != shown:
            self._shown = shown
            self.instrument.data = data_of(assessment, self._known, choices)
        decision = assessment.decide(self.boundary, self._known.spot_check)
        self.decision = decision
        self.notes.html = paragraphs(*self._notes(assessment, decision))
        self.table.show(decision, assessment.workload, assessment.costs, self._checks)

    def _notes(self, assessment: Assessment, decision: Decision) -> list[str]:
        """Return what is said below the decision."""
        session = self.session
        lines = notes(assessment.workload, decision, assessment.costs.pace)
        if groups_in(session.dataset) is not None:
            lines.insert(0, f"The request: {counted(session.dataset, session.pending)}.")
        if decision.approximate:
            error = error_bound(decision, self._known)
            lines += predicted_error(session.error_model, self._checks, error)
            lines.append(checked(session.spot_checks, decision.drawn))
        elif decision.exact:
            lines.append(ALL_EXACT)
        return lines

    def _nothing(self, assessment: Assessment) -> str:
        """Return what is said of a request that hits no shard."""
        if len(self.session.pending):
            first = (
                "No model was trained on these examples, so forgetting them costs nothing; "
                "session.unlearn() removes them from the data."
            )
        else:
            first = "The request is empty: choose the examples to forget in step 2."
        return " ".join(filter(None, [first, outstanding(assessment.workload)]))

    def _overrode(self, change: dict[str, Any]) -> None:
        """Follow an override in the instrument or in the table."""
        if self.table.chosen != self.instrument.chosen:
            self._override(change["new"])
            self.decide()

    def _override(self, chosen: dict[str, str]) -> None:
        self.table.chosen = self.instrument.chosen = chosen

    def _asked(self, change: dict[str, Any]) -> None:
        """Do what a button of the instrument asks for, and answer that it was heard."""
        asked = change["new"]
        try:
            if asked.get("action") == "unlearn":
                self.runner.start()
        finally:
            self.instrument.tell(answered=asked.get("number", 0), busy=self.runner.running)

    def _ended(self) -> None:
        self.instrument.tell(busy=False)
        self.changed()

    def _prepare(self) -> Work[Unlearned]:
        boundary, names = self.boundary, self.approximation.names
        if not len(self.session.pending):
            raise ValueError("the request is empty; choose the examples to forget in step 2")
        if self.trial.running:
            raise RuntimeError(
                "approximations are being tried on a copy; wait for this to end, or cancel it"
            )

        def work(on_progress: OnProgress, cancel: threading.Event) -> Unlearned:
            with quietly():  # the panel shows what is doubtful
                return self.session.unlearn(
                    boundary=boundary, **names, on_progress=on_progress, cancel=cancel
                )

        return work

    def _weights(self) -> dict[str, float]:
        """Return the predicted CPU seconds of the exact and the approximate part."""
        routes = self.decision.routes if self.decision else ()
        parts = {"train": EXACT, "modify": APPROXIMATE}
        return {
            phase: sum(route.seconds or 0.0 for route in routes if route.kind == kind)
            for phase, kind in parts.items()
        }

    def _finished(self, result: Unlearned) -> None:
        self.say(f"{counted(self.session.dataset, result.ids)} unlearned. Step 4 compares.")

    def _prepare_trial(self) -> Work[tuple[Decision, Boundary]]:
        fork, judge, names = self.session.fork(), self.boundary, self.approximation.names

        def work(on_progress: OnProgress, cancel: threading.Event) -> tuple[Decision, Boundary]:
            everything = FixedBoundary(0.0)
            with quietly():
                tried = fork.unlearn(
                    boundary=everything,
                    **names,
                    spot_check=False,
                    on_progress=on_progress,
                    cancel=cancel,
                )
            return tried.decision, judge

        return work

    def _was_tried(self, tried: tuple[Decision, Boundary]) -> None:
        decision, judge = tried
        self._checks = {check.shard: check for check in decision.checks}
        self._known = replace(self._known, checks=self._checks)
        said = "Tried on a copy: every shard that may be modified was; the session is unchanged."
        self.tried.html = paragraphs(said) + checks_table(decision, judge)
        self.decide()


def _result(result: Unlearned, dataset: Dataset) -> str:
    """Describe the last unlearning and the checks of its approximations."""
    table = checks_table(result.decision)
    more = fold("Checks of the approximations", table) if table else ""
    return (
        paragraphs(*outcome(result, counted(dataset, result.ids)), refusals(result.decision)) + more
    )
