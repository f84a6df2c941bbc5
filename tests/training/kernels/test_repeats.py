"""Repeats: steps of a foreign module are computed twice, and kept stages recognise their code."""

import random
import time

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unlearnkit import TrainSpec, from_arrays
from unlearnkit.models.architecture import as_architecture
from unlearnkit.seeding import state_bytes
from unlearnkit.store import MemoryStore
from unlearnkit.training.kernels.repeats import (
    MOST_ALARMS,
    ChangedModelError,
    NotReproducibleError,
    Repeated,
    repeats_of,
    same_bits,
)
from unlearnkit.training.plan import Plan, make_plan
from unlearnkit.training.train import train

CALLS, FACTOR = [0], [1.0]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 5), nn.Linear(5, 3)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.head(torch.tanh(self.body(x))) * FACTOR[0] * (1 + self.noise(x))

    def noise(self, x: Tensor) -> Tensor | float:
        return 0.0


class CountingInAGlobal(Net):
    def noise(self, x: Tensor) -> float:
        CALLS[0] += 1
        return max(0, CALLS[0] - 40) * 0.01


class ReadingTheClock(Net):
    """Depends on the time, in batches of two examples only."""

    def noise(self, x: Tensor) -> float:
        return time.perf_counter_ns() % 1000 * 1e-3 if len(x) == 2 else 0.0


class DrawingNow(Net):
    """Draws from Python's generator, in every seventh batch."""

    def noise(self, x: Tensor) -> float:
        return random.random() if self.training and self.calls % 7 == 0 else 0.0


class DrawingFromTorch(Net):
    def noise(self, x: Tensor) -> Tensor | float:
        return torch.rand(1) if self.training and self.calls % 7 == 0 else 0.0


class DrawingFromNumpy(Net):
    def noise(self, x: Tensor) -> float:
        return np.random.random() if self.training and self.calls % 7 == 0 else 0.0


def plan_of(model: type[nn.Module], **changes: object) -> Plan:
    features = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
    data = from_arrays(features, np.arange(60) % 3)
    spec = TrainSpec(num_shards=2, num_slices=3, epochs=9, batch_size=4).with_(**changes)
    return make_plan(data.train, as_architecture(model, (4,), 3), spec)


@pytest.mark.parametrize("model", [ReadingTheClock, DrawingNow, DrawingFromTorch, DrawingFromNumpy])
def test_a_module_that_is_no_function_of_its_state_is_refused(model: type[nn.Module]) -> None:
    with pytest.raises(NotReproducibleError, match=f"{model.__name__} computes different bits"):
        train(plan_of(model, batch_size=5), MemoryStore())


def test_a_count_in_a_global_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match="CountingInAGlobal changes CALLS whenever it is called"):
        train(plan_of(CountingInAGlobal), MemoryStore())
    assert CALLS == [0]


def test_the_first_a_partial_and_the_last_batch_are_repeated() -> None:
    plan, store = plan_of(Net, batch_size=5), MemoryStore()
    report = train(plan, store)
    assert report.repeated.steps == sum(run.steps for run in report.runs)
    assert report.repeated.repeated == 3
    assert report.repeated.partial >= 1
    assert train(plan, store).repeated == Repeated()


def test_repeating_changes_no_bit(monkeypatch) -> None:
    stores = []
    for least in (0, 1000):
        monkeypatch.setattr("unlearnkit.training.kernels.repeats.LEAST", least)
        monkeypatch.setattr("unlearnkit.training.kernels.repeats.ONE_IN", 10**9 if not least else 1)
        stores.append(MemoryStore())
        plan = plan_of(Net)
        report = train(plan, stores[-1])
        assert report.repeated.repeated == (report.repeated.steps if least else 0)
    states = [[state_bytes(s.get(key).state) for key in sorted(plan.keys)] for s in stores]
    assert states[0] == states[1]


def test_other_users_of_the_global_generators_are_tolerated() -> None:
    class Draws:
        def __call__(self, event: object) -> None:
            torch.rand(1)
            random.random()

    plan = plan_of(Net)
    report = train(plan, MemoryStore(), on_progress=Draws())
    assert report.repeated.repeated > 3  # the steps of some segments
    assert report.repeated.repeated < report.repeated.steps * MOST_ALARMS


def test_built_in_models_and_stacks_are_not_repeated() -> None:
    plan = plan_of(lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)))
    assert plan.stacked
    assert repeats_of(plan) is None


def late(plan: Plan) -> Plan:
    """The plan without an example of the last slice of shard 0."""
    rows = plan.partition.slice_members(0, 3)[0]
    return plan.without(plan.partition.ids[rows[:1]])


def test_changed_code_is_recognised_before_training_continues() -> None:
    plan, store = plan_of(Net), MemoryStore()
    train(plan, store)
    kept = len(store.keys)
    FACTOR[0] = 2.0
    try:
        with pytest.raises(ChangedModelError, match="reads FACTOR, which has changed"):
            train(late(plan), store)
        again = plan_of(Net)  # as in another process
        with pytest.raises(ChangedModelError, match=r"shard 0, stage 2.*version="):
            train(late(again), store)
        assert len(store.keys) == kept
        with pytest.raises(ChangedModelError, match="shard 1, stage 1"):  # nothing of 0 is kept
            rows = again.partition.slice_members(0, 1)[0]
            train(again.without(again.partition.ids[rows[:1]]), store)
    finally:
        FACTOR[0] = 1.0
    assert train(late(plan), store).repeated.kept == 1


def test_bits_are_compared_with_signs_and_nan() -> None:
    nan = torch.tensor([torch.nan])
    assert same_bits(nan, nan.clone())
    assert not same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert not same_bits(nan, nan.double())
