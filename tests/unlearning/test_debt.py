"""Debt: what each shard owes, as the store and the plan say."""

import numpy as np

from cases import CASES, of_slice
from unlearnkit.unlearning.debt import debt_sizes, debts_of, total_debt


def test_a_shard_owes_what_was_removed_from_it_approximately():
    session = CASES["uneven"].session()
    session.train()
    assert debts_of(session.plan, session.store) == {}
    owed = {1: [of_slice(session, 1, 2)], 2: [of_slice(session, 2, 1), of_slice(session, 2, 3)]}
    for ids in ([*owed[1], owed[2][0]], owed[2][1:]):  # in two requests
        session.revoke(ids)
        session.unlearn(0.0)
    debts = debts_of(session.plan, session.store)
    assert {shard: debt.tolist() for shard, debt in debts.items()} == {
        shard: sorted(ids) for shard, ids in owed.items()
    }
    assert debt_sizes(debts) == {1: 1, 2: 2} and total_debt(debts) == 3


def test_a_retrained_shard_and_one_without_examples_owe_nothing(indebted):
    session = indebted.fork()
    assert list(debts_of(session.plan, session.store)) == [2]
    ids = session.plan.partition.ids[session.plan.partition.shard == 2]
    left = session.plan.without(ids)
    assert debts_of(left, session.store) == {}
    session.repay()
    assert debts_of(session.plan, session.store) == {}
    assert total_debt({0: np.array([3, 4]), 5: np.array([9])}) == 3
