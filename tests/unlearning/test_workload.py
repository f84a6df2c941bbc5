"""The workload: what is estimated is what is done, and what is expected is what happens."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cases import CASES
from unlearnkit import MemoryStore, Session, TrainSpec, estimate, expected_visits, make_plan, train
from unlearnkit.training.spec import EPOCH_RULES


class Counting(nn.Module):
    """A linear model that counts the examples whose gradient is computed."""

    visits = 0

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        outputs = self.head(x)
        if outputs.requires_grad:
            outputs.register_hook(Counting.count)
        return outputs

    @staticmethod
    def count(gradient: Tensor) -> None:
        Counting.visits += len(gradient)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    # What a slow request gives the clock time to measure is no part of its visits.
    monkeypatch.setattr("unlearnkit.session.time_large_batches", lambda *given: ())
    case = CASES["logistic"]
    session = Session(case.dataset(), model=Counting, spec=case.spec)
    session.train()
    yield session


def test_estimated_visits_are_the_gradients_computed(counting: Session) -> None:
    for seed in range(6):
        counting.revoke(count=4, seed=seed)
        estimated, Counting.visits = counting.workload(), 0
        result = counting.unlearn(1)
        assert Counting.visits == estimated.visits == result.visits > 0


def test_estimated_visits_include_the_debt(counting: Session) -> None:
    for seed in range(4):
        counting.revoke(count=2, seed=seed)
        counting.unlearn(0)
    counting.revoke(count=3, seed=9)
    debts, estimated, Counting.visits = counting.debt, counting.workload(), 0
    assert [work.debt for work in estimated.shards] == [
        len(debts.get(work.shard, ())) for work in estimated.shards
    ]
    assert counting.unlearn(1).visits == Counting.visits == estimated.visits
    outstanding, Counting.visits = counting.workload().outstanding_visits, 0
    assert counting.repay().visits == Counting.visits == outstanding


def test_workload_is_the_sum_over_stages_from_the_first_one_touched() -> None:
    session = CASES["uneven"].session()
    session.train()
    partition, epochs = session.plan.partition, session.spec.stage_epochs()
    for seed in range(10):
        session.withdraw()
        request = session.revoke(count=3, seed=seed).ids
        rows, expected = partition.rows(request), 0
        alive = partition.sizes(~np.isin(partition.ids, request)).cumsum(1)
        for shard in np.unique(partition.shard[rows]):
            first = partition.slice_[rows][partition.shard[rows] == shard].min()
            if alive[shard, -1]:
                expected += sum(epochs[r - 1] * alive[shard, r - 1] for r in range(first, 4))
        assert session.workload().visits == expected


def test_stages_are_kept_retrained_outstanding_or_empty() -> None:
    session = CASES["logistic"].session()
    session.train()
    partition = session.plan.partition

    def member(shard: int, slice_: int) -> np.ndarray:
        return partition.ids[(partition.shard == shard) & (partition.slice_ == slice_)]

    session.revoke(member(0, 1)[:1])
    session.unlearn(0)
    session.revoke(partition.ids[partition.shard == 2])
    session.revoke(member(1, 2)[:1])
    workload = session.workload()
    assert workload.stage_status == (("outstanding",) * 2, ("kept", "retrain"), ("empty",) * 2)
    assert [work.shard for work in workload.shards] == [1, 2]
    assert workload.shards[0].first_stage == 2 and workload.shards[1].first_stage == 0
    assert workload.visits == workload.stage_visits[1, 1]
    assert workload.outstanding_visits == workload.stage_visits[0].sum()
    assert workload.share == workload.visits / workload.stage_visits.sum()
    assert "outstanding elsewhere" in repr(workload)
    assert workload.to_frame()["shard"].tolist() == [2, 1]  # cheapest first


@pytest.mark.parametrize("name", ["logistic", "mlp-dropout", "uneven"])
def test_estimating_changes_nothing(name: str) -> None:
    session = CASES[name].session()
    session.train()
    session.revoke(count=3)
    keys, plan, pending = session.store.keys, session.plan, session.pending
    torch.manual_seed(0)
    np.random.seed(0)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = session.workload()
    assert (
        estimate(plan.without(pending), session.store, pending).stage_status == first.stage_status
    )
    assert session.store.keys == keys and session.plan is plan
    assert session.pending.tolist() == pending.tolist()
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()


def simulated_visits(spec: TrainSpec, count: int, revoked: int, rounds: int) -> np.ndarray:
    """W of random requests of this size, by counting stages."""
    rng = np.random.default_rng(0)
    members = np.arange(count)
    shards, slices = members % spec.num_shards, members // spec.num_shards % spec.num_slices
    epochs = np.array(spec.stage_epochs())
    found = np.zeros(rounds)
    for i in range(rounds):
        gone = np.zeros(count, bool)
        gone[rng.choice(count, revoked, replace=False)] = True
        for s in np.unique(shards[gone]):
            for r in range(slices[gone & (shards == s)].min(), spec.num_slices):
                pool = (shards == s) & (slices <= r)
                found[i] += epochs[r] * (pool & ~gone).sum()
    return found


@pytest.mark.parametrize("revoked", [1, 7, 60])
@pytest.mark.parametrize(("shards", "slices"), [(1, 1), (1, 4), (5, 1), (4, 3)])
@pytest.mark.parametrize("rule", EPOCH_RULES)
def test_expected_visits_agree_with_simulation(
    rule: str, shards: int, slices: int, revoked: int
) -> None:
    spec = TrainSpec(num_shards=shards, num_slices=slices, epochs=6, epoch_rule=rule)
    found = simulated_visits(spec, 240, revoked, 200)
    expected = expected_visits(240, shards, spec.stage_epochs(), revoked)
    # Four standard errors of the mean; exact where nothing is left to chance.
    assert abs(found.mean() - expected) <= 4 * found.std() / 200**0.5 + 1e-6 * expected


def test_expected_visits_of_the_product_itself() -> None:
    case, rng = CASES["logistic"], np.random.default_rng(0)
    examples, spec = case.dataset().train, case.spec.with_(num_shards=4, num_slices=1)
    plan, store = make_plan(examples, case.architecture(), spec), MemoryStore()
    train(plan, store)
    found = []
    for _ in range(200):
        ids = rng.choice(examples.ids, 3, replace=False)
        found.append(estimate(plan.without(ids), store, ids).visits)
    expected = expected_visits(len(examples), 4, spec.stage_epochs(), 3)
    assert abs(np.mean(found) - expected) <= 4 * np.std(found) / 200**0.5


def test_expected_share_of_one_revocation_has_closed_forms() -> None:
    for shards, slices in ((1, 1), (3, 4), (10, 5)):
        n = 10_000 * shards * slices
        pools = np.arange(1, slices + 1) * n / slices
        equal, work = (6,) * slices, tuple(60 // r for r in range(1, slices + 1))
        share = expected_visits(n, shards, equal, 1) / np.dot(equal, pools)
        # 1/n, the revoked one itself, is what the forms leave out.
        assert share == pytest.approx((2 * slices + 1) / (3 * shards * slices), rel=1e-3)
        share = expected_visits(n, shards, work, 1) / np.dot(work, pools)
        assert share == pytest.approx((slices + 1) / (2 * shards * slices), rel=1e-3)


def test_expected_visits_at_the_ends() -> None:
    assert expected_visits(100, 5, (2, 2), 0) == pytest.approx(0)
    assert expected_visits(100, 5, (2, 2), 100) == 0
