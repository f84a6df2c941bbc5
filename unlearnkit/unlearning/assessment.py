"""A request as assessed: what a boundary decides on."""

from dataclasses import dataclass

from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.boundary.protocol import Boundary, Costs, Decision
from unlearnkit.unlearning.debt import Debts, debt_sizes
from unlearnkit.unlearning.workload import Workload


@dataclass(frozen=True, eq=False)
class Assessment:
    """A request as assessed once: any boundary can decide on it.

    Attributes:
        plan: after the request.
        workload: of retraining the shards that the request hits.
        costs: predicted seconds of both ways.
        debts: for each shard with debt, the ids that were removed approximately only.
    """

    plan: Plan
    workload: Workload
    costs: Costs
    debts: Debts

    def decide(self, boundary: Boundary) -> Decision:
        """What a boundary decides on the request."""
        return boundary.decide(self.workload, self.costs, debt_sizes(self.debts))
