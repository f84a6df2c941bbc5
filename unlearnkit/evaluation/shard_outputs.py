"""What each constituent of an ensemble makes of the labels of examples, for attacks on shards."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from unlearnkit.metrics.shard_scores import ShardScores, calibrated
from unlearnkit.metrics.tasks import Task, margins_of
from unlearnkit.training.ensemble import AGGREGATIONS, Ensemble


@dataclass(frozen=True, eq=False)
class ShardOutputs:
    """How well each constituent fits the labels: log odds, or the log-likelihood in a regression.

    Attributes:
        forget: of the forgotten examples.
        test: of the test examples.
    """

    forget: Float[np.ndarray, "constituent forget"]
    test: Float[np.ndarray, "constituent test"]


def shard_outputs(
    ensemble: Ensemble, inputs: Tensor, labels: Tensor, task: Task
) -> tuple[Float[Tensor, "example output"], Float[np.ndarray, "constituent example"]]:
    """Return the outputs of the ensemble, and how well each constituent fits the labels."""
    outputs = ensemble.constituent_probabilities(inputs)
    whole = AGGREGATIONS[ensemble.aggregation](outputs)
    if task.name == "classification":
        fits = [margins_of(each, labels) for each in outputs]
    else:
        fits = [task.log_likelihood(each, labels).numpy() for each in outputs]
    return whole, np.stack(fits)


def shard_scores(
    ensemble: Ensemble,
    outputs: ShardOutputs,
    attacked: dict[int, Int[np.ndarray, " member"]],
    others: Iterable[Ensemble],
) -> ShardScores:
    """Score the forgotten and the test examples in the constituents of the attacked shards.

    Args:
        ensemble: the attacked ensemble.
        outputs: how well its constituents fit the labels.
        attacked: for each attacked shard, the places of its examples among the forgotten ones.
        others: all ensembles that are compared; shards without a constituent in one of them are
            left out, and so are all shards if one of them has a single constituent.
    """
    known = [set(each.by_shard) for each in others]
    shards = [s for s in attacked if all(s in each and len(each) > 1 for each in known)]
    place = {each.shard: number for number, each in enumerate(ensemble.constituents)}
    members, rest = {}, {}
    for shard in shards:
        members[shard] = calibrated(outputs.forget[:, attacked[shard]], place[shard])
        rest[shard] = calibrated(outputs.test, place[shard])
    if not outputs.test.shape[1]:
        return ShardScores({}, {})
    return ShardScores(members, rest)
