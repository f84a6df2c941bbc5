"""The dashboard: one step of a session at a time, below a strip that stays in sight."""

from collections.abc import Sequence
from typing import Any, cast

import ipywidgets

from unlearnkit.session import Session
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.widgets.boundary.panel import BoundaryPanel
from unlearnkit.widgets.comparison.panel import ComparisonPanel
from unlearnkit.widgets.ledger.panel import LedgerPanel
from unlearnkit.widgets.parts.elements.fallback import bundle
from unlearnkit.widgets.parts.groups import counted
from unlearnkit.widgets.parts.shared import SessionPanel, follow, update_panels
from unlearnkit.widgets.revocation.panel import RevocationPanel
from unlearnkit.widgets.saved.outputs import Copy, show, touch
from unlearnkit.widgets.saved.picture import picture_of
from unlearnkit.widgets.training import TrainingPanel
from unlearnkit.widgets.workbench.strip import Strip
from unlearnkit.widgets.workbench.summary import better, chosen, happened, requested
from unlearnkit.widgets.workload import WorkloadPanel

PANELS: dict[str, type[SessionPanel]] = {
    panel.name: panel
    for panel in (
        *(TrainingPanel, RevocationPanel, WorkloadPanel, BoundaryPanel),
        *(ComparisonPanel, LedgerPanel),
    )
}
# The steps in their order; every other panel stands behind them.
STEPS = {
    "training": "1. Train",
    "revocation": "2. Revoke",
    "boundary": "3. Decide",
    "comparison": "4. Compare",
}
MORE = {"workload": "Workload", "ledger": "Ledger"}


class Dashboard(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """All steps of a session, of which one is open at a time.

    It is a widget, so it can be a child of other widgets. A panel is built when its step is first
    opened or asked for.

    Args:
        session: the session to show and drive.
        panels: names in ``PANELS`` or panel classes; all panels by default.

    Attributes:
        session: the session.
        panels: the panels built so far, by name.
        names: the names of all panels.
        strip: the tabs and the strip below them.
    """

    def __init__(
        self, session: Session, panels: Sequence[str | type[SessionPanel]] | None = None
    ) -> None:
        kinds = [panel_kind(panel) for panel in (PANELS if panels is None else panels)]
        ordered = {name: kind for name in STEPS for kind in kinds if kind.name == name}
        self._kinds = ordered | {kind.name: kind for kind in kinds}
        self.session = session
        self._copies: list[Copy] = []
        self.names = tuple(self._kinds)
        self.panels: dict[str, SessionPanel] = {}
        self.strip = Strip()
        self._stage = ipywidgets.VBox()
        self._stage.add_class("uk-stage")
        self._open = ""
        super().__init__([self.strip, self._stage])
        self.add_class("uk-dashboard")
        self.strip.on_msg(lambda strip, content, buffers: self._acted(content))
        follow(session, self)
        self.open_step(self._next() if self._next() in self._kinds else self.names[0])

    def __getitem__(self, name: str) -> SessionPanel:
        """Return a panel by name, and build it if it has not been opened yet."""
        if name not in self._kinds:
            raise KeyError(f"this dashboard has no panel {name!r}; it has {', '.join(self.names)}")
        if name not in self.panels:
            panel = self._kinds[name](self.session)
            if isinstance(panel, BoundaryPanel):
                panel.instrument.guided = True  # the strip unlearns and shows the progress
            panel.widget.layout.display = "none"
            self.panels[name] = panel
            self._stage.children = [built.widget for built in self.panels.values()]
            panel.watch(self.refresh)
        return self.panels[name]

    @property
    def step(self) -> str:
        """The name of the open step."""
        return self._open

    def open_step(self, name: str) -> None:
        """Open a step and close the one that was open."""
        panel, before = self[name], self.panels.get(self._open)
        if before is not None:
            before.widget.layout.display = "none"
        panel.widget.layout.display = None
        self._open = name
        self.refresh()

    def update(self) -> "Dashboard":
        """Refresh all panels after code has changed the session."""
        update_panels(self.session)
        return self

    def refresh(self) -> None:
        """Show the steps, the request and its cost, or its outcome."""
        state = {"steps": self._steps(), "open": self._open, **self._about()}
        if state != self.strip.state:
            self.strip.state = state
            touch()

    def _next(self) -> str:
        """Return the name of the step to take next."""
        session = self.session
        if not session.trained:
            return "training"
        if len(session.pending):
            return "boundary"
        return "revocation" if session.last is None or session.original is None else "comparison"

    def _steps(self) -> list[dict[str, Any]]:
        session, coming = self.session, self._next()
        waiting, last = len(session.pending), session.last
        owed = sum(len(debt) for debt in session.debt.values())
        done = {
            "training": session.trained,
            "revocation": bool(waiting),
            "boundary": last is not None and not waiting,
        }
        notes = {
            "revocation": f"{waiting:,} waiting" if waiting else "",
            "comparison": "original discarded" if last and session.original is None else "",
            "ledger": f"{owed:,} owed" if owed else "",
        }
        titles = STEPS | MORE
        return [
            {
                "name": name,
                "label": titles.get(name, kind.title or name),
                "note": notes.get(name, ""),
                "done": done.get(name, False) and name != coming,
                "next": name == coming,
                "more": name not in STEPS,
            }
            for name, kind in self._kinds.items()
        ]

    def _about(self) -> dict[str, Any]:
        """Return the two sentences of the strip and the buttons that go with them."""
        session = self.session
        for panel in list(self.panels.values()):
            for runner in panel.runners:
                if runner.running:
                    said = [f"{panel.title}: {runner.button.description}", runner.label.value]
                    share, idle = runner.bar.value, runner.cancel.disabled
                    return {"said": said, "busy": True, "share": share, "stoppable": not idle}
        if session.busy:
            return {"said": ["A cell or another panel is at work on this session."]}
        if not session.trained:
            return {"said": ["Not trained yet: step 1 trains one model for each shard."]}
        if len(session.pending):
            return self._request()
        empty = "The request is empty: choose the examples to forget in step 2."
        if session.last is None:
            return {"said": ["The session is trained.", empty]}
        line = happened(session.last, counted(session.dataset, session.last.ids))
        known = session.original is not None and "comparison" in self._kinds
        compares = known and self._open != "comparison"  # which has its own button
        return {"said": [line, empty], "compare": compares}

    def _request(self) -> dict[str, Any]:
        session = self.session
        asked = f"To forget: {counted(session.dataset, session.pending)}."
        if "boundary" not in self._kinds:
            return {"said": [asked]}
        panel = cast(BoundaryPanel, self["boundary"])
        assessment, decision = panel.assessment, panel.decision
        failed = panel.message if panel.error and self._open != "boundary" else ""
        if assessment is None:
            return {"said": [asked], "problem": failed}
        said = [requested(session, assessment)]
        if decision is None:
            return {"said": said, "unlearn": True, "problem": failed}
        said.append(chosen(decision, panel.boundary))
        cheaper = better(assessment, decision)
        return {"said": said, "unlearn": True, "better": cheaper, "problem": failed}

    def _acted(self, content: Any) -> None:
        """Do what a click on the strip asks for; the open panel shows what goes wrong."""
        if not isinstance(content, dict):
            return
        acts = {
            "open": lambda: self.open_step(str(content.get("name"))),
            "unlearn": self._unlearn,
            "better": self._choose_all_exact,
            "compare": self._compare,
            "cancel": self._cancel,
        }
        if content.get("act") in acts:
            self[self._open].guard(acts[content["act"]])()

    def _unlearn(self) -> None:
        cast(BoundaryPanel, self["boundary"]).runner.start()

    def _choose_all_exact(self) -> None:
        cast(BoundaryPanel, self["boundary"]).choose(FixedBoundary(1.0))

    def _compare(self) -> None:
        self.open_step("comparison")
        panel = cast(ComparisonPanel, self["comparison"])
        if panel.comparison is None and not panel.runner.running:
            panel.runner.start()

    def _cancel(self) -> None:
        for panel in list(self.panels.values()):
            for runner in panel.runners:
                runner.request_stop()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return bundle(self, repr(self), picture_of(self))

    def _ipython_display_(self) -> None:
        self._copies.append(show(self, lambda: repr(self)))

    def __repr__(self) -> str:
        return f"Dashboard({self.session!r}, {', '.join(self.names)})"


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
