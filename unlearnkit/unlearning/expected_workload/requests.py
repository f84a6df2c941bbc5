"""The costs of given requests beside expected ones, and the stages of a workload."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.expected_workload.groups import GroupCosts, holders_of, places_of_groups
from unlearnkit.unlearning.expected_workload.unequal import departures
from unlearnkit.unlearning.expected_workload.uniform import expected_of, expected_visits_of
from unlearnkit.unlearning.workload import Workload

if TYPE_CHECKING:
    import pandas as pd

MOST_POINTS = 60  # upper limit for a curve


def whole_groups(plan: Plan, ids: Int[np.ndarray, " request"]) -> int | None:
    """Return how many groups a request consists of, with all their remaining training examples.

    None if the examples have no groups, or the request holds a part of one or no training example.
    """
    groups, rows = plan.examples.groups, plan.partition.rows(ids)
    if groups is None:
        return None
    asked = np.zeros(len(groups), bool)
    asked[rows] = True
    asked &= plan.retained
    found = np.unique(groups[asked])
    left = plan.retained & ~asked & np.isin(groups, found)
    return None if left.any() or not len(found) else len(found)


def expected_like(plan: Plan, ids: Int[np.ndarray, " request"]) -> float:
    """Return the expected visits of a random request of the same size as this one.

    A request of whole groups is compared with as many groups, another one with as many examples,
    chosen uniformly from the plan's retain set.
    """
    sizes, epochs = plan.partition.sizes(plan.retained), plan.spec.stage_epochs()
    count = whole_groups(plan, ids)
    if count is None:
        return expected_visits_of(sizes, epochs, len(ids))
    pairs, _, first = places_of_groups(plan)
    held = len(np.unique(pairs // plan.num_shards))
    if count == held:
        return 0.0
    return expected_of(sizes.cumsum(1), holders_of(plan, pairs, first), epochs, held, count)


def expected_share(plan: Plan, num_requests: int = 1) -> float:
    """Return the expected share of training from scratch that requests cost, executed together.

    A request is for one group, or for one example where there are no groups, which is chosen from
    the retain set in proportion to its propensity, or uniformly without propensities.

    Args:
        plan: the plan of the retain set before the requests.
        num_requests: number of requests.

    Raises:
        TypeError: the number is not a whole number.
        ValueError: there are not as many groups or examples that may leave, or all would.
    """
    if isinstance(num_requests, bool) or not isinstance(num_requests, int | np.integer):
        raise TypeError(f"num_requests={num_requests!r} is not a whole number; give an int")
    units = departures(plan)
    most = max(0, min(units.most, len(units.rates) - 1))
    if not 0 <= num_requests <= most:
        kind = "examples" if plan.examples.groups is None else "groups"
        raise ValueError(
            f"num_requests is {num_requests}, but {units.most:,} of {len(units.rates):,} {kind} "
            f"may leave; give a number from 0 to {most:,}"
        )
    if not num_requests:
        return 0.0
    return units.visits(num_requests) / max(1.0, units.remaining(num_requests))


def stage_frame(workload: Workload) -> "pd.DataFrame":
    """Return a table of all stages: shard, slice, status, visits, share and seconds of each."""
    import pandas as pd

    shards, slices = np.indices(workload.stage_visits.shape)
    visits = workload.stage_visits.ravel()
    return pd.DataFrame(
        {
            "shard": shards.ravel(),
            "slice": slices.ravel() + 1,
            "status": np.ravel(np.array(workload.stage_status, object)),
            "visits": visits,
            "share": visits / max(1, workload.total_visits),
            "seconds": workload.stage_seconds.ravel(),
        }
    )


def expected_curve(plan: Plan, workload: Workload) -> "pd.DataFrame":
    """Return the expected workload of requests of up to half of the examples, chosen uniformly.

    Each row holds the number of revoked examples; the visits of :func:`expected_visits_of` for the
    examples that each slice still has; the share of training from scratch on the examples
    that remain; and the seconds at the mean rate of training from scratch, which are nan before any
    training was timed.

    Args:
        plan: the plan of the retain set before the request.
        workload: the workload of any request; it gives the seconds per visit.
    """
    import pandas as pd

    sizes = plan.partition.sizes(plan.retained)
    count = int(sizes.sum())
    revoked = np.unique(np.geomspace(1, max(1, count // 2), MOST_POINTS).round().astype(int))
    revoked = revoked[revoked < count]
    epochs = plan.spec.stage_epochs()
    visits = np.array([expected_visits_of(sizes, epochs, int(k)) for k in revoked])
    total = plan.total_visits
    rate = np.nan
    if workload.total_seconds is not None and workload.total_visits:
        rate = workload.total_seconds / workload.total_visits
    return pd.DataFrame(
        {
            "revoked": revoked,
            "visits": visits,
            "share": visits / (total * (1 - revoked / count)),
            "seconds": visits * rate,
        }
    )


def expected_group_curve(costs: GroupCosts, workload: Workload) -> "pd.DataFrame":
    """Return the expected workload of requests of up to half of the groups.

    Each row holds the number of groups, the number of examples that as many groups have on average,
    and visits, share and seconds as in :func:`expected_curve`.

    Args:
        costs: the costs of the groups, from :func:`group_costs`.
        workload: the workload of any request; it gives the seconds per visit.
    """
    import pandas as pd

    most = int((costs.rates > 0).sum()) // 2
    groups = np.unique(np.geomspace(1, max(1, most), MOST_POINTS // 2).round().astype(int))
    groups = groups[groups <= most]
    mean = np.average(costs.rows, weights=costs.rates) if len(groups) else 0.0
    visits = np.array([costs.expected(int(k)) for k in groups])
    rate = np.nan
    if workload.total_seconds is not None and workload.total_visits:
        rate = workload.total_seconds / workload.total_visits
    return pd.DataFrame(
        {
            "groups": groups,
            "revoked": groups * mean,
            "visits": visits,
            "share": [costs.share_of(int(k)) for k in groups],
            "seconds": visits * rate,
        }
    )


def visits_without_debt(plan: Plan, workload: Workload, forget: Int[np.ndarray, " request"]) -> int:
    """Return the visits of a request if none of the shards that it hits had debt.

    Args:
        plan: gives the shard and slice of each example.
        workload: the workload of the request.
        forget: the ids of the request.
    """
    partition = plan.partition
    rows = partition.rows(forget)
    total = 0
    for shard in np.unique(partition.shard[rows]).tolist():
        first = int(partition.slice_[rows[partition.shard[rows] == shard]].min())
        total += int(workload.stage_visits[shard, first - 1 :].sum())
    return total


def visits_of_forgetting(plan: Plan, forget: Int[np.ndarray, " request"]) -> tuple[int, int]:
    """Return the visits of exact retraining after a request, and of training everything.

    Debt and other requests are left out, so the costs depend on the plan alone. Examples that are
    in no shard, or forgotten already, cost nothing.

    Args:
        plan: the plan of the retain set before the request.
        forget: the ids of the request.

    Returns:
        The visits of the stages that the request makes stale, and those of training all stages
        from scratch without its examples.
    """
    partition, kept = plan.partition, plan.retained
    lost = partition.sizes(kept & np.isin(partition.ids, forget)).cumsum(1)
    left = (partition.sizes(kept).cumsum(1) - lost) * np.array(plan.spec.stage_epochs())
    return int(left[lost > 0].sum()), int(left.sum())


def debt_places(plan: Plan, debt: "dict[int, np.ndarray]") -> Int[np.ndarray, "shard slice"]:
    """Return the number of owed examples in each shard and slice."""
    ids = np.concatenate([np.empty(0, np.int64), *debt.values()])
    return plan.partition.sizes(np.isin(plan.partition.ids, ids))
