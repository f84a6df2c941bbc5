"""Debt: the ids that a shard has removed approximately only, until it is retrained exactly."""

import numpy as np
from jaxtyping import Int

from unlearnkit.store import Store
from unlearnkit.training.plan import Plan
from unlearnkit.training.shard_model import ShardModel

Debts = dict[int, Int[np.ndarray, " debt"]]


def debts_of(plan: Plan, store: Store) -> Debts:
    """For each shard with debt, the ids that were removed approximately only."""
    models = (ShardModel(plan, store, shard) for shard in range(plan.num_shards))
    return {model.shard: model.debt for model in models if model.owes}


def debt_sizes(debts: Debts) -> dict[int, int]:
    """The number of ids that each shard owes."""
    return {shard: len(debt) for shard, debt in debts.items()}


def total_debt(debts: Debts) -> int:
    """The number of ids that all shards together owe."""
    return sum(len(debt) for debt in debts.values())
