"""The instrument of a session, alone: it assesses the request, and unlearns on a click."""

import threading
from typing import Any

from unlearnkit.evaluation.original import cut_traceback
from unlearnkit.progress import OnProgress
from unlearnkit.session import Session
from unlearnkit.unlearning.boundary.adaptive import AdaptiveBoundary
from unlearnkit.unlearning.boundary.chosen import OverriddenBoundary
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import APPROXIMATE, EXACT, Boundary
from unlearnkit.unlearning.boundary.verdict import quietly
from unlearnkit.unlearning.unlearn import Unlearned
from unlearnkit.widgets.boundary.sentences import outcome, outstanding
from unlearnkit.widgets.instrument.calls import argument
from unlearnkit.widgets.instrument.data import (
    DECIDED,
    Choices,
    Decided,
    circumstances,
    data_of,
    nothing,
)
from unlearnkit.widgets.instrument.view import HAND, IDLE, InstrumentView
from unlearnkit.widgets.parts.elements.fallback import bundle
from unlearnkit.widgets.parts.elements.subshells import survive_reloads
from unlearnkit.widgets.parts.groups import counted
from unlearnkit.widgets.parts.job import Job
from unlearnkit.widgets.parts.panel import sentence_of
from unlearnkit.widgets.parts.runner import overall, remaining
from unlearnkit.widgets.parts.shared import follow, update_panels
from unlearnkit.widgets.saved.outputs import Copy, show, touch


class Instrument(InstrumentView):
    """The boundary of a session as one widget, without layout widgets around it.

    Args:
        session: the session to show and drive.
        max_share: the initial threshold, from 0 to 1; the session's boundary by default.

    Attributes:
        session: the session.
        job: the running unlearning, or None.
    """

    def __init__(self, session: Session, max_share: float | None = None) -> None:
        first = session.boundary if max_share is None else FixedBoundary(max_share)
        fixed = first if type(first) is FixedBoundary else FixedBoundary()
        super().__init__(
            threshold=float(fixed.max_share),
            unit=fixed.unit,
            whole=fixed.whole,
            mode=HAND if first is fixed else DECIDED,
            switch=True,
        )
        self.session = session
        self.job: Job[Unlearned] | None = None
        self._request: object = None
        self._copies: list[Copy] = []
        self.observe(lambda change: self.refresh(), names="chosen")
        self.observe(self._hear, names="asked")
        self.observe(lambda change: touch(), names=["data", "threshold", "unit", "whole", "mode"])
        follow(session, self)
        survive_reloads()
        self.refresh()

    @property
    def boundary(self) -> Boundary:
        """The boundary that is on show, with its overrides."""
        base = self.fixed if self.mode == HAND else self._deciding
        return OverriddenBoundary(base, self.overrides) if self.overrides else base

    @property
    def _deciding(self) -> Boundary:
        """The boundary without a threshold."""
        own = self.session.boundary
        return AdaptiveBoundary() if type(own) is FixedBoundary else own

    def refresh(self) -> None:
        """Assess the request again; while the session is at work, wait for its end."""
        if not self.session.busy:
            try:
                self._assess()
            except Exception as error:  # as in a panel, the message is shown in place
                self._complain(error)

    def _assess(self) -> None:
        session = self.session
        request = (session.plan, session.pending.tobytes())
        if request != self._request:
            fresh, self._request = self._request is None, request
            self.chosen = {}
            if not fresh and len(session.pending):
                self.tell(text="", error=False)
        if not session.trained:
            self.data = nothing("The session is not trained yet; train it with session.train().")
            return
        assessment = session.assess()
        said = "The request is empty; revoke examples with session.revoke()."
        if len(session.pending):
            said = "No model was trained on these examples, so forgetting them costs nothing."
        said = " ".join(filter(None, [said, outstanding(assessment.workload)]))
        choices = Choices(overrides=self.overrides, decided=self._decided())
        self.data = data_of(assessment, circumstances(session, assessment, {}), choices, said)

    def _decided(self) -> Decided:
        boundary = self._deciding
        adaptive = type(boundary) is AdaptiveBoundary
        given = OverriddenBoundary(boundary, self.overrides) if self.overrides else boundary
        own = boundary is self.session.boundary and not self.overrides
        return Decided(
            boundary,
            "With the adaptive boundary" if adaptive else "With the session's own boundary",
            "" if own else argument(given),
        )

    def _hear(self, change: dict[str, Any]) -> None:
        """Do what the page asks for, and answer that it was heard."""
        asked = change["new"]
        try:
            if asked.get("action") == "unlearn":
                self.unlearn()
            elif asked.get("action") == "cancel" and self.job is not None:
                self.job.cancel()
                self.tell(text="stopping")
        except Exception as error:
            self._complain(error)
        self.tell(answered=asked.get("number", 0))

    def unlearn(self) -> Job[Unlearned]:
        """Unlearn the request in a background thread, as the instrument shows it.

        Raises:
            RuntimeError: it is being unlearned already.
            ValueError: the request is empty.
        """
        if self.job is not None:
            raise RuntimeError("the request is being unlearned already; wait for it, or cancel it")
        if not len(self.session.pending):
            raise ValueError("the request is empty; revoke examples with session.revoke()")
        boundary, weights = self.boundary, self._weights()

        def work(on_progress: OnProgress, cancel: threading.Event) -> Unlearned:
            with quietly():  # the text says what is doubtful
                return self.session.unlearn(
                    boundary=boundary, on_progress=on_progress, cancel=cancel
                )

        self.tell(**{**IDLE, "running": True, "text": "starting"})
        self.job = Job(work, name="Unlearn")
        self.job.subscribe(lambda job: self._follow(job, weights))
        return self.job.start()

    def _weights(self) -> dict[str, float]:
        """Return the predicted CPU seconds of the exact and the approximate part."""
        decision = self.session.preview(boundary=self.boundary)
        parts = {"train": EXACT, "modify": APPROXIMATE}
        return {
            phase: sum(route.seconds or 0.0 for route in decision.routes if route.kind == kind)
            for phase, kind in parts.items()
        }

    def _follow(self, job: Job[Unlearned], weights: dict[str, float]) -> None:
        status = job.status
        if status.state == "running":
            if status.progress is not None and not job.cancelling:
                share = overall(status.progress, weights)
                self.tell(share=share, text=remaining(status.progress, share, job.seconds))
            return
        self.job = None
        job.release()
        self.tell(running=False)
        if status.state == "done" and status.result is not None:
            result = status.result
            said = outcome(result, counted(self.session.dataset, result.ids))
            self.tell(text=" ".join([*said, result.decision.warning]).strip(), error=False)
        elif isinstance(status.error, Exception) and status.state != "cancelled":
            self._complain(status.error)
        else:
            self.tell(text=f"{str(status.error)[:1].upper()}{str(status.error)[1:]}.", error=False)
        update_panels(self.session)

    def _complain(self, error: Exception) -> None:
        cut_traceback(error)
        self.tell(text=sentence_of(error), error=True, running=False)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return bundle(self, repr(self), self.picture()), {}

    def _ipython_display_(self) -> None:
        self._copies.append(show(self, lambda: repr(self)))

    def __repr__(self) -> str:
        return f"Instrument({self.sentence})"
