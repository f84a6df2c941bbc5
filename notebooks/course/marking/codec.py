"""Plain data for the pipe between the marking script and a student's process.

Whatever crosses the pipe is JSON: numbers, strings, containers and the bytes of arrays, each with
the kind of object that it was. Nothing is unpickled, so an answer can only be a value. The child
gets this file as text before `child.py`; both sides therefore share one format.
"""

import base64
import dataclasses
import numbers
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from decimal import Decimal
from fractions import Fraction

import numpy as np
import torch

DEEPEST = 40  # levels of nesting


class Unknown:
    """An object of a kind that cannot cross the pipe; it equals nothing."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"an object of type {self.kind}"

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = object.__hash__


class Handle:
    """Stands for an object that stays in the child, so that calls can share and change it."""

    def __init__(self, number: int) -> None:
        self.number = number


def _array(value: np.ndarray, of: str, grad: bool = False) -> dict:
    data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
    return {"array": [value.dtype.str, list(value.shape), data], "of": of, "grad": grad}


def _number(value: object, of: str) -> dict:
    if isinstance(value, (bool, np.bool_)):
        return {"number": bool(value), "of": of}
    if isinstance(value, (numbers.Integral, np.integer)):
        return {"number": int(value), "of": of}
    return {"number": {"f": float(value).hex()}, "of": of}


def encode(value: object, depth: int = 0) -> object:
    """Turn an object into plain data."""
    if depth > DEEPEST:
        return {"unknown": "nested too deeply"}

    def inner(items: object) -> list:
        return [encode(item, depth + 1) for item in items]

    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return {"f": value.hex()}
    if isinstance(value, Handle):
        return {"ref": value.number}
    if isinstance(value, torch.Tensor):
        plain = value.detach().cpu()
        if plain.ndim == 0 and not value.requires_grad:
            return _number(plain.item(), "torch")
        return _array(
            plain.to_dense().resolve_conj().resolve_neg().numpy(), "torch", value.requires_grad
        )
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            return {"list": inner(value)}
        return _number(value.item(), "array") if value.ndim == 0 else _array(value, "numpy")
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return _number(value, "numpy")
    if isinstance(value, np.random.Generator):
        seed = value.bit_generator.seed_seq  # for `spawn`
        made = [seed.entropy, seed.spawn_key, seed.pool_size, seed.n_children_spawned]
        return {"generator": [encode(value.bit_generator.state, depth + 1), encode(made)]}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": base64.b64encode(bytes(value)).decode()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [getattr(value, field.name) for field in dataclasses.fields(value)]
        return {"tuple": [type(value).__qualname__, *inner(fields)]}
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            return {kind.__name__: inner(value)}
    if isinstance(value, (range, Iterator, KeysView, ValuesView, ItemsView)):
        return {"list": inner(value)}
    if isinstance(value, dict):
        return {"dict": [inner(pair) for pair in value.items()]}
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Fraction):
        return _number(value, "fraction")
    if isinstance(value, Decimal):
        return _number(value, "decimal")
    if isinstance(value, (int, float)) or hasattr(type(value), "__float__"):
        return _number(value, "other")
    if hasattr(type(value), "__array__"):  # a Series, for one
        return encode(np.asarray(value), depth + 1)
    return {"unknown": f"{type(value).__module__}.{type(value).__qualname__}"}


def decode(data: object, handles: dict | None = None, stub: object = None) -> object:
    """Turn plain data into an object again; arrays become what they were, numpy or torch."""

    def inner(items: list) -> list:
        return [decode(item, handles, stub) for item in items]

    if not isinstance(data, dict):
        return data
    if "f" in data:
        return float.fromhex(data["f"])
    if "number" in data:
        plain = decode(data["number"])
        made = {"torch": torch.tensor, "numpy": lambda v: np.asarray(v)[()], "array": np.asarray}
        return made.get(data["of"], lambda v: v)(
            plain,
            **({"dtype": torch.float64} if data["of"] == "torch" and type(plain) is float else {}),
        )
    if "array" in data:
        dtype, shape, text = data["array"]
        if np.dtype(dtype).hasobject:
            raise ValueError(f"arrays of {dtype} cannot cross the pipe")
        value = np.frombuffer(base64.b64decode(text), dtype=dtype).reshape(shape).copy()
        if data["of"] != "torch":
            return value
        return torch.from_numpy(value).requires_grad_(data["grad"] is True)
    if "ref" in data:
        return handles[data["ref"]]
    if "function" in data:
        return stub(data["function"])
    if "generator" in data:
        state, (entropy, key, pool, spawned) = inner(data["generator"])
        seed = np.random.SeedSequence(
            entropy, spawn_key=key, pool_size=pool, n_children_spawned=spawned
        )
        bits = getattr(np.random, state["bit_generator"])(seed)
        bits.state = state
        return np.random.Generator(bits)
    if "bytes" in data:
        return base64.b64decode(data["bytes"])
    if "dict" in data:
        return dict(inner(pair) for pair in data["dict"])
    for kind in (list, tuple, set, frozenset):
        if kind.__name__ in data:
            return kind(inner(data[kind.__name__]))
    return Unknown(str(data.get("unknown")))


def kind_of(data: object) -> object:
    """Which kind of object an answer was: the kind that lent functions have to return."""
    if not isinstance(data, dict):
        return None
    if "array" in data or "number" in data:
        return [next(iter(data)), data["of"]]
    for kind in ("list", "tuple", "set", "frozenset"):
        if kind in data:
            return [kind, kind_of(data[kind][0]) if data[kind] else None]
    return None


def as_kind(value: object, kind: object) -> object:
    """Return a value as the kind of object that the student's own function returns."""
    if kind is None or value is None:
        return value
    name, of = kind
    if name == "array":
        plain = value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        return torch.from_numpy(np.array(plain)) if of == "torch" else np.array(plain)
    if name == "number":
        plain = value.item() if hasattr(value, "item") else value
        kinds = {"fraction": Fraction, "decimal": Decimal}
        if of in kinds:
            return kinds[of](plain)
        return decode({"number": encode(plain), "of": of})
    if isinstance(value, torch.Tensor):
        value = value.detach()
    elif not hasattr(value, "__iter__"):
        return value
    items = [as_kind(item, of) for item in value]
    items = [
        item.item() if of is None and hasattr(item, "item") and item.ndim == 0 else item
        for item in items
    ]
    return {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[name](items)
