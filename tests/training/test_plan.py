"""Plans: which keys a revocation changes, and which work it leaves to be done."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cases import CASES
from unlearnkit import MLP, TrainSpec
from unlearnkit.data.examples import Examples
from unlearnkit.models.architecture import as_architecture
from unlearnkit.store import MemoryStore
from unlearnkit.training.partition import Partition
from unlearnkit.training.plan import Plan, make_plan
from unlearnkit.training.train import train

CASE = CASES["mlp-dropout"]


def plan_for(spec: TrainSpec = CASE.spec, examples: Examples | None = None) -> Plan:
    return make_plan(examples or CASE.dataset().train, CASE.architecture(), spec)


def changed_keys(a: Plan, b: Plan) -> set[tuple[int, int]]:
    pairs = zip(a.stages, b.stages, strict=True)
    return {(x.shard, x.index) for x, y in pairs if x.key != y.key}


def test_revoking_changes_exactly_the_later_keys_of_its_shard() -> None:
    before = plan_for()
    for row, id_ in enumerate(before.partition.ids):
        shard, first = before.partition.shard[row], before.partition.slice_[row]
        expected = {(shard, r) for r in range(first, CASE.spec.num_slices + 1)}
        assert changed_keys(before, before.without([id_])) == expected


def test_content_of_an_example_changes_the_same_keys_as_revoking_it() -> None:
    before, examples = plan_for(), CASE.dataset().train
    for row in (0, 5, 20):
        features = examples.features.clone()
        features[row, 0] += 1
        moved = plan_for(examples=replace(examples, features=features))
        revoked = before.without(examples.ids[[row]])
        assert changed_keys(before, moved) == changed_keys(before, revoked)


def test_twins_are_told_apart_by_their_ids() -> None:
    examples = CASE.dataset().train
    same = replace(
        examples, features=torch.ones_like(examples.features), labels=examples.labels * 0
    )
    plan = plan_for(examples=same)
    members = plan.partition.ids[(plan.partition.shard == 0) & (plan.partition.slice_ == 1)]
    assert len({plan.without([one]).final_key(0) for one in members}) == len(members) > 1


def test_revoking_one_then_another_is_revoking_both() -> None:
    before, rng = plan_for(), np.random.default_rng(0)
    for _ in range(10):
        a, b = np.split(rng.permutation(before.partition.ids)[:9], [rng.integers(10)])
        both = before.without([*a, *b])
        assert before.without(a).without(b).chains == both.chains
        assert before.without(b).without(a).chains == both.chains
        assert plan_for().without([*b, *a]).keys == both.keys


def test_a_plan_made_with_revocations_is_the_plan_without_them() -> None:
    before, ids = plan_for(), [10, 22, 40]
    made = make_plan(before.examples, before.architecture, before.spec, revoked=ids)
    assert made.chains == before.without(ids).chains


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"learning_rate": 0.1},
        {"momentum": 0.5},
        {"weight_decay": 0.0},
        {"batch_size": 7},
        {"optimizer": "adam"},
        {"loss": "squared-error"},
        {"num_threads": 2},
    ],
    ids=str,
)
def test_every_number_of_the_spec_changes_every_key(change: dict[str, object]) -> None:
    before = plan_for()
    other = plan_for(CASE.spec.with_(**change))
    assert not before.keys & other.keys


def test_another_model_or_environment_changes_every_key() -> None:
    before, examples = plan_for(), CASE.dataset().train
    for model in (MLP((7, 4)), MLP((7, 5)), MLP((7, 5), activation="tanh", dropout=0.3)):
        architecture = as_architecture(model, CASE.feature_shape, 3)
        assert not before.keys & make_plan(examples, architecture, CASE.spec).keys


def test_visits_are_epochs_times_living_examples() -> None:
    plan = plan_for().without([7, 10, 40, 43, 100])
    alive = plan.partition.sizes(plan.retained).cumsum(1)
    for stage in plan.stages:
        assert stage.visits == stage.epochs * alive[stage.shard, stage.index - 1]
    assert plan.total_visits == plan.to_frame()["visits"].sum()


def test_a_shard_without_examples_has_nothing_missing() -> None:
    plan = plan_for()
    gone = plan.without(plan.partition.ids[plan.partition.shard == 1])
    assert gone.alive(0) and not gone.alive(1)
    assert {stage.shard for stage in gone.missing(MemoryStore())} == {0}


def test_missing_is_what_the_store_lacks() -> None:
    plan, store = plan_for(), MemoryStore()
    assert plan.missing(store) == tuple(plan.stages)
    assert plan.missing(store, [1]) == plan.chains[1]
    train(plan, store, shards=[0])
    assert plan.missing(store) == plan.chains[1]
    last = plan.partition.ids[(plan.partition.shard == 0) & (plan.partition.slice_ == 3)]
    after = plan.without(last[:1])
    assert after.missing(store, [0]) == after.chains[0][2:]


def test_contents_of_revoked_examples_go_without_changing_anything_else() -> None:
    first, second, other = plan_for().partition.ids[[3, 8, 5]].tolist()
    before = plan_for().without([first, second])
    features, digests = before.examples.features.clone(), before.partition.digests.copy()
    erased = before.without_contents([np.array([second])])
    assert erased.keys == before.keys
    assert erased.without([other]).keys == before.without([other]).keys
    gone = before.partition.rows(np.array([first, second]))
    assert erased.examples.features[gone].isnan().all()
    assert not erased.partition.digests[gone].any() and not erased.examples.digests[gone].any()
    rest = np.delete(np.arange(len(before.examples)), gone)
    assert torch.equal(erased.examples.features[rest], features[rest])
    labels, old = erased.examples.labels[gone].tolist(), before.examples.labels[gone].tolist()
    assert labels == [-1, old[1]]  # that of the owed example stays until it is repaid
    again = erased.without_contents()
    assert again.examples.labels[gone].tolist() == [-1, -1]
    assert again.examples.features is erased.examples.features
    # The plan from before is as it was.
    assert torch.equal(before.examples.features, features)
    assert np.array_equal(before.partition.digests, digests)
    stores = MemoryStore(), MemoryStore()
    for plan, store in zip((before, again), stores, strict=True):
        train(plan, store)
    for key in before.keys:
        a, b = (store.get(key).state for store in stores)
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_what_is_no_partition_is_refused() -> None:
    for value in (Partition, "random"):
        with pytest.raises(TypeError, match=r"is not a Partition; give one"):
            make_plan(CASE.dataset().train, CASE.architecture(), CASE.spec, partition=value)


@pytest.mark.parametrize("changes", [{"batch_size": 2**31 - 1}, {"epochs": 2**31 - 1}])
def test_a_schedule_larger_than_the_memory_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"schedule and inputs take .* GB, and .* are free; use"):
        make_plan(CASE.dataset().train, CASE.architecture(), CASE.spec.with_(**changes))


def test_a_plan_says_how_many_requests_are_expected_in_the_last_slices() -> None:
    case = CASES["logistic"]
    examples = case.dataset().train
    rates = np.where(np.arange(44) < 10, 9.0, 1.0)  # 101 of 124 in the 21 places of slice 2
    plan = make_plan(replace(examples, propensity=rates), case.architecture(), case.spec)
    assert "visits, 81% of requests expected in the last slices" in repr(plan)
    for other in (np.ones(len(examples)), None):
        even = make_plan(replace(examples, propensity=other), case.architecture(), case.spec)
        assert "requests" not in repr(even)
