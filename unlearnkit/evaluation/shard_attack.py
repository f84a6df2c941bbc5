"""An attack on single examples that needs no other models: the other shards are its references.

Whoever holds the constituents of an ensemble can attack each of them. The constituents of the other
shards never saw an example, so they tell how well it is fitted by a model without it.
"""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from unlearnkit.data.examples import Dataset
from unlearnkit.evaluation.comparison import MODELS, Comparison
from unlearnkit.metrics.tasks import margins_of, require_classes
from unlearnkit.metrics.true_positives import RATES, true_positives
from unlearnkit.torch_settings import own_settings

if TYPE_CHECKING:
    import pandas as pd


@own_settings()
def attack_shards(
    comparison: Comparison, dataset: Dataset, *, rates: tuple[float, ...] = RATES
) -> "pd.DataFrame":
    """Attack every forgotten example in the constituent of its shard, and count who is found.

    The score of an example is its margin under this constituent minus the mean of its margins under
    the constituents of the other shards of the same ensemble. The non-members are test examples,
    each scored once, in the constituent of a shard that was compared. The retrained model is
    attacked too: it never saw the forgotten examples, so its rate, and not the false positive rate,
    is what to expect of a model that forgot them.

    Source: Carlini et al. 2022, Membership Inference Attacks From First Principles (the offline
    attack; with one spread for all examples, which they advise where references are few, it ranks
    by this score). The margin is their scaled logit.

    Args:
        comparison: the comparison of an unlearning.
        dataset: holds the examples.
        rates: false positive rates; one needs about as many test examples as 1 / rate.

    Returns:
        One row per model and rate: models, false_rate, true_rate, low, high (an interval of at
        least 95 % over the choice of examples), false (the false positive rate that was possible),
        members, others.

    Raises:
        ValueError: this is a regression, there is a single shard, nothing of a shard was forgotten,
            or a rate is not between 0 and 1.
    """
    import pandas as pd

    require_classes(dataset, "an attack on margins", "read the losses: membership_losses()")
    shards = [s for s in comparison.constituents["shard"] if len(comparison.forgotten_of(s))]
    if not shards or len(comparison.original.constituents) < 2:
        raise ValueError(
            f"{len(shards)} of {len(comparison.original.constituents)} shards forgot an example; "
            "this attack needs one that did and another shard as its reference"
        )
    rows = []
    for name in MODELS:
        members, others = [], []
        for number, shard in enumerate(shards):
            mine = dataset.test.ids[number :: len(shards)]
            members.append(
                _scores(comparison, name, dataset, shard, comparison.forgotten_of(shard))
            )
            others.append(_scores(comparison, name, dataset, shard, mine))
        for rate in rates:
            found = true_positives(np.concatenate(members), np.concatenate(others), rate)
            low, high = found.interval
            rows.append(
                {
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


def _scores(
    comparison: Comparison, name: str, dataset: Dataset, shard: int, ids: Int[np.ndarray, " some"]
) -> Float[np.ndarray, " some"]:
    """Return how far each example's margin in a constituent lies above that in the others."""
    ensemble = getattr(comparison, name)
    inputs, labels = dataset.examples(ids)
    outputs = ensemble.constituent_probabilities(inputs)
    margins = np.stack([margins_of(each, labels) for each in outputs])
    own = [constituent.shard for constituent in ensemble.constituents].index(shard)
    found: np.ndarray = margins[own] - np.delete(margins, own, 0).mean(0)
    return found
