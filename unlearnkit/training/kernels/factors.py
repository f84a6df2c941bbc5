"""Kronecker factors of a network's curvature: computed, and kept with checkpoints.

Of a layer with inputs a (a last 1 for the bias) and gradients s at its outputs, A = E[a a^T] and
S = E[s s^T] (Martens and Grosse 2015; see :mod:`unlearnkit.approximate.baselines.kfac`). Both are
means over examples, so the sums over m examples less the sums over f of them are those over the
m - f others: what a revoked example gave to stored factors can be taken out again. (Ours.)
"""

from dataclasses import replace
from math import isqrt

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unlearnkit.models.losses import Loss, output_hessians
from unlearnkit.seeding import numpy_generator
from unlearnkit.store import Checkpoint
from unlearnkit.store.checkpoint import State
from unlearnkit.training.plan import Plan


def with_factors(plan: Plan, checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint that was just trained, with the factors that the spec asks for, packed.

    They are of the examples of :func:`factor_rows`, at each of its states. On a CPU, whatever the
    device.
    """
    if not plan.spec.kfac_examples or not layers_of(plan.architecture.module()):
        return checkpoint
    rows = factor_rows(plan, checkpoint.shard, checkpoint.stage)
    if not len(rows):
        return checkpoint
    inputs, _ = plan.examples[plan.partition.ids[rows]]
    states = {0: checkpoint.state, **checkpoint.tails}
    found = {
        q: packed(factors(plan.architecture.module(state), inputs, plan.spec.loss))
        for q, state in states.items()
    }
    return replace(checkpoint, factors=found)


def factor_rows(
    plan: Plan, shard: int, stage: int, gone: Int[np.ndarray, " gone"] | None = None
) -> Int[np.ndarray, " row"]:
    """The sample of a stage for its factors: rows of the partition, ascending.

    The first ``spec.kfac_examples`` retained ones in an order of the pool's original members that
    is keyed by (seed, shard, stage): who is revoked moves nobody else in it.

    Args:
        plan: of the retain set.
        shard: 0-based.
        stage: 1-based.
        gone: rows that were retained too when the stage was trained.
    """
    generator = numpy_generator(plan.spec.seed, "factors", shard, stage)
    order = generator.permutation(plan.pool(shard, stage))
    kept = plan.retained[order]
    if gone is not None:
        kept = kept | np.isin(order, gone)
    rows: np.ndarray = np.sort(order[kept][: plan.spec.kfac_examples])
    return rows


def without(whole: State, part: State, count: int, gone: int) -> State:
    """The factors of ``count`` examples less those of ``gone`` of them, computed by themselves.

    >>> one = {"A": torch.tensor([[2.0]])}
    >>> without({"A": torch.tensor([[3.0]])}, one, 4, 2)  # (4 * 3 - 2 * 2) / 2
    {'A': tensor([[4.]])}
    """
    return {n: (count * whole[n] - gone * part[n]) / (count - gone) for n in whole}


def packed(found: State) -> State:
    """The lower triangles of factors, which are symmetric, row by row: half the bytes.

    >>> packed({"A": torch.tensor([[1.0, 2.0], [2.0, 5.0]])})
    {'A': tensor([1., 2., 5.])}
    """
    return {n: whole[*torch.tril_indices(*whole.shape)] for n, whole in found.items()}


def unpacked(kept: State) -> State:
    """The inverse of :func:`packed`.

    >>> unpacked({"A": torch.tensor([1.0, 2.0, 5.0])})
    {'A': tensor([[1., 2.],
            [2., 5.]])}
    """
    result = State()
    for name, triangle in kept.items():
        side = isqrt(2 * len(triangle))  # of n (n + 1) numbers
        below = torch.ones(side, side, dtype=torch.bool).tril()
        lower = triangle.new_zeros(side, side).masked_scatter_(below, triangle)
        result[name] = lower + lower.tril(-1).T
    return result


def layers_of(module: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """Layers that have factors."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if (type(layer) is nn.Linear or (type(layer) is nn.Conv2d and _is_plain(layer)))
        and layer.weight.requires_grad
    }


def _is_plain(layer: nn.Conv2d) -> bool:
    numbers = not isinstance(layer.padding, str)
    return layer.groups == 1 and layer.padding_mode == "zeros" and numbers


@torch.enable_grad()
def factors(module: nn.Module, inputs: Tensor, loss: Loss) -> State:
    """A and S of every layer that has them, on these examples, by the names layer.A and layer.S."""
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
    """For each example a matrix B with B B^T = H, the loss's Hessian at its outputs."""
    values, vectors = torch.linalg.eigh(output_hessians(outputs, loss))
    roots: Tensor = vectors * values.clamp(min=0).sqrt().unsqueeze(1)
    return roots


def _rows(slopes: Tensor) -> Float[Tensor, "place out"]:
    """Gradients at the outputs, one row for each example and place."""
    if slopes.ndim == 4:
        return slopes.permute(0, 2, 3, 1).flatten(0, 2)
    return slopes.flatten(0, -2)


def _patches(layer: nn.Linear | nn.Conv2d, given: Tensor) -> Float[Tensor, "place in"]:
    """What the weights of a layer meet, one row for each example and place."""
    if isinstance(layer, nn.Linear):
        return given.flatten(0, -2)
    assert not isinstance(layer.padding, str)  # see _is_plain
    patches = torch.nn.functional.unfold(
        given, layer.kernel_size, layer.dilation, layer.padding, layer.stride
    )
    return patches.transpose(1, 2).flatten(0, 1)
