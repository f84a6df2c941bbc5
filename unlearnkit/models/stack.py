"""Stacks of linear layers, which the batched kernels can run, and how they are recognised."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unlearnkit.models.builtin import ACTIVATIONS
from unlearnkit.models.dropout import KeyedDropout


@dataclass(frozen=True)
class Stack:
    """A multi-layer perceptron, as the stacked-lane kernel needs to know it.

    Attributes:
        linears: names of the linear layers.
        widths: of the input, the hidden layers and the output.
        activations: after each linear layer but the last, by name.
        dropouts: rates after each activation; 0 where there is none.
    """

    linears: tuple[str, ...]
    widths: tuple[int, ...]
    activations: tuple[str, ...]
    dropouts: tuple[float, ...]


def as_stack(module: nn.Module) -> Stack | None:
    """Read a module as a stack: Sequential(Flatten?, (Linear, activation, Dropout?)*, Linear).

    >>> as_stack(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))).widths
    (4, 3, 2)
    >>> as_stack(nn.Sequential(nn.Conv1d(1, 1, 1), nn.Linear(4, 2))) is None
    True
    """
    if type(module) is not nn.Sequential or any(not p.requires_grad for p in module.parameters()):
        return None
    layers = list(module.named_children())
    if layers and _is_plain_flatten(layers[0][1]):
        layers = layers[1:]
    linears: list[str] = []
    widths: list[int] = []
    activations: list[str] = []
    dropouts: list[float] = []
    while layers:
        name, linear = layers.pop(0)
        if type(linear) is not nn.Linear or linear.bias is None:
            return None
        if linear.weight.dtype != torch.float32:
            return None
        linears.append(name)
        widths.append(linear.in_features)
        if not layers:
            return Stack(
                tuple(linears),
                (*widths, linear.out_features),
                tuple(activations),
                tuple(dropouts),
            )
        activation = _activation_name(layers.pop(0)[1])
        if activation is None:
            return None
        activations.append(activation)
        rate = 0.0
        if layers and isinstance(layers[0][1], KeyedDropout):
            dropout = layers.pop(0)[1]
            assert isinstance(dropout, KeyedDropout)
            if dropout.shared_dims:
                return None
            rate = dropout.rate
        dropouts.append(rate)
    return None


def as_head(module: nn.Module, inputs: Tensor) -> Stack | None:
    """Read a module's last linear layer as a stack of one, if the outputs are its own.

    That is, if what it makes of its inputs, the *features*, is returned as it is, and no parameter
    of it has shaped them.

    >>> as_head(nn.Sequential(nn.Tanh(), nn.Linear(8, 3)), torch.ones(2, 8))
    Stack(linears=('1',), widths=(8, 3), activations=(), dropouts=())
    >>> as_head(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.ones(2, 4)) is None
    True

    Args:
        module: private, in eval mode; its parameters' ``requires_grad`` are changed.
        inputs: some examples to try it on.
    """
    linears = [each for each in module.named_modules() if isinstance(each[1], nn.Linear)]
    name, head = linears[-1] if linears else ("", module)
    parts = [part for part, _ in head.named_parameters()]
    if type(head) is not nn.Linear or not name or parts != ["weight", "bias"]:
        return None
    for parameter in module.parameters():
        parameter.requires_grad_(parameter is head.weight or parameter is head.bias)
    seen: list[tuple[Tensor, Tensor, int]] = []

    def see(layer: nn.Module, given: tuple[Tensor, ...], outputs: Tensor) -> None:
        if len(given) == 1:
            seen.append((given[0], outputs, outputs._version))

    hook = head.register_forward_hook(see)
    outputs = module(inputs)
    hook.remove()
    if len(seen) != 1:
        return None
    features, returned, version = seen[0]
    if outputs is not returned or outputs._version != version:  # changed, if only in place
        return None
    if features.requires_grad or features.ndim != 2 or features.dtype != torch.float32:
        return None
    made = nn.functional.linear(features, head.weight, head.bias)
    if outputs.dtype != torch.float32 or not torch.equal(made, outputs):
        return None
    return Stack((name,), (head.in_features, head.out_features), (), ())


def _is_plain_flatten(layer: nn.Module) -> bool:
    return type(layer) is nn.Flatten and layer.start_dim == 1 and layer.end_dim == -1


def _activation_name(layer: nn.Module) -> str | None:
    if type(layer) is nn.GELU and layer.approximate != "none":
        return None
    return next((name for name, kind in ACTIVATIONS.items() if type(layer) is kind), None)
