"""Devices: one spec for all, the same promise on each, and a clear word where one is missing."""

import pytest
import torch

import unlearnkit as uk
from unlearnkit.data.examples import Examples
from unlearnkit.models.architecture import as_architecture
from unlearnkit.models.builtin import Logistic
from unlearnkit.seeding import state_bytes
from unlearnkit.store import MemoryStore
from unlearnkit.training.plan import make_plan
from unlearnkit.training.spec import OPTIMIZERS
from unlearnkit.training.train import train
from unlearnkit.unlearning.unlearn import unlearn

needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device here; the path is type-checked only"
)


def plan_on(device, model=None, **options):
    data, model = uk.load("digits"), model or uk.MLP((16,))
    options = {"num_shards": 3, "num_slices": 2, "epochs": 3, **options}
    spec = uk.TrainSpec(device=device, **options)
    return make_plan(data.train, as_architecture(model, data.feature_shape, 10), spec)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", 0, None])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(ValueError, match="is not known; use 'cpu', 'cuda'"):
        uk.TrainSpec(device=device)


def test_a_missing_device_is_refused_before_any_work():
    with pytest.raises(ValueError, match=r"device='cuda:99', but torch sees \d+ CUDA devices"):
        plan_on("cuda:99")


def test_auto_is_a_cuda_device_where_there_is_one():
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    plan = plan_on("auto")
    assert plan.device.type == kind
    assert plan.environment.device.startswith(kind)


@needs_cuda
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "model", [Logistic(), uk.MLP((16,), dropout=0.2), uk.CNN()], ids=["logistic", "mlp", "cnn"]
)
def test_exact_unlearning_on_cuda_equals_training_from_scratch(model, optimizer):
    plan = plan_on("cuda", model, optimizer=optimizer)
    store, scratch = MemoryStore(), MemoryStore()
    train(plan, store)
    ids = plan.examples.ids[[3, 700]]
    result = unlearn(plan, store, ids, uk.FixedBoundary(1.0))
    poisoned = plan.examples.inputs()
    poisoned[[3, 700]] = float("nan")
    clean = Examples(plan.examples.ids, poisoned, plan.examples.labels)
    again = make_plan(clean, plan.architecture, plan.spec, partition=plan.partition, revoked=ids)
    train(again, scratch)
    for one, other in zip(result.plan.stages, again.stages, strict=True):
        found, expected = store.get(one.key), scratch.get(other.key)
        assert state_bytes(found.state) == state_bytes(expected.state)
