"""Decisions and their outcomes in words, for the panels."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from unlearnkit.figures.drawing import duration, percent
from unlearnkit.unlearning.boundary.protocol import (
    APPROXIMATE,
    EXACT,
    LEAVE,
    Boundary,
    Costs,
    Decision,
)
from unlearnkit.unlearning.error_model import LEAST, ErrorModel
from unlearnkit.unlearning.inspection import Check
from unlearnkit.unlearning.unlearn import Unlearned
from unlearnkit.unlearning.workload import Workload
from unlearnkit.widgets.parts.html import table
from unlearnkit.widgets.parts.shared import listing, plural

ROUTE_NAMES = {EXACT: "exact", APPROXIMATE: "approximate", LEAVE: "leaves the vote"}

ALL_EXACT = (
    "No error: nothing is modified, so the bits are those of training from scratch on "
    "what remains, and this request leaves no debt."
)


def sentences(workload: Workload, decision: Decision, costs: Costs, at: str) -> list[str]:
    """A decision in words: what goes which way, what it costs, what debt remains.

    Args:
        workload: of the request.
        decision: on it.
        costs: predicted seconds of both ways.
        at: how the decision came about, to begin with.
    """
    exact, approximate = decision.exact, decision.approximate
    share = percent(workload.share_of(decision.exact_visits))
    total = len(exact) + len(approximate)
    hit = f"{'the' if total == 1 else f'all {total}'} hit {'shard' if total == 1 else 'shards'}"
    verb = "is" if total == 1 else "are"
    cost = f"{decision.exact_visits:,} visits, {share} of training from scratch"
    if exact and approximate:
        first = (
            f"{at}, {_which(exact)} retrained exactly ({cost}) and "
            f"{_which(approximate)} modified approximately."
        )
    elif exact:
        first = f"{at}, {hit} ({listing(exact)}) {verb} retrained exactly: {cost}."
    elif approximate:
        first = (
            f"{at}, {hit} ({listing(approximate)}) {verb} modified "
            f"approximately; retraining exactly would be {workload.visits:,} visits, "
            f"{percent(workload.share)} of from scratch."
        )
    else:
        first = f"{at} nothing is retrained."
    gone = [route.shard for route in decision.routes if route.kind == LEAVE]
    leaves = f"{_which(gone)} left without examples, and out of the vote." if gone else ""
    seconds = ""
    if decision.seconds is not None and costs.scratch_seconds:
        alone = [cost.exact_seconds for cost in costs.shards]
        whole = sum(s for s in alone if s is not None)
        seconds = (
            f"Predicted: {duration(decision.seconds)}; retraining every hit shard would take "
            f"{duration(whole)}, everything from scratch {duration(costs.scratch_seconds)}."
        )
    if decision.seconds is not None and approximate and seconds and decision.seconds > whole:
        seconds += " Here retraining is predicted to be the faster way."
    cleared = sum(work.debt for work in workload.shards if work.shard in exact)
    debt = f"The exact part clears a debt of {plural(cleared, 'example')} too." if cleared else ""
    return [first, leaves[:1].upper() + leaves[1:], seconds, debt, outstanding(workload)]


def outstanding(workload: Workload) -> str:
    """The debt of shards that the request does not hit, in a sentence."""
    if not workload.outstanding:
        return ""
    shards = sorted({stage.shard for stage in workload.outstanding})
    return (
        f"Outstanding debt elsewhere: {_which(shards)} approximate from earlier requests; "
        f"{workload.outstanding_visits:,} visits would clear it. It is not part of this request."
    )


def outcome(result: Unlearned) -> list[str]:
    """What an unlearning did, predicted against measured, in sentences."""
    decision = result.decision
    if not decision.routes:
        return [f"Last: {plural(len(result.ids), 'example')} forgotten; no model had seen them."]
    ways = [
        f"{word} {listing(shards)} {how}"
        for shards, how in (
            (decision.exact, "retrained exactly"),
            (decision.approximate, "modified approximately"),
        )
        if shards
        for word in ["shard" if len(shards) == 1 else "shards"]
    ]
    predicted = result.predicted_seconds
    time = "" if predicted is None else f"predicted {duration(predicted)}, "
    visits = ""
    if decision.exact:
        visits = f" Exact part: predicted {decision.exact_visits:,} visits, done {result.visits:,}."
    if decision.approximate:
        visits += f" Approximate part: {result.approximate_visits:,} visits."
    debt = f" Debt: {result.debt_before} before, {result.debt_after} after."
    return [
        f"Last request: {plural(len(result.ids), 'example')} forgotten, {', '.join(ways)}. "
        f"Time: {time}measured {duration(result.seconds)}.{visits}{debt}"
    ]


def _which(shards: "tuple[int, ...] | list[int]") -> str:
    many = len(shards) != 1
    return f"{len(shards)} shards ({listing(shards)}) are" if many else f"shard {shards[0]} is"


def _outcome_under(check: Check, boundary: Boundary) -> str:
    """What a boundary would have said of an approximation that was made without asking it."""
    correction = replace(check, replayed=None, kl=None, drift=None, rise=None)
    if why := boundary.objection(correction):
        return f"this boundary would refuse it: {why}"
    if why := boundary.objection(check):
        return f"this boundary would replay longer, and refuse it if that fails too: {why}"
    return "accepted"


def checks_table(decision: Decision, boundary: Boundary | None = None) -> str:
    """A table of what was seen of each approximation, and what came of it; empty without any.

    Args:
        decision: with its checks.
        boundary: another one that is to say what would have come of it.
    """
    routes = {route.shard: route for route in decision.routes}
    rows = []
    for check in decision.checks:
        refused = routes[check.shard].kind == EXACT
        came = f"refused: {routes[check.shard].reason}" if refused else "accepted"
        if boundary is not None and not refused:
            came = _outcome_under(check, boundary)
        rows.append(
            [
                str(check.shard),
                _known(check.share, percent),
                _known(check.correction, lambda part: f"{part:.2%}"),
                _known(check.bound, "{:.2g}".format),
                _known(check.replayed, str),
                _known(check.kl, "{:.2g}".format),
                _known(check.drift, "{:.2g}".format),
                _known(check.rise, "{:+.1%}".format),
                came,
            ]
        )
    headers = ["shard", "forgets", "correction", "error at most", "epochs replayed"]
    headers += ["outputs moved", "drift", "loss", "came to"]
    caption = (
        "Looks at the approximations: the correction as a part of the parameters, the error by "
        "calibration, and after the amend the probe's outputs (KL in nats), how far each epoch "
        "replayed led them away from the corrected ones (beside what there is to forget; much "
        "where training is chaotic), and loss"
    )
    return table(headers, rows, caption=caption, text=(8,), long=8) if rows else ""


def refusals(decision: Decision) -> str:
    """What the looks changed, in a sentence; empty where nothing was looked at."""
    if not decision.checks:
        return ""
    shards = [s for s in (check.shard for check in decision.checks) if s in decision.exact]
    if not shards:
        return "Every approximation passed the look at its correction and the guard on the probe."
    return (
        f"The looks refused {plural(len(shards), 'approximation')}, of shard "
        f"{listing(shards)}: retrained exactly instead."
    )


def predicted_error(
    error_model: ErrorModel, checks: dict[int, Check], error: float | None
) -> list[str]:
    """What is predicted of the error of the approximate part, or why nothing is.

    Args:
        error_model: of the session.
        checks: of the corrections of this request, if it was tried.
        error: in nats, of the ensemble, by the bounds of its shards.
    """
    if error is not None:
        return [
            f"Predicted error: at most {error:.2g} nats (KL of the ensemble's outputs on the probe "
            "from those of exact retraining), by the 95 % bounds of past repayments."
        ]
    if not error_model.ready:
        return [
            f"The error is not predicted yet: {len(error_model.pairs)} of {LEAST} approximations "
            "were repaid and so compared with exact retraining. The lower curve shows what would "
            "be owed."
        ]
    if checks:
        return ["The error is not bounded: a shard that goes approximate has no correction yet."]
    return ["The error is calibrated, and can be predicted once the corrections were tried."]


def _known(value: Any, words: Callable[[Any], str]) -> str:
    return "-" if value is None else words(value)
