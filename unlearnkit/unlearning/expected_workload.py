"""Expected workloads of random requests, and the stages that a workload consists of."""

import warnings
from math import exp, lgamma
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from unlearnkit.training.partition import balanced_sizes
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.workload import Workload

if TYPE_CHECKING:
    import pandas as pd

MOST_POINTS = 60  # upper limit for a curve


def expected_visits(
    num_examples: int, num_shards: int, epochs: tuple[int, ...], num_revoked: int
) -> float:
    """Return the expected workload of ``num_revoked`` examples, revoked uniformly at random.

    E[W] = sum_s sum_r e_r m_sr [(1 - k/N) - q_sr], where m_sr is the number of examples in slices
    1..r of shard s, which differ by at most one between the slices of a shard and between shards
    (see :func:`~unlearnkit.training.partition.make_partition`), and
    q_sr = C(N - m_sr, k) / C(N, k) the probability that none of them is revoked. (The formula was
    derived for unlearnkit. :func:`expected_visits_of` takes the slice sizes of any partition.)

    >>> N, S, R = 10_000, 10, 5
    >>> scratch = sum(7 * r * N / R for r in range(1, R + 1))
    >>> share = expected_visits(N, S, (7,) * R, 1) / scratch  # one revocation
    >>> round(share, 3), round((2 * R + 1) / (3 * R * S), 3)
    (0.073, 0.073)

    Args:
        num_examples: N.
        num_shards: S.
        epochs: epochs of each stage, e_1..e_R.
        num_revoked: k.

    Returns:
        Expected visits (example gradients); 0 if all examples are revoked, of which a warning
        tells.

    Raises:
        ValueError: k is negative or more than N.
    """
    return _expected(balanced_sizes(num_examples, num_shards, len(epochs)), epochs, num_revoked)


def expected_visits_of(
    sizes: Int[np.ndarray, "shard slice"], epochs: tuple[int, ...], num_revoked: int
) -> float:
    """Return the expected workload of a uniform request on a partition with these slice sizes.

    Args:
        sizes: number of examples that take part, in each slice of each shard; for a plan it is
            ``plan.partition.sizes(plan.retained)``.
        epochs: epochs of each stage, e_1..e_R.
        num_revoked: k.

    Returns:
        Expected visits, as of :func:`expected_visits`.

    Raises:
        ValueError: k is negative or more than the number of examples.
    """
    return _expected(sizes, epochs, num_revoked)


def _expected(
    sizes: Int[np.ndarray, "shard slice"], epochs: tuple[int, ...], num_revoked: int
) -> float:
    n, k = int(sizes.sum()), num_revoked
    if not 0 <= k <= n:
        raise ValueError(
            f"num_revoked is {k}, but there are {n:,} examples; give a number from 0 to {n:,}"
        )
    if k == n:
        warnings.warn(
            f"all {n:,} examples are revoked, so that nothing remains to be trained on; the "
            "workload is 0",
            stacklevel=3,  # the caller of either function above
        )
        return 0.0
    total = 0.0
    for members, stage_epochs in zip(np.cumsum(sizes, axis=1).T, epochs, strict=True):
        for m, shards in zip(*np.unique(members, return_counts=True), strict=True):
            untouched = exp(_log_binomial(n - m, k) - _log_binomial(n, k)) if n - m >= k else 0.0
            total += float(shards * stage_epochs * m * ((1 - k / n) - untouched))
    return total


def _log_binomial(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


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


def debt_places(plan: Plan, debt: "dict[int, np.ndarray]") -> Int[np.ndarray, "shard slice"]:
    """Return the number of owed examples in each shard and slice."""
    ids = np.concatenate([np.empty(0, np.int64), *debt.values()])
    return plan.partition.sizes(np.isin(plan.partition.ids, ids))
