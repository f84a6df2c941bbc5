"""Distances between models, layer by layer."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unlearnkit.models.vector import real_values
from unlearnkit.training.ensemble import Ensemble
from unlearnkit.training.plan import Plan

if TYPE_CHECKING:
    import pandas as pd

BLOCK = 1 << 18  # numbers converted to float64 at a time


def layer_distances(
    plan: Plan, ensembles: dict[str, Ensemble], shards: tuple[int, ...]
) -> "pd.DataFrame":
    """Measure how far each layer of two models is from the retrained model's.

    Args:
        plan: the plan of the retain set.
        ensembles: ``"scratch"`` holds the retrained models, beside ``"unlearned"`` and
            ``"original"``; shards that one of these two lacks get no rows for it.
        shards: the shards to compare.

    Returns:
        One row per shard, model and parameter tensor: shard, model, layer, the L2 norm of the
        difference, this norm as a share of the retrained tensor's (NaN if that is 0), and the
        cosine similarity of both tensors.
    """
    import pandas as pd

    rows = []
    for s in shards:
        scratch = ensembles["scratch"].by_shard[s].state
        for name in ("unlearned", "original"):
            model = ensembles[name].by_shard.get(s)
            if model is None:
                continue
            for layer in plan.architecture.trainable_names:
                distance, norm, cosine = _distances(model.state[layer], scratch[layer])
                rows.append(
                    {
                        "shard": s,
                        "model": name,
                        "layer": layer,
                        "l2": distance,
                        "relative_l2": distance / norm if norm else float("nan"),
                        "cosine": cosine,
                    }
                )
    return pd.DataFrame(rows, columns=["shard", "model", "layer", "l2", "relative_l2", "cosine"])


def _distances(one: Tensor, other: Tensor) -> tuple[float, float, float]:
    """Return |a - b|, |b| and the cosine of two tensors, computed in float64 block by block.

    The cosine is 0 if one of the tensors is.
    """
    pairs = (real_values(each).reshape(-1).split(BLOCK) for each in (one, other))
    sums = torch.zeros(4, dtype=torch.float64)
    for some in zip(*pairs, strict=True):
        a, b = (each.double() for each in some)
        sums += torch.stack([(a - b).square().sum(), a.dot(b), a.dot(a), b.dot(b)])
    square, product, left, right = sums.tolist()
    scale = math.sqrt(left * right)
    return math.sqrt(square), math.sqrt(right), product / scale if scale else 0.0
