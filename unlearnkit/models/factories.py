"""What may be given as a model: a name, a built-in model, or a callable that builds modules."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from unlearnkit.models.builtin import BUILT_IN, MODELS
from unlearnkit.models.checks import compiled_or_parallel, is_compiled
from unlearnkit.models.state import copied, memory_of, named_tensors
from unlearnkit.seeding import GlobalRandomnessError, digest, state_bytes

Factory = Callable[[], nn.Module]


@dataclass(frozen=True, eq=False)
class Sized:
    """A callable of (feature shape, number of outputs) with its arguments; it can be pickled."""

    model: Callable[[tuple[int, ...], int], nn.Module]
    feature_shape: tuple[int, ...]
    num_outputs: int

    def __call__(self) -> nn.Module:
        """Call the callable."""
        return self.model(self.feature_shape, self.num_outputs)


@dataclass(frozen=True, eq=False)
class Always:
    """Returns copies of one module, for a callable that returns the same module each time."""

    module: nn.Module

    def __call__(self) -> nn.Module:
        """Return a copy."""
        return copied(self.module)


@dataclass(frozen=True, eq=False)
class Unshared:
    """Copies what a callable returns, if its modules share tensors or layers with each other.

    Attributes:
        factory: the callable.
        name: its name, for the error message.
        shared: names of the shared tensors.
        values: digest of their values.
    """

    factory: Factory
    name: str
    shared: tuple[str, ...]
    values: str

    def __call__(self) -> nn.Module:
        """Return a copy of a new module.

        Raises:
            ValueError: the values of the shared tensors have changed.
        """
        module = self.factory()
        tensors = dict(named_tensors(module))
        if not tensors.keys() >= set(self.shared) or _values(module, self.shared) != self.values:
            raise ValueError(
                f"the modules that {self.name} returns share {_listed(self.shared)} with each "
                "other, and its values have changed since the first one was built; leave them as "
                "they are, or let every module have a copy of its own (copy.deepcopy)."
            )
        return copied(module)


def as_factory(
    model: Any, feature_shape: tuple[int, ...], num_outputs: int
) -> tuple[str, Any, Factory]:
    """Return the model's name, the model itself without its name, and a callable that builds it.

    Raises:
        KeyError: there is no model of that name.
        TypeError: the model is not a callable, or needs other arguments.
    """
    if isinstance(model, str):
        name, model = model, MODELS[model]
    elif isinstance(model, nn.Module) or not callable(model):
        raise TypeError(_not_callable(model))
    else:
        function = model.func if isinstance(model, partial) else model
        name = getattr(function, "__name__", None) or type(model).__name__.lower()
    if is_compiled(model):
        raise TypeError(f"{name} is compiled by torch.compile; give the callable inside it")
    if isinstance(model, type) and model in BUILT_IN.values():
        name, model = name.lower(), model()
    needed, keywords = _needed(model, name)
    if len(needed) == 2 and not keywords:
        return name, model, Sized(model, feature_shape, num_outputs)
    if needed or keywords:
        plural = "s" if len(needed + keywords) > 1 else ""
        raise TypeError(
            f"{name} needs {len(needed + keywords)} argument{plural} "
            f"({', '.join([*needed, *(f'{k}=' for k in keywords)])}); give a callable with no "
            "argument, or with two: feature shape and number of outputs. For example: "
            f"model=lambda: {_example(name)}(...)"
        )
    return name, model, model


def new_module(factory: Factory, name: str) -> nn.Module:
    """Call a factory and check that it returns a module.

    Raises:
        TypeError: it raised a TypeError, or returned something else.
        ValueError: it raised another error.
    """
    model = factory.model if isinstance(factory, Sized) else factory
    try:
        module: Any = factory()
    except (GlobalRandomnessError, MemoryError):
        raise
    except Exception as error:
        if type(model) in BUILT_IN.values():
            raise  # these say themselves what they need
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(_failed(factory, name, error)) from error
    if isinstance(module, nn.Module):
        return module
    if module is None:
        hint = "; end it with 'return module'"
    elif isinstance(module, tuple):
        hint = "; return the module alone"
    elif isinstance(module, type) or callable(module):
        hint = "; return an instance, not what creates one"
    else:
        hint = ""
    found = f"the class {module.__name__}" if isinstance(module, type) else _article(module)
    raise TypeError(f"the model callable {name} returned {found}; an nn.Module was expected{hint}")


def unshared(factory: Factory, name: str, first: nn.Module, second: nn.Module) -> Factory:
    """Return a factory whose modules share neither tensors nor layers with each other.

    Frozen layers that were loaded once are often part of every module that a callable returns.
    The package changes the modules that it builds, so each has to be a copy.

    Args:
        factory: the callable.
        name: its name, for error messages.
        first: one module that it returned.
        second: another one.

    Raises:
        ValueError: a module would have to be copied and cannot be.
    """
    layers = {id(layer) for layer in first.modules()}
    storages = {memory_of(tensor) for _, tensor in named_tensors(first)}
    shared = tuple(key for key, tensor in named_tensors(second) if memory_of(tensor) in storages)
    if not shared and layers.isdisjoint(id(layer) for layer in second.modules()):
        return factory
    try:
        pristine = copied(first)
    except Exception as error:
        what = "is the same each time" if first is second else "shares tensors with earlier ones"
        raise ValueError(
            f"the module that {name} returns {what}, and it cannot be copied ({error}); return a "
            "new module each time"
        ) from error
    if first is second:
        return Always(pristine)
    return Unshared(factory, name, shared, _values(first, shared))


def _not_callable(model: Any) -> str:
    said = f"model is a {type(model).__name__}; give "
    if not isinstance(model, nn.Module):
        return said + (
            f"a name ({', '.join(MODELS)}) or a callable that returns a new nn.Module each time, "
            "such as a function or a class."
        )
    reason = compiled_or_parallel(model)
    inside = f" Return the module inside it: {reason}." if reason else ""
    return said + (
        f"a name ({', '.join(MODELS)}) or a callable that returns a new nn.Module each time, "
        "such as the module's class or a function that builds it, because every shard trains a "
        f"module of its own.{inside}"
    )


def _needed(model: Any, name: str) -> tuple[list[str], list[str]]:
    """Return the names of required arguments: positional ones, and keywords."""
    try:
        parameters = inspect.signature(model).parameters.values()
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"the arguments of {name} cannot be determined ({error}); wrap it in a callable "
            "without arguments, such as lambda: ..."
        ) from error
    needed = [p for p in parameters if p.default is p.empty]
    positional = [p.name for p in needed if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return positional, [p.name for p in needed if p.kind is p.KEYWORD_ONLY]


def _failed(factory: Factory, name: str, error: Exception) -> str:
    """Describe an error that a user's callable raised."""
    cause = f"{type(error).__name__}: {error}".rstrip(".")
    if not isinstance(factory, Sized):
        return f"{name} raised {cause}. It was called without arguments to build the model."
    names, _ = _needed(factory.model, name)
    return (
        f"{name} raised {cause}. It was called with the features' shape "
        f"{factory.feature_shape} as {names[0]!r} and the number of outputs "
        f"{factory.num_outputs} as {names[1]!r}. If these arguments have another meaning, give a "
        f"callable without arguments, such as model=lambda: {_example(name)}(...)."
    )


def _example(name: str) -> str:
    return name if name.isidentifier() else "Net"


def _article(value: Any) -> str:
    kind = type(value).__name__
    return f"an {kind}" if kind[0].lower() in "aeiou" else f"a {kind}"


def _values(module: nn.Module, names: tuple[str, ...]) -> str:
    tensors = dict(named_tensors(module))
    return digest(state_bytes({name: tensors[name] for name in names}))


def _listed(names: tuple[str, ...], most: int = 3) -> str:
    shown = ", ".join(map(repr, names[:most]))
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
