"""The third step: see the workload, move the boundary through it, and unlearn."""

import threading
from dataclasses import dataclass
from itertools import accumulate

import ipywidgets

from unlearnkit import figures
from unlearnkit.boundary import APPROXIMATE, EXACT, UNITS, Costs, Decision, FixedBoundary
from unlearnkit.progress import OnProgress
from unlearnkit.session import Session
from unlearnkit.unlearning import Unlearned, assess
from unlearnkit.widgets.panel import row
from unlearnkit.widgets.plot import Plot
from unlearnkit.widgets.prose import Prose, paragraphs
from unlearnkit.widgets.runner import Runner, Work
from unlearnkit.widgets.shared import SessionPanel, plural
from unlearnkit.widgets.slider import PercentSlider
from unlearnkit.widgets.words import outcome, outstanding, reasons, sentences
from unlearnkit.workload import Workload


@dataclass(frozen=True)
class _Assessed:
    """A request as assessed once; the slider decides on it without asking the store again."""

    workload: Workload
    costs: Costs
    debts: dict[int, int]


class BoundaryPanel(SessionPanel):
    """The workload of the request, a threshold to move through it, and the button that acts."""

    name = "boundary"
    title = "3. Decide and unlearn"
    explanation = (
        "Move the threshold: the cheapest shards are retrained exactly while their sum stays below "
        "it, the others are modified approximately. Looking changes nothing; Unlearn acts."
    )
    meaning = (
        "A visit is one example's gradient computed once. A shard's bar is the cost of retraining "
        "it from the first stage that the request touches, as a share of training the whole "
        "ensemble from scratch. Exact means: byte for byte what training from scratch without the "
        "examples gives. Approximate means: the parameters are corrected by influence functions "
        "and the last epochs replayed; cheaper, close, and a debt that a later exact retraining "
        "clears. The idea is that of Li, Yu, Wang et al. (CSE 2024, arXiv 2412.14505), of which "
        "only the abstract is public to us; formulas, rule and defaults are ours."
    )

    def __init__(self, session: Session, max_share: float | None = None) -> None:
        """Show the panel.

        Args:
            session: to show and to drive.
            max_share: the threshold to begin with, from 0 to 1; the session's own by default.
        """
        super().__init__(session)
        if max_share is None:
            max_share = getattr(session.boundary, "max_share", 0.25)
        self._assessed: _Assessed | None = None
        self._curve: tuple[object, list[tuple[float, float, int]]] = (None, [])
        self.slider = PercentSlider(value=100 * max_share, description="threshold")
        self.unit = ipywidgets.Dropdown(options=list(UNITS), description="measured in")
        self.unit.layout.width = "190px"
        self.whole = ipywidgets.Checkbox(False, description="all shards alike", indent=False)
        self.whole.layout.width = "auto"
        self.whole.tooltip = "one decision for the whole request, as the paper's abstract has it"
        for control in (self.unit, self.whole):
            control.style.description_width = "initial"
        for control in (self.slider, self.unit, self.whole):
            control.observe(self.guard(lambda change: self.decide()), names="value")
        self.decision: Decision | None = None
        self.sentence = Prose(live=True)
        self.map, self.bars, self.curve = Plot(), Plot(), Plot()
        self.reasons = Prose()
        self.result = Prose(live=True)
        self.runner: Runner[Unlearned] = Runner(
            self,
            "Unlearn",
            self._prepare,
            self._finished,
            ended=self.changed,
            weights=self._weights,
        )
        self._controls = row(self.slider, self.unit, self.whole)
        self._plots = row(self.map.widget, self.bars.widget, self.curve.widget)
        self.body.children = [
            self._controls,
            self.sentence,
            self._plots,
            self.runner.widget,
            self.result,
            self.reasons,
        ]
        self.update()

    @property
    def boundary(self) -> FixedBoundary:
        """The boundary that the controls stand for."""
        share = round(self.slider.value / 100, 4)
        return FixedBoundary(share, whole=self.whole.value, unit=self.unit.value)

    @property
    def code(self) -> str:
        """The calls that look and that act."""
        boundary = self.boundary
        argument = f"{boundary.max_share:g}"
        if boundary.whole or boundary.unit != UNITS[0]:
            extra = ", whole=True" if boundary.whole else ""
            extra += f", unit={boundary.unit!r}" if boundary.unit != UNITS[0] else ""
            argument = f"boundary=uk.FixedBoundary({argument}{extra})"
        return f"session.preview({argument})   # looks\nsession.unlearn({argument})   # acts"

    def refresh(self) -> None:
        """Assess the request anew, and decide."""
        session = self.session
        if session.trained:
            _, workload, costs = assess(session.plan, session.store, session.pending, session.clock)
            debts = {shard: len(debt) for shard, debt in session.debt.items()}
            self._assessed = _Assessed(workload, costs, debts)
        else:
            self._assessed = None
        self.result.html = paragraphs(*outcome(session.last)) if session.last else ""
        self.decide()

    def decide(self) -> None:
        """Apply the threshold to the request as assessed, and show what it means."""
        assessed = self._assessed
        hit = assessed is not None and bool(assessed.workload.shards)
        for widget, shown in (
            *((self._controls, hit), (self._plots, assessed is not None), (self.bars.widget, hit)),
            *((self.reasons, hit), (self.runner.widget, hit or self.runner.running)),
        ):
            widget.layout.display = None if shown else "none"
        points: list[tuple[float, float, int]] = []
        if assessed is None:
            self.decision = None
            self.sentence.html = paragraphs("The session is not trained yet: that is step 1.")
        elif not hit:
            self.decision = None
            self.sentence.html = paragraphs(*self._nothing(assessed))
            self.map.show(figures.workload_map.spec(assessed.workload))
        else:
            boundary = self.boundary
            decision = boundary.decide(assessed.workload, assessed.costs, assessed.debts)
            self.decision = decision
            self.map.show(figures.workload_map.spec(assessed.workload, decision))
            share = boundary.max_share
            self.bars.show(figures.boundary_bars.spec(assessed.workload, decision, share))
            words = sentences(assessed.workload, decision, assessed.costs, share)
            self.sentence.html = paragraphs(*words)
            self.reasons.html = reasons(decision, assessed.workload)
            points = self._points(assessed, boundary)
        if len(points) > 2:
            self.curve.show(figures.cost_curve.spec(points, self.boundary.max_share))
        else:
            self.curve.hide()

    def _points(
        self, assessed: _Assessed, boundary: FixedBoundary
    ) -> list[tuple[float, float, int]]:
        """The curve of the request, which does not depend on where the threshold is."""
        key = (id(assessed), boundary.whole, boundary.unit)
        if self._curve[0] != key:
            self._curve = (key, _curve(assessed, boundary))
        return self._curve[1]

    def _nothing(self, assessed: _Assessed) -> list[str]:
        """What to say where no shard is hit."""
        if len(self.session.pending):
            first = (
                "No model was trained on these examples, so forgetting them costs nothing; "
                "session.unlearn() takes them off the data."
            )
        else:
            first = "The request is empty: choose what is to be forgotten in step 2."
        return [first, outstanding(assessed.workload)]

    def _prepare(self) -> Work[Unlearned]:
        boundary = self.boundary
        if not len(self.session.pending):
            raise ValueError("the request is empty; choose what is to be forgotten in step 2")

        def work(on_progress: OnProgress, cancel: threading.Event) -> Unlearned:
            return self.session.unlearn(boundary=boundary, on_progress=on_progress, cancel=cancel)

        return work

    def _weights(self) -> dict[str, float]:
        """Predicted seconds of the exact and of the approximate part."""
        routes = self.decision.routes if self.decision else ()
        parts = {"train": EXACT, "modify": APPROXIMATE}
        return {
            phase: sum(route.seconds or 0.0 for route in routes if route.kind == kind)
            for phase, kind in parts.items()
        }

    def _finished(self, result: Unlearned) -> None:
        self.say(f"{plural(len(result.ids), 'example')} unlearned. Step 4 compares.")


def _curve(assessed: _Assessed, boundary: FixedBoundary) -> list[tuple[float, float, int]]:
    """Predicted seconds at every threshold where the decision changes; none before any timing."""

    def at(share: float) -> Decision:
        moved = FixedBoundary(share, whole=boundary.whole, unit=boundary.unit)
        return moved.decide(assessed.workload, assessed.costs, assessed.debts)

    everything = at(1.0)
    sums = list(accumulate(route.share for route in everything.routes))
    points = []
    for share in sorted({0.0, *(min(1.0, round(s, 12)) for s in sums), 1.0}):
        decision = at(share)
        if decision.seconds is None:
            return []
        points.append((share, decision.seconds, len(decision.exact)))
    return points
