"""States: contiguous copies of all parameters and buffers."""

import torch
from torch import nn

from unlearnkit.models.state import batch_statistics_layers, get_state


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
