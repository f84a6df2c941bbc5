"""Fixed constants that bring features near 1: one for all of them, or one for each column.

A constant is never computed from the data here, since it would be a statistic of all rows: every
model would keep an influence of rows that are forgotten later.
"""

import math
import sys
import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float32, Float64, Shaped
from torch import Tensor

from unlearnkit.data.conversion import listed
from unlearnkit.data.examples import Dataset

Constants: TypeAlias = "float | Sequence[float] | np.ndarray | Tensor | Mapping[Hashable, float]"

NOT_SILENTLY = (
    "unlearnkit does not compute such constants silently: computed from the data, they would keep "
    "an influence of every row on every model, even after the row is forgotten"
)
ROWS_AT_A_TIME = 4096  # rows scaled in float64 at a time
ROWS_LOOKED_AT = 2000  # rows whose magnitude is measured before training
# Modules whose frames lie between the package's functions and the code that called them.
INSIDE = ("unlearnkit", "contextlib", "jaxtyping")
LARGE, SMALL = 10.0, 0.25  # root mean square, largest number: beyond these models learn badly


def by_column(constant: Any) -> bool:
    """Whether a constant is given for each column, as a sequence, an array or a mapping."""
    return isinstance(constant, Mapping) or (
        not isinstance(constant, str) and np.ndim(constant) > 0
    )


def one_constant(word: str, constant: Any) -> float:
    """Return a constant that applies to all features as a float.

    Raises:
        TypeError: it is not a number.
        ValueError: it is not finite, or a scale is 0.
    """
    try:
        value = float("a text" if isinstance(constant, str) else constant)
    except (TypeError, ValueError):
        raise TypeError(
            f"{word}={constant!r} is a {type(constant).__name__}; give a number, or one number for "
            "each column"
        ) from None
    if not math.isfinite(value) or (word == "scale" and value == 0):
        raise ValueError(f"{word}={constant}; give a finite constant, and a scale other than 0")
    return value


def constants_by_column(
    word: str,
    constants: Constants,
    shape: Sequence[int],
    names: Sequence[Hashable] | None = None,
) -> Float64[np.ndarray, "..."]:
    """Return constants as an array that broadcasts over features of this shape.

    Args:
        word: ``"offset"`` or ``"scale"``.
        constants: a number for all features; a sequence with one number for each column of a table
            or, for features with several axes, for each entry of the first axis, such as the
            channels of images; an array that broadcasts over the features; or a mapping from
            columns, by name or else by number, to constants. Columns that a mapping leaves out
            have offset 0 and scale 1.
        shape: shape of the features of one example.
        names: names of the columns, if they have any.

    Raises:
        KeyError: a mapping names an unknown column.
        TypeError: the constants are not numbers.
        ValueError: their number does not fit the features, or one is not finite, or a scale is 0.

    >>> constants_by_column("scale", [1, 10], (2,))
    array([ 1., 10.])
    >>> constants_by_column("scale", {"b": 10}, (2,), names=["a", "b"])
    array([ 1., 10.])
    >>> constants_by_column("scale", [1, 10, 100], (3, 8, 8)).shape
    (3, 1, 1)
    """
    if not by_column(constants):
        return np.array(one_constant(word, constants))
    index = getattr(constants, "index", None)  # a pandas Series knows the names of its numbers
    if names is not None and index is not None and not callable(index):
        constants = dict(zip(index, np.asarray(constants).tolist(), strict=True))
    if isinstance(constants, Mapping):
        constants = _of_mapping(word, constants, shape, names)
    if isinstance(constants, Tensor):
        constants = constants.detach().cpu().numpy()
    try:
        values = np.array(constants, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{word} holds something other than numbers ({error})") from None
    bad = ~np.isfinite(values) | ((values == 0) & (word == "scale"))
    if bad.any():
        raise ValueError(
            f"{word} of columns {listed(np.flatnonzero(bad))} is "
            f"{listed(values[bad].tolist())}; give finite constants, and scales other than 0"
        )
    if values.ndim == 1 and len(values) == shape[0]:
        return values.reshape(-1, *[1] * (len(shape) - 1))
    try:
        fits = values.ndim > 1 and np.broadcast_shapes(values.shape, tuple(shape)) == tuple(shape)
    except ValueError:
        fits = False
    if not fits:
        met = f"{len(values)} constants" if values.ndim == 1 else f"the shape {values.shape}"
        what = f"{shape[0]} columns" if len(shape) == 1 else f"features of shape {tuple(shape)}"
        way = "column" if len(shape) == 1 else "entry of the first axis"
        raise ValueError(f"{word} has {met} for {what}; give one for all, or one for each {way}")
    return values


def _of_mapping(
    word: str,
    constants: Mapping[Hashable, float],
    shape: Sequence[int],
    names: Sequence[Hashable] | None,
) -> list[float]:
    if len(shape) != 1:
        raise ValueError(
            f"{word} is a mapping by column, but the features have the shape {tuple(shape)}; give "
            "one constant for all, or one for each entry of the first axis"
        )
    known = list(range(shape[0]) if names is None else names)
    unknown = [column for column in constants if column not in known]
    if unknown:
        raise KeyError(f"{word}= names {unknown}; the columns are {listed(known, 20)}")
    return [constants.get(column, 0.0 if word == "offset" else 1.0) for column in known]


def scaled(
    features: Shaped[Tensor, " n *feature"],
    offset: Constants,
    scale: Constants,
    names: Sequence[Hashable] | None = None,
) -> Float32[Tensor, " n *feature"]:
    """Return (features - offset) / scale, computed in float64, as new float32 features.

    Raises:
        KeyError, TypeError, ValueError: as in :func:`constants_by_column`.

    >>> scaled(torch.tensor([[5, 50], [6, 60]]), [5, 50], [1, 10])
    tensor([[0., 0.],
            [1., 1.]])
    """
    shape = tuple(features.shape[1:])
    less = torch.from_numpy(constants_by_column("offset", offset, shape, names))
    unit = torch.from_numpy(constants_by_column("scale", scale, shape, names))
    result = torch.empty(features.shape, dtype=torch.float32)
    for some, part in zip(
        features.split(ROWS_AT_A_TIME), result.split(ROWS_AT_A_TIME), strict=True
    ):
        part.copy_((some.to(torch.float64) - less) / unit)
    return result


def warn_of_magnitudes(dataset: Dataset) -> None:
    """Warn if inputs or targets are so large or so small that the built-in models learn badly.

    The warning points to the line that called the package.

    Args:
        dataset: the data to train on; evenly spaced rows of its training part are measured.
    """
    part = dataset.train
    ids = part.ids[np.unique(np.linspace(0, len(part) - 1, ROWS_LOOKED_AT).astype(np.int64))]
    inputs, labels = part[ids]
    found = []
    if met := _magnitude(inputs.flatten(1)):
        names = dataset.feature_names
        columns = [f"{names[place]!r}" if names else str(place) for place in met[0]]
        table = inputs.ndim == 2 and len(columns) < inputs.shape[1]
        which = f"inputs of columns {listed(columns)}" if table else "inputs"
        found.append((f"{which} {met[1]}", "offset and scale, one for each column"))
    if dataset.is_regression and (met := _magnitude(labels)):
        found.append((f"targets {met[1]}", "target_offset and target_scale"))
    if found:
        frame, level = sys._getframe(), 1
        while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in INSIDE:
            frame, level = frame.f_back, level + 1
        warnings.warn(
            f"{' and '.join(each for each, _ in found)}, from which models learn badly or not at "
            "all; give constants known beforehand that bring them near 1 "
            f"({' and '.join(way for _, way in found)}). uk.suggest_scaling(X, y) prints constants "
            f"to copy. {NOT_SILENTLY}",
            UserWarning,
            stacklevel=level,
        )


def warn_of_features(name: str, features: Float32[Tensor, "row feature"]) -> None:
    """Warn if a backbone's features are so large or so small that the built-in heads learn badly.

    Args:
        name: name of the backbone.
        features: features of some examples.
    """
    met = _magnitude(features)
    if met is not None:
        frame, level = sys._getframe(), 1
        while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in INSIDE:
            frame, level = frame.f_back, level + 1
        warnings.warn(
            f"features of {name} {met[1]}, from which heads learn badly or not at all; let the "
            "backbone divide them by a fixed constant that brings them near 1, or normalise each "
            "row by itself (torch.nn.functional.layer_norm)",
            UserWarning,
            stacklevel=level,
        )


def _magnitude(values: Shaped[Tensor, "row column"]) -> tuple[list[int], str] | None:
    """Columns whose numbers are far from 1, and how far; None if there are none."""
    values = values.to(torch.float64)
    mean_square = values.square().mean(0)
    far = torch.nonzero(mean_square > LARGE**2).flatten().tolist()
    if not far and values.numel() and 0 < float(values.abs().max()) < SMALL:
        far = list(range(values.shape[1]))
    if not far:
        return None
    low, high = float(values[:, far].min()), float(values[:, far].max())
    return far, f"range from {low:.4g} to {high:.4g}"
