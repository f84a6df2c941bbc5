"""Retrained models: only the final states are kept, and every checkpoint is still compared."""

from dataclasses import replace

from cases import CASES
from unlearnkit.evaluation.retrained import RetrainedModels
from unlearnkit.training.train import train


def test_only_the_final_states_are_kept_and_every_checkpoint_is_compared() -> None:
    session = CASES["logistic"].session()
    session.train()
    plan, store = session.plan, session.store
    retrained = RetrainedModels(plan, store)
    report = train(plan, retrained)
    finals = {plan.final_key(shard) for shard in range(plan.num_shards)}
    assert {run.stage for run in report.runs} == set(range(1, plan.spec.num_slices + 1))
    assert retrained.keys == finals
    assert all(not retrained.get(key).tails for key in finals)
    assert all(retrained.same(stage.key) for stage in plan.stages)
    assert not train(plan, retrained).runs  # dropped checkpoints count as trained


def test_a_checkpoint_that_the_other_store_lacks_or_changed_differs() -> None:
    session = CASES["logistic"].session()
    session.train()
    plan, store = session.plan, session.store.fork()
    first, second = plan.chains[0][:2]
    store.prune(plan.keys - {first.key}, ())
    changed = store.get(second.key)
    state = {name: tensor + 1 for name, tensor in changed.state.items()}
    store.put(replace(changed, state=state))
    retrained = RetrainedModels(plan, store)
    train(plan, retrained)
    differ = [stage.key for stage in plan.stages if not retrained.same(stage.key)]
    assert differ == [first.key, second.key]
