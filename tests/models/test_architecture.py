"""Models: where their randomness comes from, and which ones are refused at the door."""

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from cases import CASES
from unlearnkit import CNN, MLP, TrainSpec
from unlearnkit.models.architecture import as_architecture
from unlearnkit.models.builtin import Logistic
from unlearnkit.models.dropout import step_context
from unlearnkit.seeding import state_bytes
from unlearnkit.store import MemoryStore
from unlearnkit.training.plan import make_plan
from unlearnkit.training.train import train


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 3))


def numpy_weights() -> nn.Module:
    module = nn.Linear(4, 3)
    module.weight.data = torch.from_numpy(np.random.normal(size=(3, 4)).astype(np.float32))
    return module


class Classifier(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(*small())


@pytest.mark.parametrize(
    "model",
    [small, lambda: small(), Classifier, lambda shape, width: small()],
    ids=["function", "lambda", "class", "of-shape-and-width"],
)
def test_callables_are_accepted(model: Callable[..., nn.Module]) -> None:
    assert as_architecture(model, (4,), 3).num_parameters == 5 * 5 + 6 * 3


def test_identity_is_structure_and_initial_state() -> None:
    digests = [
        as_architecture(model, (4,), 3).digest
        for model in (small, lambda: small(), MLP((5,), "relu"), MLP((5,)), MLP((6,)), Logistic())
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 5


def test_a_version_names_a_callable() -> None:
    one, two = (as_architecture(small, (4,), 3, version=v).digest for v in "12")
    assert one != two


@pytest.mark.parametrize(
    ("model", "error", "match"),
    [
        (nn.Linear(4, 3), TypeError, r"model is a Linear; give a name .* new nn.Module each time"),
        (7, TypeError, "model is a int; give a name"),
        ("resnet", KeyError, "resnet.*logistic, mlp, cnn"),
        (lambda a, b, c: small(), TypeError, r"needs 3 arguments \(a, b, c\)"),
        (lambda: "no module", TypeError, "returned a str; an nn.Module was expected"),
        (lambda: nn.LazyLinear(3), ValueError, "'weight' belongs to a lazy layer"),
        (lambda: nn.Flatten(), ValueError, "no trainable parameter"),
        (numpy_weights, ValueError, "two different initial states.*outside torch"),
        (CNN(), ValueError, r"8 x 8 or larger; the data has features of shape \(4,\)"),
    ],
)
def test_unfit_models_are_refused_by_name(
    model: object, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        as_architecture(model, (4,), 3)


def test_dropout_modules_are_keyed_wherever_they_are() -> None:
    def deep() -> nn.Module:
        body = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.1))
        return nn.Sequential(body, nn.Dropout(0.4), nn.Linear(5, 3))

    keyed = [m for m in as_architecture(deep, (4,), 3).module().modules() if hasattr(m, "rate")]
    assert [m.rate for m in keyed] == [0.1, 0.4]
    assert keyed[0].context is keyed[1].context


@pytest.mark.parametrize("name", CASES)
def test_building_ignores_the_global_generators_and_leaves_them_alone(name: str) -> None:
    case = CASES[name]
    torch.manual_seed(0)
    np.random.seed(0)
    first = state_bytes(case.architecture().initial(1, 2))
    torch.rand(1)
    np.random.random()
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    second = state_bytes(case.architecture().initial(1, 2))
    assert first == second
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()


def test_building_ignores_what_another_thread_draws() -> None:
    architecture, stop = as_architecture(MLP((20,)), (4,), 3), threading.Event()
    expected = state_bytes(architecture.initial(0, 0))

    def draw() -> None:
        while not stop.is_set():
            torch.rand(3)

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        for _ in range(50):
            assert state_bytes(architecture.initial(0, 0)) == expected
    finally:
        stop.set()
        thread.join()


def test_initial_weights_differ_by_seed_and_shard_and_have_torchs_range() -> None:
    architecture = as_architecture(MLP((5,)), (4,), 3)
    states = [architecture.initial(seed, shard) for seed in (0, 1) for shard in (0, 1)]
    assert len({state_bytes(state) for state in states}) == 4
    # nn.Linear draws from U(-1/sqrt(fan in), 1/sqrt(fan in)).
    assert all(state["1.weight"].abs().max() <= 0.5 for state in states)


def half_frozen() -> nn.Module:
    module = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    module[0].requires_grad_(False)
    return module


def test_frozen_parameters_stay() -> None:
    architecture = as_architecture(half_frozen, (5,), 3)
    assert architecture.num_parameters == 5 * 3
    examples, spec = CASES["mlp-dropout"].dataset().train, TrainSpec(num_shards=1, epochs=2)
    plan, store = make_plan(examples, architecture, spec), MemoryStore()
    train(plan, store)
    initial, end = architecture.initial(0, 0), store.get(plan.final_key(0)).state
    assert {name for name in end if not torch.equal(end[name], initial[name])} == {
        "2.weight",
        "2.bias",
    }


def test_a_module_is_private() -> None:
    architecture = as_architecture(small, (4,), 3)
    one, two = architecture.module(), architecture.module()
    assert step_context(one) is not step_context(two)
    with torch.no_grad():
        one[0].weight.zero_()
    assert two[0].weight.abs().sum() > 0


def test_models_without_dropout_have_no_context() -> None:
    architecture = as_architecture(Logistic(), (4,), 3)
    assert step_context(architecture.module()) is None
    assert not architecture.is_convolutional and not architecture.has_batch_statistics
    cnn = as_architecture(CNN(batch_norm=True), (1, 8, 9), 3)
    assert cnn.is_convolutional and cnn.has_batch_statistics
