"""An attack on single examples that needs no other models: the other shards are its references.

Whoever holds the constituents of an ensemble can attack each of them. The constituents of the other
shards never saw an example, so they tell how well it is fitted by a model without it.
"""

from typing import TYPE_CHECKING

from unlearnkit.evaluation.comparison import MODELS, Comparison
from unlearnkit.metrics.shard_scores import ShardScores
from unlearnkit.metrics.true_positives import RATES, TruePositives, true_positives
from unlearnkit.torch_settings import own_settings

if TYPE_CHECKING:
    import pandas as pd

ALL = "all"  # stands for all shards together


@own_settings()
def attack_shards(
    comparison: Comparison, *, rates: tuple[float, ...] = RATES, each: bool = False
) -> "pd.DataFrame":
    """Attack every forgotten example in the constituent of its shard, and count who is found.

    The score of an example is its margin under this constituent minus the mean of its margins under
    the constituents of the other shards of the same ensemble; of a regression it is the
    log-likelihood. The non-members are test examples. The retrained model is attacked too: it never
    saw the forgotten examples, so its rate, and not the false positive rate, is what to expect of a
    model that forgot them.

    An average hides one leaking shard among many. With ``each`` every shard is judged by itself,
    with all test examples scored in its constituent and intervals that hold for all shards at
    once. ``session.compare().measures`` has a p-value for the worst shard.

    Source: Carlini et al. 2022, Membership Inference Attacks From First Principles (the offline
    attack; with one spread for all examples, which they advise where references are few, it ranks
    by this score). The margin is their scaled logit.

    Args:
        comparison: the comparison of an unlearning.
        rates: false positive rates; one needs about as many test examples as 1 / rate.
        each: whether to return a row for every shard as well.

    Returns:
        One row per shard, model and rate: shard (``"all"`` for all together, where every test
        example is scored once, in one of the constituents), models, false_rate, true_rate, low,
        high (an interval of at least 95 % over the choice of examples), false (the false positive
        rate that was possible), members, others.

    Raises:
        ValueError: there is a single shard, nothing of a shard was forgotten, there are no test
            examples, or a rate is not between 0 and 1.
    """
    import pandas as pd

    shards = comparison.shard_scores["scratch"].shards
    if not shards:
        raise ValueError(
            f"{len(set(comparison.forget_shard[comparison.forget_shard >= 0]))} of "
            f"{len(comparison.original.constituents)} shards forgot an example; this attack needs "
            "one that did, another shard as its reference, and test examples"
        )
    rows: list[dict[str, object]] = []
    chosen: list[int | str] = [ALL, *(shards if each else ())]
    for shard in chosen:
        for name in MODELS:
            scores = comparison.shard_scores[name]
            for rate in rates:
                found = _found(scores, shard, rate)
                low, high = found.interval
                rows.append(
                    {
                        "shard": shard,
                        "models": name,
                        "false_rate": rate,
                        "true_rate": found.true,
                        "low": low,
                        "high": high,
                        "false": found.false,
                        "members": found.members,
                        "others": found.others,
                    }
                )
    return pd.DataFrame(rows)


def _found(scores: ShardScores, shard: int | str, rate: float) -> TruePositives:
    if isinstance(shard, str):
        return true_positives(scores.all_members, scores.all_others, rate)
    members, others = scores.members[shard], scores.others[shard]
    return true_positives(members, others, rate, looks=len(scores.shards))
