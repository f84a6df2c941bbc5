"""Reading and copying modules: state, hooks, shared memory, and layers with batch statistics."""

import cmath
import copy
from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from unlearnkit.store.checkpoint import State


def batch_statistics_layers(module: nn.Module) -> list[nn.Module]:
    """Return the layers that normalise by batch statistics."""
    kinds = (nn.modules.batchnorm._BatchNorm,)
    return [layer for layer in module.modules() if isinstance(layer, kinds)]


def get_state(module: nn.Module) -> State:
    """Return a contiguous copy of all parameters and buffers, by name."""
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in module.state_dict().items()
    }


def copied(module: nn.Module) -> nn.Module:
    """Return a deep copy of a module that computes the same.

    Unlike ``copy.deepcopy``, this keeps the hooks on parameters' gradients, and copies modules with
    tensors that were computed from parameters: ``weight_norm`` and ``prune`` keep such tensors as
    attributes, and compute them again before each call.
    """
    computed: dict[int, Any] = {}
    for layer in module.modules():
        for value in vars(layer).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                computed[id(value)] = value.detach().clone()
    twin = copy.deepcopy(module, computed)
    for old, new in zip(module.parameters(), twin.parameters(), strict=True):
        if old is new or not gradient_hooks(old):
            continue
        for hook in (old._backward_hooks or {}).values():
            new.register_hook(hook)
        for hook in (old._post_accumulate_grad_hooks or {}).values():
            new.register_post_accumulate_grad_hook(hook)
    return twin


def gradient_hooks(tensor: Tensor) -> list[Callable[..., Any]]:
    """Return the hooks that were registered for a tensor's gradient.

    They are registered by ``Tensor.register_hook`` and
    ``Tensor.register_post_accumulate_grad_hook``.
    """
    before = tensor._backward_hooks or {}
    after = getattr(tensor, "_post_accumulate_grad_hooks", None) or {}
    return [*before.values(), *after.values()]


def named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield all parameters and buffers under each of their names."""
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def memory_of(tensor: Tensor) -> int:
    """Return a number that tensors have in common if they are views of the same memory."""
    strided = tensor.layout is torch.strided and tensor.numel() > 0
    return (tensor.untyped_storage().data_ptr() if strided else 0) or id(tensor)


def is_finite(state: State, trainable: Collection[str] = ()) -> bool:
    """Return whether a model holds numbers only.

    A buffer may be infinite on purpose, such as the mask of an attention layer, but it may not hold
    NaN.

    Args:
        state: parameters and buffers.
        trainable: names of the trained parameters, which must be finite.

    >>> is_finite({"mask": torch.tensor([-torch.inf])})
    True
    >>> is_finite({"weight": torch.tensor([-torch.inf])}, ["weight"])
    False
    """
    return all(
        all_finite(tensor) or (name not in trainable and not torch.isnan(tensor).any())
        for name, tensor in state.items()
    )


def all_finite(tensor: Tensor) -> bool:
    """Return whether all numbers of a tensor are finite.

    >>> all_finite(torch.tensor([3e38, 3e38])), all_finite(torch.tensor([torch.inf, -torch.inf]))
    (True, False)
    """
    # The sum is cheaper than a look at every number, but finite numbers may overflow in it.
    return cmath.isfinite(tensor.sum().item()) or bool(torch.isfinite(tensor).all())


def same_state(a: State, b: State) -> bool:
    """Return whether two models are equal byte for byte; one that holds NaN equals no other.

    >>> same_state({"bias": torch.zeros(1)}, {"bias": torch.zeros(1)})
    True
    >>> same_state({"bias": torch.tensor([torch.nan])}, {"bias": torch.tensor([torch.nan])})
    False
    """
    pairs = zip(a.items(), b.items(), strict=True)
    return len(a) == len(b) and all(_same(x, y) for x, y in pairs) and is_finite(a)


def _same(a: tuple[str, Tensor], b: tuple[str, Tensor]) -> bool:
    """Return whether two named tensors are equal byte for byte, without copying them."""
    (name, x), (other, y) = a, b
    if (name, x.shape, x.dtype) != (other, y.shape, y.dtype):
        return False
    flat = [each.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for each in (x, y)]
    return torch.equal(*flat)
