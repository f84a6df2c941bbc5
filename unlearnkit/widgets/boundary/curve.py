"""The predicted cost of a request, and the debt or error that remains, at every threshold."""

from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

from unlearnkit.figures import CurvePoint
from unlearnkit.unlearning.assessment import Assessment
from unlearnkit.unlearning.boundary.chosen import OverriddenBoundary
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import Decision
from unlearnkit.unlearning.inspection import Check
from unlearnkit.unlearning.workload import Workload

if TYPE_CHECKING:
    import pandas as pd


def point(
    assessment: Assessment, voters: int, share: float, decision: Decision, checks: dict[int, Check]
) -> CurvePoint | None:
    """Return the cost and the debt of a decision; None if there are no timings yet.

    KL is convex in its two arguments together (Cover and Thomas 2006, theorem 2.7.2), so the error
    of a mean of probabilities is at most the mean of the constituents' errors.

    Args:
        assessment: the assessment of the request.
        voters: number of constituents after the request; 0 if the ensemble's output is not the
            mean of theirs.
        share: the threshold at which the point is drawn.
        decision: the decision on the request.
        checks: checks of approximations that were tried, by shard.
    """
    if decision.seconds is None:
        return None
    left = set(decision.approximate)
    owed = sum(work.forget + work.debt for work in assessment.workload.shards if work.shard in left)
    bounds = [checks[shard].bound if shard in checks else None for shard in left]
    known = [bound for bound in bounds if bound is not None]
    error = sum(known) / voters if voters and len(known) == len(bounds) else None
    return CurvePoint(share, decision.seconds, len(decision.exact), owed, error)


def stages(workload: Workload) -> "pd.DataFrame":
    """Return one row per stage, with its visits and its status."""
    import pandas as pd

    rows = [
        {"shard": shard, "slice": number, "visits": int(visits), "status": status}
        for shard, (counts, states) in enumerate(
            zip(workload.stage_visits, workload.stage_status, strict=True)
        )
        for number, (visits, status) in enumerate(zip(counts, states, strict=True), start=1)
    ]
    return pd.DataFrame(rows)


def curve(
    assessment: Assessment,
    voters: int,
    base: FixedBoundary,
    overrides: dict[int, str],
    checks: dict[int, Check],
) -> list[CurvePoint]:
    """Return a point for every threshold that changes the decision; none without timings."""

    def at(share: float) -> Decision:
        moved = replace(base, max_share=share)
        return assessment.decide(OverriddenBoundary(moved, overrides) if overrides else moved)

    sums = accumulate(route.share for route in at(1.0).routes)
    points = []
    for share in sorted({0.0, *(min(1.0, round(s, 12)) for s in sums), 1.0}):
        found = point(assessment, voters, share, at(share), checks)
        if found is None:
            return []
        points.append(found)
    return points
