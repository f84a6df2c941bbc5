"""Attack each constituent of an ensemble, with the other constituents as its references.

Every example was learned by the constituent of its own shard and by no other. So the others tell
how well an example is fitted by a model that never saw it, and an attack on single examples needs
no shadow models. Averages over an ensemble hide the leak of one shard; here every shard is judged.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from unlearnkit.metrics.true_positives import threshold_at

SWAPS = 1000  # random swaps that a p-value is computed from


@dataclass(frozen=True, eq=False)
class ShardScores:
    """Scores of an attack on every constituent of one ensemble.

    A score is the log odds of an example's label under the constituent, minus their mean under the
    constituents of the other shards; of a regression it is the log-likelihood of the target.

    Source: Carlini et al. 2022, Membership Inference Attacks From First Principles (the offline
    attack; with one spread for all examples, which they advise where references are few, it ranks
    by this score); for losses Watson et al. 2022, On the Importance of Difficulty Calibration.

    Attributes:
        members: by shard, the scores of its forgotten examples in its constituent.
        others: by shard, the scores of all test examples in its constituent.
    """

    members: dict[int, Float[np.ndarray, " member"]]
    others: dict[int, Float[np.ndarray, " other"]]

    def __repr__(self) -> str:
        count = sum(map(len, self.members.values()))
        return f"ShardScores({count} members in {len(self.members)} shards)"

    @property
    def shards(self) -> tuple[int, ...]:
        """The shards whose constituents are attacked."""
        return tuple(self.members)

    @property
    def all_members(self) -> Float[np.ndarray, " member"]:
        """The scores of the members of all shards."""
        return np.concatenate([np.empty(0), *self.members.values()])

    @property
    def all_others(self) -> Float[np.ndarray, " other"]:
        """A score of every test example in one of the shards, so that each counts once."""
        count = len(self.others)
        parts = [scores[place::count] for place, scores in enumerate(self.others.values())]
        return np.concatenate([np.empty(0), *parts])


def calibrated(
    values: Float[np.ndarray, "constituent example"], own: int
) -> Float[np.ndarray, " example"]:
    """How far each example's value in one constituent lies above its mean in the others.

    >>> calibrated(np.array([[3.0, 1.0], [1.0, 1.0], [1.0, 2.0]]), 0).tolist()
    [2.0, -0.5]
    """
    found: np.ndarray = values[own] - np.delete(values, own, 0).mean(0)
    return found


def found_in(scores: ShardScores, shard: int, false: float) -> Bool[np.ndarray, " member"]:
    """Which members of a shard are found at a false positive rate among all test examples."""
    threshold = threshold_at(scores.others[shard], false)
    found: np.ndarray = scores.members[shard] > threshold
    return found


@dataclass(frozen=True)
class WorstShard:
    """The shard that leaks most clearly, compared with the retrained model's.

    Attributes:
        shard: the shard.
        gap: its true positive rate minus that of the retrained constituent.
        null: the mean gap of the worst shard if unlearned and retrained constituents are swapped at
            random, member by member: what looking at several shards finds by chance.
        p_value: the share of these swaps with a worst shard at least as clear, which allows for
            all shards that were looked at.
    """

    shard: int
    gap: float
    null: float
    p_value: float


def worst_shard(a: ShardScores, b: ShardScores, false: float) -> WorstShard:
    """Find the shard in which an attack finds most clearly more in `a` than in the retrained `b`.

    Shards are compared by z = (won - lost) / sqrt(won + lost), where won are the members that are
    found in `a` alone and lost those in `b` alone (McNemar 1947). The largest gap itself would be
    that of a shard with a single member. The largest of several z is above 0 by chance. The p-value
    allows for it: it compares it with the largest z after swapping the two models at random for
    every member (Westfall and Young 1993, Resampling-Based Multiple Testing, section 2.3). It takes
    the thresholds as given and the members as independent.

    Raises:
        ValueError: there is no shard with members.
    """
    if not a.shards:
        raise ValueError("no shard has members, so there is no worst one")
    gains = [
        found_in(a, shard, false).astype(float) - found_in(b, shard, false) for shard in a.shards
    ]
    differing = np.array([np.count_nonzero(gain) for gain in gains])
    spread, sizes = np.sqrt(np.maximum(differing, 1)), np.array([len(gain) for gain in gains])
    sums = np.array([gain.sum() for gain in gains])
    clearest = int((sums / spread).argmax())
    # The sum of a shard's random signs.
    signs = 2.0 * np.random.default_rng(0).binomial(differing, 0.5, (SWAPS, len(gains))) - differing
    z, gaps = signs / spread, signs / sizes
    reached = int((z.max(1) >= (sums / spread)[clearest] - 1e-12).sum())
    return WorstShard(
        a.shards[clearest],
        float((sums / sizes)[clearest]),
        float(gaps[np.arange(SWAPS), z.argmax(1)].mean()),
        (reached + 1) / (SWAPS + 1),
    )
