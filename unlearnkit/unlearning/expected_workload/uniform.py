"""Expected workloads of requests whose examples, or groups, are drawn uniformly at random."""

import warnings
from collections.abc import Sequence
from math import exp, lgamma

import numpy as np
from jaxtyping import Int

from unlearnkit.training.partition import balanced_sizes


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
    members = np.cumsum(sizes, axis=1)
    return expected_of(members, members, epochs, n, k)


def expected_of(
    members: Int[np.ndarray, "shard slice"],
    holders: Int[np.ndarray, "shard slice"],
    epochs: Sequence[int],
    num_units: int,
    num_revoked: int,
) -> float:
    """Return the expected workload of k of n units, where a unit is an example or a group.

    Args:
        members: number of examples in slices 1..r of each shard.
        holders: number of units with an example there.
        epochs: epochs of each stage.
        num_units: n.
        num_revoked: k, below n.
    """
    n, k, total = num_units, num_revoked, 0.0
    for r, stage_epochs in enumerate(epochs):
        pairs = np.stack([members[:, r], holders[:, r]])
        for (m, h), shards in zip(*_counted(pairs), strict=True):
            untouched = exp(_log_binomial(n - h, k) - _log_binomial(n, k)) if n - h >= k else 0.0
            total += float(shards * stage_epochs * m * ((1 - k / n) - untouched))
    return total


def _counted(pairs: Int[np.ndarray, "two shard"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct columns, as rows, and how often each occurs."""
    found, counts = np.unique(pairs, axis=1, return_counts=True)
    return found.T, counts


def _log_binomial(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
