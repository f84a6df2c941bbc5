"""The checker of shape annotations that conftest.py puts on the whole package."""

from collections.abc import Callable
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray


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
    """Tell whether `hint`, or a part of it such as a union's member, is a jaxtyping array."""
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(has_shape(part) for part in get_args(hint))
