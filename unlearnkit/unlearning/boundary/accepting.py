"""Boundaries of a user's own that say less than the protocol asks."""

from dataclasses import dataclass
from typing import Any

from unlearnkit.registry import instance_of
from unlearnkit.unlearning.boundary.protocol import Boundary, Costs, Decision
from unlearnkit.unlearning.workload import Workload


@dataclass(frozen=True)
class AcceptingBoundary(Boundary):
    """A boundary for an object that has ``decide`` alone: it accepts every approximation.

    Attributes:
        base: decides.
    """

    base: Any

    def decide(self, workload: Workload, costs: Costs, debts: dict[int, int]) -> Decision:
        """As the base does."""
        decision: Decision = self.base.decide(workload, costs, debts)
        return decision

    def __repr__(self) -> str:
        return repr(self.base)


def as_boundary(value: Any) -> Any:
    """What a user gives as a boundary, completed.

    A class or a function without arguments stands for what it returns, and an object without
    ``objection`` accepts every approximation.
    """
    made = instance_of(value)
    if callable(made) and not hasattr(made, "decide"):
        made = made()
    decides = hasattr(made, "decide") and not hasattr(made, "objection")
    return AcceptingBoundary(made) if decides else made
