"""Boundaries whose routes are chosen by hand, for all shards or for some of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from unlearnkit.unlearning.boundary.custom import ask, deadline_of
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
from unlearnkit.unlearning.boundary.registry import BOUNDARIES
from unlearnkit.unlearning.inspection import Check
from unlearnkit.unlearning.workload import Workload


@dataclass(frozen=True)
class ChosenBoundary(Boundary):
    """Retrain the named shards exactly and modify the others.

    Scripts use it to repeat a recorded decision.

    Attributes:
        exact: shards to retrain.
        longer: pairs (shard, epochs). The amend of such a shard replays at least this number of
            epochs, if the amend has a variant that long. These are the shards whose first amend
            was refused.

    >>> import unlearnkit as uk
    >>> session = uk.Session("digits", model="logistic", epochs=2, seed=0)
    >>> report = session.train()
    >>> request = session.revoke([3, 141])
    >>> session.preview(boundary=uk.ChosenBoundary((3,))).exact  # it hits the shards 3 and 4
    (3,)
    """

    exact: tuple[int, ...] = ()
    longer: tuple[tuple[int, int], ...] = ()

    def decide(self, workload: Workload, costs: Costs, debts: dict[int, int]) -> Decision:
        """Follow the choice, except where approximation is not possible.

        Raises:
            ValueError: a named shard is not hit by the request.
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
        """Refuse an amend that replayed fewer epochs than ``longer`` asks for."""
        epochs = dict(self.longer).get(check.shard, 0)
        if check.replayed is None or check.replayed >= epochs:
            return ""
        return f"only {check.replayed} of the {epochs} epochs asked for were replayed"


@dataclass(frozen=True)
class OverriddenBoundary(Boundary):
    """Let another boundary decide, and override the routes of some shards by hand.

    The routes of the other shards do not depend on the overrides. A shard that cannot be modified
    is retrained even if it is overridden, and its reason says so.

    Attributes:
        base: the boundary that decides, a name in ``BOUNDARIES`` or an object.
        routes: ``"exact"`` or ``"approximate"`` for each overridden shard. An approximation that
            was asked for is not refused whatever its check shows; the check is recorded, and what
            is doubtful is reported, all the same.

    Raises:
        TypeError: the base is None, or lacks a part of the protocol of boundaries.
        ValueError: a route is neither of the two.

    >>> import unlearnkit as uk
    >>> session = uk.Session("digits", model="logistic", epochs=2, seed=0)
    >>> report = session.train()
    >>> request = session.revoke([3, 141])
    >>> exact = uk.FixedBoundary(1)
    >>> session.preview(boundary=uk.OverriddenBoundary(exact, {3: "approximate"})).approximate
    (3,)
    """

    base: str | Boundary = field(default_factory=FixedBoundary)
    routes: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the fields."""
        object.__setattr__(self, "base", self._base)
        for shard, kind in self.routes.items():
            if kind not in (EXACT, APPROXIMATE):
                raise ValueError(
                    f"the route of shard {shard} is {kind!r}; give {EXACT!r} or {APPROXIMATE!r}"
                )

    def decide(self, workload: Workload, costs: Costs, debts: dict[int, int]) -> Decision:
        """Return the decision of the base, with the overridden routes.

        Raises:
            ValueError: an overridden shard is not hit by the request.
        """
        _check_hit(self.routes, workload)
        decided = ask(self._base, workload, costs, debts)
        routes = tuple(self._overridden(route, costs) for route in decided.routes)
        return Decision.of(routes, self, costs)

    def objection(self, check: Check) -> str:
        """Return the base's objection, except to shards that were overridden as approximate."""
        return "" if self.routes.get(check.shard) == APPROXIMATE else self._base.objection(check)

    @property
    def seconds(self) -> float | None:
        """The deadline of the base."""
        return deadline_of(self._base)

    @property
    def _base(self) -> Boundary:
        return BOUNDARIES.require(self.base)

    def _overridden(self, route: Route, costs: Costs) -> Route:
        asked, cost = self.routes.get(route.shard), costs.of(route.shard)
        if asked is None or route.kind == LEAVE:
            return route
        if asked == APPROXIMATE and cost.forced:
            return replace(route, reason=f"asked to be approximate by hand, but {cost.forced}")
        seconds = cost.exact_seconds if asked == EXACT else cost.approximate_seconds
        if asked == route.kind:
            base = "as the boundary decided"
        else:
            base = f"while the boundary decided {route.kind}"
        reason = f"asked to be {asked} by hand, {base}: {route.reason}"
        return replace(route, kind=asked, seconds=seconds, reason=reason)


def _check_hit(shards: Iterable[int], workload: Workload) -> None:
    """Raise a ValueError if the request does not hit one of the named shards."""
    hit = {work.shard for work in workload.shards}
    if unknown := sorted(set(shards) - hit):
        raise ValueError(f"shards {unknown} are not hit by the request; it hits {sorted(hit)}")
