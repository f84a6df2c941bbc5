"""Python calls that have the same effect as the controls of a panel."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from unlearnkit.unlearning.boundary import BOUNDARIES
from unlearnkit.unlearning.boundary.chosen import OverriddenBoundary
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import Boundary


def number(value: float) -> str:
    """Write a number so that Python reads the same one.

    >>> number(0.1), number(1.0), number(0.083123456789)
    ('0.1', '1', '0.083123456789')
    """
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def code_of(boundary: Boundary, at: str = "") -> str:
    """Return the call that creates a boundary; default values are left out.

    Args:
        boundary: the boundary.
        at: what to write for a threshold; the threshold itself by default.

    >>> code_of(FixedBoundary(0.5)), code_of(FixedBoundary(0.5, whole=True), "{at}")
    ('uk.FixedBoundary(0.5)', 'uk.FixedBoundary({at}, whole=True)')
    >>> code_of(OverriddenBoundary(FixedBoundary(0.25), {3: "exact"}))
    "uk.OverriddenBoundary(uk.FixedBoundary(0.25), {3: 'exact'})"
    """
    if isinstance(boundary, OverriddenBoundary):
        base = code_of(BOUNDARIES.choose(boundary.base), at)
        return f"uk.OverriddenBoundary({base}, {dict(boundary.routes)!r})"
    fixed = isinstance(boundary, FixedBoundary)
    arguments = [at or number(boundary.max_share)] if isinstance(boundary, FixedBoundary) else []
    for field in fields(boundary):  # type: ignore[arg-type]
        value = getattr(boundary, field.name)
        if value != field.default and not (fixed and field.name == "max_share"):
            shown = number(value) if type(value) is float else repr(value)
            arguments.append(f"{field.name}={shown}")
    return f"uk.{type(boundary).__name__}({', '.join(arguments)})"


def argument(boundary: Boundary, at: str = "") -> str:
    """Return the argument of ``session.unlearn`` that stands for a boundary.

    >>> argument(FixedBoundary(0.5)), argument(FixedBoundary(unit="seconds"), "{at}")
    ('0.5', "boundary=uk.FixedBoundary({at}, unit='seconds')")
    """
    if boundary == FixedBoundary(getattr(boundary, "max_share", 0.0)):
        return at or number(getattr(boundary, "max_share", 0.0))
    return f"boundary={code_of(boundary, at)}"


def call(first: str, names: Mapping[str, Any]) -> str:
    """Return the call that unlearns.

    Args:
        first: the argument that stands for the boundary; empty for the session's own.
        names: further arguments, such as the names of a method and an amend.

    >>> call("0.5", {"amend": "none"}), call("", {})
    ("session.unlearn(0.5, amend='none')", 'session.unlearn()')
    """
    named = [f"{name}={value!r}" for name, value in names.items()]
    return f"session.unlearn({', '.join([first, *named] if first else named)})"
