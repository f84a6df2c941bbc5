"""Stacks of linear layers: how the models that the batched kernels can run are recognised."""

from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn

from unlearnkit.models.builtin import ACTIVATIONS
from unlearnkit.models.dropout import KeyedDropout
from unlearnkit.models.state import gradient_hooks, memory_of


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

    The stacked kernel computes what the layers' classes compute. A module with hooks on it, on its
    layers or on its parameters, with a layer at two places, with tied, frozen or further
    parameters, or with replaced methods is no stack.

    >>> as_stack(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))).widths
    (4, 3, 2)
    >>> as_stack(nn.Sequential(nn.Conv1d(1, 1, 1), nn.Linear(4, 2))) is None
    True
    """
    if type(module) is not nn.Sequential or module._parameters:
        return None
    layers = list(module._modules.items())  # named_children leaves out a layer's second place
    children = [layer for _, layer in layers if layer is not None]
    if len({id(layer) for layer in children}) < len(layers):
        return None
    if not _is_plain(module) or not all(map(_is_plain, children)) or _tied(module, module):
        return None
    if any(
        each._modules or (each._parameters and type(each) is not nn.Linear) for each in children
    ):
        return None
    if layers and _is_plain_flatten(layers[0][1]):
        layers = layers[1:]
    linears: list[str] = []
    widths: list[int] = []
    activations: list[str] = []
    dropouts: list[float] = []
    while layers:
        name, linear = layers.pop(0)
        if not _is_plain_linear(linear):
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
    must not depend on the layer's own parameters. Hooks on the layer or on its parameters, tied and
    frozen parameters exclude it. The result is a stack of this one layer.

    >>> as_head(nn.Sequential(nn.Tanh(), nn.Linear(8, 3)), torch.ones(2, 8))
    Stack(linears=('1',), widths=(8, 3), activations=(), dropouts=())
    >>> as_head(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.ones(2, 4)) is None
    True

    Args:
        module: a module in eval mode that is not used elsewhere: its head and the ``requires_grad``
            flags of its parameters are changed.
        inputs: features of a few examples, for one trial pass.
    """
    linears = [each for each in module.named_modules() if isinstance(each[1], nn.Linear)]
    name, head = linears[-1] if linears else ("", module)
    if not name or not _is_plain(head) or not _is_plain_linear(head):
        return None
    if list(head._parameters) != ["weight", "bias"] or _tied(head, module):
        return None
    for parameter in module.parameters():
        parameter.requires_grad_(parameter is head.weight or parameter is head.bias)
    seen: list[tuple[Tensor, Tensor, int]] = []

    def see(layer: nn.Module, given: tuple[Tensor, ...], outputs: Tensor) -> None:
        if len(given) == 1:
            seen.append((given[0], outputs, outputs._version))

    hook = head.register_forward_hook(see)
    outputs = module(inputs)
    if len(seen) != 1:
        hook.remove()
        return None
    features, returned, version = seen[0]
    if outputs is not returned or outputs._version != version:  # changed, possibly in place
        return None
    if features.requires_grad or features.ndim != 2 or features.dtype != torch.float32:
        return None
    made = nn.functional.linear(features, head.weight, head.bias)
    if outputs.dtype != torch.float32 or not torch.equal(made, outputs):
        return None
    with torch.no_grad():  # the features may depend on the parameters without a gradient
        head.weight.add_(1)
        head.bias.add_(1)
        module(inputs)
    hook.remove()
    if not torch.equal(seen[-1][0], features):
        return None
    return Stack((name,), (head.in_features, head.out_features), (), ())


def _is_plain(layer: nn.Module) -> bool:
    """Whether a layer has no hooks or buffers, and no attribute that replaces one of its class."""
    attributes = vars(layer)
    hooked = any(value for name, value in attributes.items() if "_hooks" in name)
    replaced = any(hasattr(type(layer), name) for name in attributes)
    return not hooked and not replaced and not layer._buffers


def _is_plain_linear(layer: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether a layer is an ``nn.Linear`` whose parameters are trained as they are."""
    if type(layer) is not nn.Linear or layer._parameters.keys() != {"weight", "bias"}:
        return False
    shapes = (layer.out_features, layer.in_features), (layer.out_features,)
    return not layer._modules and all(
        type(parameter) is nn.Parameter
        and parameter.shape == shape
        and parameter.dtype == torch.float32
        and parameter.requires_grad
        and not gradient_hooks(parameter)
        for parameter, shape in zip((layer.weight, layer.bias), shapes, strict=True)
    )


def _tied(layer: nn.Module, module: nn.Module) -> bool:
    """Whether a parameter of a layer shares its memory with another name in the module."""
    own, all_of_them = (
        [memory_of(p) for _, p in each.named_parameters(remove_duplicate=False)]
        for each in (layer, module)
    )
    return any(all_of_them.count(memory) > 1 for memory in own)


def _is_plain_flatten(layer: nn.Module) -> bool:
    return type(layer) is nn.Flatten and layer.start_dim == 1 and layer.end_dim == -1


def _activation_name(layer: nn.Module) -> str | None:
    if type(layer) is nn.GELU and layer.approximate != "none":
        return None
    return next((name for name, kind in ACTIVATIONS.items() if type(layer) is kind), None)
