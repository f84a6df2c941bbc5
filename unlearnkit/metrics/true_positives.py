"""True positives at few false positives: how many members an attack finds with near certainty.

An attack that is right on average can still point out nobody, and one that is useless on average
can point out some members without doubt (Carlini et al. 2022, section II-D). So an attack is judged
by its true positive rate at a false positive rate of 1 % or 0.1 %.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

RATES = (0.01, 0.001)  # false positive rates that attacks are judged at
LEVEL = 0.05  # one minus the confidence of all intervals


@dataclass(frozen=True)
class TruePositives:
    """The true positive rate of an attack at a false positive rate.

    Attributes:
        true: share of the members above the threshold.
        false: share of the others above it, at most the rate that was asked for.
        null: the share of members above the threshold that is to be expected if members and others
            are distributed alike; it is above ``false``.
        interval: an interval that holds, in at least 95 % of samples, the attack's true positive
            rate at exactly the false positive rate that was asked for.
        members: number of scores of members.
        others: number of scores of others.
    """

    true: float
    false: float
    null: float
    interval: tuple[float, float]
    members: int
    others: int


def threshold_at(others: Float[np.ndarray, " other"], false: float) -> float:
    """Return the lowest threshold that at most a share ``false`` of the others exceeds.

    >>> threshold_at(np.arange(0.0, 100), 0.01)
    98.0
    """
    place = len(others) - 1 - int(false * len(others) + 1e-9)
    return float(np.partition(others, place)[place])


def true_positives(
    members: Float[np.ndarray, " member"],
    others: Float[np.ndarray, " other"],
    false: float,
    *,
    looks: int = 1,
) -> TruePositives:
    """Measure the true positive rate of an attack at a false positive rate.

    The threshold is the lowest one at which at most a share ``false`` of the others lies above it.
    The interval allows for both samples: the threshold that has this false positive rate in truth
    lies between two order statistics of the others (a binomial count, so whatever their
    distribution), and at each of the two the interval of Clopper and Pearson 1934 holds for the
    members. Each of the four bounds errs with a probability of at most 1.25 %, so the interval is
    conservative. It takes scores as independent.

    The threshold is chosen among the n others themselves, k of which lie above it. A member that is
    distributed like them is above it if it is one of the k + 1 largest of n + 1 scores, which has a
    probability of (k + 1) / (n + 1): the ``null``. Ties lower it.

    >>> found = true_positives(np.arange(0.0, 200), np.arange(0.0, 100), 0.01)
    >>> found.true, found.false, round(found.null, 4)
    (0.505, 0.01, 0.0198)

    Args:
        members: scores of the members; above a threshold an example is called a member.
        others: scores of the others.
        false: the false positive rate, above 0 and below 1.
        looks: the number of rates that are looked at together. The intervals of all of them hold
            at once, in at least 95 % of samples (Bonferroni).

    Raises:
        ValueError: a sample is empty or holds nan, or ``false`` is out of range.
    """
    if not 0 < false < 1 or not len(members) or not len(others):
        raise ValueError(
            f"there is no rate at false={false} of {len(members)} members and {len(others)} "
            "others; give a false positive rate between 0 and 1, and scores of both"
        )
    if np.isnan(members).any() or np.isnan(others).any():
        raise ValueError("some scores are nan; leave out models whose outputs are not finite")
    from scipy.stats import beta, binom  # slow to import

    descending, threshold, side = (
        np.sort(others)[::-1],
        threshold_at(others, false),
        LEVEL / 4 / looks,
    )

    def found_above(rank: int) -> int:
        """Count members above the order statistic that so many others exceed."""
        if rank < 0:
            return 0  # the threshold may lie above all members
        return int((members > descending[rank]).sum()) if rank < len(others) else len(members)

    # The number of others above the true threshold is binomial.
    fewest, most = (int(binom.ppf(q, len(others), false)) for q in (side, 1 - side))
    lowest, highest = found_above(fewest - 1), found_above(most)
    count = len(members)
    low = float(beta.ppf(side, lowest, count - lowest + 1)) if lowest else 0.0
    high = float(beta.ppf(1 - side, highest + 1, count - highest)) if highest < count else 1.0
    true = float((members > threshold).mean())
    interval = (min(low, true), max(high, true))
    null = (int(false * len(others) + 1e-9) + 1) / (len(others) + 1)
    false = float((others > threshold).mean())
    return TruePositives(true, false, null, interval, count, len(others))
