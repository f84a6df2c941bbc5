"""The fixed boundary: retrain shards exactly up to a share of the cost of training from scratch."""

from dataclasses import dataclass, replace
from itertools import accumulate

from unlearnkit.unlearning.boundary.protocol import (
    APPROXIMATE,
    EXACT,
    LEAVE,
    Boundary,
    Costs,
    Decision,
    Route,
)
from unlearnkit.unlearning.workload import ShardWork, Workload

UNITS = ("visits", "seconds")
TOLERANCE = 1e-12  # of a threshold, for sums of shares that are rounded


@dataclass(frozen=True)
class FixedBoundary(Boundary):
    """Retrain the cheapest shards exactly while their total cost stays within a fixed share.

    The hit shards are ordered by ascending workload W_s. They are retrained exactly as long as the
    running sum is at most ``max_share`` of the cost of training the whole ensemble from scratch on
    the retain set; the others are modified. (This rule was devised for
    unlearnkit.)

    Attributes:
        max_share: tau, from 0 (always approximate) to 1 (always exact).
        whole: decide for all hit shards together: all exact if their sum is within the share,
            otherwise all approximate. This is closer to the abstract of Li, Yu, Wang et al. (2024),
            which speaks of one workload for a request.
        unit: ``"visits"`` or predicted ``"seconds"``, in which shares are measured.

    Raises:
        TypeError: ``max_share`` is not a number.
        ValueError: ``max_share`` or ``unit`` is out of its range.

    >>> import unlearnkit as uk
    >>> session = uk.Session("digits", model="logistic", epochs=2, seed=0)
    >>> report = session.train()
    >>> request = session.revoke([3, 141])
    >>> [len(session.preview(boundary=uk.FixedBoundary(share)).exact) for share in (0, 1)]
    [0, 2]
    >>> session.boundary = uk.FixedBoundary(0.1)  # for all calls that name no boundary
    """

    max_share: float = 0.25
    whole: bool = False
    unit: str = "visits"

    def __post_init__(self) -> None:
        """Check the fields."""
        share = self.max_share
        if isinstance(share, bool) or not isinstance(share, int | float):
            raise TypeError(f"max_share={share!r} is not a number; give one from 0 to 1")
        if not 0 <= share <= 1:
            raise ValueError(
                f"max_share={share} is out of range; give a share of training from scratch, from "
                "0 (always approximate) to 1 (always exact)."
            )
        if self.unit not in UNITS:
            raise ValueError(f"unit={self.unit!r} is not known; use 'visits' or 'seconds'")

    def decide(self, workload: Workload, costs: Costs, debts: dict[int, int]) -> Decision:
        """Retrain the shards exactly in order of cost until the share is spent.

        Raises:
            LookupError: ``unit="seconds"``, and no training has been timed yet.
        """
        routes: list[Route] = []
        spent = 0.0
        total = sum(self._share(work, workload, costs) for work in workload.shards)
        order = sorted(workload.shards, key=lambda w: (self._share(w, workload, costs), w.shard))
        for work in order:
            share, cost = self._share(work, workload, costs), costs.of(work.shard)
            running = total if self.whole else spent + share
            if not work.retained:
                kind, reason = LEAVE, "all its examples are revoked, so it leaves the vote"
            elif cost.forced:
                kind, reason = EXACT, cost.forced
                spent += share
            elif running <= self.max_share + TOLERANCE or self.max_share == 1:
                kind = EXACT
                what = (
                    "all hit shards together" if self.whole else "the exact shards up to this one"
                )
                reason = (
                    f"{what} cost {running:.1%} of training from scratch, within "
                    f"{self.max_share:.1%}"
                )
                spent += share
            else:
                kind = APPROXIMATE
                what = "all hit shards together" if self.whole else "the exact shards with this one"
                reason = (
                    f"{what} would cost {running:.1%} of training from scratch, over "
                    f"{self.max_share:.1%}"
                )
            routes.append(costs.route(work, kind, share, reason))
        return Decision.of(routes, self, costs)

    def starts(self, workload: Workload, costs: Costs) -> list[float]:
        """Return the thresholds at which one more shard is retrained exactly, ascending.

        They are the running sums of costs that :meth:`decide` compares with ``max_share``. They do
        not depend on ``max_share``; sums above 1 count as 1. The first is 0.

        Raises:
            LookupError: as for :meth:`decide`.
        """
        everything = replace(self, max_share=1.0).decide(workload, costs, {})
        free = {work.shard for work in workload.shards if not costs.of(work.shard).forced}
        if self.whole:
            sums = [sum(self._share(work, workload, costs) for work in workload.shards)]
        else:
            exact = [route for route in everything.routes if route.kind == EXACT]
            running = accumulate(route.share for route in exact)
            sums = [t for route, t in zip(exact, running, strict=True) if route.shard in free]
        return sorted({0.0, 1.0, *(total for total in sums if total <= 1 + TOLERANCE)})

    def _share(self, work: ShardWork, workload: Workload, costs: Costs) -> float:
        if self.unit == "visits":
            return workload.share_of(work.visits)
        seconds, scratch = costs.of(work.shard).exact_seconds, costs.scratch_seconds
        if seconds is None or not scratch:
            raise LookupError(
                "unit='seconds' needs a timed training in this session, and there is none; train "
                "first, or use unit='visits'"
            )
        return seconds / scratch
