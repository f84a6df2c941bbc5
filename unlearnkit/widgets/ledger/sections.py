"""The sections of the ledger panel: decisions, the certificate, and the audit of the store."""

import html
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets

from unlearnkit.figures.drawing import duration, percent
from unlearnkit.interrupts import check_cancelled
from unlearnkit.progress import OnProgress
from unlearnkit.records.audit import audit
from unlearnkit.records.certificates.certificate import Certificate
from unlearnkit.records.ledger import spot_check_of
from unlearnkit.store import DiskStore
from unlearnkit.unlearning.boundary.protocol import Decision, Route
from unlearnkit.unlearning.inspection import Check
from unlearnkit.widgets.boundary.sentences import ROUTE_NAMES, checks_table, refusals
from unlearnkit.widgets.parts.files import Files
from unlearnkit.widgets.parts.groups import noun_in
from unlearnkit.widgets.parts.html import Html, bullets, coloured, paragraphs, table
from unlearnkit.widgets.parts.panel import row
from unlearnkit.widgets.parts.runner import Runner, Work
from unlearnkit.widgets.parts.section import Section
from unlearnkit.widgets.parts.shared import SessionPanel, plural


class DecisionSection(Section):
    """The decision on one request, shard by shard, with the checks of its approximations."""

    title = "Decisions"
    explanation = (
        "One request or repayment, shard by shard: the route of each shard and its reason."
    )
    meaning = (
        "The ledger records the route that every shard took, with its reason, and the checks on "
        "which each approximation was accepted or refused. For a repayment it records the error of "
        "the approximation that exact retraining replaced (KL on the probe examples). A "
        "spot check modifies one shard, which is drawn before anything is modified, and then "
        "retrains it exactly too. The gap of doing nothing is the divergence of the model before "
        "the request from the retrained one; the check measures which share of it modifying "
        "removed."
    )

    def __init__(self, panel: SessionPanel) -> None:
        super().__init__(panel)
        self.session = panel.session
        self.which = ipywidgets.Dropdown(description="request")
        self.which.style.description_width = "initial"
        self.which.layout.width = "auto"
        self.which.observe(panel.guard(lambda change: self._tell()), names="value")
        self.routes = Html(live=True)
        self._requests: list[dict[str, Any]] = []

    @property
    def code(self) -> str:
        """The call that returns the full record of the request."""
        return f'session.certificate().content["requests"][{self.which.value or 0}]'

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the choice of a request and its table."""
        return [row(self.which), self.routes]

    def draw(self) -> None:
        """Offer the requests, latest first, and show the chosen one."""
        self._requests = self.session.certificate().content["requests"]
        noun = noun_in(self.session.dataset)
        options = [
            (f"{number + 1}: {describe_entry(one, noun)}, {_minute(one['time'])} UTC", number)
            for number, one in reversed(list(enumerate(self._requests)))
        ]
        if list(self.which.options) != options:
            self.which.options = options
        if self.which.value is None and options:
            self.which.value = options[0][1]
        self._tell()

    def clear(self) -> None:
        """Discard the requests and their table."""
        self.routes.html, self._requests = "", []

    def _tell(self) -> None:
        if self.which.value is None:
            self.routes.html = paragraphs("No request has been completed yet.")
            return
        one = self._requests[self.which.value]
        routes = tuple(Route(**route) for route in one["routes"])
        checks = tuple(Check(**check) for check in one["looks"])
        check = spot_check_of(one)
        decision = Decision(
            *(routes, one["boundary"], one["predicted_seconds"], None, checks), spot_check=check
        )
        by = f"<p>Decided by <code>{html.escape(one['boundary'])}</code>.</p>"
        self.routes.html = (
            (by if one["kind"] == "unlearn" else paragraphs("Debt repaid."))
            + _routes(decision)
            + ("" if check is None else paragraphs(check.sentence))
            + _seen(one["kind"], decision)
        )
        if self._code_line is not None:
            self._code_line.code = self.code


class CertificateSection(Section):
    """The current certificate, in the page and as files."""

    title = "Certificate"
    explanation = (
        "Which examples are forgotten, how and why, and which examples shaped each checkpoint."
    )
    meaning = (
        "The certificate describes the current ensemble and everything in its store. The lineage "
        "of a checkpoint is the digest of the list of examples that shaped it. Ids appear as keyed "
        "digests, because small numbers can be guessed; anyone with the key can check them. The "
        "ledger is a hash chain: its head fixes every earlier line, so a later change is noticed; "
        "it proves nothing more (Haber and Stornetta 1991)."
    )

    def __init__(self, panel: SessionPanel) -> None:
        super().__init__(panel)
        self.session = panel.session
        self.names = ipywidgets.Checkbox(False, description="list plain ids", indent=False)
        self.names.layout.width = "auto"
        self.names.observe(panel.guard(lambda change: self.redraw()), names="value")
        self.page = Html()
        self.files = Files(
            "Save as",
            {
                "certificate.json": lambda: self._made().to_json(),
                "certificate.html": lambda: self._made().to_html(),
            },
        )

    @property
    def code(self) -> str:
        """The call that creates and saves the certificate."""
        named = "name_ids=True" if self.names.value else ""
        return f'session.certificate({named}).to_html("certificate.html")'

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the choice of plain ids, the file buttons, and the page."""
        return [row(self.names, self.files), self.page]

    def draw(self) -> None:
        """Create the certificate and show it."""
        page = self._made()._repr_html_()
        self.page.html = (
            '<div class="uk-scroll uk-tall" tabindex="0" role="group" aria-label="Certificate">'
            f"{page}</div>"
        )

    def clear(self) -> None:
        """Remove the certificate from the page."""
        self.page.html = ""

    def _made(self) -> Certificate:
        if self.session.busy:
            raise RuntimeError("this session is busy; try again when it is done")
        return self.session.certificate(name_ids=self.names.value)


class AuditSection(Section):
    """The audit, which derives every claim of the store from its files."""

    title = "Audit"
    explanation = "Check every claim against the files of the store, as an outsider would."
    meaning = (
        "The audit reads only the folder. It checks that the files are those that were committed, "
        "that the ledger's lines form a chain, and that no checkpoint was shaped by a revoked "
        "example unless the debt says so. With training, it also trains everything from scratch on "
        "data whose revoked rows are overwritten, and compares bit for bit. It stops at the first "
        "claim that does not hold. The shell command is: python -m unlearnkit audit FOLDER."
    )

    def __init__(self, panel: SessionPanel) -> None:
        super().__init__(panel)
        self.session = panel.session
        self.retrain = ipywidgets.Checkbox(
            False, description="also train from scratch and compare", indent=False
        )
        self.retrain.layout.width = "auto"
        self.retrain.observe(panel.guard(lambda change: self.draw()), names="value")
        self.claims = Html(live=True)
        self.runner: Runner[list[str]] = Runner(panel, "Audit", self._prepare, self._finished)

    @property
    def code(self) -> str:
        """The call that audits; empty without a folder."""
        store = self.session.store
        if not isinstance(store, DiskStore):
            return ""
        data = ", dataset=session.dataset" if self.retrain.value else ""
        return (
            "from unlearnkit.records.audit import audit\n"
            f"print(*audit(session.store, session.store.head{data}), sep='\\n')"
        )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the button and the list of claims."""
        return [row(self.runner.widget, self.retrain), self.claims]

    def draw(self) -> None:
        """Enable the button if the store is a folder."""
        kept = isinstance(self.session.store, DiskStore)
        self.runner.button.disabled = not kept or self.runner.running
        self.retrain.disabled = not kept
        if not kept:
            self.claims.html = paragraphs(
                "This session keeps its store in memory; an audit needs a folder: "
                'uk.Session(..., store="runs/mine").'
            )
        if self._code_line is not None:
            self._code_line.code = self.code

    def clear(self) -> None:
        """Clear the list of claims."""
        self.claims.html = ""

    def _prepare(self) -> Work[list[str]]:
        session, store, retrain = self.session, self.session.store, self.retrain.value
        if not isinstance(store, DiskStore):
            raise RuntimeError("this session keeps its store in memory; an audit needs a folder")
        if session.busy:
            raise RuntimeError("this session is busy; audit it when it is done")
        self.claims.html = ""
        data = session.dataset if retrain else None
        model, spec = session.plan.architecture, session.spec

        def work(on_progress: OnProgress, cancel: threading.Event) -> list[str]:
            claims: list[str] = []
            for claim in audit(store, store.head, dataset=data, model=model, spec=spec):
                check_cancelled(cancel)
                claims.append(f"holds: {claim}")
                self.claims.html = bullets(claims)
            return claims

        return work

    def _finished(self, claims: list[str]) -> None:
        self.claims.html = bullets(claims) + paragraphs(f"All {len(claims)} claims hold.")


def describe_entry(one: Mapping[Any, Any], noun: str = "") -> str:
    """Describe a request or repayment in a few words, with its groups if these have a noun."""
    count, groups = one["examples"], one.get("groups")
    if not count:
        return str(one["kind"])
    # A table holds NA, and the certificate nothing, where groups were not counted.
    whose = f" of {plural(groups, noun)}" if noun and isinstance(groups, int) else ""
    return f"{one['kind']} {plural(count, 'example')}{whose}"


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")


def _seen(kind: str, decision: Decision) -> str:
    """Show the checks of new approximations, or the errors of repaid ones."""
    if kind == "unlearn":
        return checks_table(decision) + paragraphs(refusals(decision))
    errors = [
        f"{check.error:.2g} for shard {check.shard}" for check in decision.checks if check.error
    ]
    said = "Errors of the approximations that exact retraining replaced (KL in nats): "
    return paragraphs(said + ", ".join(errors) + ".") if errors else ""


def _routes(decision: Decision) -> str:
    rows = [
        [
            *(str(route.shard), ROUTE_NAMES[route.kind], f"{route.visits:,}", percent(route.share)),
            "-" if route.seconds is None else duration(route.seconds),
            route.reason,
        ]
        for route in decision.routes
    ]
    headers = ["shard", "route", "visits if exact", "share", "predicted CPU time", "why"]
    return coloured(table(headers, rows, caption="As carried out", text=(1, 5), long=5))
