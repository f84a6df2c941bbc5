"""The third step: see the workload, set the boundary, and unlearn."""

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import ipywidgets

from unlearnkit import figures
from unlearnkit.data.examples import Dataset
from unlearnkit.figures import CurvePoint
from unlearnkit.figures.drawing import percent
from unlearnkit.progress import OnProgress
from unlearnkit.session import Session
from unlearnkit.unlearning.assessment import Assessment
from unlearnkit.unlearning.boundary.chosen import OverriddenBoundary
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import APPROXIMATE, EXACT, Boundary, Decision
from unlearnkit.unlearning.boundary.spot_check import check_once
from unlearnkit.unlearning.boundary.verdict import quietly
from unlearnkit.unlearning.inspection import Check
from unlearnkit.unlearning.unlearn import Unlearned
from unlearnkit.widgets.boundary.approximation import ApproximationChoice
from unlearnkit.widgets.boundary.controls import HAND, BoundaryChoice
from unlearnkit.widgets.boundary.curve import curve, point, stages
from unlearnkit.widgets.boundary.route_table import RouteTable
from unlearnkit.widgets.boundary.sentences import (
    ALL_EXACT,
    checked,
    checks_table,
    outcome,
    outstanding,
    predicted_error,
    refusals,
    sentences,
)
from unlearnkit.widgets.parts.groups import counted, groups_in
from unlearnkit.widgets.parts.html import Html, fold, paragraphs
from unlearnkit.widgets.parts.panel import row
from unlearnkit.widgets.parts.plot import Plot
from unlearnkit.widgets.parts.runner import Runner, Work
from unlearnkit.widgets.parts.shared import SessionPanel, plural

if TYPE_CHECKING:
    import pandas as pd


class BoundaryPanel(SessionPanel):
    """Shows the workload of the request, the choice of a boundary, and the button that unlearns."""

    name = "boundary"
    title = "3. Decide and unlearn"
    explanation = (
        "By hand: move the threshold. The cheapest shards are retrained exactly while the sum of "
        "their costs stays below it; the others are modified approximately. Adaptive: the boundary "
        "weighs predicted CPU time and risks itself. Your own boundaries, methods and amends are "
        "offered once they are in uk.BOUNDARIES, uk.METHODS or uk.AMENDS. The table lets you "
        "override the route of every shard. Preview freely; nothing changes until you press "
        "Unlearn."
    )
    meaning = (
        "A visit is one gradient computation for one example. A shard's bar is the cost of "
        "retraining it from the first stage that the request touches, as a share of training the "
        "whole ensemble from scratch. Exact means byte for byte the model that training from "
        "scratch without the examples gives. Approximate means that influence functions correct "
        "the parameters and the last epochs are replayed: this is cheaper and close, and leaves a "
        "debt that a later exact retraining clears. The adaptive boundary retrains everything if "
        "the request is light or if modifying is not much faster; it checks every correction "
        "before the replay and the outputs on the probe afterwards, and retrains the shards whose "
        "approximation it refuses. An approximation that may be no better than doing nothing is "
        "called doubtful, whichever boundary decides. Trying on a copy computes the approximations "
        "without changing the session. Errors are predicted from past repayments, each of which "
        "measures the error of the approximation that it replaces (split-conformal bound, Vovk, "
        "Gammerman and Shafer 2005); the error of an ensemble is at most the mean of its "
        "constituents' errors (KL is convex, Cover and Thomas 2006). A spot check modifies one "
        "shard, which is drawn before anything is modified, and then retrains it exactly too. The "
        "gap of doing nothing is the divergence of the model before the request from the retrained "
        "one; the check measures which share of it modifying removed. The idea is that of Li, Yu, "
        "Wang et al. (CSE 2024, arXiv 2412.14505), of which only the abstract is public to us; "
        "formulas, rules and defaults are ours."
    )

    def __init__(self, session: Session, max_share: float | None = None) -> None:
        """Create the panel.

        Args:
            session: the session to show and drive.
            max_share: the initial threshold, from 0 to 1; the session's own boundary by default.
        """
        super().__init__(session)
        self._assessment: Assessment | None = None
        self._voters = 0  # constituents whose mean is the ensemble's output; 0 if it is not a mean
        self._request: object = None
        # Parts of the drawing that do not change with every move of the slider.
        self._curve: tuple[object, list[CurvePoint]] = (None, [])
        self._coloured: object = None
        self._checks: dict[int, Check] = {}
        self.decision: Decision | None = None
        first = session.boundary if max_share is None else FixedBoundary(max_share)
        decide = self.guard(lambda change: self.decide())
        self.approximation = ApproximationChoice(self.guard(lambda change: self._reassess()))
        choice = self.boundary_choice = BoundaryChoice(first, decide)
        self.slider, self.unit, self.whole = choice.slider, choice.unit, choice.whole
        self.sentence = Html(live=True)
        self.map = Plot(name="stages", frame=lambda: stages(self._now().workload))
        self.bars = Plot(name="shards", frame=self._routes)
        self.curve = Plot(name="cost-curve", frame=self._points_frame)
        self.table = RouteTable()
        self.table.observe(decide, names="chosen")
        self.reset = ipywidgets.Button(
            description="Clear overrides", tooltip="Let the boundary decide on every shard"
        )
        self.reset.layout.width = "auto"
        self.reset.on_click(self.guard(lambda button: self.table.set_trait("chosen", {})))
        self.result = Html(live=True)
        self.tried = Html(live=True)
        self.runner: Runner[Unlearned] = Runner(
            self,
            "Unlearn",
            self._prepare,
            self._finished,
            ended=self.changed,
            weights=self._weights,
        )
        self.trial: Runner[tuple[Decision, Boundary]] = Runner(
            self, "Try approximations on a copy", self._prepare_trial, self._was_tried
        )
        self.trial.button.button_style = ""
        self._plots = row(self.map.widget, self.bars.widget, self.curve.widget)
        self._buttons = row(self.runner.widget, self.trial.widget, self.reset)
        self.body.children = [
            self.boundary_choice.widget,
            self.approximation.widget,
            self.sentence,
            self._plots,
            self._buttons,
            self.result,
            self.table,
            self.tried,
        ]
        self.update()

    @property
    def assessment(self) -> Assessment | None:
        """The assessed request; None before training."""
        return self._assessment

    def choose(self, boundary: FixedBoundary) -> None:
        """Set the threshold by hand, as by moving the slider."""
        self.table.chosen = {}
        self.boundary_choice.mode.value = HAND
        self.slider.value = 100 * boundary.max_share

    @property
    def boundary(self) -> Boundary:
        """The boundary that the controls and overrides describe."""
        base, overrides = self.boundary_choice.boundary, self.table.overrides
        return OverriddenBoundary(base, overrides) if overrides else base

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
            self.table.chosen = {}
        self.boundary_choice.offer()
        self.approximation.offer(session.plan)
        if session.trained:
            self._assessment = session.assess(**self.approximation.names)
            plan = self._assessment.plan
            mean = session.aggregation == "mean-probability"
            alive = [shard for shard in range(plan.num_shards) if plan.alive(shard)]
            self._voters = len(alive) if mean else 0
        else:
            self._assessment = None
        self.result.html = _result(session.last, session.dataset) if session.last else ""
        self.decide()

    def _reassess(self) -> None:
        """Assess the request under another method or amend, and discard earlier trials."""
        self._checks, self._curve, self.tried.html = {}, (None, []), ""
        self.refresh()

    def decide(self) -> None:
        """Apply the boundary to the assessed request and show the decision."""
        assessment = self._assessment
        hit = assessment is not None and bool(assessment.workload.shards)
        busy = self.runner.running or self.trial.running
        for widget, shown in (
            *((self.boundary_choice.widget, hit), (self.approximation.widget, hit)),
            (self._plots, assessment is not None),
            *((self.bars.widget, hit), (self._buttons, hit or busy)),
            (self.trial.widget, hit or self.trial.running),
        ):
            widget.layout.display = None if shown else "none"
        self.reset.layout.display = None if hit and self.table.chosen else "none"
        if assessment is None or not hit:
            self.decision = self._coloured = None
            self.table.clear()
            self.curve.hide()
            self.sentence.steady = False
            if assessment is None:
                self.sentence.html = paragraphs("The session is not trained yet: that is step 1.")
            else:
                self.sentence.html = paragraphs(*self._nothing(assessment))
                self.map.show(figures.workload_map.spec(assessment.workload))
            return
        boundary = self.boundary
        decision = assessment.decide(boundary, check_once(None, self.session.spot_checks))
        self.decision = decision
        base = self.boundary_choice.by_hand
        share = None if base is None else base.max_share
        self.bars.show(figures.boundary_bars.spec(assessment.workload, decision, share))
        at = self.boundary_choice.phrase if share is None else f"At a threshold of {percent(share)}"
        if self.table.chosen:
            at += f" and with {plural(len(self.table.chosen), 'shard')} overridden"
        reached = assessment.workload.share_of(decision.exact_visits) if share is None else share
        now = point(assessment, self._voters, reached, decision, self._checks)
        error = None if now is None else now.error
        lines = sentences(assessment.workload, decision, assessment.costs, at)
        data = self.session.dataset
        if groups_in(data) is not None:
            lines.insert(0, f"The request: {counted(data, self.session.pending)}.")
        if decision.approximate:
            lines += predicted_error(self.session.error_model, self._checks, error)
            lines.append(checked(self.session.spot_checks, decision.drawn))
        elif decision.exact:
            lines.append(ALL_EXACT)
        self.sentence.steady = True
        self.sentence.html = paragraphs(*lines)
        points = self._points(assessment)
        if now is not None and len(points) > 2:
            self.curve.show(figures.cost_curve.spec(points, now))
        else:
            self.curve.hide()
        colours = (assessment, decision.exact, decision.approximate)
        if self._coloured != colours:
            self._coloured = colours
            self.map.show(figures.workload_map.spec(assessment.workload, decision))
        self.table.show(decision, assessment.workload, assessment.costs, self._checks)

    def _points(self, assessment: Assessment) -> list[CurvePoint]:
        """Return the cost curve of the request, which does not depend on the threshold."""
        base = replace(self.boundary_choice.by_hand or FixedBoundary(), max_share=0.0)
        key = (assessment, base.whole, base.unit, self.table.overrides)
        if self._curve[0] != key:
            self._curve = (
                key,
                curve(assessment, self._voters, base, self.table.overrides, self._checks),
            )
        return self._curve[1]

    def _now(self) -> Assessment:
        if self._assessment is None:
            raise RuntimeError("there is no request; choose examples to forget in step 2")
        return self._assessment

    def _routes(self) -> "pd.DataFrame":
        if self.decision is None:
            raise RuntimeError("there is no request; choose examples to forget in step 2")
        return self.decision.to_frame()

    def _points_frame(self) -> "pd.DataFrame":
        import pandas as pd

        return pd.DataFrame([vars(point) for point in self._points(self._now())])

    def _nothing(self, assessment: Assessment) -> list[str]:
        """Return the sentences for a request that hits no shard."""
        if len(self.session.pending):
            first = (
                "No model was trained on these examples, so forgetting them costs nothing; "
                "session.unlearn() removes them from the data."
            )
        else:
            first = "The request is empty: choose the examples to forget in step 2."
        return [first, outstanding(assessment.workload)]

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
        self._checks, self._curve = {check.shard: check for check in decision.checks}, (None, [])
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
