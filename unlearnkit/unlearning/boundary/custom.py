"""Adapts a user's boundary that implements only part of the protocol."""

from dataclasses import dataclass
from typing import Any

from unlearnkit.registry import instance_of
from unlearnkit.unlearning.boundary.protocol import Boundary, Costs, Decision
from unlearnkit.unlearning.workload import Workload


@dataclass(frozen=True)
class AcceptingBoundary(Boundary):
    """Wraps an object that only has ``decide``, and accepts every approximation.

    Attributes:
        base: the wrapped object, which decides.
    """

    base: Any

    def decide(self, workload: Workload, costs: Costs, debts: dict[int, int]) -> Decision:
        """Return the decision of the base."""
        decision: Decision = self.base.decide(workload, costs, debts)
        return decision

    def __repr__(self) -> str:
        return repr(self.base)


def as_boundary(value: Any) -> Any:
    """Turn a user's value into a boundary.

    A class or a function without arguments is called. An object that has ``decide`` but no
    ``objection`` is wrapped, so that it accepts every approximation.
    """
    made = instance_of(value)
    if callable(made) and not hasattr(made, "decide"):
        made = made()
    decides = hasattr(made, "decide") and not hasattr(made, "objection")
    return AcceptingBoundary(made) if decides else made
