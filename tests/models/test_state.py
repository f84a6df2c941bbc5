"""States: contiguous copies of all parameters and buffers."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from unlearnkit.models.state import (
    batch_statistics_layers,
    copied,
    get_state,
    gradient_hooks,
    is_finite,
    memory_of,
    same_state,
)


def test_a_state_is_a_contiguous_copy_that_loads_back() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    module[0].weight = nn.Parameter(torch.arange(12.0).reshape(3, 4).T)
    state = get_state(module)
    assert set(state) == set(module.state_dict()) and "1.num_batches_tracked" in state
    assert all(value.is_contiguous() and not value.requires_grad for value in state.values())
    kept = state["0.weight"].clone()
    with torch.no_grad():
        module[0].weight.zero_()
    assert torch.equal(state["0.weight"], kept)
    module.load_state_dict(state)
    assert torch.equal(module[0].weight, kept)


def test_layers_with_batch_statistics_are_found_at_any_depth() -> None:
    inner = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.LayerNorm(2))
    module = nn.Sequential(inner, nn.GroupNorm(1, 2), nn.BatchNorm1d(2))
    assert batch_statistics_layers(module) == [inner[1], module[2]]


def times_five(parameter: torch.Tensor) -> None:
    parameter.grad.mul_(5)


def test_a_copy_has_the_hooks_on_gradients() -> None:
    module = nn.Linear(1, 1)
    module.weight.register_hook(lambda value: 3 * value)
    module.bias.register_post_accumulate_grad_hook(times_five)
    twin = copied(copied(module))
    twin(torch.ones(1, 1)).backward()
    assert twin.weight.grad.item() == 3 and twin.bias.grad.item() == 5
    assert len(gradient_hooks(twin.weight)) == len(gradient_hooks(twin.bias)) == 1
    assert module.weight.grad is None and memory_of(twin.weight) != memory_of(module.weight)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_copy_computes_its_weights_from_its_own_parameters() -> None:
    changes = (nn.utils.weight_norm, lambda layer: prune.l1_unstructured(layer, "weight", 2))
    for change in changes:
        module = change(nn.Linear(3, 2))
        twin, x = copied(module), torch.ones(1, 3)
        assert torch.equal(twin(x), module(x))
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.mul_(2)
        assert not torch.equal(twin(x), module(x))


def test_views_have_their_memory_in_common() -> None:
    whole = torch.zeros(2, 3)
    assert memory_of(whole) == memory_of(whole[1]) != memory_of(whole.clone())
    assert memory_of(torch.zeros(0)) != memory_of(torch.zeros(0, 2))


def test_a_state_is_finite_unless_it_holds_nan_or_a_trained_parameter_is_infinite() -> None:
    state = {"weight": torch.ones(2), "mask": torch.tensor([-torch.inf]), "count": torch.tensor(3)}
    assert is_finite(state, ["weight"]) and same_state(state, {**state})
    assert not is_finite(state, ["weight", "mask"])
    broken = {**state, "weight": torch.tensor([1.0, torch.nan])}
    assert not is_finite(broken) and not same_state(broken, broken)
    assert not same_state(state, {**state, "weight": torch.tensor([1.0, -1.0])})
