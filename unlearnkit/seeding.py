"""Keyed randomness: every random number comes from a private generator keyed by its purpose.

A key is a tuple such as ``(seed, "order", shard, stage, epoch)`` and alone determines the numbers.
The global generators of torch and numpy are neither read nor written, because other notebook cells
may draw from them while training runs in a thread.
"""

import hashlib
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

Key = int | str


def derive(*key: Key) -> int:
    """Derive a 63-bit seed from a key of integers and strings.

    The same key always gives the same seed. Distinct keys give independent seeds (BLAKE2b hash).

    >>> derive(0, "order", 3) == derive(0, "order", 3)
    True
    >>> derive(1, 23) == derive(12, 3)
    False
    """
    text = "\x1f".join(f"{type(part).__name__[0]}{part}" for part in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def numpy_generator(*key: Key) -> np.random.Generator:
    """Return a private numpy generator, seeded from this key."""
    return np.random.Generator(np.random.PCG64(derive(*key)))


def torch_generator(*key: Key) -> torch.Generator:
    """Return a private torch generator on the CPU, seeded from this key."""
    return torch.Generator().manual_seed(derive(*key))


class _Mode(TorchDispatchMode):
    """A dispatch mode that does not involve torch's compiler, whose import takes over a second."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class RefuseGlobalRandomness(_Mode):
    """Context that refuses operators that would draw from torch's global generator.

    A dispatch mode is local to its thread, so other threads may draw meanwhile without effect.
    """

    def __init__(self, where: Any) -> None:
        """Create the context.

        Args:
            where: returns the name of the code that is running, such as a layer's, for the error.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._where = where

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # (torch's own signature)
        """Run an operator unless it draws random numbers without a generator argument.

        Raises:
            GlobalRandomnessError: the operator would draw from the global generator.
        """
        kwargs = kwargs or {}
        if draws_globally(func, args, kwargs):
            raise GlobalRandomnessError(
                f"{self._where()} draws random numbers from torch's global generator "
                f"({func.overloadpacket.__name__}), so its results would depend on what other "
                f"notebook cells draw. {_way_out()}"
            )
        return func(*args, **kwargs)


class PrivateRandomness(_Mode):
    """Context in which operators draw from a private generator instead of torch's global one.

    It is used while a model is built. The initial weights then depend on the given generator alone,
    whatever other threads draw at the same time, and the global generator keeps its state.
    """

    def __init__(self, generator: torch.Generator) -> None:
        """Create the context; operators draw from ``generator`` while it is entered."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._generator = generator

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, with the private generator if it draws random numbers.

        Raises:
            GlobalRandomnessError: the operator draws, and cannot be given a generator.
        """
        kwargs = kwargs or {}
        if not draws_globally(func, args, kwargs):
            return func(*args, **kwargs)
        if _takes_generator(func):
            return func(*args, **{**kwargs, "generator": self._generator})
        packet = func.overloadpacket
        name = packet.__name__
        if name in ("rand_like", "randn_like"):
            empty = torch.empty_like(args[0], **kwargs)
            return (
                empty.uniform_(generator=self._generator)
                if name == "rand_like"
                else empty.normal_(generator=self._generator)
            )
        overload = getattr(packet, "generator", None)
        if overload is None:
            raise GlobalRandomnessError(
                f"building the model draws random numbers with torch.{name}, which accepts no "
                "generator; initialise with torch.nn.init, torch.rand or torch.randn."
            )
        return overload(*args, **{**kwargs, "generator": self._generator})


class GlobalRandomnessError(ValueError):
    """A model draws from torch's global generator, so that exact retraining is impossible."""


def _way_out() -> str:
    """Advise what to use in place of the code that is drawing random numbers.

    The frames of the call tell which of torch's layers and functions it is.
    """
    layer: nn.Module | None = None
    function, frame = "", sys._getframe(1)
    while frame is not None and layer is None:
        code, this = frame.f_code, frame.f_locals.get("self")
        if code.co_name == "forward" and isinstance(this, nn.Module):
            layer = this
        elif not function and frame.f_globals.get("__name__") == "torch.nn.functional":
            function = code.co_name
        frame = frame.f_back  # type: ignore[assignment]
    if isinstance(layer, nn.MultiheadAttention | nn.RNNBase):
        return (
            "Its masks are drawn inside torch: create it with dropout=0 (or set its attribute "
            "dropout to 0), and put nn.Dropout before or after it, whose masks unlearnkit draws "
            "from a keyed generator."
        )
    keyed = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
    if type(layer) in keyed:
        return (
            f"This {type(layer).__name__} is not registered in the module, as if it were in a "
            "plain list; assign it to an attribute or put it in an nn.ModuleList, so that "
            "unlearnkit can draw its masks from a keyed generator."
        )
    if isinstance(layer, nn.RReLU):
        return "Use nn.LeakyReLU, which has a fixed slope."
    if isinstance(layer, nn.modules.dropout._DropoutNd):
        return (
            f"Use nn.Dropout itself in place of {type(layer).__name__}; unlearnkit draws its masks "
            "from a keyed generator."
        )
    if "dropout" in function:
        return (
            "Use nn.Dropout in place of the function: create it in __init__ (self.drop = "
            "nn.Dropout(p)) and call self.drop(x); unlearnkit draws its masks from a keyed "
            "generator."
        )
    if function == "gumbel_softmax":
        return "Use torch.softmax, which adds no noise."
    return (
        "Use nn.Dropout, whose masks unlearnkit draws from a keyed generator, or a layer without "
        "randomness; give scaled_dot_product_attention no dropout_p."
    )


def _takes_generator(func: Any) -> bool:
    return any(argument.name == "generator" for argument in func._schema.arguments)


def draws_globally(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether an operator call would draw from torch's global generator."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return False
    arguments = [argument.name for argument in func._schema.arguments]
    bound = dict(zip(arguments, args, strict=False)) | kwargs
    if isinstance(bound.get("generator"), torch.Generator):
        return False
    if bound.get("train") is False or bound.get("training") is False:
        return False
    # Fused attention has a dropout rate; it draws nothing if the rate is 0.
    defaults = {argument.name: argument.default_value for argument in func._schema.arguments}
    for rate in ("dropout_p", "p", "dropout"):
        value = bound.get(rate, defaults.get(rate))
        if isinstance(value, int | float) and value == 0:
            return False
    return True


def state_bytes(state: dict[str, Tensor]) -> bytes:
    """Serialise names, shapes, dtypes and raw bytes of tensors, in the order of the dict.

    Two states are *exactly* equal if and only if these bytes are equal.
    """
    parts: list[bytes] = []
    for name, tensor in state.items():
        header = f"{name}|{tuple(tensor.shape)}|{tensor.dtype}|"
        array = tensor.detach().cpu().contiguous().reshape(-1)
        parts += [header.encode(), array.view(torch.uint8).numpy().tobytes()]
    return b"".join(parts)


def digest(*parts: bytes | str | int) -> str:
    """Compute a digest of 32 hexadecimal digits (BLAKE2b) over length-prefixed parts.

    >>> digest("ab", "c") == digest("a", "bc")
    False
    """
    return digest_of(parts)


def digest_of(parts: Iterable[bytes | str | int]) -> str:
    """Compute :func:`digest` of parts of which only one is held in memory at a time."""
    hasher = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        hasher.update(len(data).to_bytes(8, "big"))
        hasher.update(data)
    return hasher.hexdigest()
