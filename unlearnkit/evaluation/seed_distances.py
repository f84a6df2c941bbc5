"""The scale of a parameter distance: how far apart two trainings lie that differ by their seed.

A distance to training from scratch is large or small only beside something. Here that is one more
training of the same constituent on the same retained examples, from other initial weights and in
another order: what chance alone does. (The comparison of distances with those between seeds is
common, for example in Golatkar, Achille and Soatto 2020.)
"""

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from unlearnkit.evaluation.comparison import Comparison
from unlearnkit.progress import Progress
from unlearnkit.store import MemoryStore
from unlearnkit.training.plan import Plan, make_plan
from unlearnkit.training.train import train

if TYPE_CHECKING:
    import pandas as pd

SEED = "another seed"


def seed_distances(
    plan: Plan,
    comparison: Comparison,
    shard: int,
    *,
    seed: int | None = None,
    on_progress: Progress = None,
    cancel: threading.Event | None = None,
) -> "pd.DataFrame":
    """Distances to from scratch of one constituent, and of its twin from another seed.

    Args:
        plan: of the unlearned ensemble.
        comparison: of it.
        shard: one that was compared; it is trained once more.
        seed: of the twin; the plan's plus one by default.
        on_progress: gets events of the training; True shows a progress bar, False none.
        cancel: stops when set.

    Returns:
        A row for each parameter tensor and each of ``"original"``, ``"unlearned"`` and
        ``"another seed"``: shard, model, layer, L2, and the same relative to the norm of scratch's
        tensor.

    Raises:
        ValueError: the shard was not compared, or the seed is the plan's own.
    """
    import pandas as pd

    if shard not in comparison.shards:
        raise ValueError(f"shard {shard} was not compared; compared were {list(comparison.shards)}")
    seed = plan.spec.seed + 1 if seed is None else seed
    if seed == plan.spec.seed:
        raise ValueError(f"seed={seed} is the ensemble's own; give another")
    other = make_plan(
        plan.examples,
        plan.architecture,
        replace(plan.spec, seed=seed),
        partition=plan.partition,
        revoked=plan.partition.ids[~plan.retained],
    )
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
