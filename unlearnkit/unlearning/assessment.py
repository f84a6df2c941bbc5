"""The assessment of a request, on which a boundary decides."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unlearnkit.display import as_html, plural
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.boundary.custom import ask, deadline_of
from unlearnkit.unlearning.boundary.protocol import Boundary, Costs, Decision
from unlearnkit.unlearning.boundary.spot_check import AUTO, shards_to_check
from unlearnkit.unlearning.debt import Debts, debt_sizes
from unlearnkit.unlearning.workload import FORMATS, Workload

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Assessment:
    """The assessment of a request, on which any number of boundaries can decide.

    Attributes:
        plan: the plan after the request.
        workload: the cost of retraining the shards that the request hits.
        costs: predicted seconds of both routes.
        debts: for each shard with debt, the ids that it owes.
    """

    plan: Plan
    workload: Workload
    costs: Costs
    debts: Debts

    def decide(self, boundary: Boundary, spot_check: bool | str = False) -> Decision:
        """Return a boundary's decision on the request.

        A shard that cannot be modified is retrained exactly whatever the boundary decides, and its
        reason says so.

        Args:
            boundary: the boundary that decides.
            spot_check: whether a modified shard is going to be retrained exactly as well: ``True``,
                ``False``, or ``"auto"`` for where that takes at most a tenth of the visits
                of retraining all hit shards, unless the boundary has a deadline. The prediction
                then includes it.

        Raises:
            TypeError: the boundary returned something else than a `Decision`.
            ValueError: its decision is not one valid route for every shard that the request hits.
        """
        decision = ask(boundary, self.workload, self.costs, debt_sizes(self.debts))
        decision = decision.with_forced(self.costs)
        if spot_check == AUTO and deadline_of(boundary) is not None:
            return decision  # a deadline leaves no time for what was not asked for
        drawn = shards_to_check(spot_check, self.plan, self.workload, decision.approximate)
        return decision.with_drawn(drawn, self.costs)

    def __repr__(self) -> str:
        debt = f", debt in {len(self.debts)} shards" if self.debts else ""
        groups = self.workload.num_groups
        asked = "" if groups is None else f"{plural(groups, 'group')}, "
        return (
            f"Assessment({asked}{plural(len(self.workload.shards), 'shard')} hit, "
            f"{self.workload.share:.1%} of from scratch{debt})"
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row per hit shard, cheapest first: its workload and both predictions."""
        workload = self.workload.to_frame().drop(columns="seconds")
        return workload.merge(self.costs.to_frame(), on="shard")

    def _repr_html_(self) -> str:
        return as_html(self, formatters={"share": FORMATS["share"]})
