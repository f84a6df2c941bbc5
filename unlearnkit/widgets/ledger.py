"""The fifth step: what was done, predicted and measured, and what is still owed."""

import threading

import ipywidgets
import numpy as np

from unlearnkit.figures.drawing import duration, percent
from unlearnkit.progress import OnProgress
from unlearnkit.session import Session
from unlearnkit.unlearning import Unlearned
from unlearnkit.widgets.prose import Prose, paragraphs, table
from unlearnkit.widgets.runner import Runner, Work
from unlearnkit.widgets.shared import SessionPanel, plural


class LedgerPanel(SessionPanel):
    """Every completed request, and the debt of each shard with a button that repays it."""

    name = "ledger"
    title = "5. Ledger and debt"
    explanation = "What was done, what was predicted and measured, and what is still owed."
    meaning = (
        "Examples that were removed approximately only are a debt of their shard: their influence "
        "is corrected, not provably gone. Retraining the shard from its last clean checkpoint "
        "clears the debt; afterwards it is byte for byte what training from scratch gives."
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.requests = Prose()
        self.debts = Prose(live=True)
        self.which = ipywidgets.Dropdown(options=[("all shards", -1)], description="repay")
        self.which.style.description_width = "initial"
        self.which.layout.width = "240px"
        self.which.observe(self.guard(lambda change: None), names="value")
        self.runner: Runner[Unlearned] = Runner(
            self, "Repay", self._prepare, self._finished, ended=self.changed
        )
        self.runner.widget.children = (self.which, *self.runner.widget.children)
        self.body.children = [self.requests, self.debts, self.runner.widget]
        self.update()

    @property
    def code(self) -> str:
        """The calls that list and repay."""
        if not self.which.options or len(self.which.options) == 1:
            return "session.ledger()"
        chosen = "" if self.which.value == -1 else f"[{self.which.value}]"
        return f"session.ledger()\nsession.repay({chosen})"

    def refresh(self) -> None:
        """List the requests and the debts."""
        self.requests.html = _requests(self.session)
        debts = self.session.debt if self.session.trained else {}
        self.debts.html = self._debts({shard: len(debt) for shard, debt in debts.items()})
        options = [("all shards", -1), *((f"shard {shard}", shard) for shard in sorted(debts))]
        if list(self.which.options) != options:
            self.which.options = options
        self.which.layout.display = None if debts else "none"
        # Its bar stays to be read until the next change that leaves a debt.
        shown = debts or self.runner.label.value
        self.runner.widget.layout.display = None if shown else "none"
        self.runner.button.disabled = not debts or self.runner.running

    def _debts(self, debts: dict[int, int]) -> str:
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
                    percent(debt / (debt + int(sizes[shard]))),
                    str(missing[0].index) if missing else "-",
                    f"{visits:,}",
                    percent(visits / plan.total_visits),
                ]
            )
        heads = ["shard", "owed", "of shard", "from slice", "visits", "of from scratch"]
        caption = "Debt: examples removed approximately only, and what repaying would retrain"
        return table(heads, rows, caption=caption)

    def _prepare(self) -> Work[Unlearned]:
        shards = None if self.which.value == -1 else [int(self.which.value)]

        def work(on_progress: OnProgress, cancel: threading.Event) -> Unlearned:
            return self.session.repay(shards, on_progress=on_progress, cancel=cancel)

        return work

    def _finished(self, result: Unlearned) -> None:
        count = len(result.decision.exact)
        predicted = result.predicted_seconds
        time = "" if predicted is None else f"predicted {duration(predicted)}, "
        self.say(
            f"{plural(count, 'shard')} retrained exactly, {result.visits:,} visits; {time}measured "
            f"{duration(result.seconds)}. Debt: {result.debt_before} before, "
            f"{result.debt_after} after."
        )


def _requests(session: Session) -> str:
    entries = session.ledger().to_dict("records")
    if not entries:
        return paragraphs("No request was completed yet.")
    rows = [
        [
            str(entry["time"]).replace("T", " ")[:16],
            str(entry["kind"]) + (f" {entry['examples']:,}" if entry["examples"] else ""),
            f"{entry['exact_shards']} exact, {entry['approximate_shards']} approx.",
            f"{entry['predicted_visits']:,} / {entry['visits']:,}",
            _seconds(entry["predicted_seconds"]) + " / " + _seconds(entry["seconds"]),
            f"{entry['debt_before']}\N{NO-BREAK SPACE}\N{RIGHTWARDS ARROW}\N{NO-BREAK SPACE}"
            f"{entry['debt_after']}",
        ]
        for entry in entries
    ]
    heads = [
        *("when (UTC)", "request", "shards"),
        *("exact visits, predicted / done", "time, predicted / measured", "debt"),
    ]
    return table(heads, rows, caption="Completed requests, oldest first", text=(0, 1, 2))


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None or np.isnan(seconds) else duration(seconds)
