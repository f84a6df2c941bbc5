"""Distances between models, layer by layer."""

from typing import TYPE_CHECKING

import torch

from unlearnkit.models.vector import real_values
from unlearnkit.training.ensemble import Ensemble
from unlearnkit.training.plan import Plan

if TYPE_CHECKING:
    import pandas as pd


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
                a, b = (
                    real_values(state[layer]).reshape(-1).double()
                    for state in (model.state, scratch)
                )
                distance, norm = float((a - b).norm()), float(b.norm())
                rows.append(
                    {
                        "shard": s,
                        "model": name,
                        "layer": layer,
                        "l2": distance,
                        "relative_l2": distance / norm if norm else float("nan"),
                        "cosine": float(torch.nn.functional.cosine_similarity(a, b, dim=0)),
                    }
                )
    return pd.DataFrame(rows, columns=["shard", "model", "layer", "l2", "relative_l2", "cosine"])
