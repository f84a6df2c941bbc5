"""Adapts a user's boundary that has only part of the protocol, and checks what it decides."""

import inspect
from dataclasses import dataclass
from numbers import Real
from typing import Any

from unlearnkit.registry import instance_of
from unlearnkit.unlearning.boundary.protocol import (
    APPROXIMATE,
    EXACT,
    LEAVE,
    Boundary,
    Costs,
    Decision,
    Route,
)
from unlearnkit.unlearning.workload import Workload


@dataclass(frozen=True)
class AcceptingBoundary(Boundary):
    """Wraps an object that only has ``decide``, and refuses no approximation.

    Attributes:
        base: the wrapped object, which decides.
    """

    base: Any

    def decide(self, workload: Workload, costs: Costs, debts: dict[int, int]) -> Decision:
        """Return the decision of the base."""
        decision: Decision = self.base.decide(workload, costs, debts)
        return decision

    @property
    def seconds(self) -> float | None:
        """The deadline of the base."""
        return deadline_of(self.base)

    def __repr__(self) -> str:
        return repr(self.base)


def as_boundary(value: Any) -> Any:
    """Turn a user's value into a boundary.

    A class or a function without arguments is called. An object that has ``decide`` but no
    ``objection`` is wrapped, so that it refuses no approximation.

    Raises:
        TypeError: a function needs arguments, or ``objection`` cannot be called.
    """
    made = instance_of(value)
    if callable(made) and not hasattr(made, "decide"):
        try:
            inspect.signature(made).bind()
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"the boundary {made!r} lacks decide; write a class with a method "
                "decide(self, workload, costs, debts), as help(uk.BOUNDARIES) says, and give an "
                "instance of it"
            ) from error
        made = made()
    objection = getattr(made, "objection", None)
    if objection is None:
        return AcceptingBoundary(made) if callable(getattr(made, "decide", None)) else made
    if not callable(objection):
        raise TypeError(
            f"the objection of the boundary {made!r} is {objection!r}, which cannot be called; "
            "make it a method, or leave it out"
        )
    return made


def deadline_of(boundary: object) -> float | None:
    """Return the deadline of a boundary, its number ``seconds``; None if it has none."""
    seconds = getattr(boundary, "seconds", None)
    return float(seconds) if isinstance(seconds, Real) else None


def ask(boundary: Boundary, workload: Workload, costs: Costs, debts: dict[int, int]) -> Decision:
    """Return what a boundary decides, once it is known to have a valid route for every hit shard.

    Args:
        boundary: the boundary to ask.
        workload: as for :meth:`Boundary.decide`, like the other arguments.
        costs: the costs of the request.
        debts: the number of ids that each shard with debt owes.

    Raises:
        TypeError: the result is not a `Decision` of `Route` objects.
        ValueError: a hit shard does not have exactly one route, another shard has one, or a route
            has a kind that the shard cannot have.
    """
    decision: Any = boundary.decide(workload, costs, debts)
    asked = boundary.base if isinstance(boundary, AcceptingBoundary) else boundary
    name = f"{type(asked).__name__}.decide"
    if not isinstance(decision, Decision):
        raise TypeError(
            f"{name} returned {decision!r}; expected a Decision, as Decision.of(routes, self, "
            "costs) makes one"
        )
    for route in decision.routes:
        if not isinstance(route, Route):
            raise TypeError(
                f"{name} returned {route!r} as a route; expected a Route, as costs.route(...) "
                "makes one"
            )
    hit = {work.shard: work for work in workload.shards}
    routed = [route.shard for route in decision.routes]
    if sorted(routed, key=str) != sorted(hit, key=str):
        raise ValueError(
            f"{name} returned routes for the shards {routed}; expected exactly one for "
            f"each shard that the request hits: {sorted(hit)}"
        )
    for route in decision.routes:
        retained = hit[route.shard].retained
        kinds = (EXACT, APPROXIMATE) if retained else (EXACT, LEAVE)
        if route.kind not in kinds:
            raise ValueError(
                f"{name} returned the kind {route.kind!r} for shard {route.shard}, which keeps "
                f"{retained} examples; expected {kinds[0]!r} or {kinds[1]!r}"
            )
    return decision
