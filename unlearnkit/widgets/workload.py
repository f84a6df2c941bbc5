"""The workload of a request, stage by stage, before any decision."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import ipywidgets
import numpy as np

from unlearnkit import figures
from unlearnkit.figures.drawing import duration, percent
from unlearnkit.figures.workload import UNITS, format_amount
from unlearnkit.session import Session
from unlearnkit.unlearning.expected_workload import (
    debt_places,
    expected_curve,
    expected_group_curve,
    expected_like,
    stage_frame,
    visits_without_debt,
    whole_groups,
)
from unlearnkit.unlearning.workload import Workload
from unlearnkit.widgets.parts.elements.choice import Choice
from unlearnkit.widgets.parts.groups import groups_in
from unlearnkit.widgets.parts.html import Html, fold, paragraphs, table
from unlearnkit.widgets.parts.panel import row
from unlearnkit.widgets.parts.plot import Plot
from unlearnkit.widgets.parts.section import Section
from unlearnkit.widgets.parts.shared import SessionPanel, plural

if TYPE_CHECKING:
    import pandas as pd


class Stages(Section):
    """The map, the curve and the table of the workload, computed when the section is opened."""

    title = "Stage by stage"
    explanation = (
        "Which stages the request makes stale, what each costs, and how a random request compares."
    )
    meaning = (
        "A visit is one gradient computation for one example. The share is relative to training "
        "everything from scratch on the remaining examples. Seconds are CPU time: visits and steps "
        "multiplied by rates measured in this session. Other work on the machine lengthens the "
        "wall time but not the CPU time. Stage r trains on slices 1 to r of its shard, so later "
        "stages are more expensive, and an example in slice 1 makes all stages of its shard "
        "stale. The curve is the expected workload of k examples drawn at random, E[W] = the sum "
        "over all shards and stages r of e_r m_r ((1 - k/N) - q_r), with e_r epochs on the m_r "
        "examples of slices 1 to r of the shard, and q_r = C(N - m_r, k)/C(N, k), the probability "
        "that none of these is drawn; the formula is ours, for the sharded and sliced training of "
        "Bourtoule et al. 2021. Debt consists of examples that were removed only approximately: "
        "exact retraining has to begin at the first of them, so a shard with debt costs more than "
        "the request alone."
    )

    def __init__(self, panel: "WorkloadPanel") -> None:
        super().__init__(panel)
        self._session = panel.session
        self.workload: Workload | None = None
        self._debt: dict[int, np.ndarray] = {}

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the controls, the summary, two plots and the table."""
        guard = self.panel.guard
        self.unit = Choice(
            [("CPU seconds" if unit == "seconds" else unit, unit) for unit in UNITS],
            description="measured in",
        )
        self.debt = ipywidgets.Checkbox(True, description="mark the debt", indent=False)
        self.debt.layout.width = "auto"
        self.debt.tooltip = "Mark the slices of examples that were removed only approximately"
        for control in (self.unit, self.debt):
            control.observe(guard(lambda change: self._show()), names="value")
        self.summary, self.shards = Html(live=True), Html()
        self.map = Plot(name="stages", frame=lambda: stage_frame(self._assessment()))
        self.curve = Plot(
            name="expected-workload",
            frame=lambda: expected_curve(self._session.plan, self._assessment()),
        )
        return [
            row(self.unit, self.debt),
            self.summary,
            row(self.map.widget, self.curve.widget),
            self.shards,
        ]

    @property
    def code(self) -> str:
        """The calls that draw the figures."""
        return (
            "from unlearnkit import figures\n"
            "from unlearnkit.unlearning import expected_workload\n"
            "workload = session.workload()\n"
            f"figures.stage_map(workload, {self.unit.value!r})\n"
            "curve = expected_workload.expected_curve(session.plan, workload)\n"
            f"figures.expected_curve(curve, {self.unit.value!r})"
        )

    def draw(self) -> None:
        """Compute the workload and show it."""
        session = self._session
        self.workload = None
        if session.busy or not session.trained:
            self.summary.html = paragraphs(
                "The session is busy; the workload is shown when it is done."
                if session.busy
                else "The session is not trained yet: that is step 1."
            )
            self.map.hide()
            self.curve.hide()
            self.shards.html = ""
            return
        self._debt = session.debt
        self.workload = session.workload()
        self._show()

    def clear(self) -> None:
        """Discard the workload and its plots."""
        self.workload = None
        self.map.clear()
        self.curve.clear()

    def _assessment(self) -> Workload:
        if self.workload is None:
            raise RuntimeError("there is no workload yet; train the session first")
        return self.workload

    def _show(self) -> None:
        """Show the workload in the chosen unit."""
        session, workload = self._session, self.workload
        if workload is None:
            return
        plan, unit, debt = session.plan, self.unit.value, self._debt
        self.debt.layout.display = None if debt else "none"
        owed = debt_places(plan, debt) if debt and self.debt.value else None
        self.map.show(figures.stage_map.spec(workload, unit, owed))
        ids = session.pending[np.isin(session.pending, plan.partition.ids)]
        visits = visits_without_debt(plan, workload, ids)
        actual = without = None
        if len(ids):
            actual = (len(ids), _in(workload, unit, workload.visits, workload.seconds))
            if visits < workload.visits:
                without = _in(workload, unit, visits, None)
        curve = expected_curve(plan, workload)
        self.curve.show(
            figures.expected_curve.spec(curve, unit, actual, without, self._by_group(workload))
        )
        self.summary.html = paragraphs(*self._sentences(workload, ids, visits))
        self.shards.html = self._table(workload, ids) if workload.shards else ""
        if self._code_line is not None:
            self._code_line.code = self.code

    def _by_group(self, workload: Workload) -> "tuple[str, pd.DataFrame] | None":
        groups = groups_in(self._session.dataset)
        if groups is None:
            return None
        return groups.noun, expected_group_curve(self._session.group_costs(), workload)

    def _table(self, workload: Workload, ids: np.ndarray) -> str:
        groups, partition = groups_in(self._session.dataset), self._session.plan.partition
        if groups is None:
            return _table(workload, "", {})
        shards = partition.shard[partition.rows(ids)]
        held = {s: len(np.unique(groups.of(ids[shards == s]))) for s in np.unique(shards).tolist()}
        return _table(workload, groups.noun, held)

    def _sentences(self, workload: Workload, ids: np.ndarray, visits: int) -> list[str]:
        plan = self._session.plan
        owing = (
            f"Outstanding elsewhere: {workload.outstanding_visits:,} visits would clear the debt "
            "of shards that this request does not hit."
            if workload.outstanding
            else ""
        )
        held = groups_in(self._session.dataset)
        usually = [] if held is None else held.usual_cost(self._session)
        if not len(ids):
            empty = "The request is empty: choose the examples to forget in step 2."
            return [empty, *usually, owing]
        timed = "" if workload.seconds is None else _timed(workload.seconds, workload.pace)
        usual = 0.0
        if len(ids) < plan.retained.sum():
            usual = expected_like(plan, ids)
        beside = workload.visits / usual - 1 if usual else 0.0
        compared = "as many as"
        if abs(beside) >= 0.005:
            compared = f"{percent(abs(beside), 0)} {'more' if beside > 0 else 'fewer'} than"
        groups = whole_groups(plan, ids)
        asked = plural(len(ids), "example")
        if groups is not None and held is not None:
            asked = held.count(groups)
        whose = ""
        if held is not None:
            counted = held.count(len(np.unique(held.of(ids))))
            whose = f" ({plural(len(ids), 'training example')} of {counted})"
        lines = [
            f"Exact retraining for this request{whose}: {workload.visits:,} visits, "
            f"{percent(workload.share)} of training from scratch{timed}; "
            f"{len(workload.shards)} of {plural(plan.num_shards, 'shard')} hit.",
            f"{asked} drawn at random would take {usual:,.0f} visits on "
            f"average; this request takes {compared} that."
            if usual
            else "The request holds all examples that remain: nothing is left to be trained on.",
        ]
        if visits < workload.visits:
            lines.append(
                f"{workload.visits - visits:,} of these visits are due to debt from earlier "
                "requests."
            )
        return [*lines, *usually, owing]


class WorkloadPanel(SessionPanel):
    """Shows which stages exact retraining would redo and which it would keep.

    Args:
        session: the session to show.
    """

    name = "workload"
    title = "Workload"
    explanation = (
        "Which stages exact retraining would redo for this request, and which it would keep. "
        "Nothing changes here."
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.stages = Stages(self)
        self.body.children = [self.stages.widget]
        self.stages.open = True

    @property
    def code(self) -> str:
        """The call that estimates the workload."""
        return "session.workload()"

    def refresh(self) -> None:
        """Update the section, now or when it is opened."""
        self.stages.renew()


def _timed(seconds: float, pace: float) -> str:
    wall = f"{duration(seconds * pace)} of wall time at this machine's present pace"
    return f", about {duration(seconds)} of CPU time ({wall})"


def _in(workload: Workload, unit: str, visits: int, seconds: float | None) -> float:
    if unit == "visits":
        return visits
    if unit == "share":
        return workload.share_of(visits)
    if seconds is not None:
        return seconds
    if workload.seconds is None or not workload.visits:
        return float("nan")
    return workload.seconds * visits / workload.visits


def _table(workload: Workload, noun: str, held: dict[int, int]) -> str:
    """Return the hit shards, with the number of groups of each if groups have a noun."""
    headers = ["shard", "to forget", *[f"{noun}s"] * bool(noun), "owed before", "from slice"]
    headers += ["visits", "share", "CPU time"]
    rows = [
        [
            str(record["shard"]),
            str(record["forget"]),
            *[str(held.get(record["shard"], 0))] * bool(noun),
            str(record["debt"]),
            str(record["first_stage"]),
            f"{record['visits']:,}",
            percent(record["share"]),
            "-" if record["seconds"] is None else format_amount(record["seconds"], "seconds"),
        ]
        for record in workload.to_frame().to_dict("records")
    ]
    return fold(
        "Shard by shard", table(headers, rows, caption="Shards that are hit, cheapest first")
    )
