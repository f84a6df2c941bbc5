"""Stacks: which modules are recognised, and that the description is the module's own structure."""

import pytest
import torch
from torch import nn

from unlearnkit import CNN, MLP
from unlearnkit.models.architecture import as_architecture
from unlearnkit.models.stack import Stack, as_head, as_stack


def frozen() -> nn.Module:
    module = nn.Linear(4, 3)
    module.bias.requires_grad_(False)
    return nn.Sequential(module)


def test_a_perceptron_is_described_by_its_layers() -> None:
    stack = as_architecture(MLP((5, 7), "tanh", dropout=0.25), (2, 2), 3).stack
    assert stack == Stack(("1", "4", "7"), (4, 5, 7, 3), ("tanh", "tanh"), (0.25, 0.25))


def test_a_stack_computes_what_its_module_computes() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    stack, x = as_stack(module), torch.randn(9, 2, 2, generator=torch.Generator().manual_seed(0))
    assert stack is not None and stack.activations == ("relu",)
    state, h = module.state_dict(), x.flatten(1)
    for number, name in enumerate(stack.linears):
        h = h @ state[f"{name}.weight"].T + state[f"{name}.bias"]
        h = h.clamp(min=0) if number < len(stack.activations) else h
    assert torch.allclose(h, module(x), atol=1e-6)


@pytest.mark.parametrize(
    "module",
    [
        nn.Linear(4, 3),  # no Sequential
        nn.Sequential(nn.Linear(4, 3, bias=False)),
        nn.Sequential(nn.Linear(4, 3).double()),
        nn.Sequential(nn.Linear(4, 3), nn.ReLU()),
        nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)),
        nn.Sequential(nn.Linear(4, 3), nn.SiLU(), nn.Linear(3, 2)),
        nn.Sequential(nn.Linear(4, 3), nn.GELU("tanh"), nn.Linear(3, 2)),
        nn.Sequential(nn.Flatten(0), nn.Linear(4, 3)),
        nn.Sequential(),
        frozen(),
    ],
    ids=lambda module: repr(module).replace("\n", ""),
)
def test_other_modules_are_no_stacks(module: nn.Module) -> None:
    assert as_stack(module) is None


def test_the_head_of_a_convolutional_network_is_its_last_layer() -> None:
    architecture = as_architecture(CNN((3, 5)), (1, 8, 8), 4)
    assert architecture.stack is None
    inputs = torch.ones(2, 1, 8, 8)
    head = as_head(architecture.module(), inputs)
    assert head == architecture.head and head is not None
    assert head.widths == (5 * 2 * 2, 4) and head.activations == ()
