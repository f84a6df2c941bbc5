"""What stands for a shard: the clean model, or the approximation in its place."""

from cases import CASES, of_slice
from unlearnkit.training.shard_model import ShardModel


def test_a_trained_shard_is_exact_and_owes_nothing():
    session = CASES["uneven"].session()
    plan, store = session.plan, session.store
    untrained = ShardModel(plan, store, 1)
    assert not untrained.is_exact and not untrained.owes and untrained.checkpoint(1) is None
    session.train()
    model = ShardModel(plan, store, 1)
    assert model.is_exact and not model.owes and not len(model.debt)
    for stage in plan.chains[1]:
        assert model.has(stage.index) and model.checkpoint(stage.index) is store.get(stage.key)


def test_a_modified_shard_keeps_its_clean_stages_and_corrects_the_later_ones():
    session = CASES["uneven"].session()
    session.train()
    first = {r: session.store.get(session.plan.chains[2][r - 1].key) for r in (1, 2, 3)}
    gone = of_slice(session, 2, 2)
    session.revoke([gone])
    session.unlearn(0.0)
    model = ShardModel(session.plan, session.store, 2)
    assert not model.is_exact and model.owes and model.debt.tolist() == [gone]
    assert model.checkpoint(1) is first[1]  # from before the forgotten example
    for stage in (2, 3):
        assert model.checkpoint(stage) is model.approximation.checkpoints[stage]
    others = [ShardModel(session.plan, session.store, shard) for shard in (0, 1)]
    assert all(other.is_exact and not other.owes for other in others)
    # Without any example left, nothing stands for the shard and nothing is owed.
    rows = session.plan.partition.shard == 2
    empty = ShardModel(session.plan.without(session.plan.partition.ids[rows]), session.store, 2)
    assert not empty.owes
