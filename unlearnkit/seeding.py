"""Keyed randomness: every random number comes from a private generator named by what it is for.

A generator is a function of a key such as ``(seed, "order", shard, stage, epoch)``. The global
generators of torch and numpy are neither read nor written: other notebook cells draw from them
while training runs in a thread.
"""

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Key = int | str


def derive(*key: Key) -> int:
    """A 63-bit seed for a key of integers and strings.

    Distinct keys give independent seeds (BLAKE2b); the same key always gives the same seed.

    >>> derive(0, "order", 3) == derive(0, "order", 3)
    True
    >>> derive(1, 23) == derive(12, 3)
    False
    """
    text = "\x1f".join(f"{type(part).__name__[0]}{part}" for part in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def numpy_generator(*key: Key) -> np.random.Generator:
    """A private numpy generator for this key."""
    return np.random.Generator(np.random.PCG64(derive(*key)))


def torch_generator(*key: Key) -> torch.Generator:
    """A private torch generator (CPU) for this key."""
    return torch.Generator().manual_seed(derive(*key))


class RefuseGlobalRandomness(TorchDispatchMode):
    """Refuse operators that would draw from torch's global generator.

    A dispatch mode is local to its thread, so what other threads draw meanwhile neither disturbs
    nor is disturbed. The caller passes a function that says where the code is (a layer's name).
    """

    def __init__(self, where: Any) -> None:
        """Remember how to name the place; ``where()`` returns a string."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._where = where

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # (torch's own signature)
        """Pass every operator on, but for those that draw without a generator of their own."""
        kwargs = kwargs or {}
        if draws_globally(func, args, kwargs):
            raise GlobalRandomnessError(
                f"{self._where()} draws random numbers from torch's global generator "
                f"({func.overloadpacket.__name__}), so its bits would depend on what other cells "
                "draw. Use nn.Dropout (unlearnkit keys it), or a layer without randomness."
            )
        return func(*args, **kwargs)


class PrivateRandomness(TorchDispatchMode):
    """Let operators that would draw from the global generator draw from a private one.

    Used while a model is built: ``nn.init`` and friends then depend on the given generator alone,
    whatever other threads draw at the same time, and the global generator is left as it was.
    """

    def __init__(self, generator: torch.Generator) -> None:
        """Draw from ``generator`` for as long as the mode is on."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._generator = generator

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Redirect random operators to the private generator."""
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
                f"building the model draws random numbers by torch.{name}, which takes no "
                "generator; initialise with torch.nn.init, torch.rand or torch.randn."
            )
        return overload(*args, **{**kwargs, "generator": self._generator})


class GlobalRandomnessError(ValueError):
    """A model draws from the global generator, which would break exactness."""


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
    # Fused attention carries a dropout rate; without one it draws nothing.
    defaults = {argument.name: argument.default_value for argument in func._schema.arguments}
    for rate in ("dropout_p", "p", "dropout"):
        value = bound.get(rate, defaults.get(rate))
        if isinstance(value, int | float) and value == 0:
            return False
    return True


def state_bytes(state: dict[str, Tensor]) -> bytes:
    """Names, shapes, kinds and raw bytes of tensors, in the order given.

    Equality of these bytes is what *exact* means.
    """
    parts: list[bytes] = []
    for name, tensor in state.items():
        header = f"{name}|{tuple(tensor.shape)}|{tensor.dtype}|"
        array = tensor.detach().cpu().contiguous().reshape(-1)
        parts += [header.encode(), array.view(torch.uint8).numpy().tobytes()]
    return b"".join(parts)


def digest(*parts: bytes | str | int) -> str:
    """A 32-digit hexadecimal digest (BLAKE2b) over length-prefixed parts.

    >>> digest("ab", "c") == digest("a", "bc")
    False
    """
    hasher = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        hasher.update(len(data).to_bytes(8, "big"))
        hasher.update(data)
    return hasher.hexdigest()
