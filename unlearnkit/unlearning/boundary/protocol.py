"""The protocol of boundaries, which choose between exact retraining and modification.

Li, Yu, Wang et al. (2024) choose by an estimated retraining workload. Only the abstract of the
paper is public, so the rules of this package are our own.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from unlearnkit.display import as_html, plural
from unlearnkit.training.clock import MIN_MULTIPLE, Interval
from unlearnkit.training.kernels.repeats import NOTHING_REPEATED, Repeated
from unlearnkit.unlearning.boundary.spot_check import SpotCheck
from unlearnkit.unlearning.boundary.verdict import but, warning_of
from unlearnkit.unlearning.error_model import ErrorModel
from unlearnkit.unlearning.inspection import Check
from unlearnkit.unlearning.workload import ShardWork, Workload

if TYPE_CHECKING:
    import pandas as pd

EXACT, APPROXIMATE, LEAVE = "exact", "approximate", "leave"


@dataclass(frozen=True)
class Coverage:
    """The class of a shard that would lose the largest share of its examples approximately.

    Attributes:
        label: number of the class.
        gone: number of its examples in the request or in the shard's debt.
        members: number of its examples that influenced the shard's model.
    """

    label: int
    gone: int
    members: int

    @property
    def share(self) -> float:
        """Share of the class's examples that would be forgotten."""
        return self.gone / max(1, self.members)


@dataclass(frozen=True)
class Cost:
    """Predicted cost of either route for one shard, in CPU seconds.

    Attributes:
        shard: 0-based.
        exact_seconds: predicted CPU seconds of retraining; None before any training was timed.
        approximate_seconds: predicted CPU seconds of modifying; None before any training was timed.
        forced: why the shard cannot be modified; empty if it can.
        coverage: the class that loses the largest share of its examples. None for a regression,
            and for models whose loss is convex in the parameters, for which corrections remain
            accurate where a class is removed.
    """

    shard: int
    exact_seconds: float | None
    approximate_seconds: float | None
    forced: str = ""
    coverage: Coverage | None = None


@dataclass(frozen=True)
class Costs:
    """Predicted costs of all hit shards, and of training everything from scratch.

    Seconds are CPU seconds of the work, for both routes alike, so that a comparison of the routes
    does not depend on what else the machine does.

    Attributes:
        shards: cost of each shard. Its seconds are its part of retraining, or modifying, all hit
            shards together.
        scratch_seconds: predicted CPU seconds of training everything from scratch.
        exact_seconds: predicts the CPU seconds of retraining some shards together.
        approximate_seconds: predicts those of modifying and amending some shards together.
        multiple: factor by which measured and predicted seconds may differ in either direction.
            The argument says whether the request has an approximate part.
        error_model: fitted to past repayments.
        pace: wall seconds in which this machine does a CPU second, for deadlines.
    """

    shards: tuple[Cost, ...]
    scratch_seconds: float | None
    exact_seconds: Callable[[tuple[int, ...]], float | None]
    approximate_seconds: Callable[[tuple[int, ...]], float | None]
    multiple: Callable[[bool], float] = lambda approximate: MIN_MULTIPLE
    error_model: ErrorModel = ErrorModel()
    pace: float = 1.0

    def seconds(self, exact: Iterable[int], approximate: Iterable[int]) -> float | None:
        """Predicted CPU seconds of a decision; None before any training was timed."""
        routes = (self.exact_seconds, exact), (self.approximate_seconds, approximate)
        parts = [predict(tuple(sorted(shards))) for predict, shards in routes]
        return None if None in parts else float(sum(part for part in parts if part is not None))

    def interval(self, exact: Iterable[int], approximate: Iterable[int]) -> Interval | None:
        """Interval of the CPU seconds of a decision; None before any training was timed."""
        exact, approximate = tuple(exact), tuple(approximate)
        seconds, multiple = self.seconds(exact, approximate), self.multiple(bool(approximate))
        return None if seconds is None else Interval(seconds / multiple, seconds * multiple)

    def route(self, work: ShardWork, kind: str, share: float, reason: str) -> "Route":
        """A route for one shard, with the CPU seconds predicted for it."""
        cost = self.of(work.shard)
        seconds = {EXACT: cost.exact_seconds, APPROXIMATE: cost.approximate_seconds, LEAVE: 0.0}
        return Route(work.shard, kind, work.visits, share, seconds[kind], reason)

    def of(self, shard: int) -> Cost:
        """The cost of one shard."""
        return next(cost for cost in self.shards if cost.shard == shard)

    def __repr__(self) -> str:
        exact = sum(bool(cost.forced) for cost in self.shards)
        return f"Costs({len(self.shards)} shards, of which {exact} have to be exact)"

    def to_frame(self) -> "pd.DataFrame":
        """One row per shard: predicted CPU seconds of both routes, and why it has to be exact."""
        import pandas as pd

        columns = ["shard", "exact_seconds", "approximate_seconds", "forced"]
        rows = [[getattr(cost, name) for name in columns] for cost in self.shards]
        return pd.DataFrame(rows, columns=columns)

    def _repr_html_(self) -> str:
        return as_html(self)


@dataclass(frozen=True)
class Route:
    """How one shard forgets its examples, and why.

    Attributes:
        shard: 0-based.
        kind: ``"exact"``, ``"approximate"``, or ``"leave"`` for a shard that lost all examples.
        visits: example gradients of exact retraining, whichever route is chosen.
        share: cost of exact retraining as a share of training from scratch, in the unit of the
            boundary.
        seconds: predicted CPU seconds of the chosen route; None before any training was timed.
        reason: why the route was chosen, in words.
    """

    shard: int
    kind: str
    visits: int
    share: float
    seconds: float | None
    reason: str = field(repr=False)


@dataclass(frozen=True)
class Decision:
    """A route for every shard that the request hits, cheapest first.

    Attributes:
        routes: one for each hit shard.
        boundary: repr of the boundary that decided.
        seconds: predicted CPU seconds of all routes together, as first decided; None before any
            training was timed.
        interval: interval in which the CPU seconds are expected.
        checks: what was known of each approximation when it was accepted or refused, and why it is
            doubtful if it is. For a repayment, the errors of the approximations that it replaced.
        repeated: how many steps of retraining a foreign module were repeated with the same bits.
        spot_check: what modifying one of the shards removed, measured by retraining it exactly too;
            None if no shard was checked.
        drawn: shards in the order in which they were drawn for a spot check. The first doubtful one
            is checked, or else the first one whose modification is accepted.
    """

    routes: tuple[Route, ...]
    boundary: str
    seconds: float | None
    interval: Interval | None = None
    checks: tuple[Check, ...] = ()
    repeated: Repeated = NOTHING_REPEATED
    spot_check: SpotCheck | None = None
    drawn: tuple[int, ...] = ()

    @classmethod
    def of(cls, routes: Iterable[Route], boundary: "Boundary", costs: Costs) -> "Decision":
        """Build a boundary's decision, with the predicted CPU seconds of all its routes."""
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

    def with_forced(self, costs: Costs) -> "Decision":
        """Return the decision with shards exact that cannot be modified, for the costs' reason."""
        forced = {cost.shard: cost for cost in costs.shards if cost.forced}
        if not any(shard in forced for shard in self.approximate):
            return self
        routes = []
        for route in self.routes:
            if route.kind == APPROXIMATE and (cost := forced.get(route.shard)) is not None:
                reason = f"{cost.forced} (the boundary would modify it: {route.reason})"
                route = replace(route, kind=EXACT, seconds=cost.exact_seconds, reason=reason)
            routes.append(route)
        decision = replace(self, routes=tuple(routes))
        seconds = costs.seconds(decision.exact, decision.approximate)
        interval = costs.interval(decision.exact, decision.approximate)
        return replace(decision, seconds=seconds, interval=interval)

    def after(self, checks: Iterable[Check], refused: dict[int, str], costs: Costs) -> "Decision":
        """Return the decision after its approximations were checked.

        Args:
            checks: the check of each approximation.
            refused: for each shard whose approximation was refused, why it is retrained exactly.
            costs: the costs of the request.
        """
        seen = {check.shard: check for check in checks}
        routes = []
        for route in self.routes:
            if route.shard in refused:
                seconds = costs.of(route.shard).exact_seconds
                route = replace(route, kind=EXACT, seconds=seconds, reason=refused[route.shard])
            elif route.shard in seen:
                check = seen[route.shard]
                said = f"{check.sentence}; {but(check.doubt)}" if check.doubt else check.sentence
                route = replace(route, reason=f"{route.reason}; {said}")
            routes.append(route)
        return replace(self, routes=tuple(routes), checks=tuple(seen.values()))

    def with_drawn(self, drawn: tuple[int, ...], costs: Costs) -> "Decision":
        """Return the decision with modified shards that were drawn for a spot check.

        The prediction includes retraining the first of them, and the reason of its route says so.
        """
        if not drawn:
            return self
        note = "; drawn for a spot check, so it is retrained exactly too"
        exact = (*self.exact, drawn[0])
        return replace(
            self,
            drawn=drawn,
            routes=tuple(
                replace(route, reason=f"{route.reason}{note}") if route.shard == drawn[0] else route
                for route in self.routes
            ),
            seconds=costs.seconds(exact, self.approximate),
            interval=costs.interval(exact, self.approximate),
        )

    def checked(self, found: SpotCheck, costs: Costs) -> "Decision":
        """Return the decision after a spot check: its shard is exact, and its error is known."""
        seconds = costs.of(found.shard).exact_seconds
        exact = {"kind": EXACT, "seconds": seconds, "reason": found.reason}
        return replace(
            self,
            routes=tuple(
                replace(route, **exact) if route.shard == found.shard else route  # type: ignore[arg-type]
                for route in self.routes
            ),
            checks=tuple(
                replace(check, error=found.error) if check.shard == found.shard else check
                for check in self.checks
            ),
            spot_check=found,
        )

    @property
    def refused(self) -> tuple[int, ...]:
        """Shards whose modification was tried and not accepted."""
        tried = {check.shard for check in self.checks} & {*self.exact}
        return tuple(sorted(tried - ({self.spot_check.shard} if self.spot_check else set())))

    @property
    def doubtful(self) -> tuple[int, ...]:
        """Shards that were left modified although their check gives reason to doubt them."""
        doubted = {check.shard for check in self.checks if check.doubt}
        return tuple(sorted(doubted & {*self.approximate}))

    @property
    def to_check(self) -> tuple[int, ...]:
        """The shard to retrain exactly as a spot check, none or one.

        It is the first of those drawn that is doubtful, or else that is modified.
        """
        drawn = [shard for shard in self.drawn if shard in self.approximate]
        return tuple(sorted(drawn, key=lambda shard: shard not in self.doubtful)[:1])

    @property
    def warning(self) -> str:
        """Say which modified shards may be no better than before, and the ways out; "" if none."""
        return warning_of({check.shard: check.doubt for check in self.checks}, self.doubtful)

    def __repr__(self) -> str:
        seconds = "" if self.interval is None else f"{self.interval}, "
        return (
            f"Decision({plural(len(self.exact), 'shard')} exact, "
            f"{len(self.approximate)} approximate, "
            f"{seconds}by {self.boundary.partition('(')[0]}"
            f"{f'; {len(self.doubtful)} doubtful' if self.doubtful else ''}"
            f"{'' if self.spot_check is None else f'; {self.spot_check.result}'})"
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row per route."""
        import pandas as pd

        columns = list(Route.__annotations__)
        return pd.DataFrame([vars(route) for route in self.routes], columns=columns)

    def _repr_html_(self) -> str:
        return as_html(self, formatters={"share": "{:.1%}".format})


@runtime_checkable
class Boundary(Protocol):
    """Chooses a route for every shard that a request hits.

    A boundary with a deadline has it as an attribute ``seconds``, in wall time. No spot check is
    made then that was not asked for.
    """

    def decide(self, workload: Workload, costs: Costs, debts: dict[int, int]) -> Decision:
        """Return a route and a reason for every shard that the request hits, without side effects.

        Args:
            workload: the workload of the request, including the clearing of debt.
            costs: predicted CPU seconds of both routes.
            debts: for each shard with debt, the number of ids that it owes.
        """
        ...

    def objection(self, check: Check) -> str:
        """Return why a checked approximation is refused, or "" if it is not.

        It is called when the correction is known, and again after the amend. A shard that is
        refused after its amend gets a longer amend if there is one, and is retrained exactly if
        that is refused too. A shard that is not refused stays modified. Whichever boundary is used,
        it is reported as doubtful if its check gives reason for it
        (:mod:`unlearnkit.unlearning.boundary.verdict`).

        Args:
            check: the check of the approximation. Fields that are not known yet are None.
        """
        return ""
