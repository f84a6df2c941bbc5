"""Search everything that is reachable in this process for the numbers of discarded models."""

import gc
import sys
import threading
from collections.abc import Iterable

import numpy as np
import torch

from unlearnkit.store.checkpoint import State

CHANCE = 3  # as many numbers of a model may turn up elsewhere by chance
BUFFERS = (torch.Tensor, np.ndarray, bytes, bytearray, memoryview)
CONTAINERS = (list, tuple, dict, set, frozenset)


def numbers(states: Iterable[State]) -> np.ndarray:
    """The distinct real numbers of some states, without round ones such as 0 and 1."""
    found = [np.empty(0, np.float32)]
    for state in states:
        reals = (tensor for tensor in state.values() if tensor.is_floating_point())
        found += [tensor.detach().float().numpy().ravel() for tensor in reals]
    distinct = np.unique(np.concatenate(found))
    return distinct[distinct * 1024 % 1 != 0]


def stored(store) -> list[State]:
    """All states that a store holds."""
    checkpoints = [store.get(key) for key in store.keys]
    for base in tuple(store._approximate):
        checkpoints += store.approximation(base).checkpoints.values()
    return [state for kept in checkpoints for state in (kept.state, *kept.tails.values())]


def holders(sought: np.ndarray) -> list[object]:
    """Every reachable object that holds more of these numbers than chance explains.

    Tensors are searched with their whole storage, arrays with the array that they view, and
    containers by the Python floats in them. Numbers are found in float32 and float64.
    """
    narrow, wide = np.sort(sought.view(np.uint32)), np.sort(sought.astype(float).view(np.uint64))
    floats = set(sought.tolist())
    found: list[object] = []
    for one in _objects():
        if isinstance(one, CONTAINERS):
            inside = one.values() if isinstance(one, dict) else one
            if one is not floats and len(floats.intersection(_floats(inside))) > CHANCE:
                found.append(one)
        elif one is not sought and any(_count(one, known) > CHANCE for known in (narrow, wide)):
            found.append(one)
    return found


def _floats(inside: Iterable[object]) -> list[float]:
    return [one for one in inside if type(one) is float]


def _count(one: object, known: np.ndarray) -> int:
    """The number of distinct ones of some sorted patterns in a buffer."""
    raw, size = _raw(one), known.dtype.itemsize
    most = 0
    for start in range(min(size if isinstance(raw, bytes) else 1, len(raw) - size + 1)):
        data = np.frombuffer(raw, known.dtype, (len(raw) - start) // size, start)
        places = np.searchsorted(known, data)
        hits = known.take(places, mode="clip") == data
        most = max(most, len(set(data[hits].tolist())))
    return most


def _raw(one: object) -> bytes | np.ndarray:
    """The bytes behind a buffer; none if it has none on this device."""
    if isinstance(one, torch.Tensor):
        if one.device.type != "cpu" or one.layout is not torch.strided:
            return b""
        try:
            return torch.empty(0, dtype=torch.uint8).set_(one.detach().untyped_storage()).numpy()
        except (RuntimeError, NotImplementedError):  # a fake tensor has no storage
            return b""
    if isinstance(one, np.ndarray):
        plain = one.view(np.ndarray)
        if plain.dtype.hasobject:
            return b""
        return np.ascontiguousarray(plain).reshape(-1).view(np.uint8)
    try:
        return bytes(one)
    except ValueError:  # a view that was released
        return b""


def _objects() -> list[object]:
    """All reachable buffers and containers: those that are tracked, and those inside them."""
    gc.collect()
    roots = gc.get_objects()
    here = threading.get_ident()
    frames = [frame for number, frame in sys._current_frames().items() if number != here]
    found, todo = {}, [*roots, *frames]
    own = {id(roots), id(frames), id(todo)}
    while todo:
        inside = {id(one): one for one in gc.get_referents(*todo)}
        for one in todo:
            if issubclass(type(one), np.ndarray):
                inside[id(one.base)] = one.base
                if one.dtype.hasobject:
                    inside |= {id(part): part for part in one.ravel().tolist()}
        found |= {id(one): one for one in todo if type(one) in CONTAINERS or _is_buffer(one)}
        todo = [
            one
            for number, one in inside.items()
            if number not in found
            and not gc.is_tracked(one)
            and (type(one) in CONTAINERS or _is_buffer(one))
        ]
        own.add(id(todo))
    return [one for number, one in found.items() if number not in own]


def _is_buffer(one: object) -> bool:
    return issubclass(type(one), BUFFERS)
