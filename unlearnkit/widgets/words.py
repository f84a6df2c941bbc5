"""Decisions and their outcomes in words, for the panels."""

from unlearnkit.boundary import APPROXIMATE, EXACT, LEAVE, Costs, Decision
from unlearnkit.figures.drawing import duration, percent
from unlearnkit.unlearning import Unlearned
from unlearnkit.widgets.prose import coloured, table
from unlearnkit.widgets.shared import listing, plural
from unlearnkit.workload import Workload

ROUTE_WORDS = {EXACT: "exact", APPROXIMATE: "approximate", LEAVE: "leaves the vote"}


def sentences(workload: Workload, decision: Decision, costs: Costs, max_share: float) -> list[str]:
    """A decision in words: what goes which way, what it costs, what debt remains.

    Args:
        workload: of the request.
        decision: on it.
        costs: predicted seconds of both ways.
        max_share: the threshold, from 0 to 1.
    """
    exact, approximate = decision.exact, decision.approximate
    share = percent(workload.share_of(decision.exact_visits))
    total = len(exact) + len(approximate)
    hit = f"{'the' if total == 1 else f'all {total}'} hit {'shard' if total == 1 else 'shards'}"
    verb = "is" if total == 1 else "are"
    cost = f"{decision.exact_visits:,} visits, {share} of training from scratch"
    at = f"At a threshold of {percent(max_share)}"
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


def reasons(decision: Decision, workload: Workload) -> str:
    """A table of the routes with the reason of each."""
    works = {work.shard: work for work in workload.shards}
    rows = [
        [
            str(route.shard),
            ROUTE_WORDS[route.kind],
            str(works[route.shard].forget),
            str(works[route.shard].debt),
            f"{route.visits:,}",
            percent(route.share),
            "-" if route.seconds is None else duration(route.seconds),
            route.reason,
        ]
        for route in decision.routes
    ]
    heads = ["shard", "route", "forget", "debt", "visits", "share", "seconds", "why"]
    caption = "Why each shard goes where it goes, cheapest first"
    return coloured(table(heads, rows, caption=caption, text=(1, 7), long=7))
