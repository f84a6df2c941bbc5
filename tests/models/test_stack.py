"""Stacks: which modules are recognised, and that the description is the module's own structure."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from unlearnkit import CNN, MLP
from unlearnkit.models.architecture import as_architecture
from unlearnkit.models.stack import Stack, as_head, as_stack


def changed(change: Callable[[nn.Sequential], object]) -> nn.Module:
    """A stack, changed so that it computes something else."""
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    assert as_stack(module) is not None
    change(module)
    return module


def tie(module: nn.Sequential) -> None:
    module[2].weight = module[0].weight


def view(module: nn.Sequential) -> None:
    module[2].weight = nn.Parameter(module[0].weight.data.T)


def gradient(value: torch.Tensor) -> torch.Tensor:
    return 2 * value


class Doubled(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class Marked(nn.Parameter):
    """A parameter of another class."""


CHANGES: dict[str, Callable[[nn.Sequential], object]] = {
    "activation at two places": lambda m: m.append(m[1]),
    "last layer at two places": lambda m: m.append(m[3]).append(m[2]),
    "forward hook": lambda m: m[0].register_forward_hook(lambda *given: 2 * given[-1]),
    "forward hook on an activation": lambda m: m[1].register_forward_hook(lambda *given: None),
    "pre-hook on the root": lambda m: m.register_forward_pre_hook(lambda layer, given: given),
    "backward hook": lambda m: m[2].register_full_backward_hook(lambda *given: None),
    "backward pre-hook": lambda m: m.register_full_backward_pre_hook(lambda *given: None),
    "gradient hook": lambda m: m[0].weight.register_hook(gradient),
    "hook after a gradient": lambda m: m[4].bias.register_post_accumulate_grad_hook(gradient),
    "parametrization": lambda m: nn.utils.parametrizations.spectral_norm(m[0]),
    "pruned": lambda m: prune.random_unstructured(m[0], "weight", 0.5),
    "subclass": lambda m: setattr(m[0], "__class__", Doubled),
    "replaced forward": lambda m: setattr(m[1], "forward", torch.sin),
    "replaced forward of the root": lambda m: setattr(m, "forward", m[0].forward),
    "replaced train": lambda m: setattr(m, "train", lambda mode=True: m),
    "tied": tie,
    "a view of another weight": view,
    "parameter of the root": lambda m: setattr(m, "scale", nn.Parameter(torch.ones(1))),
    "parameter of a layer": lambda m: setattr(m[0], "scale", nn.Parameter(torch.ones(1))),
    "parameter of an activation": lambda m: setattr(m[1], "scale", nn.Parameter(torch.ones(1))),
    "buffer": lambda m: m[0].register_buffer("seen", torch.zeros(1)),
    "buffer that is not stored": lambda m: m.register_buffer("seen", torch.zeros(1), False),
    "layer inside an activation": lambda m: setattr(m[1], "inner", nn.Linear(1, 1)),
    "frozen bias": lambda m: m[2].bias.requires_grad_(False),
    "bias in float64": lambda m: setattr(m[2], "bias", nn.Parameter(torch.zeros(4).double())),
    "bias for all outputs": lambda m: setattr(m[2], "bias", nn.Parameter(torch.zeros(1))),
    "other parameter class": lambda m: setattr(m[0], "weight", Marked(torch.zeros(4, 4))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_stacks_are_no_stacks(name: str) -> None:
    assert as_stack(changed(CHANGES[name])) is None


def test_gradient_hooks_count_in_an_architecture() -> None:
    architecture = as_architecture(lambda: changed(CHANGES["gradient hook"]), (4,), 2)
    assert architecture.stack is None


def test_in_place_activations_and_other_attributes_leave_a_stack() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True), nn.Linear(3, 2))
    module.note = module[0].note = "mine"
    stack = as_stack(module)
    assert stack is not None and stack.widths == (4, 3, 2)


def body_and_head(change: Callable[[nn.Sequential], object]) -> nn.Module:
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    change(module)
    return module.eval()


def untie(module: nn.Sequential) -> None:
    """Let the body use the head's weight without a gradient."""
    module[1].register_forward_pre_hook(lambda layer, given: given[0] @ module[2].weight.detach())


HEADS: dict[str, Callable[[nn.Sequential], object]] = {
    "hook": lambda m: m[2].register_forward_hook(lambda *given: None),
    "pre-hook": lambda m: m[2].register_forward_pre_hook(lambda *given: None),
    "backward hook": lambda m: m[2].register_full_backward_hook(lambda *given: None),
    "gradient hook": lambda m: m[2].weight.register_hook(gradient),
    "gradient hook on the bias": lambda m: m[2].bias.register_hook(gradient),
    "tied": tie,
    "used without a gradient": untie,
    "frozen": lambda m: m[2].requires_grad_(False),
    "replaced forward": lambda m: setattr(m[2], "forward", m[0].forward),
    "registered twice": lambda m: setattr(m, "other", m[2]),
    "not last": lambda m: m.append(nn.Tanh()),
}


@pytest.mark.parametrize("name", HEADS)
def test_changed_heads_are_no_heads(name: str) -> None:
    inputs = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert as_head(body_and_head(lambda module: None), inputs) is not None
    assert as_head(body_and_head(HEADS[name]), inputs) is None


def test_hooks_in_the_body_leave_a_head() -> None:
    module = body_and_head(lambda m: m[0].register_forward_hook(lambda *given: 2 * given[-1]))
    assert as_head(module, torch.ones(3, 4)) is not None


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
    assert head is not None
    assert head.widths == (5 * 2 * 2, 4) and head.activations == ()
