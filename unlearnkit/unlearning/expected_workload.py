"""What a workload is made of, and what one of its size costs on average."""

from math import lgamma
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.workload import Workload

if TYPE_CHECKING:
    import pandas as pd

MOST_POINTS = 60  # of a curve


def expected_visits(
    num_examples: int, num_shards: int, epochs: tuple[int, ...], num_revoked: int
) -> float:
    """Expected workload of ``num_revoked`` uniform revocations, before they are known.

    E[W] = S sum_r e_r m_r [(1 - k/N) - q_r], with m_r = r N / (S R) examples in slices 1..r of a
    shard and q_r = C(N - m_r, k) / C(N, k) the chance that none of them is revoked. (Ours; the
    binomials are continued to real m_r by the gamma function.)

    >>> N, S, R = 10_000, 10, 5
    >>> scratch = sum(7 * r * N / R for r in range(1, R + 1))
    >>> share = expected_visits(N, S, (7,) * R, 1) / scratch  # one revocation
    >>> round(share, 3), round((2 * R + 1) / (3 * R * S), 3)
    (0.073, 0.073)

    Args:
        num_examples: N.
        num_shards: S.
        epochs: e_1..e_R.
        num_revoked: k, below N.
    """
    slices, n, k = len(epochs), num_examples, num_revoked
    if k >= n:
        return 0.0
    total = 0.0
    for r, stage_epochs in enumerate(epochs, start=1):
        members = r * n / (num_shards * slices)
        if n - members >= k:
            log_untouched = (
                lgamma(n - members + 1)
                - lgamma(n - members - k + 1)
                - (lgamma(n + 1) - lgamma(n - k + 1))
            )
            untouched = float(np.exp(log_untouched))
        else:
            untouched = 0.0
        total += stage_epochs * members * ((1 - k / n) - untouched)
    return num_shards * total


def stage_frame(workload: Workload) -> "pd.DataFrame":
    """One row a stage: shard, slice, status, and what training it takes: visits, share, seconds."""
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
    """Expected workload of requests of every size, each example equally likely.

    One row for some numbers of examples up to half of those that there are: revoked; visits, of
    :func:`expected_visits`, which takes all slices to be of one size; share of training from
    scratch what then remains; seconds at the mean rate of a training from scratch, nan before
    anything was timed.

    Args:
        plan: of the retain set before the request.
        workload: of any request, for the seconds.
    """
    import pandas as pd

    count = int(plan.retained.sum())
    shards = sum(plan.alive(shard) for shard in range(plan.num_shards))
    revoked = np.unique(np.geomspace(1, max(1, count // 2), MOST_POINTS).round().astype(int))
    epochs = plan.spec.stage_epochs()
    visits = np.array([expected_visits(count, shards, epochs, int(k)) for k in revoked])
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


def visits_without_debt(plan: Plan, workload: Workload, forget: Int[np.ndarray, " request"]) -> int:
    """Visits that a request would take if no shard that it hits carried any debt.

    Args:
        plan: for the places of the examples.
        workload: of the request.
        forget: its ids.
    """
    partition = plan.partition
    rows = partition.rows(forget)
    total = 0
    for shard in np.unique(partition.shard[rows]).tolist():
        first = int(partition.slice_[rows[partition.shard[rows] == shard]].min())
        total += int(workload.stage_visits[shard, first - 1 :].sum())
    return total


def debt_places(plan: Plan, debt: "dict[int, np.ndarray]") -> Int[np.ndarray, "shard slice"]:
    """Examples owed in every shard and slice."""
    ids = np.concatenate([np.empty(0, np.int64), *debt.values()])
    return plan.partition.sizes(np.isin(plan.partition.ids, ids))
