"""A boundary with the last word left to a person: some shards go as they were told to."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from unlearnkit.unlearning.boundary.protocol import (
    APPROXIMATE,
    BOUNDARIES,
    EXACT,
    LEAVE,
    Boundary,
    Costs,
    Decision,
    FixedBoundary,
    Route,
)
from unlearnkit.unlearning.inspection import Look
from unlearnkit.unlearning.workload import Workload


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
        hit = {work.shard for work in workload.shards}
        if unknown := sorted(set(self.routes) - hit):
            raise ValueError(f"shards {unknown} are not hit by the request; it hits {sorted(hit)}")
        decided = self.base.decide(workload, costs, debts)
        routes = tuple(self._told(route, costs) for route in decided.routes)
        exact, approximate = (
            [route.shard for route in routes if route.kind == kind] for kind in (EXACT, APPROXIMATE)
        )
        seconds, interval = costs.seconds(exact, approximate), costs.interval(exact, approximate)
        return Decision(routes, repr(self), seconds, interval)

    def objection(self, look: Look) -> str:
        """The base's, but of shards that were told to be approximate."""
        return "" if self.routes.get(look.shard) == APPROXIMATE else self.base.objection(look)

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


BOUNDARIES["overridden"] = OverriddenBoundary
