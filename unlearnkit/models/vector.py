"""Parameters of a state as one flat vector, and back."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unlearnkit.store.checkpoint import State


def trainable_names(module: nn.Module) -> tuple[str, ...]:
    """Names of the parameters that require a gradient, in the order of `named_parameters`."""
    return tuple(name for name, p in module.named_parameters() if p.requires_grad)


def head_names(module: nn.Module) -> tuple[str, ...]:
    """Parameter names of the head: the last `nn.Linear` in the order of `named_modules`.

    That order is the order of assignment in `__init__`, so a module that assigns its head before
    its body needs its names given by hand.

    >>> head_names(nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)))
    ('2.weight', '2.bias')

    Raises:
        ValueError: the module has no `nn.Linear`.
    """
    heads = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    if not heads:
        raise ValueError(
            f"{type(module).__name__} has no nn.Linear, so no head to take; name the parameters "
            "yourself, or use trainable_names for all of them."
        )
    head = module.get_submodule(heads[-1])
    return tuple(f"{heads[-1]}.{name}".lstrip(".") for name, _ in head.named_parameters())


def flatten(state: State, names: Sequence[str]) -> Float[Tensor, " parameter"]:
    """The named tensors, one after the other, as one new vector without gradient history.

    Raises:
        KeyError: a name is not in the state.
        ValueError: no name was given.
    """
    _check_names(state, names)
    return torch.cat([state[name].detach().reshape(-1) for name in names])


def unflatten(vector: Float[Tensor, " parameter"], like: State, names: Sequence[str]) -> State:
    """The inverse of `flatten`: views of the vector in the shapes of `like`, these names only.

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
            f"a vector of {vector.numel()} numbers does not fit {sum(sizes)} parameters; flatten "
            "and unflatten with the same names."
        )
    pieces = torch.split(vector, sizes)
    return {name: p.view(like[name].shape) for name, p in zip(names, pieces, strict=True)}


def _check_names(state: State, names: Sequence[str]) -> None:
    """Names that are there, and at least one."""
    if not names:
        raise ValueError("no parameter names given; use trainable_names or head_names.")
    unknown = [name for name in names if name not in state]
    if unknown:
        raise KeyError(f"{', '.join(unknown)} not in the state, which has {', '.join(state)}.")
