"""The Kronecker factors of a network's curvature.

A layer has inputs a (with a last 1 for the bias) and gradients s at its outputs. Its factors are
A = E[a a^T] and S = E[s s^T], means over examples (Martens and Grosse 2015; see
:mod:`unlearnkit.approximate.baselines.kfac`).
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unlearnkit.models.losses import Loss, output_hessians
from unlearnkit.store.checkpoint import State


def layers_of(module: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """The layers that have factors, by name."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if (type(layer) is nn.Linear or (type(layer) is nn.Conv2d and _is_plain(layer)))
        and layer.weight.requires_grad
    }


def layer_parameters(module: nn.Module) -> dict[str, str]:
    """Return for each parameter that the layers with factors read the name of its layer."""
    return {
        f"{name}.{part}".lstrip("."): name
        for name, layer in layers_of(module).items()
        for part in ("weight", "bias")
        if isinstance(parameter := getattr(layer, part), Tensor) and parameter.requires_grad
    }


def shared_layer(module: nn.Module, inputs: Tensor) -> str:
    """Return the name of a layer whose factors do not describe its weights, or "".

    The factors hold for a layer that is used once and whose parameters have no other name.
    """
    layers, counts = layers_of(module), dict[str, int]()
    names = [name for name, _ in module.named_parameters(remove_duplicate=False)]
    own = {id(parameter): 0 for parameter in module.parameters()}
    for name in names:
        own[id(module.get_parameter(name))] += 1

    def count(layer: nn.Module, given: object, outputs: object, name: str) -> None:
        counts[name] = counts.get(name, 0) + 1

    hooks = [
        layer.register_forward_hook(partial(count, name=name)) for name, layer in layers.items()
    ]
    try:
        with torch.no_grad():
            module(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return next(
        (
            name
            for name, layer in layers.items()
            if counts.get(name, 0) > 1 or any(own.get(id(p), 1) > 1 for p in layer.parameters())
        ),
        "",
    )


def _is_plain(layer: nn.Conv2d) -> bool:
    numbers = not isinstance(layer.padding, str)
    return layer.groups == 1 and layer.padding_mode == "zeros" and numbers


@torch.enable_grad()
def factors(module: nn.Module, inputs: Tensor, loss: Loss) -> State:
    """Return the factors of every layer on these examples, named ``layer.A`` and ``layer.S``."""
    layers = layers_of(module)
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    hooks = [
        layer.register_forward_hook(
            lambda _, given, out, name=name: seen.__setitem__(name, (given[0].detach(), out))
        )
        for name, layer in layers.items()
    ]
    try:
        outputs = module(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    roots = hessian_roots(outputs.detach(), loss)
    at = [out for _, out in seen.values()]
    found = {
        name: torch.zeros(layer.weight.shape[0], layer.weight.shape[0])
        for name, layer in layers.items()
    }
    for column in roots.unbind(2):
        slopes = torch.autograd.grad(outputs, at, column, retain_graph=True)
        for name, slope in zip(seen, slopes, strict=True):
            flat = _rows(slope)
            found[name] += flat.T @ flat / len(flat)
    result = State()
    for name, (given, _) in seen.items():
        layer = layers[name]
        patches = _patches(layer, given)
        if layer.bias is not None:
            patches = torch.nn.functional.pad(patches, (0, 1), value=1.0)
        result[f"{name}.A"] = patches.T @ patches / len(inputs)
        result[f"{name}.S"] = found[name]
    return result


def hessian_roots(
    outputs: Float[Tensor, "row class"], loss: Loss
) -> Float[Tensor, "row class root"]:
    """Return for each example a matrix B with B B^T = H, the loss's Hessian at its outputs."""
    values, vectors = torch.linalg.eigh(output_hessians(outputs, loss))
    roots: Tensor = vectors * values.clamp(min=0).sqrt().unsqueeze(1)
    return roots


def _rows(slopes: Tensor) -> Float[Tensor, "place out"]:
    """Return the gradients at a layer's outputs, one row for each example and location."""
    if slopes.ndim == 4:
        return slopes.permute(0, 2, 3, 1).flatten(0, 2)
    return slopes.flatten(0, -2)


def _patches(layer: nn.Linear | nn.Conv2d, given: Tensor) -> Float[Tensor, "place in"]:
    """Return a layer's inputs or patches, one row for each example and location."""
    if isinstance(layer, nn.Linear):
        return given.flatten(0, -2)
    assert not isinstance(layer.padding, str)  # see _is_plain
    patches = torch.nn.functional.unfold(
        given, layer.kernel_size, layer.dilation, layer.padding, layer.stride
    )
    return patches.transpose(1, 2).flatten(0, 1)
