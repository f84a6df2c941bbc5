"""The assessment of a request, on which a boundary decides."""

from dataclasses import dataclass

from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.boundary.protocol import Boundary, Costs, Decision
from unlearnkit.unlearning.debt import Debts, debt_sizes
from unlearnkit.unlearning.workload import Workload


@dataclass(frozen=True, eq=False)
class Assessment:
    """The assessment of a request, on which any number of boundaries can decide.

    Attributes:
        plan: the plan after the request.
        workload: of retraining the shards that the request hits.
        costs: predicted seconds of both routes.
        debts: for each shard with debt, the ids that it owes.
    """

    plan: Plan
    workload: Workload
    costs: Costs
    debts: Debts

    def decide(self, boundary: Boundary) -> Decision:
        """Return a boundary's decision on the request."""
        return boundary.decide(self.workload, self.costs, debt_sizes(self.debts))
