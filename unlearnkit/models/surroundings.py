"""Surroundings: values outside a module that its code reads, such as globals and class attributes.

A module that keeps something outside itself, such as the mean of the first batch in a class
attribute or a count of calls in a global variable, computes different bits in another process,
although each of its copies agrees with the others. Such values are found from the code: its methods
are searched for the names that they read. Code of installed packages is not searched.
"""

import copy
import dis
import functools
import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unlearnkit.models.state import gradient_hooks
from unlearnkit.seeding import digest

DEPTH = 4  # containers inside containers that are followed
MOST_ITEMS = 1000  # entries of a container that are followed
MOST_BYTES = 1 << 24  # of an array; of a larger one, bytes at even distances are compared
INSTALLED = ("site-packages", "dist-packages")
PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic)
CODE = (FunctionType, MethodType, functools.partial, staticmethod, classmethod, property)
MODULE_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
UNSET = digest("NoneType", "None")


@dataclass(frozen=True, eq=False)
class _Place:
    """A value, and how to put it back.

    Attributes:
        name: the name by which users know it.
        read: returns the current value.
        write: binds the name to a value; None where it cannot be bound anew.
        value: the value at first.
        kept: a copy of it; the value itself where it cannot be copied.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], None] | None
    value: Any
    kept: Any

    def restore(self) -> None:
        """Put the first value back, into the same object where it was changed in place."""
        _refill(self.value, self.kept)
        if self.write is not None and self.read() is not self.value:
            self.write(self.value)


class Surroundings:
    """The values outside a module that its code reads.

    Compare the :meth:`fingerprints` of two moments by :func:`changed` or :func:`changed_or_new`.
    """

    def __init__(self, module: nn.Module) -> None:
        """Find the values that the code of a module and of its layers reads."""
        self._places: dict[str, _Place] = {}
        self._codes: dict[str, str] = {}
        self._seen: set[int] = set()
        for kind in dict.fromkeys(type(layer) for layer in module.modules()):
            self._search_class(kind)
        for function in users_functions(module):
            self._search_code(function)

    @property
    def codes(self) -> dict[str, str]:
        """Digests of the module's own code, by name."""
        return dict(self._codes)

    def fingerprints(self) -> dict[str, str]:
        """Return digests of the current values, by name; entries of a dict are listed as well."""
        found = dict(self._codes)
        for place in self._places.values():
            found.update(fingerprints(place.name, _absent_as_none(place.read)))
        return found

    def restore(self, names: Iterable[str] | None = None) -> None:
        """Put back the values of when the surroundings were searched.

        Args:
            names: names of fingerprints, to put back their values only. The name of a dict's entry
                ends in the entry's key.
        """
        every = self._places.keys()
        chosen = every if names is None else {name.partition("[")[0] for name in names} & every
        for name in chosen:
            self._places[name].restore()

    def check(self, name: str, before: Mapping[str, str], repeat: Callable[[bool], None]) -> None:
        """Refuse a module that keeps something outside itself, after it was tried on some rows.

        What depends on the shape of the inputs alone, such as a table of masks, may be kept.

        Args:
            name: name of the model, for the message.
            before: the fingerprints from before the trial.
            repeat: tries the module again, on the same rows or, if the argument is True, on others
                in batches of the same sizes. It is called only if something has changed.

        Raises:
            ValueError: a value changes with every call, or depends on the rows. All values are then
                as they were at first.
        """
        first = self.fingerprints()
        if not changed_or_new(before, first):
            return
        met = set(changed_or_new(before, first))
        try:
            repeat(False)
            always = changed_or_new(first, self.fingerprints())
            met |= set(always)
            self.restore(met)
            repeat(True)
            by_rows = changed_or_new(first, self.fingerprints())
            met |= set(by_rows)
        finally:
            self.restore(met)
        if not always and not by_rows:
            repeat(False)  # fills what was emptied, so that it is not found to be new later
            return
        for names, what in (
            (always, "changes {} whenever it is called"),
            (by_rows, "keeps something of the rows that it is called with in {}"),
        ):
            if names:
                raise ValueError(
                    f"{name} {what.format(', '.join(names[:3]))}, which is outside the module: "
                    "checkpoints do not hold it, and it would outlive the revocation of these "
                    "rows. So no retraining of such a model is exact. Keep it in a buffer of the "
                    "module (self.register_buffer) instead."
                )

    def _search_class(self, kind: type) -> None:
        for each in kind.__mro__:
            if id(each) in self._seen or not is_users(each):
                continue
            self._seen.add(id(each))
            for name, value in vars(each).items():
                if isinstance(value, CODE):
                    self._search_code(value)
                elif not name.startswith("__") and not callable(value):
                    self._add(
                        f"{each.__qualname__}.{name}".split("<locals>.")[-1],
                        functools.partial(getattr, each, name),
                        functools.partial(setattr, each, name),
                    )

    def _search_code(self, found: Any) -> None:
        """Search a function, or what wraps one."""
        if isinstance(found, property):
            for each in (found.fget, found.fset):
                self._search_code(each)
            return
        if isinstance(found, functools.partial):
            for number, value in enumerate((*found.args, *found.keywords.values())):
                self._search_value(
                    f"argument {number} of {_name(found.func)}",
                    functools.partial(_unchanged, value),
                )
            self._search_code(found.func)
            return
        function = getattr(found, "__func__", None) or getattr(found, "__wrapped__", found)
        if not isinstance(function, FunctionType):
            return
        if id(function) in self._seen or not is_users(function):
            return
        self._seen.add(id(function))
        name = _name(function)
        self._codes[f"the code of {name}"] = code_digest(function.__code__)
        defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
        for value in defaults:
            self._search_value(
                f"a default argument of {name}", functools.partial(_unchanged, value)
            )
        for variable, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            self._search_value(
                variable,
                functools.partial(getattr, cell, "cell_contents"),
                functools.partial(setattr, cell, "cell_contents"),
            )
        variables, attributes = function.__globals__, set(_names(function.__code__))
        for variable in sorted(set(global_names(function.__code__)) & variables.keys()):
            value = variables[variable]
            if isinstance(value, ModuleType):
                self._search_module(value, attributes)
                continue
            self._search_value(
                variable,
                functools.partial(variables.__getitem__, variable),
                functools.partial(variables.__setitem__, variable),
            )

    def _search_module(self, module: ModuleType, names: set[str]) -> None:
        """Search the variables of another file that a function may read by attribute."""
        if not _is_users_file(module.__name__, getattr(module, "__file__", None)):
            return
        for name in sorted(names & vars(module).keys()):
            self._search_value(
                f"{module.__name__}.{name}",
                functools.partial(getattr, module, name),
                functools.partial(setattr, module, name),
            )

    def _search_value(
        self,
        name: str,
        read: Callable[[], Any],
        write: Callable[[Any], None] | None = None,
    ) -> None:
        value = _absent_as_none(read)
        if isinstance(value, type):
            self._search_class(value)
        elif isinstance(value, CODE) or hasattr(value, "__wrapped__"):
            self._search_code(value)
        elif not isinstance(value, ModuleType) and not _is_own_module(value):
            self._add(name, read, write)

    def _add(self, name: str, read: Callable[[], Any], write: Callable[[Any], None] | None) -> None:
        value = _absent_as_none(read)
        try:
            kept = copy.deepcopy(value)
        except Exception:  # some objects cannot be copied; they stay as they are
            kept = value
        self._places.setdefault(name, _Place(name, read, write, value, kept))


def users_functions(module: nn.Module) -> list[Any]:
    """Return the user's own functions that a module holds: hooks, and attributes of its layers."""
    found: list[Any] = []
    for layer in module.modules():
        for name in MODULE_HOOKS:
            found += getattr(layer, name).values()
        found += [each for each in vars(layer).values() if isinstance(each, CODE)]
    for parameter in module.parameters():
        found += gradient_hooks(parameter)
    return [each for each in found if is_users(_unwrapped(each))]


def may_remember(function: Any) -> bool:
    """Whether a function can keep something that belongs to it, unlike one without a closure.

    >>> may_remember(lambda gradient: gradient / 2)
    False
    """
    return not isinstance(function, FunctionType) or bool(function.__closure__)


def _unwrapped(found: Any) -> Any:
    """Return the function or class that holds the code of a callable."""
    while isinstance(found, functools.partial):
        found = found.func
    found = getattr(found, "__func__", found)
    return found if isinstance(found, FunctionType) else type(found)


def hidden_values(module: nn.Module) -> dict[str, str]:
    """Return digests of the numbers, arrays and generators that a module holds outside its state.

    >>> class Drawing(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.rng = np.random.default_rng()
    >>> changed(hidden_values(Drawing()), hidden_values(Drawing()))
    ('rng',)
    """
    kinds: tuple[type, ...] = (bool, int, float, complex, np.generic, Tensor, np.ndarray)
    kinds += (np.random.Generator, np.random.RandomState, torch.Generator, random.Random)
    kinds += (list, tuple, dict, set, deque)
    kept, found = set(module.state_dict()), {}
    for path, layer in module.named_modules():
        for name, value in {**vars(layer), **layer._buffers}.items():
            full = f"{path}.{name}".lstrip(".")
            if isinstance(value, kinds) and not name.startswith("_") and full not in kept:
                found[full] = digest(*_parts(value, DEPTH))
    return found


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names whose value differs; a dict that only grew has not changed.

    What was None before may have got a value, as a cache does that is filled at its first use.

    >>> changed({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"})
    ('b',)
    """
    return tuple(
        name for name, value in before.items() if after.get(name) != value and value != UNSET
    )


def changed_or_new(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names whose value differs, and those that are new.

    >>> changed_or_new({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"})
    ('b', 'c')
    """
    return (
        *(n for n in before if after.get(n) != before[n]),
        *(n for n in after if n not in before),
    )


def value_digest(value: Any) -> str:
    """Return a digest of a value's contents, as far as these can be told."""
    return digest(*_parts(value, DEPTH))


def alike(one: Any, other: Any) -> bool:
    """Whether two values have the same contents, as far as these can be told.

    >>> alike([1, torch.ones(2)], [1, torch.ones(2)]), alike(1, 2)
    (True, False)
    """
    return value_digest(one) == value_digest(other)


def fingerprints(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Return the digest of a value; of a dict, one for each entry, so that growth can be told."""
    if not isinstance(value, dict):
        yield name, digest(*_parts(value, DEPTH))
        return
    yield name, "dict"
    for key, entry in list(value.items())[:MOST_ITEMS]:
        if isinstance(key, (*PLAIN, tuple)):
            yield f"{name}[{key!r}]", digest(*_parts(entry, DEPTH))


def _parts(value: Any, depth: int) -> Iterator[bytes | str]:
    """Yield what identifies a value."""
    yield type(value).__name__
    if isinstance(value, PLAIN):
        yield repr(value)
    elif isinstance(value, Tensor):
        yield f"{value.dtype} {tuple(value.shape)}"
        if value.layout is torch.strided and not value.is_meta:
            raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            yield _sampled(raw)
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape}"
        if not value.dtype.hasobject:
            yield _sampled(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
    elif isinstance(value, np.random.Generator):
        yield repr(value.bit_generator.state)
    elif isinstance(value, np.random.RandomState):
        yield repr(value.get_state())
    elif isinstance(value, torch.Generator):
        yield value.get_state().numpy().tobytes()
    elif isinstance(value, random.Random):
        yield repr(value.getstate())
    elif isinstance(value, set | frozenset):
        yield from sorted(digest(*_parts(entry, depth - 1)) for entry in value) if depth else ()
    elif isinstance(value, dict):
        yield from _parts(list(value.items()), depth)
    elif isinstance(value, list | tuple | deque):
        yield str(len(value))
        for entry in list(value)[:MOST_ITEMS] if depth else ():
            yield from _parts(entry, depth - 1)
    elif type(value).__module__ == "itertools":
        yield repr(value)
    elif depth and isinstance(getattr(value, "__dict__", None), dict):
        for name, entry in vars(value).items():
            yield name
            yield from _parts(entry, depth - 1)


def _sampled(raw: np.ndarray) -> bytes:
    """Return bytes, or of very many those at even distances."""
    return raw[:: 1 + len(raw) // MOST_BYTES].tobytes()


def _refill(value: Any, kept: Any) -> None:
    """Give a changeable object the contents of a copy of it."""
    if value is kept or isinstance(value, PLAIN):
        return
    if isinstance(value, Tensor):
        if value.shape == kept.shape:
            with torch.no_grad():
                value.copy_(kept)
    elif isinstance(value, np.ndarray):
        if value.flags.writeable:
            value[...] = kept
    elif isinstance(value, dict | set):
        value.clear()
        value.update(copy.deepcopy(kept))
    elif isinstance(value, list | deque):
        value.clear()
        value.extend(copy.deepcopy(kept))
    elif isinstance(value, np.random.Generator):
        value.bit_generator.state = kept.bit_generator.state
    elif isinstance(value, torch.Generator):
        value.set_state(kept.get_state())
    elif isinstance(value, random.Random):
        value.setstate(kept.getstate())
    elif isinstance(getattr(value, "__dict__", None), dict):
        vars(value).clear()
        vars(value).update(copy.deepcopy(vars(kept)))


def _names(code: CodeType) -> Iterator[str]:
    """Yield the names of globals and attributes that code reads, in functions inside it too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def global_names(code: CodeType) -> Iterator[str]:
    """Yield the names of globals alone."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from global_names(constant)


def code_digest(code: CodeType) -> str:
    """Return a digest of what code does, whatever its line numbers."""
    constants = [_of_constant(each) for each in code.co_consts]
    return digest(code.co_code, *code.co_names, *constants)


def _of_constant(value: Any) -> str:
    if isinstance(value, CodeType):
        return code_digest(value)
    if isinstance(value, frozenset):  # whose order differs between processes
        return f"frozenset {sorted(map(repr, value))}"
    return repr(value)


def is_users(found: Any) -> bool:
    """Whether a class or function is the user's own code."""
    module = sys.modules.get(found.__module__ or "")
    return _is_users_file(found.__module__ or "", getattr(module, "__file__", None))


def _is_users_file(name: str, file: str | None) -> bool:
    root = name.partition(".")[0]
    if root in sys.stdlib_module_names - {"__main__"} or root in ("torch", "numpy", "unlearnkit"):
        return False
    return file is None or not any(part in file for part in INSTALLED)


def _is_own_module(value: Any) -> bool:
    """Whether a value is an instance of a class or function of an installed package."""
    return callable(value) and not isinstance(value, nn.Module) and not is_users(type(value))


def _unchanged(value: Any) -> Any:
    return value


def _absent_as_none(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (AttributeError, KeyError, ValueError):  # deleted, or a cell that is still empty
        return None


def _name(function: Any) -> str:
    name: str = getattr(function, "__qualname__", type(function).__name__)
    return name.split("<locals>.")[-1]
