"""Suggestions of scaling constants, printed for the user to judge and copy."""

import math
import os
import textwrap
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from jaxtyping import Shaped
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from unlearnkit.data.column_constants import NOT_SILENTLY
from unlearnkit.data.conversion import as_tensor, refuse_masks
from unlearnkit.data.datasets import as_dataset
from unlearnkit.data.encoding import as_numbers
from unlearnkit.data.examples import Dataset
from unlearnkit.data.from_hugging_face import is_table as is_hugging_face
from unlearnkit.data.reading.files import read_table
from unlearnkit.data.reading.tables import as_frame, is_frame

if TYPE_CHECKING:
    import pandas as pd

Features: TypeAlias = "Shaped[np.ndarray, 'row *feature'] | dict[Hashable, np.ndarray]"

WIDTH = 100  # maximum characters in a printed line
FEW_VALUES = 20  # whole numbers with at most this many distinct values are taken for classes
BYTE_SCALE = 255.0  # the largest byte

ADVICE = (
    "Prefer what you know beforehand, such as the range of an instrument, and keep the constants "
    "when rows are forgotten or added."
)


def suggest_scaling(data: Any, targets: Any = None) -> None:
    """Print constants that bring features, and targets of a regression, near 1.

    The constants are the mean and the standard deviation of each column, both rounded to the first
    digit of the standard deviation. They are printed and neither returned nor applied: computed
    from the data, they would keep an influence of every row on every model, even after the row is
    forgotten. Copy them if you accept that, or replace them by what is known beforehand; then give
    them to ``from_arrays``, ``from_frame`` or an estimator. Columns that hold nothing but 0 and 1
    need no constants, and columns of text have none.

    Args:
        data: features as an array, a tensor or a DataFrame, with one row per example; a pair that a
            session takes, such as (features, labels), (DataFrame, target column) or
            (``"file.csv"``, target column); or any other data that a session takes. From a
            :class:`~unlearnkit.data.examples.Dataset` the features are read as it keeps them.
        targets: targets or labels, one or several per row, or the target column of a DataFrame.
            Class labels, recognised by text or few distinct whole numbers, get no constants.

    Raises:
        KeyError: the table has no such target column.
        TypeError: the data are of another kind.
        ValueError: the data cannot be read.

    >>> suggest_scaling(np.array([[0.0, 1000], [2, 1500], [4, 2000]]))  # doctest: +ELLIPSIS
    # Suggested from 3 rows. unlearnkit does not compute such constants silently: ...
    offset=[2, 1500],
    scale=[2, 400],
    """
    features, labels = _read(data, targets)
    if isinstance(features, Mapping):
        count = len(next(iter(features.values()), ()))
        pairs = {name: _constants(column) for name, column in features.items()}
        lines = [
            # Columns that a mapping leaves out have offset 0 and scale 1.
            _line(word, {name: pair[place] for name, pair in pairs.items() if pair[place] != place})
            for place, word in enumerate(("offset", "scale"))
        ]
    else:
        count, lines = len(features), _lines("", features)
    if labels is not None and _are_targets(labels):
        lines += _lines("target_", labels)
    about = f"Suggested from {count} rows. {NOT_SILENTLY}. {ADVICE}"
    print("\n".join([*(f"# {line}" for line in textwrap.wrap(about, WIDTH - 2)), *lines]))


def _read(data: Any, targets: Any) -> tuple[Features, Shaped[np.ndarray, "row *target"] | None]:
    """Return the numeric features, of a table by column, and the targets or labels."""
    if targets is None and isinstance(data, tuple) and len(data) == 2:
        first, second = data
        if not (isinstance(first, TorchDataset) or is_hugging_face(first)):
            data, targets = first, second
    if isinstance(data, str | os.PathLike) and targets is not None:
        data = read_table(data)
    if isinstance(data, Dataset | TorchDataset | str | tuple) or is_hugging_face(data):
        return _of_dataset(as_dataset(data))
    if is_frame(data):
        return _of_frame(as_frame("data", data), targets)
    features = as_tensor(data, "data", "features").numpy()
    if features.ndim < 2 or len(features) == 0:
        raise ValueError(
            f"features of shape {features.shape}; give numbers of shape (rows, columns), a "
            "DataFrame, or any data that a session takes"
        )
    return features, None if targets is None else _as_array("the targets", targets)


def _of_dataset(dataset: Dataset) -> tuple[Features, np.ndarray | None]:
    part = dataset.train
    features: np.ndarray = part.features.numpy()
    targets = dataset.in_units(part.labels).numpy() if dataset.is_regression else None
    if dataset.feature_names:
        return {name: features[:, i] for i, name in enumerate(dataset.feature_names)}, targets
    return features, targets


def _of_frame(frame: "pd.DataFrame", targets: Any) -> tuple[Features, np.ndarray | None]:
    from pandas.api.types import is_any_real_numeric_dtype

    labels = None
    if not frame.columns.is_unique:
        repeated = frame.columns[frame.columns.duplicated()].tolist()
        raise ValueError(f"the columns {repeated} occur twice; rename them")
    if len(frame) == 0:
        raise ValueError("the table has no rows; give at least one")
    if isinstance(targets, str | int | tuple) and not isinstance(targets, bool):
        if targets not in frame.columns:
            raise KeyError(f"there is no column {targets!r}; the columns are {list(frame.columns)}")
        labels = frame[targets].to_numpy()
        frame = frame.drop(columns=[targets])
    elif targets is not None:
        labels = _as_array("the targets", targets)
    frame = as_numbers(frame, list(frame.columns))
    columns: dict[Hashable, np.ndarray] = {
        name: frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        for name in frame.columns
        if is_any_real_numeric_dtype(frame[name].dtype)
    }
    return columns, labels


def _as_array(what: str, values: Any) -> np.ndarray:
    refuse_masks(values, what)
    if isinstance(values, Tensor):
        values = values.detach().cpu()
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{what} have rows of different lengths ({error}); give all rows the same length"
        ) from error


def _are_targets(labels: Shaped[np.ndarray, "row *target"]) -> bool:
    """Whether labels are targets of a regression rather than classes."""
    if labels.dtype.kind not in "iuf" or labels.ndim > 2 or not labels.size:
        return False
    whole = bool((labels == np.round(labels)).all())
    return not whole or len(np.unique(labels)) > FEW_VALUES


def _lines(prefix: str, values: Shaped[np.ndarray, "row *column"]) -> list[str]:
    """Return the lines for an array: one constant for each column of a table, else one for all."""
    if values.dtype == np.uint8 and not prefix:
        constants: list[Any] = [0.0, BYTE_SCALE]
    elif values.ndim == 2 and not (prefix and values.shape[1] == 1):
        pairs = [_constants(column) for column in values.T]
        constants = [[pair[place] for pair in pairs] for place in (0, 1)]
    else:
        constants = list(_constants(values.reshape(-1)))
    words = (f"{prefix}offset", f"{prefix}scale")
    return [_line(word, constant) for word, constant in zip(words, constants, strict=True)]


def _line(word: str, constants: Any) -> str:
    """Return constants as an argument of a call, on several lines where it is long."""
    if isinstance(constants, Mapping):
        ends, items = "{}", [f"{_written(k)}: {_written(v)}" for k, v in constants.items()]
    elif isinstance(constants, list):
        ends, items = "[]", [_written(value) for value in constants]
    else:
        return f"{word}={_written(constants)},"
    lines = [f"{word}={ends[0]}"]
    for place, item in enumerate(items):
        item += "" if place == len(items) - 1 else ","
        if place and len(lines[-1]) + len(item) > WIDTH - 3:
            lines.append(f"    {item}")  # names are never broken
        else:
            lines[-1] += f" {item}" if place else item
    return "\n".join(lines) + f"{ends[1]},"


def _written(value: Any) -> str:
    value = value.item() if isinstance(value, np.generic) else value
    return f"{value:.12g}" if isinstance(value, float) else repr(value)


def _constants(column: Shaped[np.ndarray, " row"]) -> tuple[float, float]:
    """Mean and standard deviation of the finite numbers, rounded to the latter's first digit.

    >>> _constants(np.array([10.0, 12, 15, np.nan]))
    (12.0, 2.0)
    >>> _constants(np.array([0.0, 1, 1]))
    (0.0, 1.0)
    """
    numbers = column.astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if np.isin(numbers, (0, 1)).all():
        return 0.0, 1.0
    most = float(np.abs(numbers).max())
    unit = most if most > 1e100 else 1.0  # so that no square is infinite
    mean, spread = unit * float((numbers / unit).mean()), unit * float((numbers / unit).std())
    if spread <= 1e-12 * abs(mean):  # a constant column
        return float(f"{mean:.6g}"), 1.0
    scale = float(f"{spread:.1g}")
    digit = math.floor(math.log10(scale) + 1e-9)
    return float(f"{round(mean / 10.0**digit) * 10.0**digit:.12g}"), scale
