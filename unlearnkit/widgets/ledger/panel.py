"""The fifth step: completed requests, the remaining debt, certificate and audit."""

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import ipywidgets
import numpy as np

from unlearnkit import figures
from unlearnkit.display import csv_text
from unlearnkit.figures.drawing import duration, percent
from unlearnkit.progress import OnProgress
from unlearnkit.session import Session
from unlearnkit.unlearning.deadlines import Queue
from unlearnkit.unlearning.debt import debt_sizes
from unlearnkit.unlearning.unlearn import Unlearned
from unlearnkit.widgets.boundary.controls import number_of
from unlearnkit.widgets.ledger.sections import (
    AuditSection,
    CertificateSection,
    DecisionSection,
    describe_entry,
)
from unlearnkit.widgets.parts.files import Files
from unlearnkit.widgets.parts.groups import Groups, groups_in, noun_in
from unlearnkit.widgets.parts.html import Html, paragraphs, table
from unlearnkit.widgets.parts.plot import Plot
from unlearnkit.widgets.parts.runner import Runner, Work
from unlearnkit.widgets.parts.shared import SessionPanel, plural

if TYPE_CHECKING:
    import pandas as pd


class LedgerPanel(SessionPanel):
    """Shows every completed request and the debt of each shard, with a button that repays it."""

    name = "ledger"
    title = "5. Ledger and debt"
    explanation = (
        "Completed requests with predicted and measured costs, the remaining debt, the "
        "certificate, and an audit."
    )
    meaning = (
        "Examples that were removed only approximately form the debt of their shard: their "
        "influence is corrected but not provably gone. Retraining the shard from its last clean "
        "checkpoint clears the debt; the model is then byte for byte the one that training from "
        "scratch gives. Debt makes later requests more expensive, so it pays to repay it while "
        "the machine is idle. With a time limit, the shards that clear the most ids per visit are "
        "repaid first. Requests with a deadline wait for each other, because a shard that several "
        "of them hit is then retrained only once. (Debt, the order of repayment and the queue are "
        "ours; checkpoints per slice are due to Bourtoule et al. 2021.)"
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.requests = Html()
        self.saved = Files("Save the ledger as", {"ledger.csv": self._csv})
        self.costs = Plot(name="ledger", frame=session.ledger)
        self.waiting = Html(live=True)
        self.debts = Html(live=True)
        self.which = ipywidgets.Dropdown(options=[("all shards", -1)], description="repay")
        self.which.style.description_width = "initial"
        self.which.layout.width = "200px"
        self.seconds = ipywidgets.Text(
            description="time limit (seconds)",
            placeholder="no limit",
            tooltip="Repay the shards whose retraining is predicted to fit into this many seconds",
            continuous_update=False,
        )
        self.seconds.style.description_width = "initial"
        self.seconds.layout.width = "230px"
        for field in (self.which, self.seconds):
            field.observe(self.guard(lambda change: None), names="value")
        self.runner: Runner[Unlearned] = Runner(
            self, "Repay", self._prepare, self._finished, ended=self.changed
        )
        self.runner.widget.children = (self.which, self.seconds, *self.runner.widget.children)
        self.sections = [kind(self) for kind in (DecisionSection, CertificateSection, AuditSection)]
        self.body.children = [
            *(self.requests, self.saved, self.costs.widget),
            *(self.waiting, self.debts, self.runner.widget),
            *(section.widget for section in self.sections),
        ]
        self.update()

    @property
    def code(self) -> str:
        """The calls that list requests and repay debt."""
        if not self.which.options or len(self.which.options) == 1:
            return "session.ledger()"
        chosen = [] if self.which.value == -1 else [f"[{self.which.value}]"]
        seconds = number_of(self.seconds)
        chosen += [] if seconds is None else [f"seconds={seconds:g}"]
        return f"session.ledger()\nsession.repay({', '.join(chosen)})"

    def refresh(self) -> None:
        """List the requests and the debt."""
        ledger = self.session.ledger()
        self.requests.html = _requests(ledger, noun_in(self.session.dataset))
        if len(ledger):
            self.costs.show(figures.ledger_costs.spec(ledger))
        self.saved.layout.display = None if len(ledger) else "none"
        self.waiting.html = _waiting(self.session.queue, groups_in(self.session.dataset))
        debts = self.session.debt if self.session.trained else {}
        self.debts.html = self._debts(debts)
        options = [("all shards", -1), *((f"shard {shard}", shard) for shard in sorted(debts))]
        if list(self.which.options) != options:
            self.which.options = options
        self.which.layout.display = self.seconds.layout.display = None if debts else "none"
        # Without debt, the bar stays visible to show how the last repayment ended.
        shown = debts or self.runner.label.value
        self.runner.widget.layout.display = None if shown else "none"
        self.runner.button.disabled = not debts or self.runner.running
        for section in self.sections:
            section.renew()

    def _debts(self, owed: dict[int, np.ndarray]) -> str:
        debts, groups = debt_sizes(owed), groups_in(self.session.dataset)
        if not debts:
            return paragraphs(
                "No debt: every constituent is exact." if self.session.trained else ""
            )
        plan, store = self.session.plan, self.session.store
        sizes = plan.partition.sizes(plan.retained).sum(1)
        rows = []
        for shard, debt in sorted(debts.items()):
            missing = plan.missing(store, [shard])
            visits = sum(stage.visits for stage in missing)
            rows.append(
                [
                    str(shard),
                    str(debt),
                    *([] if groups is None else [str(len(np.unique(groups.of(owed[shard]))))]),
                    percent(debt / (debt + int(sizes[shard]))),
                    str(missing[0].index) if missing else "-",
                    f"{visits:,}",
                    percent(visits / plan.total_visits),
                ]
            )
        owners = [] if groups is None else [f"of {groups.noun}s"]
        headers = ["shard", "examples owed", *owners, "share of shard"]
        headers += ["retrain from slice", "visits", "share of training"]
        caption = (
            "Debt: examples removed only approximately, and the retraining that would clear it"
        )
        return table(headers, rows, caption=caption)

    def _prepare(self) -> Work[Unlearned]:
        shards = None if self.which.value == -1 else [int(self.which.value)]
        seconds = number_of(self.seconds)

        def work(on_progress: OnProgress, cancel: threading.Event) -> Unlearned:
            return self.session.repay(
                shards, seconds=seconds, on_progress=on_progress, cancel=cancel
            )

        return work

    def _csv(self) -> str:
        return csv_text(self.session.ledger())

    def _finished(self, result: Unlearned) -> None:
        count = len(result.decision.exact)
        if not count:
            self.say(
                "Nothing was repaid: retraining any of these shards is predicted to take longer."
            )
            return
        predicted = result.predicted_seconds
        time = ""
        if result.cpu_seconds is not None:
            expected = "" if predicted is None else f"predicted {duration(predicted)}, "
            time = f"CPU time: {expected}measured {duration(result.cpu_seconds)}; "
        self.say(
            f"{plural(count, 'shard')} retrained exactly, {result.visits:,} visits; {time}"
            f"wall time: {duration(result.seconds)}. Debt: {result.debt_before} before, "
            f"{result.debt_after} after."
        )


def _waiting(queue: Queue, groups: Groups | None) -> str:
    """Return a table of pending examples with a deadline, the most urgent first."""
    if not len(queue):
        return ""
    now, ids = datetime.now(UTC), dict[datetime, list[int]]()
    for i, when in queue.deadlines.items():
        ids.setdefault(when, []).append(i)
    owners = [] if groups is None else [f"{groups.noun}s"]
    rows = [
        [
            f"{when:%Y-%m-%d %H:%M}",
            f"{len(found):,}",
            *([] if groups is None else [f"{len(np.unique(groups.of(found))):,}"]),
            "due" if when <= now else _until(when - now),
        ]
        for when, found in sorted(ids.items())
    ]
    caption = "Waiting for their deadline; step 3 forgets all of them together"
    headers = ["deadline (UTC)", "examples", *owners, "left"]
    return table(headers, rows, caption=caption, text=(0, len(headers) - 1))


def _until(left: timedelta) -> str:
    days, hours = left.days, left.seconds // 3600
    return f"{days} d {hours} h" if days else f"{hours} h {left.seconds // 60 % 60} min"


def _requests(ledger: "pd.DataFrame", noun: str) -> str:
    entries = ledger.to_dict("records")
    if not entries:
        return paragraphs("No request has been completed yet.")
    rows = [
        [
            str(entry["time"]).replace("T", " ").replace("-", "\N{NON-BREAKING HYPHEN}")[:16],
            describe_entry(entry, noun),
            f"{entry['exact_shards']}\N{NO-BREAK SPACE}exact, "
            f"{entry['approximate_shards']}\N{NO-BREAK SPACE}approx.",
            f"{entry['predicted_visits']:,} / {entry['visits']:,}",
            _seconds(entry["predicted_seconds"]) + " / " + _seconds(entry["cpu_seconds"]),
            _seconds(entry["seconds"]),
            f"{entry['debt_before']}\N{NO-BREAK SPACE}\N{RIGHTWARDS ARROW}\N{NO-BREAK SPACE}"
            f"{entry['debt_after']}",
        ]
        for entry in entries
    ]
    headers = [
        *("when (UTC)", "request", "shards"),
        *("exact visits, predicted / done", "CPU time, predicted / measured", "wall time", "debt"),
    ]
    return table(headers, rows, caption="Completed requests, oldest first", text=(0, 1, 2))


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None or np.isnan(seconds) else duration(seconds)
