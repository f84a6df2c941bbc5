"""A request as assessed: what any boundary decides on it, costs and leaves."""

from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING

from unlearnkit.figures import CurvePoint
from unlearnkit.unlearning.boundary.chosen import OverriddenBoundary
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import Boundary, Costs, Decision
from unlearnkit.unlearning.inspection import Look
from unlearnkit.unlearning.workload import Workload

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Assessed:
    """A request as assessed once; the slider decides on it without asking the store again.

    Attributes:
        workload: of the request.
        costs: of both ways.
        debts: ids that each shard owes.
        voters: constituents of the ensemble afterwards; 0 where errors are no mean of theirs.
    """

    workload: Workload
    costs: Costs
    debts: dict[int, int]
    voters: int

    @classmethod
    def of(cls, workload: Workload, costs: Costs, debts: dict[int, int], voters: int) -> "Assessed":
        """With the predicted seconds of every division of the shards computed once."""
        exact, approximate = cache(costs.exact_seconds), cache(costs.approximate_seconds)
        once = replace(
            costs,
            exact_seconds=lambda shards: exact(tuple(shards)),
            approximate_seconds=lambda shards: approximate(tuple(shards)),
        )
        return cls(workload, once, debts, voters)

    def decide(self, boundary: Boundary) -> Decision:
        """What a boundary decides."""
        return boundary.decide(self.workload, self.costs, self.debts)

    def point(self, share: float, decision: Decision, looks: dict[int, Look]) -> CurvePoint | None:
        """What a decision costs and leaves; None before any timing.

        KL is convex in its two arguments together (Cover and Thomas 2006, theorem 2.7.2), so the
        error of a mean of probabilities is at most the mean of the constituents' errors.
        """
        if decision.seconds is None:
            return None
        left = set(decision.approximate)
        owed = sum(work.forget + work.debt for work in self.workload.shards if work.shard in left)
        bounds = [looks[shard].bound if shard in looks else None for shard in left]
        known = [bound for bound in bounds if bound is not None]
        error = sum(known) / self.voters if self.voters and len(known) == len(bounds) else None
        return CurvePoint(share, decision.seconds, len(decision.exact), owed, error)

    def stages(self) -> "pd.DataFrame":
        """One row a stage: its visits, and what becomes of it."""
        import pandas as pd

        rows = [
            {"shard": shard, "slice": number, "visits": int(visits), "status": status}
            for shard, (counts, states) in enumerate(
                zip(self.workload.stage_visits, self.workload.stage_status, strict=True)
            )
            for number, (visits, status) in enumerate(zip(counts, states, strict=True), start=1)
        ]
        return pd.DataFrame(rows)


def curve(
    assessed: Assessed, base: FixedBoundary, told: dict[int, str], looks: dict[int, Look]
) -> list[CurvePoint]:
    """At every threshold where the decision changes; nothing before any timing."""

    def at(share: float) -> Decision:
        moved = replace(base, max_share=share)
        return assessed.decide(OverriddenBoundary(moved, told) if told else moved)

    sums = accumulate(route.share for route in at(1.0).routes)
    points = []
    for share in sorted({0.0, *(min(1.0, round(s, 12)) for s in sums), 1.0}):
        point = assessed.point(share, at(share), looks)
        if point is None:
            return []
        points.append(point)
    return points
