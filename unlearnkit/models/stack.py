"""Stacks of linear layers: how the models that the batched kernels can run are recognised."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unlearnkit.models.builtin import ACTIVATIONS
from unlearnkit.models.dropout import KeyedDropout


@dataclass(frozen=True)
class Stack:
    """The structure of a multi-layer perceptron, for the stacked kernel.

    Attributes:
        linears: names of the linear layers.
        widths: widths of the input, the hidden layers and the output.
        activations: name of the activation after each linear layer but the last.
        dropouts: dropout rate after each activation; 0 where there is no dropout.
    """

    linears: tuple[str, ...]
    widths: tuple[int, ...]
    activations: tuple[str, ...]
    dropouts: tuple[float, ...]


def as_stack(module: nn.Module) -> Stack | None:
    """Recognise Sequential(Flatten?, (Linear, activation, Dropout?)*, Linear); None for others.

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
    """Recognise a module whose outputs are those of its last linear layer; None for others.

    The module must return that layer's outputs unchanged, and the layer's inputs, the *features*,
    must not depend on the layer's own parameters. The result is a stack of this one layer.

    >>> as_head(nn.Sequential(nn.Tanh(), nn.Linear(8, 3)), torch.ones(2, 8))
    Stack(linears=('1',), widths=(8, 3), activations=(), dropouts=())
    >>> as_head(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.ones(2, 4)) is None
    True

    Args:
        module: a module in eval mode that is not used elsewhere: the ``requires_grad`` flags of its
            parameters are changed.
        inputs: features of a few examples, for one trial pass.
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
    if outputs is not returned or outputs._version != version:  # changed, possibly in place
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
