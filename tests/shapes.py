"""The checker of shape annotations that conftest.py puts on the whole package."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import jaxtyping
from beartype import beartype
from jaxtyping import AbstractArray, install_import_hook

_jaxtyped = jaxtyping.jaxtyped


def check_package(name: str) -> None:
    """Check the shapes of a package that is not imported yet.

    jaxtyping's hook decorates every function and class, and a decorated function takes several
    times as long to call. Those without a shape are left as they are.
    """
    jaxtyping.jaxtyped = _jaxtyped_if_shaped
    install_import_hook(name, "shapes.check_shapes")


def _jaxtyped_if_shaped(decorated: Any = None, *, typechecker: Any) -> Any:
    if decorated is None:
        return partial(_jaxtyped_if_shaped, typechecker=typechecker)
    function = decorated.__init__ if inspect.isclass(decorated) else decorated
    hints = getattr(function, "__annotations__", {"": AbstractArray})  # properties: look inside
    shaped = any(map(has_shape, hints.values()))
    return _jaxtyped(decorated, typechecker=typechecker) if shaped else decorated


def check_shapes(function: Callable[..., Any], **_: Any) -> Callable[..., Any]:
    """Let beartype check the annotations of `function` that carry a shape, and no others.

    Plain types are mypy's business. Checked here as well, a wrong one would never reach the
    package's own check at the door, whose message is what a test wants to see, and beartype
    takes neither an int for a float nor numpy's integers for an int.
    """
    shaped = {name: hint for name, hint in function.__annotations__.items() if has_shape(hint)}
    function.__annotations__ = shaped
    return beartype(function) if shaped else function


def has_shape(hint: Any) -> bool:
    """Tell whether `hint`, or a part of it such as a union's member, is a jaxtyping array.

    A hint in quotes may hold one if it has brackets.
    """
    if isinstance(hint, str):
        return "[" in hint
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(has_shape(part) for part in get_args(hint))
