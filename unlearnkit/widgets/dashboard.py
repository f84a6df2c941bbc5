"""The dashboard: all panels of a session in order, from training to the ledger."""

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets
import numpy as np

from unlearnkit.session import Session
from unlearnkit.widgets.boundary.panel import BoundaryPanel
from unlearnkit.widgets.comparison.panel import ComparisonPanel
from unlearnkit.widgets.ledger.panel import LedgerPanel
from unlearnkit.widgets.parts.groups import groups_in
from unlearnkit.widgets.parts.html import Html
from unlearnkit.widgets.parts.panel import row
from unlearnkit.widgets.parts.shared import SessionPanel, plural, update_panels
from unlearnkit.widgets.revocation.panel import RevocationPanel
from unlearnkit.widgets.training import TrainingPanel
from unlearnkit.widgets.workload import WorkloadPanel

PANELS: dict[str, type[SessionPanel]] = {
    panel.name: panel
    for panel in (
        *(TrainingPanel, RevocationPanel, WorkloadPanel, BoundaryPanel),
        *(ComparisonPanel, LedgerPanel),
    )
}


class OverviewPanel(SessionPanel):
    """Shows which steps of the session are completed, with a button that refreshes all panels."""

    name = "overview"
    reads_models = False
    title = "unlearnkit"
    explanation = (
        "Step by step from training to forgetting. Changes made by cells are shown as well."
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.steps = Html(live=True)
        self.again = ipywidgets.Button(
            description="Refresh", tooltip="Show changes that a cell has made to the session"
        )
        self.again.layout.width = "auto"
        self.again.on_click(self.guard(lambda button: update_panels(session)))
        self.body.children = [self.steps, row(self.again)]
        self.update()

    @property
    def code(self) -> str:
        """The call that shows the dashboard."""
        return "session.dashboard()"

    def refresh(self) -> None:
        """Mark the completed steps and the next one."""
        session = self.session
        trained = session.trained
        pending, last = len(session.pending), session.last
        states = [
            ("1. Train", trained, ""),
            ("2. Revoke", bool(pending), self._waiting() if pending else ""),
            ("3. Decide and unlearn", last is not None and not pending, ""),
            ("4. Compare", False, "original discarded" if last and not session.original else ""),
            ("5. Ledger", False, _debt(sum(len(debt) for debt in session.debt.values()))),
        ]
        if not trained:
            upcoming = 0
        elif pending:
            upcoming = 2
        else:
            upcoming = 1 if last is None or session.original is None else 3
        items = []
        for number, (step, done, extra) in enumerate(states):
            kind = "uk-next" if number == upcoming else "uk-done" if done else ""
            mark = " \N{CHECK MARK}" if done and number != upcoming else ""
            more = f" \N{MIDDLE DOT} {extra}" if extra else ""
            current = ' aria-current="step"' if number == upcoming else ""
            items.append(f'<li class="{kind}"{current}>{html.escape(step + mark + more)}</li>')
        self.steps.html = f'<ol class="uk-steps">{"".join(items)}</ol>'

    def _waiting(self) -> str:
        pending, groups = self.session.pending, groups_in(self.session.dataset)
        of = "" if groups is None else f" of {groups.count(len(np.unique(groups.of(pending))))}"
        return f"{len(pending):,}{of} waiting"


class Dashboard:
    """All panels of a session, one below the other.

    Args:
        session: the session to show and drive.
        panels: names in ``PANELS`` or panel classes, in order; all panels by default.

    Attributes:
        panels: the panels by name.
        widget: the whole dashboard.
    """

    def __init__(
        self, session: Session, panels: Sequence[str | type[SessionPanel]] | None = None
    ) -> None:
        chosen = list(PANELS) if panels is None else panels
        kinds: list[type[SessionPanel]] = [OverviewPanel, *(panel_kind(panel) for panel in chosen)]
        self.session = session
        # The boundary panel maps the workload too, so the workload panel starts folded.
        folded = {WorkloadPanel} if panels is None else set()
        self.panels: dict[str, SessionPanel] = {
            kind.name: WorkloadPanel(session, folded=True) if kind in folded else kind(session)
            for kind in kinds
        }
        self.widget = ipywidgets.VBox([panel.widget for panel in self.panels.values()])
        self.widget.add_class("uk-dashboard")
        self.widget.layout.grid_gap = "8px"

    def __getitem__(self, name: str) -> SessionPanel:
        """Return a panel by name."""
        if name not in self.panels:
            raise KeyError(f"this dashboard has no panel {name!r}; it has {', '.join(self.panels)}")
        return self.panels[name]

    def update(self) -> "Dashboard":
        """Refresh all panels after code has changed the session."""
        update_panels(self.session)
        return self

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = self.widget._repr_mimebundle_(**kwargs)
        return {
            **(bundle[0] if isinstance(bundle, tuple) else bundle),
            "text/plain": repr(self),
            "text/html": f"<p><b>{html.escape(repr(self))}</b>: interactive when the notebook "
            "runs.</p>",
        }

    def __repr__(self) -> str:
        return f"Dashboard({self.session!r}, {', '.join(self.panels)})"


def panel_kind(panel: str | type[SessionPanel]) -> type[SessionPanel]:
    """Return the panel class of a name; a class is returned unchanged.

    Raises:
        KeyError: there is no panel of this name.
    """
    if not isinstance(panel, str):
        return panel
    if panel not in PANELS:
        raise KeyError(f"no panel is named {panel!r}; choose from {', '.join(PANELS)}")
    return PANELS[panel]


def _debt(count: int) -> str:
    return f"debt of {plural(count, 'example')}" if count else ""
