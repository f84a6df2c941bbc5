"""What the page has to know of a request, as plain JSON: every outcome of every threshold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from unlearnkit.display import plural
from unlearnkit.session import Session
from unlearnkit.unlearning.assessment import Assessment
from unlearnkit.unlearning.boundary.chosen import OverriddenBoundary
from unlearnkit.unlearning.boundary.fixed import UNITS, FixedBoundary
from unlearnkit.unlearning.boundary.outcomes import Circumstances, Outcome, outcome_of, outcomes
from unlearnkit.unlearning.boundary.protocol import APPROXIMATE, EXACT, LEAVE, Boundary, Decision
from unlearnkit.unlearning.boundary.spot_check import check_once
from unlearnkit.unlearning.inspection import Check
from unlearnkit.widgets.instrument.calls import argument, call
from unlearnkit.widgets.parts.groups import groups_in

KINDS = {EXACT: "e", APPROXIMATE: "a", LEAVE: "l"}
AT = "{at}"
DECIDED = "decided"  # the table, and the mode, of a boundary without a threshold
Json = dict[str, Any]


@dataclass(frozen=True)
class Decided:
    """A boundary that decides without a threshold.

    Attributes:
        boundary: the boundary.
        phrase: beginning of a sentence that names it.
        argument: how it is given to ``session.unlearn``, with its overrides; empty for the
            session's own.
    """

    boundary: Boundary
    phrase: str
    argument: str


@dataclass(frozen=True)
class Choices:
    """What was chosen beside the threshold.

    Attributes:
        overrides: routes of shards that were overridden.
        names: names of a method and an amend that are not the default.
        decided: a boundary without a threshold, to be shown as well.
    """

    overrides: Mapping[int, str] = field(default_factory=dict)
    names: Mapping[str, Any] = field(default_factory=dict)
    decided: Decided | None = None


def circumstances(
    session: Session, assessment: Assessment, checks: Mapping[int, Check]
) -> Circumstances:
    """Return what a session knows of its request beside the assessment.

    Args:
        session: the session.
        assessment: the assessment of its request.
        checks: checks of approximations that were tried, by shard.
    """
    plan, groups = assessment.plan, groups_in(session.dataset)
    mean = session.aggregation == "mean-probability"
    return Circumstances(
        ids=None if groups is None else session.pending,
        spot_check=check_once(None, session.spot_checks),
        checks=checks,
        voters=sum(plan.alive(shard) for shard in range(plan.num_shards)) if mean else 0,
        noun="group" if groups is None else groups.noun,
    )


def table_name(unit: str, whole: bool) -> str:
    """Return the name of a fixed boundary's table.

    >>> table_name("visits", True)
    'visits whole'
    """
    return f"{unit} whole" if whole else unit


def nothing(sentence: str) -> Json:
    """Return the data of a request that needs no decision.

    Args:
        sentence: says why.
    """
    return {"shards": [], "slices": 0, "most": 1, "tables": {}, "nothing": sentence}


def data_of(
    assessment: Assessment, known: Circumstances, choices: Choices, sentence: str = ""
) -> Json:
    """Return everything that the page shows of a request.

    Args:
        assessment: the assessment of the request.
        known: what else is known of it.
        choices: what was chosen beside the threshold.
        sentence: what is said if no shard is hit.
    """
    workload, costs = assessment.workload, assessment.costs
    works = {work.shard: work for work in workload.shards}
    shards = []
    for shard, (visits, status) in enumerate(
        zip(workload.stage_visits.tolist(), workload.stage_status, strict=True)
    ):
        row: Json = {"visits": visits, "status": "".join(word[0] for word in status)}
        if shard in works:
            cost, work = costs.of(shard), works[shard]
            row |= {"forget": work.forget, "debt": work.debt, "forced": cost.forced}
            row |= {"exact": cost.exact_seconds, "approximate": cost.approximate_seconds}
        shards.append(row)
    return {
        "shards": shards,
        "slices": len(shards[0]["visits"]) if shards else 0,
        "most": int(max(workload.stage_visits.max(initial=1), 1)),
        "tables": _tables(assessment, known, choices) if works else {},
        "noun": known.noun,
        "nothing": sentence,
    }


def _tables(assessment: Assessment, known: Circumstances, choices: Choices) -> Json:
    tables = {}
    for unit in UNITS:
        for whole in (False, True):
            base: Boundary = FixedBoundary(whole=whole, unit=unit)
            if choices.overrides:
                base = OverriddenBoundary(base, choices.overrides)
            try:
                found = list(outcomes(assessment, base, known))
            except LookupError:
                continue  # no seconds are known yet
            code = call(argument(base, AT), choices.names)
            tables[table_name(unit, whole)] = _table(found, code)
    if choices.decided is not None:
        tables[DECIDED] = _decided(assessment, known, choices, choices.decided)
    return tables


def _table(found: list[Outcome], code: str) -> Json:
    last = found[-1].decision
    costs = [0.0 if route.kind == LEAVE else route.share for route in last.routes]
    return {
        "shards": [route.shard for route in last.routes],
        "costs": costs,
        "sums": list(accumulate(costs)),
        "outcomes": [_entry(outcome) for outcome in found],
        "code": code,
    }


def _entry(outcome: Outcome) -> Json:
    return {
        "start": outcome.start,
        "kinds": "".join(KINDS[route.kind] for route in outcome.decision.routes),
        "seconds": outcome.seconds,
        "owed": outcome.examples_owed,
        "groups": outcome.groups_owed,
        "error": outcome.error,
        "summary": outcome.summary,
        "sentence": outcome.sentence,
    }


def _decided(
    assessment: Assessment, known: Circumstances, choices: Choices, decided: Decided
) -> Json:
    """Return the one outcome of a boundary, with what overriding each shard would do."""
    boundary, phrase, overrides = decided.boundary, decided.phrase, dict(choices.overrides)
    if overrides:
        phrase += f" and with {plural(len(overrides), 'shard')} overridden"
        boundary = OverriddenBoundary(boundary, overrides)
    found = outcome_of(assessment, boundary, at=phrase, known=known)
    table = _table([found], call(decided.argument, choices.names))
    name = decided.phrase.removeprefix("With ").removeprefix("the ")
    instead = _instead(assessment, known, decided.boundary, overrides, found)
    return table | {"name": name, "instead": instead}


def _instead(
    assessment: Assessment,
    known: Circumstances,
    boundary: Boundary,
    overrides: dict[int, str],
    found: Outcome,
) -> list[Json | None]:
    """Return the outcome of each shard's other route, the other shards being as they are."""
    others: list[Json | None] = []
    decision: Decision = found.decision
    for route in decision.routes:
        other = {EXACT: APPROXIMATE, APPROXIMATE: EXACT}.get(route.kind, "")
        if not other or (other == APPROXIMATE and assessment.costs.of(route.shard).forced):
            others.append(None)
            continue
        moved = OverriddenBoundary(boundary, {**overrides, route.shard: other})
        entry = outcome_of(assessment, moved, known=known)
        others.append({"seconds": entry.seconds, "owed": entry.examples_owed})
    return others
