"""The workload: what is estimated is what is done, and what is expected is what happens."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cases import CASES, of_slice
from unlearnkit import FixedBoundary, Session
from unlearnkit.store import Store
from unlearnkit.training.kernels.stepper import Stepper
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning import expected_workload
from unlearnkit.unlearning.debt import debts_of
from unlearnkit.unlearning.repay import repay
from unlearnkit.unlearning.unlearn import unlearn
from unlearnkit.unlearning.workload import Workload, estimate


class Head(nn.Module):
    """A linear model, which the per-lane kernel trains."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)


class Counter:
    """Counts the examples whose gradient is computed in training."""

    visits = 0


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Session:
    # The plan and the store of a session; it would also time large batches for the clock, whose
    # gradients are no part of a request. Nor are those of repeated steps.
    gradients = Stepper.gradients

    def count(stepper: Stepper, inputs: Tensor, targets: Tensor) -> Tensor:
        Counter.visits += len(inputs)
        return gradients(stepper, inputs, targets)

    monkeypatch.setattr(Stepper, "gradients", count)
    monkeypatch.setattr("unlearnkit.training.train.repeats_of", lambda plan: None)
    case = CASES["logistic"]
    session = Session(case.dataset(), model=Head, spec=case.spec)
    session.train()
    return session


def retained(plan: Plan) -> np.ndarray:
    """Ids that are not revoked, ascending."""
    return plan.partition.ids[plan.retained]


def estimated(plan: Plan, store: Store, ids: np.ndarray) -> Workload:
    """The workload of a request, with the visits counted from here on."""
    Counter.visits = 0
    debts = {shard: len(debt) for shard, debt in debts_of(plan, store).items()}
    return estimate(plan.without(ids), store, ids, debts)


def test_estimated_visits_are_the_gradients_computed(counting: Session) -> None:
    plan, store = counting.plan, counting.store
    for first in range(6):
        ids = retained(plan)[first::9]
        expected = estimated(plan, store, ids)
        result = unlearn(plan, store, ids, FixedBoundary(1))
        assert Counter.visits == expected.visits == result.visits > 0
        plan = result.plan


def test_estimated_visits_include_the_debt(counting: Session) -> None:
    plan, store = counting.plan, counting.store
    for first in range(4):
        plan = unlearn(plan, store, retained(plan)[first::20], FixedBoundary(0)).plan
    debts = debts_of(plan, store)
    ids = np.setdiff1d(retained(plan), plan.partition.ids[plan.partition.shard == 0])[:3]
    expected = estimated(plan, store, ids)
    assert [work.debt for work in expected.shards] == [
        len(debts.get(work.shard, ())) for work in expected.shards
    ]
    result = unlearn(plan, store, ids, FixedBoundary(1))
    assert result.visits == Counter.visits == expected.visits > 0
    outstanding = estimated(result.plan, store, ids[:0]).outstanding_visits
    assert repay(result.plan, store).visits == Counter.visits == outstanding > 0


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


def test_debt_makes_a_request_dearer_by_the_stages_before_it(indebted):
    session = indebted.fork()
    late = of_slice(session, 2, 3)
    session.revoke([late])
    after, workload = session.plan.without([late]), session.workload()
    visits = [stage.visits for stage in after.chains[2]]
    assert workload.visits == sum(visits)  # back to the first slice, for the debt
    alone = expected_workload.visits_without_debt(session.plan, workload, session.pending)
    assert alone == visits[2]
    owed = expected_workload.debt_places(session.plan, session.debt)
    assert owed.tolist() == [[0, 0, 0], [0, 0, 0], [1, 0, 1]]


def test_retraining_every_shard_is_not_predicted_to_cost_more_than_everything() -> None:
    session = CASES["logistic"].session()
    session.train()
    plan = session.plan
    first = [of_slice(session, shard, 1) for shard in range(plan.num_shards)]
    session.revoke(first)
    workload = session.assess().workload
    assert len(workload.shards) == plan.num_shards and workload.seconds and workload.total_seconds
    assert workload.seconds <= workload.total_seconds * (1 + 1e-9)
