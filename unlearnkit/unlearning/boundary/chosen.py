"""Boundaries with the last word left to a person: for every shard, or for some of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import (
    APPROXIMATE,
    EXACT,
    LEAVE,
    Boundary,
    Costs,
    Decision,
    Route,
)
from unlearnkit.unlearning.inspection import Check
from unlearnkit.unlearning.workload import Workload


@dataclass(frozen=True)
class ChosenBoundary(Boundary):
    """Retrain the shards named exactly, and modify the others: a decision made elsewhere.

    Attributes:
        exact: shards.
        longer: pairs (shard, epochs) of shards whose amend is to replay at least so many epochs,
            if there is one that does: those that a guard had sent back.
    """

    exact: tuple[int, ...] = ()
    longer: tuple[tuple[int, int], ...] = ()

    def decide(self, workload: Workload, costs: Costs, debts: dict[int, int]) -> Decision:
        """As said, but where approximation is not on offer.

        Raises:
            ValueError: a shard that the request does not hit.
        """
        _check_hit(self.exact, workload)
        routes = []
        for work in sorted(workload.shards, key=lambda work: (work.visits, work.shard)):
            cost = costs.of(work.shard)
            if not work.retained:
                kind, reason = LEAVE, "all its examples are revoked, so it leaves the vote"
            elif work.shard in self.exact or cost.forced:
                kind, reason = EXACT, cost.forced or "chosen to be retrained"
            else:
                kind, reason = APPROXIMATE, "chosen to be modified"
            routes.append(costs.route(work, kind, workload.share_of(work.visits), reason))
        return Decision.of(routes, self, costs)

    def objection(self, check: Check) -> str:
        """To an amend that is shorter than asked for."""
        epochs = dict(self.longer).get(check.shard, 0)
        if check.replayed is None or check.replayed >= epochs:
            return ""
        return f"{check.replayed} epochs were replayed, of the {epochs} asked for"


@dataclass(frozen=True)
class OverriddenBoundary(Boundary):
    """Another boundary decides, and shards that are named go another way.

    The other shards go as they would have without it: what an override costs or saves is not
    spread over them. A shard that has to be retrained, since no approximation fits it, is retrained
    whatever was asked for, and its reason says so.

    Attributes:
        base: decides.
        routes: ``"exact"`` or ``"approximate"`` for shards that are told so. An approximation that
            was told is accepted however it looks; the looks are recorded all the same.
    """

    base: Boundary = field(default_factory=FixedBoundary)
    routes: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the fields."""
        for shard, kind in self.routes.items():
            if kind not in (EXACT, APPROXIMATE):
                raise ValueError(
                    f"shard {shard} is to go {kind!r}; say {EXACT!r} or {APPROXIMATE!r}"
                )

    def decide(self, workload: Workload, costs: Costs, debts: dict[int, int]) -> Decision:
        """As the base does, but where it was told otherwise.

        Raises:
            ValueError: a shard that the request does not hit.
        """
        _check_hit(self.routes, workload)
        decided = self.base.decide(workload, costs, debts)
        routes = tuple(self._told(route, costs) for route in decided.routes)
        return Decision.of(routes, self, costs)

    def objection(self, check: Check) -> str:
        """The base's, but of shards that were told to be approximate."""
        return "" if self.routes.get(check.shard) == APPROXIMATE else self.base.objection(check)

    def _told(self, route: Route, costs: Costs) -> Route:
        asked, cost = self.routes.get(route.shard), costs.of(route.shard)
        if asked is None or route.kind == LEAVE:
            return route
        if asked == APPROXIMATE and cost.forced:
            return replace(route, reason=f"asked to be approximate, but {cost.forced}")
        seconds = cost.exact_seconds if asked == EXACT else cost.approximate_seconds
        had = "as the boundary has it" if asked == route.kind else f"the boundary had {route.kind}"
        reason = f"asked to be {asked} by hand, {had}: {route.reason}"
        return replace(route, kind=asked, seconds=seconds, reason=reason)


def _check_hit(shards: Iterable[int], workload: Workload) -> None:
    """Check that a request hits the shards that a person named."""
    hit = {work.shard for work in workload.shards}
    if unknown := sorted(set(shards) - hit):
        raise ValueError(f"shards {unknown} are not hit by the request; it hits {sorted(hit)}")
