"""Every outcome that a threshold can have for a request, worked out once.

A fixed boundary retrains the cheapest shards whose costs add up to its threshold, so a request that
hits S shards has at most S + 1 outcomes. Knowing all of them, a page can follow a threshold without
asking Python, and a curve can be drawn over it.
"""

import bisect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from unlearnkit.display import as_html, duration, listing, percent, plural
from unlearnkit.unlearning.assessment import Assessment
from unlearnkit.unlearning.boundary.chosen import OverriddenBoundary
from unlearnkit.unlearning.boundary.fixed import TOLERANCE, FixedBoundary
from unlearnkit.unlearning.boundary.protocol import LEAVE, Boundary, Costs, Decision
from unlearnkit.unlearning.inspection import Check
from unlearnkit.unlearning.workload import Workload

if TYPE_CHECKING:
    import pandas as pd

AT = "{at}"  # stands for the threshold in sentences


@dataclass(frozen=True, eq=False)
class Circumstances:
    """What is known of a request beside its assessment.

    Attributes:
        ids: ids of the request if its examples are in groups, to count those that would be owed.
        spot_check: as for :meth:`Assessment.decide`.
        checks: checks of approximations that were tried, by shard.
        voters: number of constituents after the request; 0 if the ensemble's output is not the
            mean of theirs.
        noun: what a group is called.
    """

    ids: Int[np.ndarray, " request"] | None = None
    spot_check: bool | str = False
    checks: Mapping[int, Check] = field(default_factory=dict)
    voters: int = 0
    noun: str = "group"


@dataclass(frozen=True)
class Outcome:
    """What is decided from one threshold up to that of the next outcome.

    Attributes:
        start: the smallest threshold with this outcome.
        decision: the decision at this threshold.
        examples_owed: number of examples that the hit shards would owe afterwards.
        groups_owed: number of groups, such as persons, to which these examples belong; None
            without groups.
        error: bound on the ensemble's error in nats; None if it is unknown.
        summary: the outcome in a few words.
        sentence: the outcome in words; ``{at}`` in it stands for the threshold.
    """

    start: float
    decision: Decision
    examples_owed: int
    groups_owed: int | None
    error: float | None
    summary: str = field(repr=False)
    sentence: str = field(repr=False)

    @property
    def routes(self) -> dict[int, str]:
        """The kind of every hit shard's route, cheapest shard first."""
        return {route.shard: route.kind for route in self.decision.routes}

    @property
    def seconds(self) -> float | None:
        """Predicted CPU seconds of the whole request; None before any training was timed."""
        return self.decision.seconds


@dataclass(frozen=True)
class Outcomes:
    """All outcomes of a request, by ascending threshold.

    Attributes:
        outcomes: the outcomes; a boundary without a threshold has one.
        total_visits: visits of training everything from scratch.

    >>> len(Outcomes((), 0))
    0
    """

    outcomes: tuple[Outcome, ...]
    total_visits: int

    def at(self, threshold: float) -> Outcome:
        """Return the outcome at a threshold from 0 to 1, as the boundary would decide."""
        if threshold >= 1:
            return self.outcomes[-1]
        starts = [outcome.start for outcome in self.outcomes]
        return self.outcomes[max(0, bisect.bisect_right(starts, threshold + TOLERANCE) - 1)]

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.outcomes)

    def __len__(self) -> int:
        return len(self.outcomes)

    def __repr__(self) -> str:
        return f"Outcomes({plural(len(self), 'outcome')})"

    def to_frame(self) -> "pd.DataFrame":
        """One row per outcome: from which threshold on, which shards, and at what cost."""
        import pandas as pd

        columns = ["threshold", "exact", "approximate", "visits", "share", "seconds"]
        columns += ["examples_owed", "groups_owed", "error"]
        rows = [
            [
                *(one.start, len(one.decision.exact), len(one.decision.approximate)),
                one.decision.exact_visits,
                one.decision.exact_visits / max(1, self.total_visits),
                *(one.seconds, one.examples_owed, one.groups_owed, one.error),
            ]
            for one in self.outcomes
        ]
        return pd.DataFrame(rows, columns=columns)

    def _repr_html_(self) -> str:
        return as_html(self, formatters={"threshold": "{:.1%}".format, "share": "{:.1%}".format})


def outcomes(
    assessment: Assessment, boundary: Boundary, known: Circumstances = Circumstances()
) -> Outcomes:
    """Work out every outcome of a fixed boundary's threshold for a request.

    Args:
        assessment: the assessment of the request.
        boundary: a fixed boundary, whose ``max_share`` does not matter, alone or with overrides.
            Any other boundary has one outcome: its decision.
        known: what else is known of the request.

    Raises:
        LookupError: the boundary measures seconds, and no training has been timed yet.
        ValueError: an overridden shard is not hit by the request.
    """
    workload, costs = assessment.workload, assessment.costs
    base = boundary.base if isinstance(boundary, OverriddenBoundary) else boundary
    if not isinstance(base, FixedBoundary):
        found = outcome_of(assessment, boundary, 0.0, "", known)
        return Outcomes((found,) if workload.shards else (), workload.total_visits)
    made: list[Outcome] = []
    for start in base.starts(workload, costs) if workload.shards else ():
        moved: Boundary = replace(base, max_share=min(1.0, start))
        if isinstance(boundary, OverriddenBoundary):
            moved = replace(boundary, base=moved)
        decision = assessment.decide(moved, known.spot_check)
        if not made or made[-1].decision.exact != decision.exact:
            made.append(_outcome(assessment, decision, start, f"At a threshold of {AT}", known))
    return Outcomes(tuple(made), workload.total_visits)


def outcome_of(
    assessment: Assessment,
    boundary: Boundary,
    start: float = 0.0,
    at: str = "",
    known: Circumstances = Circumstances(),
) -> Outcome:
    """Return the outcome of one boundary.

    Args:
        assessment: the assessment of the request.
        boundary: any boundary.
        start: the threshold that is noted.
        at: beginning of the sentence, which names the threshold or the boundary.
        known: what else is known of the request.
    """
    decision = assessment.decide(boundary, known.spot_check)
    return _outcome(assessment, decision, start, at or "With this boundary", known)


def _outcome(
    assessment: Assessment, decision: Decision, start: float, at: str, known: Circumstances
) -> Outcome:
    left = set(decision.approximate)
    works = [work for work in assessment.workload.shards if work.shard in left]
    examples, groups = sum(work.forget + work.debt for work in works), None
    if known.ids is not None:
        groups = _groups_owed(assessment, known.ids, left)
    owed = plural(examples, "example")
    if groups is not None:
        owed += f" of {plural(groups, known.noun)}"
    return Outcome(
        start=start,
        decision=decision,
        examples_owed=examples,
        groups_owed=groups,
        error=error_bound(decision, known),
        summary=_summary(decision, owed),
        sentence=" ".join(filter(None, describe(assessment, decision, at, owed))),
    )


def error_bound(decision: Decision, known: Circumstances) -> float | None:
    """Return a bound on the error that a decision leaves, in nats; None if it is unknown.

    KL is convex in its two arguments together (Cover and Thomas 2006, theorem 2.7.2), so the error
    of a mean of probabilities is at most the mean of the constituents' errors.
    """
    bounds = [
        known.checks[shard].bound if shard in known.checks else None
        for shard in decision.approximate
    ]
    found = [bound for bound in bounds if bound is not None]
    return sum(found) / known.voters if known.voters and len(found) == len(bounds) else None


def _groups_owed(
    assessment: Assessment, ids: Int[np.ndarray, " request"], left: set[int]
) -> int | None:
    """Count the groups of the examples that some shards would owe."""
    plan = assessment.plan
    if plan.examples.groups is None:
        return None
    rows = plan.partition.rows(ids)
    owed = [rows[np.isin(plan.partition.shard[rows], list(left))]]
    owed += [plan.partition.rows(debt) for s, debt in assessment.debts.items() if s in left]
    return len(np.unique(plan.examples.groups[np.concatenate(owed)]))


def _summary(decision: Decision, owed: str) -> str:
    parts = []
    if decision.exact:
        parts.append(f"{plural(len(decision.exact), 'shard')} exact")
    if decision.approximate:
        parts.append(f"{plural(len(decision.approximate), 'shard')} approximate, {owed} owed")
    return ", ".join(parts) or "nothing is retrained"


def describe(assessment: Assessment, decision: Decision, at: str, owed: str) -> list[str]:
    """Describe a decision: the routes of the shards, their cost, and what is owed.

    Args:
        assessment: the assessment of the request.
        decision: the decision on the request.
        at: beginning of the first sentence, which names the threshold or the boundary.
        owed: the examples that would be owed, with their number.
    """
    workload = assessment.workload
    exact, approximate = decision.exact, decision.approximate
    share = percent(workload.share_of(decision.exact_visits))
    total = len(exact) + len(approximate)
    hit = f"{'the' if total == 1 else f'all {total}'} hit {'shard' if total == 1 else 'shards'}"
    verb = "is" if total == 1 else "are"
    cost = f"{decision.exact_visits:,} visits, {share} of training from scratch"
    if exact and approximate:
        first = (
            f"{at}, {which(exact)} retrained exactly ({cost}) and {which(approximate)} modified "
            f"approximately, which leaves {owed} owed."
        )
    elif exact:
        first = f"{at}, {hit} ({listing(exact)}) {verb} retrained exactly: {cost}. Nothing is owed."
    elif approximate:
        first = (
            f"{at}, {hit} ({listing(approximate)}) {verb} modified approximately, which leaves "
            f"{owed} owed."
        )
    else:
        first = f"{at}, nothing is retrained."
    gone = [route.shard for route in decision.routes if route.kind == LEAVE]
    leaves = f"{which(gone)} left without examples and dropped from the vote." if gone else ""
    return [
        first,
        leaves[:1].upper() + leaves[1:],
        _predicted(workload, assessment.costs, decision),
    ]


def _predicted(workload: Workload, costs: Costs, decision: Decision) -> str:
    """Compare the predicted CPU seconds with those of retraining."""
    seconds, scratch = decision.seconds, costs.scratch_seconds
    whole = costs.seconds((work.shard for work in workload.shards if work.retained), ())
    if seconds is None or whole is None or not scratch:
        return ""
    first = f"Predicted: {duration(seconds)} of CPU time"
    if not decision.approximate:
        return f"{first}; training everything from scratch takes {duration(scratch)}."
    if duration(seconds) == duration(whole):
        return (
            f"{first}, about as much as retraining every hit shard; training everything from "
            f"scratch takes {duration(scratch)}."
        )
    if seconds > whole:
        return (
            f"{first}, more than the {duration(whole)} of retraining every hit shard; training "
            f"everything from scratch takes {duration(scratch)}."
        )
    return (
        f"{first}, against {duration(whole)} for retraining every hit shard and "
        f"{duration(scratch)} for training everything from scratch."
    )


def which(shards: "tuple[int, ...] | list[int]") -> str:
    """Name some shards, with the verb that follows.

    >>> which((3,)), which((0, 2))
    ('shard 3 is', '2 shards (0 and 2) are')
    """
    many = len(shards) != 1
    return f"{len(shards)} shards ({listing(shards)}) are" if many else f"shard {shards[0]} is"
