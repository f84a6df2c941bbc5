"""Compares parameter distances with the distance between two trainings with different seeds.

A distance to the retrained model needs a scale. Here it is the distance to a further training of
the same constituent on the same retained examples, with other initial weights and another order,
which differs by chance alone. (So do Golatkar, Achille and Soatto 2020, for example.)
"""

import threading
from typing import TYPE_CHECKING

from unlearnkit.evaluation.comparison import Comparison
from unlearnkit.progress import Progress
from unlearnkit.store import MemoryStore
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.plan import Plan
from unlearnkit.training.train import train

if TYPE_CHECKING:
    import pandas as pd

SEED = "another seed"


@own_settings()
def seed_distances(
    plan: Plan,
    comparison: Comparison,
    shard: int,
    *,
    seed: int | None = None,
    on_progress: Progress = None,
    cancel: threading.Event | None = None,
) -> "pd.DataFrame":
    """Return parameter distances of one constituent to the retrained one, with another seed's.

    Args:
        plan: the plan of the unlearned ensemble.
        comparison: the comparison of the same unlearning.
        shard: a shard that was compared; it is trained once more.
        seed: seed of this training; by default the plan's seed plus one.
        on_progress: gets events of the training; True shows a progress bar, False none.
        cancel: setting this event stops the training.

    Returns:
        One row per parameter tensor and model (``"original"``, ``"unlearned"`` and ``"another
        seed"``): shard, model, layer, L2 distance, and the same relative to the norm of the
        retrained model's tensor.

    Raises:
        ValueError: the shard was not compared, or the seed is that of the plan.
        Cancelled: the training was stopped.
    """
    import pandas as pd

    if shard not in comparison.shards:
        raise ValueError(
            f"shard {shard} was not compared; the compared shards are {list(comparison.shards)}"
        )
    seed = plan.spec.seed + 1 if seed is None else seed
    if seed == plan.spec.seed:
        raise ValueError(f"seed={seed} is the ensemble's own seed; give another one")
    other = plan.with_seed(seed)
    store = MemoryStore()
    train(other, store, shards=[shard], on_progress=on_progress, cancel=cancel, phase="scratch")
    states = {
        name: ensemble.by_shard[shard].state
        for name, ensemble in comparison.ensembles.items()
        if shard in ensemble.by_shard
    }
    states[SEED] = store.get(other.final_key(shard)).state
    rows = []
    for name in ("original", "unlearned", SEED):
        for layer in plan.architecture.trainable_names if name in states else ():
            target = states["scratch"][layer].double()
            distance, norm = float((states[name][layer].double() - target).norm()), target.norm()
            relative = distance / float(norm) if norm else float("nan")
            rows.append((shard, name, layer, distance, relative))
    return pd.DataFrame(rows, columns=["shard", "model", "layer", "l2", "relative_l2"])
