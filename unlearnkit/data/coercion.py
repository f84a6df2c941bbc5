"""Conversion and validation of a caller's arrays and tables.

All input is checked here, so that the rest of the package can rely on it. Each error says what was
met, what was expected, and what to do.
"""

import math
import numbers
import sys
import warnings
from collections.abc import Callable, Hashable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, Shaped
from torch import Tensor

if TYPE_CHECKING:
    import pandas as pd

# More classes are taken for a mistake unless they are declared, and more than a few also if there
# are fewer than three rows of each.
MOST_CLASSES, FEW_CLASSES = 1000, 30
WIDE = (torch.int32, torch.int64, torch.uint32, torch.uint64, torch.float64)
FLOAT32_WHOLE = 2**24  # float32 holds every whole number up to here

TASKS = ("classification", "regression")
Array: TypeAlias = "Tensor | np.ndarray | pd.DataFrame | pd.Series | Sequence[Any]"


def as_pair(
    pair: tuple[Array, Array],
    what: str,
    convert: Callable[[Shaped[Tensor, " n *feature"]], Shaped[Tensor, " n *feature"]] | None = None,
    dtype: Any = None,
) -> tuple[Shaped[Tensor, " n *feature"], Shaped[Tensor, " n *target"]]:
    """Convert features to uint8 or float32, and labels to a tensor, of the same length.

    The values themselves are checked later, by :func:`check_contents`.

    Args:
        pair: features and labels.
        what: the argument that the pair comes from, for messages.
        convert: what is applied to the features in their own precision; None keeps uint8 and
            converts other types to float32.
        dtype: int64 for features that stay whole numbers; None for the types above.
    """
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"{what}= is a {type(pair).__name__}; give a pair (features, labels)")
    features, labels = (_as_tensor(array, what) for array in pair)
    if dtype is not None:
        features, convert = whole_numbers(what, features), _as_they_are
    if convert is None and features.ndim > 1 and features.dtype in WIDE:
        tell_lost_columns(what, features.flatten(1).numpy())
    if features.ndim and len(features) == 0:
        raise ValueError(f"{what}: no examples; give at least one row")
    if features.ndim < 2 or math.prod(features.shape[1:]) == 0:
        raise ValueError(
            f"{what}: features of shape {tuple(features.shape)} have no feature axis, or "
            "an empty one; give shape (examples, features...), for a single feature "
            "features.reshape(-1, 1)"
        )
    if labels.ndim == 0:
        raise ValueError(
            f"{what}: the labels are the single value {labels.item()!r}; give one label per row, "
            "or, for a column of a table, the table and the column's name"
        )
    if len(features) != len(labels):
        raise ValueError(
            f"{what}: {len(features)} rows of features and {len(labels)} labels; "
            "give one label per row"
        )
    if convert is not None:
        features = convert(features)
    elif features.dtype != torch.uint8:
        features = features.to(torch.float32)
    return features, labels


def check_dtype(dtype: Any) -> None:
    """Refuse a type that features cannot be kept in.

    Raises:
        ValueError: it is neither None nor int64.
    """
    if dtype not in (None, torch.int64, np.int64, "int64"):
        raise ValueError(
            f"dtype={dtype!r}; give torch.int64 for features that stay whole numbers, or None for "
            "float32"
        )


def whole_numbers(
    what: str, features: Shaped[Tensor, " n *feature"]
) -> Int64[Tensor, " n *feature"]:
    """Convert features to int64 if that changes no value.

    Raises:
        ValueError: a value is missing, or no whole number of 64 bits.
    """
    if features.is_floating_point():
        # Above 2^53 a double may have been another whole number before.
        outside = ~torch.isfinite(features) | (features != features.round())
        outside |= features.abs() > (2**53 if features.dtype == torch.float64 else FLOAT32_WHOLE)
    elif features.dtype == torch.uint64:
        outside = torch.from_numpy(features.numpy() > np.uint64(2**63 - 1))
    else:
        return features.to(torch.int64)
    if outside.any():
        rows = outside.flatten(1).any(1) if outside.ndim > 1 else outside
        value = features[rows][0].flatten()[outside[rows][0].flatten()][0].item()
        raise ValueError(
            f"{what}: features are to stay whole numbers (int64), but {int(rows.sum())} of "
            f"{len(rows)} rows hold other values (rows {row_numbers(rows)}, such as {value:g}); "
            "fill missing values with a fixed number, or leave out dtype="
        )
    return features.to(torch.int64)


def _as_they_are(features: Shaped[Tensor, " n *feature"]) -> Shaped[Tensor, " n *feature"]:
    return features


def _as_tensor(array: Array, what: str) -> Shaped[Tensor, "..."]:
    """Convert to a dense tensor of real numbers on the CPU, sharing memory if possible."""
    kind: object
    advice = "arrays of real numbers"
    _refuse_masks(array, what)
    if isinstance(array, Tensor):
        # Tensors made in inference mode cannot take part in training; a copy can.
        tensor = array.clone() if array.is_inference() else array.detach()
        kind = tensor.dtype
        usable = not tensor.is_complex() and not tensor.is_quantized
        if tensor.layout != torch.strided:
            usable, kind, advice = False, f"sparse {kind}", "a dense tensor (.to_dense())"
    elif hasattr(array, "toarray") and hasattr(array, "nnz"):  # of scipy
        matrix: Any = array
        usable, kind = False, f"sparse {matrix.dtype}"
        size = math.prod(matrix.shape) * 4 / 1e9
        advice = f"a dense array (.toarray(), {size:.3g} GB as float32)"
    else:
        try:
            values = np.asarray(array)
        except ValueError as error:
            raise ValueError(
                f"{what}: rows have different lengths ({error}); give all rows the same length"
            ) from error
        if values.dtype == object:
            values = _of_nullable(array, values)
        kind = values.dtype
        if values.dtype == object and values.size:
            odd = next((v for v in values.flat if not isinstance(v, numbers.Real)), values.flat[0])
            kind = f"object (such as {odd!r:.40})"
        usable = values.dtype.kind in "biuf" and values.dtype.itemsize <= 8
        if usable:
            native = values.astype(values.dtype.newbyteorder("="), copy=False)
            # Torch warns unless the shared memory is writable.
            tensor = torch.from_numpy(np.require(native, requirements=["C", "W"]))
    if not usable:
        raise TypeError(
            f"{what}: values of kind {kind} cannot be used; give {advice} "
            "(text and categories encoded by a fixed table, complex numbers as two features)"
        )
    return tensor.cpu()


def _refuse_masks(array: Any, what: str) -> None:
    """Refuse masked entries, whose filler would be read as a number."""
    masks: np.ndarray = np.zeros(0, bool)
    if isinstance(array, torch.masked.MaskedTensor):
        masks = ~array.get_mask().cpu().numpy()
    elif isinstance(array, np.ma.MaskedArray):
        masks = np.ma.getmaskarray(array)
    elif isinstance(array, list | tuple):
        masks = np.array([_is_masked(row) for row in array], bool)
    if masks.any():
        given = np.atleast_1d(masks)
        rows = np.array([bool(row.any()) for row in given])
        raise ValueError(
            f"{what}: {int(rows.sum())} of {len(rows)} rows have masked entries (rows "
            f"{row_numbers(rows)}), which are missing values; drop these rows, or fill features "
            "with a fixed constant (not with a statistic of the data)"
        )


def _is_masked(row: Any) -> bool:
    if isinstance(row, list | tuple):
        nested = bool(row) and isinstance(row[0], list | tuple | np.ma.MaskedArray)
        return nested and any(map(_is_masked, row))
    return isinstance(row, np.ma.MaskedArray) and bool(np.ma.is_masked(row))


def _of_nullable(array: Any, values: np.ndarray) -> np.ndarray:
    """Return the numbers of pandas' nullable and arrow's columns, with NaN for missing values."""
    import pandas as pd

    def is_numeric(kind: Any) -> bool:
        return pd.api.types.is_any_real_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind)

    if isinstance(array, pd.DataFrame | pd.Series):
        kinds = array.dtypes if isinstance(array, pd.DataFrame) else [array.dtype]
        if all(is_numeric(kind) for kind in kinds):
            return array.to_numpy(dtype=np.float64, na_value=np.nan)
    return values


def task_of_labels(labels: Sequence[Shaped[Tensor, "..."]], task: str | None, named: bool) -> str:
    """Decide whether labels are class numbers or regression targets.

    Integers are class numbers, fractions are targets. Floats that are all whole numbers could be
    either. The task is not guessed for them, since a single further example could change it.

    Args:
        labels: labels of all parts.
        task: the task that the caller gave, or None.
        named: whether the caller gave the number or the names of classes.

    Raises:
        ValueError: the task is unknown, or the labels are ambiguous.
    """
    if task is not None:
        if task not in TASKS:
            raise ValueError(f"task={task!r} is not known; use one of {', '.join(TASKS)}")
        return task
    if named:
        return "classification"
    if not any(part.is_floating_point() for part in labels):
        _refuse_many_values(labels)
        return "classification"
    if all(bool((part == part.round()).all()) for part in labels):
        raise ValueError(
            "labels are floats but all whole numbers, so they may be classes or targets; give "
            "task='regression', or task='classification' (or integers) for class numbers, or for "
            "one-hot rows labels.argmax(1)"
        )
    return "regression"


def _refuse_many_values(labels: Sequence[Shaped[Tensor, "..."]]) -> None:
    """Refuse whole numbers that are hardly class numbers, because there are too many of them."""
    if any(part.ndim != 1 for part in labels):
        return
    values = np.concatenate([part.numpy() for part in labels])
    distinct = len(np.unique(values))
    if distinct > MOST_CLASSES or (distinct > FEW_CLASSES and distinct * 3 > len(values)):
        raise ValueError(
            f"the labels are whole numbers with {distinct} different values in {len(values)} rows, "
            "so they may be targets rather than classes; give task='regression', or "
            "task='classification' if they are class numbers"
        )


def targets_of(
    what: str,
    labels: Shaped[Tensor, " n *target"],
    offset: Sequence[float],
    scale: Sequence[float],
) -> Float32[Tensor, "n target"]:
    """Return rows of finite targets, scaled by the constants."""
    rows = labels.to(torch.float64)
    rows = rows.unsqueeze(1) if rows.ndim == 1 else rows
    if rows.ndim != 2 or rows.shape[1] != len(scale):
        raise ValueError(
            f"{what}: targets of shape {tuple(labels.shape)}; give (examples,) for one target or "
            "(examples, targets), with the same number of targets in every part"
        )
    scaled = ((rows - rows.new_tensor(offset)) / rows.new_tensor(scale)).to(torch.float32)
    broken = ~torch.isfinite(scaled).all(1)
    if broken.any():
        raise ValueError(
            f"{what}: {int(broken.sum())} of {len(rows)} rows have a label that is NaN, infinite "
            f"or too large for float32 (rows {row_numbers(broken)}); drop these rows"
        )
    return scaled


def constants_of(word: str, constants: float | Sequence[float], count: int) -> tuple[float, ...]:
    """Return one finite constant per target, given one for all of them or one for each."""
    given = [constants] * count if isinstance(constants, int | float) else list(constants)
    values = tuple(float(value) for value in given)
    if len(values) != count:
        raise ValueError(
            f"{word} has {len(values)} constants for {count} targets; give one per target"
        )
    if not all(map(math.isfinite, values)) or (word.endswith("scale") and not all(values)):
        raise ValueError(f"{word}={constants}; give finite constants, and scales other than 0")
    return values


def class_labels(what: str, labels: Shaped[Tensor, " n *target"]) -> Int64[Tensor, " n"]:
    """Convert labels to integers; floats are accepted if they are whole numbers."""
    if labels.ndim != 1:
        raise ValueError(
            f"{what}: labels of shape {tuple(labels.shape)}; give one class number per example "
            "(labels.reshape(-1), or labels.argmax(1) for one-hot rows), or "
            "task='regression'"
        )
    if labels.is_floating_point():
        bad = ~torch.isfinite(labels) | (labels != labels.round())
        if bad.any():
            raise ValueError(
                f"{what}: {int(bad.sum())} labels are not whole numbers (rows {row_numbers(bad)}, "
                f"such as {labels[bad][0].item():g}); give class numbers 0..C-1, or "
                "task='regression'"
            )
    return labels.to(torch.int64)


def names_of_classes(
    labels: Sequence[Int64[Tensor, "..."]],
    num_classes: int | None,
    class_names: Sequence[str] | None,
) -> tuple[str, ...]:
    """Return one name per class, which also determines the number of classes.

    Args:
        labels: labels of the rows to be split first, then of the parts given separately.
        num_classes: number of classes, or None.
        class_names: names of the classes, or None.

    Raises:
        TypeError: the class names are not strings.
        ValueError: names repeat or do not match ``num_classes``, labels exceed the number of
            examples, or there are fewer than two classes.
    """
    if class_names is not None:
        if isinstance(class_names, str) or not all(isinstance(word, str) for word in class_names):
            raise TypeError(f"class_names={class_names!r}; give a sequence of strings")
        if len(set(class_names)) != len(class_names):
            raise ValueError(
                f"class_names={list(class_names)} contains a name twice; give each name once"
            )
        num_classes = len(class_names) if num_classes is None else num_classes
        if num_classes != len(class_names):
            raise ValueError(
                f"{len(class_names)} class names for num_classes={num_classes}; "
                "give one name per class"
            )
        names = tuple(class_names)
    else:
        largest = int(max(part.max() for part in labels))
        if num_classes is None and largest >= sum(len(part) for part in labels):
            raise ValueError(
                f"the largest label is {largest}, which gives more classes than examples; give "
                "class numbers 0..C-1, or num_classes= if this is intended"
            )
        if num_classes is None:
            num_classes = max(largest, 0) + 1
            _tell_empty_classes(labels, num_classes)
        names = tuple(str(label) for label in range(num_classes))
    present = np.unique(labels[0].numpy())
    if len(names) < 2 or len(present) < 2:
        raise ValueError(
            f"num_classes={len(names)} and labels {listed(present)} make fewer than two classes; "
            "give examples of at least two"
        )
    return names


def _tell_empty_classes(labels: Sequence[Int64[Tensor, "..."]], num_classes: int) -> None:
    """Warn of class numbers below the largest that no row has."""
    present = np.unique(np.concatenate([part.numpy() for part in labels]))
    present = present[present >= 0]
    empty = np.setdiff1d(np.arange(num_classes), present)
    if len(empty) and len(present) > 1:
        warn(
            f"the labels {listed(present)} make {num_classes} classes, of which no row has "
            f"{listed(empty)}: a model has an output for each of these empty classes. Number the "
            "classes from 0 without gaps (with a fixed list, as numpy.searchsorted(numbers, "
            f"labels)), or give num_classes={num_classes} if the classes are meant"
        )


def tell_lost_columns(what: str, rows: Shaped[np.ndarray, "row column"]) -> None:
    """Warn of the first column of features that loses digits; see :func:`tell_lost_digits`."""
    if rows.size == 0 or (rows.min() >= -FLOAT32_WHOLE and rows.max() <= FLOAT32_WHOLE):
        return
    for column in np.flatnonzero((np.abs(rows) > FLOAT32_WHOLE).any(0)).tolist():
        if tell_lost_digits(what, f"column {column} of the features", rows[:, column]):
            return


def tell_lost_digits(what: str, name: str, given: np.ndarray) -> bool:
    """Warn of whole numbers that differ, but become the same number in float32.

    Args:
        what: name of the part.
        name: what the numbers are, such as the name of a column.
        given: the numbers, before they are converted.

    Returns:
        Whether there are such numbers.
    """
    # Above 2^53 every double is a whole number, and fractions are not meant to be told apart.
    most = 2.0**53 if given.dtype.kind == "f" else 2.0**64
    large = given[(np.abs(given) > FLOAT32_WHOLE) & (np.abs(given) < most)]
    if len(large) == 0 or not np.array_equal(large, np.round(large)):
        return False
    distinct, remaining = len(np.unique(large)), len(np.unique(large.astype(np.float32)))
    if remaining < distinct:
        warn(
            f"{what}: {name} holds whole numbers above {FLOAT32_WHOLE:,} that float32 cannot tell "
            f"apart ({distinct} different ones become {remaining}); subtract a fixed constant "
            "before, or encode identifiers as categories"
        )
    return remaining < distinct


def check_contents(
    what: str,
    features: Shaped[Tensor, " n *feature"],
    labels: Shaped[Tensor, " n *target"],
    num_classes: int,
) -> None:
    """Refuse class numbers outside 0..C-1 and features that are not finite.

    Raises:
        ValueError: there are such labels or features.
    """
    outside = (labels < 0) | (labels >= num_classes)
    if num_classes and outside.any():
        raise ValueError(
            f"{what}: {int(outside.sum())} labels are outside 0..{num_classes - 1} (rows "
            f"{row_numbers(outside)}, such as {labels[outside][0].item()}); number the classes "
            "from 0, or give num_classes="
        )
    if features.is_floating_point():
        broken = ~torch.isfinite(features).flatten(1).all(1)
        if broken.any():
            raise ValueError(
                f"{what}: {int(broken.sum())} of {len(features)} rows hold NaN or infinite values, "
                f"or values that float32 cannot hold (rows {row_numbers(broken)}); drop these "
                "rows, or fill them with a fixed constant (not with a statistic of the data)"
            )


def check_columns(
    what: str, frame: "pd.DataFrame", target: Hashable, columns: list[Hashable]
) -> None:
    """Refuse columns that are missing, repeated or contradictory.

    Raises:
        KeyError: a column is missing.
        ValueError: a column name occurs twice, there are no feature columns, or the target is one.
    """
    if not frame.columns.is_unique:
        repeated = frame.columns[frame.columns.duplicated()].tolist()
        raise ValueError(f"{what}: columns {repeated} occur twice; rename them")
    held = set(frame.columns)
    missing = [column for column in [target, *columns] if column not in held]
    if missing:
        tops = {column[0] for column in held if isinstance(column, tuple) and column}
        levels = "; give the whole tuple of a column" if tops & set(missing) else ""
        raise KeyError(f"{what} lacks {missing}; its columns are {frame.columns.tolist()}{levels}")
    if target in columns or not columns:
        raise ValueError(
            f"{what}: the features are {columns} and the target is {target!r}; give at least one "
            "feature column, and leave out the target"
        )


def row_numbers(mask: Bool[Tensor, " n"] | Bool[np.ndarray, " n"]) -> str:
    """List the first row numbers at which the mask is true."""
    return listed(np.flatnonzero(np.asarray(mask)))


def listed(items: Sequence[Any] | np.ndarray, most: int = 5) -> str:
    """List the first items and the number of further ones."""
    text = ", ".join(str(item) for item in items[:most])
    return text + (f" and {len(items) - most} more" if len(items) > most else "")


def warn(message: str) -> None:
    """Warn at the line that called the package, whichever of its functions that line called."""
    frame: FrameType | None = sys._getframe(1)
    level = caller = 2
    inside = True
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        own = name.partition(".")[0] == "unlearnkit"
        # A function under own_settings is called by contextlib.
        inside = own or (inside and name == "contextlib")
        caller = level + 1 if inside else caller
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=caller)
