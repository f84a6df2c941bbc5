"""Flattening the parameters of a state into one vector, and restoring them from it."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Inexact
from torch import Tensor, nn

from unlearnkit.store.checkpoint import State


def trainable_names(module: nn.Module) -> tuple[str, ...]:
    """Return the names of parameters that require a gradient, in `named_parameters` order."""
    return tuple(name for name, p in module.named_parameters() if p.requires_grad)


def head_names(module: nn.Module) -> tuple[str, ...]:
    """Return the parameter names of the head: the last `nn.Linear` in `named_modules` order.

    That is the order of assignment in `__init__`. For a module that assigns its head before its
    body, name the head's parameters by hand.

    >>> head_names(nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)))
    ('2.weight', '2.bias')

    Raises:
        ValueError: the module has no `nn.Linear`.
    """
    heads = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    if not heads:
        raise ValueError(
            f"{type(module).__name__} has no nn.Linear and therefore no head; name the parameters "
            "yourself, or use trainable_names for all of them."
        )
    head = module.get_submodule(heads[-1])
    return tuple(f"{heads[-1]}.{name}".lstrip(".") for name, _ in head.named_parameters())


def flatten(state: State, names: Sequence[str]) -> Inexact[Tensor, " parameter"]:
    """Concatenate the named tensors into one new vector without gradient history.

    Raises:
        KeyError: a name is not in the state.
        ValueError: no name was given.
    """
    _check_names(state, names)
    return torch.cat([state[name].detach().reshape(-1) for name in names])


def real_values(tensor: Tensor) -> Tensor:
    """Return the tensor; of complex numbers the real and imaginary parts in a last dimension.

    >>> real_values(torch.tensor([1 + 2j]))
    tensor([[1., 2.]])
    """
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def unflatten(vector: Float[Tensor, " parameter"], like: State, names: Sequence[str]) -> State:
    """Invert `flatten`: return views of the vector in the shapes of the named tensors of `like`.

    >>> state = {"w": torch.zeros(2, 2), "b": torch.zeros(1)}
    >>> unflatten(torch.arange(5.0), state, ("b", "w"))
    {'b': tensor([0.]), 'w': tensor([[1., 2.],
            [3., 4.]])}

    Raises:
        KeyError: a name is not in `like`.
        ValueError: no name was given, or the vector's length does not fit.
    """
    _check_names(like, names)
    sizes = [like[name].numel() for name in names]
    if vector.numel() != sum(sizes):
        raise ValueError(
            f"a vector of {vector.numel()} numbers does not fit {sum(sizes)} parameters; pass the "
            "same names to flatten and unflatten."
        )
    pieces = torch.split(vector, sizes)
    return {name: p.view(like[name].shape) for name, p in zip(names, pieces, strict=True)}


def _check_names(state: State, names: Sequence[str]) -> None:
    """Refuse an empty list of names and names that are not in the state."""
    if not names:
        raise ValueError("no parameter names given; use trainable_names or head_names.")
    unknown = [name for name in names if name not in state]
    if unknown:
        raise KeyError(
            f"the state has no parameter {', '.join(unknown)}; choose from {', '.join(state)}."
        )
