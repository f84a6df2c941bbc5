"""What a backbone consists of: modules, code and values, found by following the callable.

They identify the backbone in a store, and show whether it has changed since a session began.
"""

import functools
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from unlearnkit.models.checks import compiled_or_parallel
from unlearnkit.models.state import named_tensors
from unlearnkit.models.surroundings import (
    code_digest,
    fingerprints,
    global_names,
    is_users,
    value_digest,
)
from unlearnkit.seeding import digest

KNOWN = ("builtins", "collections", "numpy", "torch")  # where values are from that cache nothing
DEPTH = 4  # objects inside objects that are followed


class Holdings:
    """The modules, the user's code, and the values that a callable consists of.

    Attributes:
        modules: modules by name.
        codes: digests of the user's own functions, by name.
    """

    def __init__(self, function: Any) -> None:
        """Follow a callable: a module, a function with what it reads, a method with its object.

        Code of installed packages is not followed, but modules and values that the user's code
        holds are found wherever their classes are from.
        """
        self.modules: dict[str, nn.Module] = {}
        self.codes: dict[str, str] = {}
        self._values: dict[str, Callable[[], Any]] = {}
        self._seen: set[int] = set()
        self._keep: list[Any] = []  # what was seen stays, so that its id is not given again
        self._follow("backbone", function, DEPTH)

    def layers(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield every layer of every module, with its name."""
        for name, module in self.modules.items():
            for path, layer in module.named_modules():
                yield f"{name}.{path}" if path else name, layer

    def check_layers(self, name: str) -> None:
        """Refuse modules whose features would depend on more than the example.

        Args:
            name: name of the backbone, for messages.

        Raises:
            TypeError: a module is compiled or spreads over devices.
            ValueError: a module is in training mode, or a tensor has no values.
        """
        for path, layer in self.layers():
            if reason := compiled_or_parallel(layer):
                raise TypeError(f"{name}: {path}: {reason}; give the module inside it")
            if layer.training:
                raise ValueError(
                    f"{name} is in training mode ({path} is a {type(layer).__name__} with "
                    "training=True), in which features may depend on chance and on the other "
                    f"examples of a batch; call {'.eval()' if path == 'backbone' else 'eval()'} "
                    "on the module before you give it to uk.Frozen"
                )
        for path, module in self.modules.items():
            for part, tensor in named_tensors(module):
                if tensor.is_meta:
                    raise ValueError(
                        f"{name}: {path}.{part} is on the meta device and has no values; load the "
                        "weights first"
                    )

    def device(self) -> torch.device:
        """Return the device of the first module's tensors; the CPU if there are none."""
        for module in self.modules.values():
            for _, tensor in named_tensors(module):
                return tensor.device
        return torch.device("cpu")

    def identity(self) -> str:
        """Return a digest of structures, parameters, code and values."""
        structures = (re.sub(r"0x[0-9a-f]+", "", repr(module)) for module in self.modules.values())
        values = {name: value_digest(read()) for name, read in self._values.items()}
        parts = [*self._tensors().items(), *self.codes.items(), *values.items()]
        return digest(*structures, *(text for pair in sorted(parts) for text in pair))

    def state(self) -> dict[str, str]:
        """Return digests of all parameters, buffers and values by name, to find what changed."""
        found = self._tensors()
        for name, read in self._values.items():
            value = read()
            # Objects of installed packages may fill a cache of their own when they are called.
            if type(value).__module__.partition(".")[0] in KNOWN or is_users(type(value)):
                found.update(fingerprints(name, value))
        return found

    def _tensors(self) -> dict[str, str]:
        return {
            f"{path}.{name}": _of_tensor(tensor)
            for path, module in self.modules.items()
            for name, tensor in named_tensors(module)
        }

    def _follow(self, name: str, value: Any, depth: int) -> None:
        if depth < 0 or isinstance(value, ModuleType) or id(value) in self._seen:
            return
        if isinstance(value, nn.Module):
            self._see(value)
            self.modules[name] = value
            for kind in dict.fromkeys(type(layer) for layer in value.modules()):
                self._follow_class(kind)
        elif isinstance(value, functools.partial):
            self._follow(name, value.func, depth)
            for number, each in enumerate((*value.args, *value.keywords.values())):
                self._follow(f"argument {number} of {name}", each, depth - 1)
        elif isinstance(value, MethodType):
            self._follow(name, value.__self__, depth)
            self._follow(name, value.__func__, depth)
        elif isinstance(value, FunctionType):
            self._follow_code(value, depth)
        elif isinstance(value, type):
            self._follow_class(value)
        else:
            self._follow_object(name, value, depth)

    def _see(self, value: Any) -> None:
        self._seen.add(id(value))
        self._keep.append(value)

    def _follow_object(self, name: str, value: Any, depth: int) -> None:
        inner = value if isinstance(value, Mapping) else getattr(value, "__dict__", None)
        if isinstance(value, list | tuple):
            inner = dict(enumerate(value[:1000]))
        held = [each for each in (inner or {}).values() if isinstance(each, nn.Module)]
        if isinstance(inner, Mapping) and (held or is_users(type(value))):
            self._see(value)
            self._follow_class(type(value))
            for key, each in list(inner.items())[:1000]:
                self._follow(f"{name}.{key}", each, depth - 1)
            return
        self._values.setdefault(name, functools.partial(_same, value))

    def _follow_class(self, kind: type) -> None:
        for each in kind.__mro__:
            if id(each) in self._seen or not is_users(each):
                continue
            self._see(each)
            for value in vars(each).values():
                plain = getattr(value, "__func__", getattr(value, "fget", value))
                if isinstance(plain, FunctionType):
                    self._follow_code(plain, DEPTH)

    def _follow_code(self, function: FunctionType, depth: int) -> None:
        wrapped = getattr(function, "__wrapped__", None)
        if isinstance(wrapped, FunctionType):
            self._follow_code(wrapped, depth)
        if id(function) in self._seen or not is_users(function):
            return
        self._see(function)
        name = function.__qualname__.split("<locals>.")[-1]
        self.codes[f"the code of {name}"] = code_digest(function.__code__)
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._follow(f"a default argument of {name}", value, depth - 1)
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        for variable, cell in cells:
            try:
                found = cell.cell_contents
            except ValueError:  # still empty
                continue
            self._follow_variable(variable, found, cell, "cell_contents", depth)
        for variable in sorted(set(global_names(function.__code__))):
            if variable in function.__globals__:
                held = function.__globals__
                self._follow_variable(variable, held[variable], held, variable, depth)

    def _follow_variable(self, name: str, value: Any, held: Any, key: str, depth: int) -> None:
        """Follow what a function reads by name, which may be bound anew later."""
        self._follow(name, value, depth - 1)
        if name in self._values:
            self._values[name] = functools.partial(_current, held, key)


def _same(value: Any) -> Any:
    return value


def _current(held: Any, key: str) -> Any:
    if isinstance(held, dict):
        return held.get(key)
    try:
        return getattr(held, key)
    except ValueError:  # a cell that was emptied
        return None


def _of_tensor(tensor: Tensor) -> str:
    hasher = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    hasher.update(flat.view(torch.uint8).numpy().data)
    return hasher.hexdigest()
