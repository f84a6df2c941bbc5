"""Debt: the ids that a shard has removed approximately only, until it is retrained exactly."""

import numpy as np
from jaxtyping import Int

from unlearnkit.store import Store
from unlearnkit.training.plan import Plan

Debts = dict[int, Int[np.ndarray, " debt"]]


def debts_of(plan: Plan, store: Store) -> Debts:
    """For each shard with debt, the ids that were removed approximately only."""
    debts = {}
    for shard in range(plan.num_shards):
        key = plan.final_key(shard)
        approximation = store.approximation(key)
        if approximation is not None and key not in store and plan.alive(shard):
            debts[shard] = approximation.debt
    return debts


def debt_sizes(debts: Debts) -> dict[int, int]:
    """The number of ids that each shard owes."""
    return {shard: len(debt) for shard, debt in debts.items()}


def total_debt(debts: Debts) -> int:
    """The number of ids that all shards together owe."""
    return sum(len(debt) for debt in debts.values())
