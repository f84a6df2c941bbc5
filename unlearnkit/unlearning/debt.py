"""Debt: the ids that a shard has removed only approximately and so owes to exact retraining."""

import numpy as np
from jaxtyping import Int

from unlearnkit.store import Store
from unlearnkit.training.plan import Plan
from unlearnkit.training.shard_model import ShardModel

Debts = dict[int, Int[np.ndarray, " debt"]]


def debts_of(plan: Plan, store: Store) -> Debts:
    """Return the ids that each shard with debt owes."""
    models = (ShardModel(plan, store, shard) for shard in range(plan.num_shards))
    return {model.shard: model.debt for model in models if model.owes}


def debt_sizes(debts: Debts) -> dict[int, int]:
    """Return the number of ids that each shard owes."""
    return {shard: len(debt) for shard, debt in debts.items()}


def total_debt(debts: Debts) -> int:
    """Return the number of ids that all shards together owe."""
    return sum(len(debt) for debt in debts.values())
