"""Sentences and tables that describe decisions and their outcomes in the panels."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from unlearnkit.figures.drawing import duration, percent
from unlearnkit.unlearning.boundary.outcomes import which
from unlearnkit.unlearning.boundary.protocol import (
    APPROXIMATE,
    EXACT,
    LEAVE,
    Boundary,
    Decision,
)
from unlearnkit.unlearning.boundary.spot_check import SpotCheck
from unlearnkit.unlearning.boundary.verdict import but
from unlearnkit.unlearning.error_model import LEAST, ErrorModel
from unlearnkit.unlearning.inspection import Check
from unlearnkit.unlearning.unlearn import Unlearned
from unlearnkit.unlearning.workload import Workload
from unlearnkit.widgets.parts.html import table
from unlearnkit.widgets.parts.shared import listing, plural

ROUTE_NAMES = {EXACT: "exact", APPROXIMATE: "approximate", LEAVE: "leaves the vote"}

ALL_EXACT = (
    "No error: nothing is modified, so the bits are those of training from scratch on "
    "the remaining examples, and this request leaves no debt."
)


def notes(workload: Workload, decision: Decision, pace: float) -> list[str]:
    """Say what a decision means beyond its routes: wall time, and debt that it clears or leaves.

    Args:
        workload: the workload of the request.
        decision: the decision on the request.
        pace: wall seconds in which this machine does a CPU second.
    """
    seconds = ""
    if decision.seconds is not None:
        seconds = (
            f"At this machine's present pace, that is about {duration(decision.seconds * pace)} of "
            "wall time."
        )
    cleared = sum(work.debt for work in workload.shards if work.shard in decision.exact)
    debt = f"The exact part clears a debt of {plural(cleared, 'example')} too." if cleared else ""
    return [seconds, debt, outstanding(workload)]


def outstanding(workload: Workload) -> str:
    """Describe the debt of shards that the request does not hit."""
    if not workload.outstanding:
        return ""
    shards = sorted({stage.shard for stage in workload.outstanding})
    return (
        f"Outstanding debt elsewhere: {which(shards)} approximate from earlier requests; "
        f"{workload.outstanding_visits:,} visits would clear it. It is not part of this request."
    )


def outcome(result: Unlearned, asked: str) -> list[str]:
    """Describe what an unlearning did, with predicted and measured costs.

    Args:
        result: the result.
        asked: the number of examples, and of groups if the data have them.
    """
    decision = result.decision
    if not decision.routes:
        return [f"Last request: {asked} forgotten; no model was trained on them."]
    routes = [
        f"{word} {listing(shards)} {how}"
        for shards, how in (
            (decision.exact, "retrained exactly"),
            (decision.approximate, "modified approximately"),
        )
        if shards
        for word in ["shard" if len(shards) == 1 else "shards"]
    ]
    predicted = result.predicted_seconds
    time = ""
    if result.cpu_seconds is not None:
        expected = "" if predicted is None else f"predicted {duration(predicted)}, "
        time = f"CPU time: {expected}measured {duration(result.cpu_seconds)}; "
    visits = ""
    if decision.exact:
        visits = f" Exact part: {decision.exact_visits:,} visits predicted, {result.visits:,} done."
    if decision.approximate:
        visits += f" Approximate part: {result.approximate_visits:,} visits."
    debt = f" Debt: {result.debt_before} before, {result.debt_after} after."
    return [
        f"Last request: {asked} forgotten, {', '.join(routes)}. "
        f"{time}{'w' if time else 'W'}all time: {duration(result.seconds)}.{visits}{debt}",
        *_checked(result),
    ]


def _checked(result: Unlearned) -> list[str]:
    """Describe the spot check of a request and its cost, if there was one."""
    check = result.spot_check
    if check is None:
        return []
    without = max(0.0, result.seconds - check.seconds)
    cost = (
        f"The check took {duration(check.seconds)} of wall time; without it, the request would "
        f"have taken about {duration(without)}."
    )
    return [f"{check.sentence} {cost}"]


def _outcome_under(check: Check, boundary: Boundary) -> str:
    """Say whether a boundary would have accepted an approximation that it did not decide on."""
    nothing = dict.fromkeys(("replayed", "kl", "drift", "rise", "agreement", "motion"))
    correction = replace(check, **nothing)  # type: ignore[arg-type]
    if why := boundary.objection(correction):
        return f"this boundary would refuse it: {why}"
    if why := boundary.objection(check):
        return f"this boundary would replay longer, and refuse it if that fails too: {why}"
    return _accepted(check)


def _accepted(check: Check) -> str:
    """Say that an approximation was accepted, and why it is doubtful if it is."""
    return but(check.doubt) if check.doubt else "accepted"


def checks_table(decision: Decision, boundary: Boundary | None = None) -> str:
    """Return a table of the checks of each approximation and their outcome; empty if none.

    Args:
        decision: the decision with its checks.
        boundary: another boundary, whose verdicts replace those of the decision.
    """
    routes = {route.shard: route for route in decision.routes}
    rows = []
    for check in decision.checks:
        refused = check.shard in decision.refused
        verdict = f"refused: {routes[check.shard].reason}" if refused else _accepted(check)
        if decision.spot_check is not None and decision.spot_check.shard == check.shard:
            verdict = f"accepted, and {routes[check.shard].reason}"
        if boundary is not None and not refused:
            verdict = _outcome_under(check, boundary)
        rows.append(
            [
                str(check.shard),
                _known(check.share, percent),
                _known(check.correction, lambda part: f"{part:.2%}"),
                _known(check.bound, "{:.2g}".format),
                _known(check.replayed, str),
                _known(check.kl, "{:.2g}".format),
                _known(check.drift, "{:.2g}".format),
                _known(check.rise, signed_percent),
                _known(check.agreement, "{:.0%}".format),
                _known(check.motion, "{:.2g}".format),
                _known(check.sharpness, "{:.2g}".format),
                verdict,
            ]
        )
    headers = ["shard", "forgets", "correction", "error at most", "epochs replayed"]
    headers += ["outputs moved", "drift", "loss", "agreement", "motion", "sharpness", "outcome"]
    caption = (
        "Checks of the approximations: the norm of the correction relative to that of the "
        "parameters, and a bound on its error from past repayments; after the amend, on the probe: "
        "how far the outputs moved (KL in nats), their drift per replayed epoch from the corrected "
        "outputs, relative to the loss to forget (large if training is chaotic), and the change "
        "of the loss; on the forgotten examples, how far correction and amend agree; how far each "
        "of the last epochs of training moved the outputs; and how close training is to "
        "instability, at 1"
    )
    return table(headers, rows, caption=caption, text=(11,), long=11) if rows else ""


def refusals(decision: Decision) -> str:
    """Say which approximations the checks refused or doubt; empty if there were no checks."""
    if not decision.checks:
        return ""
    shards = list(decision.refused)
    if not shards and not decision.doubtful:
        return "Every approximation passed the check of its correction and the guard on the probe."
    said = [decision.warning] if decision.doubtful else []
    if shards:
        said.insert(
            0,
            f"The checks refused {plural(len(shards), 'approximation')}: "
            f"{which(shards)} retrained exactly instead.",
        )
    return " ".join(said)


def checked(before: Sequence[SpotCheck], drawn: Sequence[int]) -> str:
    """Say what the latest spot check found, or which shard will be checked; empty if neither.

    Args:
        before: the spot checks of earlier requests.
        drawn: the shards that are drawn for a check of this request.
    """
    if drawn:
        return (
            f"Shard {drawn[0]} is drawn for a spot check: it is modified, then retrained exactly "
            "too, which measures what modifying removes in this training setting."
        )
    if not before:
        return ""
    return (
        "No shard is drawn for a spot check of this request, because an earlier request had one. "
        f"{before[-1].sentence}"
    )


def predicted_error(
    error_model: ErrorModel, checks: dict[int, Check], error: float | None
) -> list[str]:
    """Describe the predicted error of the approximate part, or why there is no prediction.

    Args:
        error_model: the error model of the session.
        checks: the checks of this request's corrections, if they were tried.
        error: bound on the error of the ensemble in nats, from the bounds of its shards.
    """
    if error is not None:
        return [
            f"Predicted error: at most {error:.2g} nats (KL of the ensemble's outputs on the probe "
            "from those of exact retraining), by the 95% bounds of past repayments. They hold for "
            "requests like the repaid ones."
        ]
    if not error_model.ready:
        count = len(error_model.pairs)
        if not count:
            return [
                "No approximation has been checked against retraining yet, so the error cannot be "
                "predicted. The debt is shown instead."
            ]
        return [
            f"{plural(count, 'approximation')} {'has' if count == 1 else 'have'} been checked "
            f"against retraining; the error can be predicted once {LEAST} have been. The "
            "curve shows the debt."
        ]
    if checks:
        return [
            "The error is not bounded: a shard to be modified has no tried correction yet, or the "
            "bound does not apply to it, because its corrections, or the share of a class that it "
            "loses, are larger than any that was repaid."
        ]
    return ["The error can be predicted once the corrections have been tried on a copy."]


def signed_percent(share: float) -> str:
    """Format a change as a percentage with its sign; 0 has none.

    >>> signed_percent(0.0123), signed_percent(-0.002), signed_percent(-0.0001)
    ('+1.2%', '-0.2%', '0.0%')
    """
    return "0.0%" if abs(share) < 0.0005 else f"{share:+.1%}"


def _known(value: Any, form: Callable[[Any], str]) -> str:
    return "-" if value is None else form(value)
