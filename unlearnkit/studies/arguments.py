"""What studies of many models check before they compute: their arguments, and what a file holds."""

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def as_seeds(seeds: int | Iterable[int]) -> list[int]:
    """Return seeds as a list of Python's integers.

    >>> as_seeds(7), as_seeds(np.arange(2))
    ([7], [0, 1])

    Raises:
        TypeError: a seed is not a whole number.
        ValueError: there are none, or one is given twice.
    """
    given = [seeds] if isinstance(seeds, int | np.integer | str) else seeds
    try:
        found = list(given)
    except TypeError as error:
        raise TypeError(
            f"seeds={seeds!r} is neither a whole number nor a list of them; give seeds such as "
            "range(100)"
        ) from error
    seeds = [as_count("seed", seed) for seed in found]
    if not seeds:
        raise ValueError("seeds is empty; give at least one seed, such as range(100)")
    if len(set(seeds)) < len(seeds):
        raise ValueError(
            f"only {len(set(seeds))} of {len(seeds)} seeds are different, and a model says nothing "
            "new a second time; give each seed once"
        )
    return seeds


def as_count(name: str, value: object, least: int | None = None) -> int:
    """Return a whole number as Python's integer.

    >>> as_count("k", np.int64(3), 1)
    3

    Args:
        name: the argument, for the error message.
        value: what was given.
        least: its least value.

    Raises:
        TypeError: it is not a whole number.
        ValueError: it is below ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; give a whole number")
    if least is not None and value < least:
        raise ValueError(f"{name}={value} is too small; give a whole number of at least {least}")
    return int(value)


def refuse_options(options: Mapping[str, Any]) -> None:
    """Refuse options of a single session that many cannot share: its ``seed`` and its ``store``.

    Raises:
        TypeError: one of them is there.
    """
    if "seed" in options:
        raise TypeError(
            f"seed={options['seed']!r} is an argument of a session; give seeds={options['seed']!r}"
        )
    if options.get("store") is not None:
        raise TypeError(
            f"store={options['store']!r} holds the states of one session, but every model here has "
            "its own session; leave store out, and give path=... to keep the results"
        )


def check_margins(
    path: str | os.PathLike[str] | None, margins: Any, count: int, whose: str
) -> None:
    """Refuse margins that were read from a file and are not so many finite numbers.

    Args:
        path: the file.
        margins: what it holds.
        count: the number of examples.
        whose: the model, for the error message.

    Raises:
        ValueError: they are something else.
    """
    fits = isinstance(margins, list) and len(margins) == count
    if not fits or not all(type(m) in (int, float) and math.isfinite(m) for m in margins):
        raise ValueError(
            f"{path} is damaged: the margins {whose} are not {count} numbers; delete their line, "
            "or give another path"
        )
