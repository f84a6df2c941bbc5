"""The boundary: which shards are retrained exactly and which are modified approximately.

The paper (Li, Yu, Wang et al. 2024) switches on an estimated retraining workload; only its abstract
is public to us, and the rules here are our own.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from unlearnkit.training.clock import MIN_MULTIPLE, Interval
from unlearnkit.unlearning.error_model import ErrorModel
from unlearnkit.unlearning.inspection import Check
from unlearnkit.unlearning.workload import ShardWork, Workload

if TYPE_CHECKING:
    import pandas as pd

EXACT, APPROXIMATE, LEAVE = "exact", "approximate", "leave"


@dataclass(frozen=True)
class Coverage:
    """The class of a shard of which the largest part would have been forgotten approximately.

    Attributes:
        label: of the class.
        gone: its examples in the request or in the shard's debt.
        members: its examples that shaped the shard's model.
    """

    label: int
    gone: int
    members: int

    @property
    def share(self) -> float:
        """The part of the class."""
        return self.gone / max(1, self.members)


@dataclass(frozen=True)
class Cost:
    """What each way would cost for one shard.

    Attributes:
        shard: 0-based.
        exact_seconds: predicted; None before anything was timed.
        approximate_seconds: predicted; None before anything was timed.
        forced: why approximation is not on offer, in a sentence; empty if it is.
        coverage: the class that loses most; None where the loss is convex in the parameters, so
            that corrections do not run away.
    """

    shard: int
    exact_seconds: float | None
    approximate_seconds: float | None
    forced: str = ""
    coverage: Coverage | None = None


@dataclass(frozen=True)
class Costs:
    """Costs of every hit shard, and of training everything from scratch.

    Attributes:
        shards: predicted for each; a shard's seconds are its part of retraining, or modifying, all
            hit shards together.
        scratch_seconds: predicted for training everything.
        exact_seconds: predicted for retraining some shards together.
        approximate_seconds: predicted for modifying and amending some shards together.
        multiple: by how much a measurement may differ from its prediction, either way; of a request
            with an approximate part, or without.
        error_model: fitted to past repayments.
    """

    shards: tuple[Cost, ...]
    scratch_seconds: float | None
    exact_seconds: Callable[[tuple[int, ...]], float | None]
    approximate_seconds: Callable[[tuple[int, ...]], float | None]
    multiple: Callable[[bool], float] = lambda approximate: MIN_MULTIPLE
    error_model: ErrorModel = ErrorModel()

    def seconds(self, exact: Iterable[int], approximate: Iterable[int]) -> float | None:
        """Predicted for a decision; None before anything was timed."""
        ways = (self.exact_seconds, exact), (self.approximate_seconds, approximate)
        parts = [predicted(tuple(sorted(shards))) for predicted, shards in ways]
        return None if None in parts else float(sum(part for part in parts if part is not None))

    def interval(self, exact: Iterable[int], approximate: Iterable[int]) -> Interval | None:
        """Where the seconds of a decision are expected; None before anything was timed."""
        exact, approximate = tuple(exact), tuple(approximate)
        seconds, multiple = self.seconds(exact, approximate), self.multiple(bool(approximate))
        return None if seconds is None else Interval(seconds / multiple, seconds * multiple)

    def route(self, work: ShardWork, kind: str, share: float, reason: str) -> "Route":
        """A route for one shard, with the seconds predicted for it."""
        cost = self.of(work.shard)
        seconds = {EXACT: cost.exact_seconds, APPROXIMATE: cost.approximate_seconds, LEAVE: 0.0}
        return Route(work.shard, kind, work.visits, share, seconds[kind], reason)

    def of(self, shard: int) -> Cost:
        """The cost of one shard."""
        return next(cost for cost in self.shards if cost.shard == shard)


@dataclass(frozen=True)
class Route:
    """What happens to one shard, and why.

    Attributes:
        shard: 0-based.
        kind: ``"exact"``, ``"approximate"``, or ``"leave"`` for a shard that lost all examples.
        visits: of exact retraining, whether chosen or not.
        share: the same as a part of from scratch, in the unit of the boundary.
        seconds: predicted for the way chosen.
        reason: in a sentence.
    """

    shard: int
    kind: str
    visits: int
    share: float
    seconds: float | None
    reason: str


@dataclass(frozen=True)
class Decision:
    """A route for every shard that the request hits, cheapest first.

    Attributes:
        routes: by shard.
        boundary: that decided.
        seconds: predicted for all routes together, as first decided; None before anything was
            timed.
        interval: where the seconds are expected to lie.
        checks: what was known of each approximation when it was accepted or refused; of a
            repayment, how far off those were that it replaced.
    """

    routes: tuple[Route, ...]
    boundary: str
    seconds: float | None
    interval: Interval | None = None
    checks: tuple[Check, ...] = ()

    @classmethod
    def of(cls, routes: Iterable[Route], boundary: "Boundary", costs: Costs) -> "Decision":
        """A boundary's decision, with what its routes are predicted to take together."""
        routes = tuple(routes)
        exact = [route.shard for route in routes if route.kind == EXACT]
        approximate = [route.shard for route in routes if route.kind == APPROXIMATE]
        return cls(
            routes=routes,
            boundary=repr(boundary),
            seconds=costs.seconds(exact, approximate),
            interval=costs.interval(exact, approximate),
        )

    @property
    def exact(self) -> tuple[int, ...]:
        """Shards to retrain exactly."""
        return tuple(sorted(route.shard for route in self.routes if route.kind == EXACT))

    @property
    def approximate(self) -> tuple[int, ...]:
        """Shards to modify approximately."""
        return tuple(sorted(route.shard for route in self.routes if route.kind == APPROXIMATE))

    @property
    def exact_visits(self) -> int:
        """Example gradients of the exact part."""
        return sum(route.visits for route in self.routes if route.kind == EXACT)

    def after(self, checks: Iterable[Check], refused: dict[int, str], costs: Costs) -> "Decision":
        """The decision once its approximations were looked at.

        Args:
            checks: of each approximation.
            refused: shards that are retrained exactly instead, and why.
            costs: of the request.
        """
        seen = {check.shard: check for check in checks}
        routes = []
        for route in self.routes:
            if route.shard in refused:
                seconds = costs.of(route.shard).exact_seconds
                route = replace(route, kind=EXACT, seconds=seconds, reason=refused[route.shard])
            elif route.shard in seen:
                route = replace(route, reason=f"{route.reason}; {seen[route.shard].sentence}")
            routes.append(route)
        return replace(self, routes=tuple(routes), checks=tuple(seen.values()))

    def __repr__(self) -> str:
        seconds = "" if self.interval is None else f"{self.interval}, "
        return (
            f"Decision({len(self.exact)} shards exact, {len(self.approximate)} approximate, "
            f"{seconds}by {self.boundary})"
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row a route."""
        import pandas as pd

        columns = list(Route.__annotations__)
        return pd.DataFrame([vars(route) for route in self.routes], columns=columns)

    def _repr_html_(self) -> str:
        import pandas as pd

        formatters = {"share": "{:.1%}".format}
        with pd.option_context("display.max_colwidth", None):
            table = self.to_frame().to_html(index=False, formatters=formatters, na_rep="-")
        return f"<p>{self!r}</p>{table}"


@runtime_checkable
class Boundary(Protocol):
    """Chooses a route for every shard that a request hits."""

    def decide(self, workload: Workload, costs: Costs, debts: dict[int, int]) -> Decision:
        """A route and a sentence of reason per shard. Has no side effects.

        Args:
            workload: of the request, debt included.
            costs: predicted seconds of both ways.
            debts: ids that each shard has removed approximately so far.
        """
        ...

    def objection(self, check: Check) -> str:
        """Why an approximation that was looked at is not good enough; empty if it is.

        Asked once the correction is known, and again after the amend. A shard that is refused then
        gets a longer amend where there is one, and is retrained exactly if that is refused too.
        """
        return ""
