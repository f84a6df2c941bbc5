"""Conversion and validation of a caller's arrays and tables.

All input is checked here, so that the rest of the package can rely on it. Each error says what was
met, what was expected, and what to do.
"""

import math
import sys
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float32, Int64, Shaped
from torch import Tensor

from unlearnkit.data.conversion import Array, as_tensor, listed, row_numbers
from unlearnkit.data.reading.texts import is_text, texts_of

if TYPE_CHECKING:
    import pandas as pd

# More classes are taken for a mistake unless they are declared, and more than a few also if there
# are fewer than three rows of each.
MOST_CLASSES, FEW_CLASSES = 1000, 30
WIDE = (torch.int32, torch.int64, torch.uint32, torch.uint64, torch.float64)
FLOAT32_WHOLE = 2**24  # float32 holds every whole number up to here
# A range this many times smaller than its numbers holds less than 2^17 different float32 numbers.
NARROW = 128
ROLES = ("features", "labels")
# A function under own_settings is called by contextlib, a checked one by jaxtyping.
BETWEEN = ("contextlib", "jaxtyping")

TASKS = ("classification", "regression")


def as_pair(
    pair: tuple[Array, Array],
    what: str,
    convert: Callable[[Shaped[Tensor, " n *feature"]], Shaped[Tensor, " n *feature"]] | None = None,
    dtype: Any = None,
) -> tuple[Any, Shaped[Tensor, " n *target"]]:
    """Convert features to uint8 or float32, and labels to a tensor, of the same length.

    The values themselves are checked later, by :func:`check_contents`.

    Args:
        pair: features and labels.
        what: the argument that the pair comes from, for messages.
        convert: what is applied to the features in their own precision; None keeps uint8 and
            converts other types to float32.
        dtype: int64 for features that stay whole numbers, ``str`` for texts; None for the types
            above.

    Returns:
        The features, a tensor or :class:`~unlearnkit.data.reading.texts.Texts`, and the labels.
    """
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"{what}= is a {type(pair).__name__}; give a pair (features, labels)")
    _tell_other_order(what, *pair)
    if is_text(dtype):
        texts, labels = texts_of(what, pair[0]), as_tensor(pair[1], what, "labels")
        if labels.ndim == 0 or len(texts) != len(labels):
            raise ValueError(
                f"{what}: {len(texts)} texts and labels of shape {tuple(labels.shape)}; give one "
                "label per text"
            )
        return texts, labels
    features, labels = (
        as_tensor(array, what, role) for array, role in zip(pair, ROLES, strict=True)
    )
    if dtype is not None:
        features, convert = whole_numbers(what, features), _as_they_are
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
    given = features
    if convert is not None:
        features = convert(features)
    elif features.dtype != torch.uint8:
        features = features.to(torch.float32)
    if given.dtype in WIDE and features.dtype == torch.float32:
        tell_lost_columns(what, given.flatten(1).numpy(), features.flatten(1).numpy())
    return features, labels


def check_dtype(dtype: Any) -> None:
    """Refuse a type that features cannot be kept in.

    Raises:
        ValueError: it is neither None nor int64, nor ``str``.
    """
    if not is_text(dtype) and dtype not in (None, torch.int64, np.int64, "int64"):
        raise ValueError(
            f"dtype={dtype!r}; give torch.int64 for features that stay whole numbers, str for "
            "texts that a frozen backbone reads, or None for float32"
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


def _tell_other_order(what: str, features: Array, labels: Array) -> None:
    """Warn of labels whose index has the rows of the features in another order."""
    import pandas as pd

    if not (isinstance(features, pd.DataFrame | pd.Series) and isinstance(labels, pd.Series)):
        return
    one, two = features.index, labels.index
    if len(one) == len(two) and not one.equals(two) and one.is_unique and set(one) == set(two):
        warn(
            f"{what}: the index of the labels has the rows of the features in another order, but "
            "rows are matched by position; give labels.loc[features.index] if the index is right"
        )


def task_of_labels(
    labels: "Mapping[str, Shaped[Tensor, '...']]", task: str | None, named: bool
) -> str:
    """Decide whether labels are class numbers or regression targets.

    Integers are class numbers, fractions are targets. Floats that are all whole numbers could be
    either. The task is not guessed for them, since a single further example could change it.

    Args:
        labels: labels by part.
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
    floats = [what for what, part in labels.items() if part.is_floating_point()]
    if not floats:
        _refuse_many_values(list(labels.values()))
        return "classification"
    if all(bool((part == part.round()).all()) for part in labels.values()):
        own = next(iter(labels))
        known = ["the training part" if what == own else what for what in floats]
        parts = "" if len(floats) == len(labels) else f" of {' and '.join(known)}"
        raise ValueError(
            f"labels{parts} are floats but all whole numbers, so they may be classes or targets; "
            "give task='regression', or task='classification' (or integers) for class numbers, or "
            "for one-hot rows labels.argmax(1)"
        )
    return "regression"


def too_many_classes(distinct: int, rows: int) -> bool:
    """Whether so many different labels in so many rows are hardly classes."""
    return distinct > MOST_CLASSES or (distinct > FEW_CLASSES and distinct * 3 > rows)


def _refuse_many_values(labels: Sequence[Shaped[Tensor, "..."]]) -> None:
    """Refuse whole numbers that are hardly class numbers, because there are too many of them."""
    if any(part.ndim != 1 for part in labels):
        return
    values = np.concatenate([part.numpy() for part in labels])
    distinct = len(np.unique(values))
    if too_many_classes(distinct, len(values)):
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
    array: Any = constants.detach().cpu().numpy() if isinstance(constants, Tensor) else constants
    try:
        given = list(array) if np.ndim(array) else [array] * count
        values = tuple(float("a text" if isinstance(value, str) else value) for value in given)
    except (TypeError, ValueError):
        raise TypeError(
            f"{word}={constants!r} is a {type(constants).__name__}; give a number, or one number "
            "for each target"
        ) from None
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
    values = labels.numpy()
    if values.size and (values.max() >= 2.0**63 or values.min() < -(2.0**63)):
        raise ValueError(
            f"{what}: the labels reach {values.max()}, beyond any number of classes; number the "
            "classes 0..C-1, or give task='regression'"
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
    if isinstance(num_classes, bool) or not isinstance(num_classes, int | np.integer | None):
        raise TypeError(
            f"num_classes={num_classes!r} is a {type(num_classes).__name__}; give a whole number"
        )
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
        names = tuple(map(str, class_names))
    else:
        largest = int(max(part.max() for part in labels))
        if largest < 0:
            raise ValueError(
                f"all labels are negative (the largest is {largest}); number the classes from 0"
            )
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


def tell_lost_columns(
    what: str,
    rows: Shaped[np.ndarray, "row column"],
    kept: Float32[np.ndarray, "row column"] | None = None,
) -> None:
    """Warn of the first column of features that loses digits; see :func:`tell_lost_digits`."""
    if rows.size == 0:
        return
    for column in np.flatnonzero(_may_lose_digits(rows.min(0), rows.max(0))).tolist():
        name = f"column {column} of the features"
        given = rows[:, column]
        rest = given.astype(np.float32) if kept is None else kept[:, column]
        if tell_lost_digits(what, name, given, rest):
            return


def _may_lose_digits(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Whether numbers in this range may become equal in float32: a cheap test before counting."""
    differ = low < high  # in their own precision: float64 cannot tell large integers apart
    low, high = low.astype(np.float64), high.astype(np.float64)
    most = np.maximum(np.abs(low), np.abs(high))
    with np.errstate(invalid="ignore"):  # infinities are refused later
        narrow = high - low < most / NARROW
    may: np.ndarray = np.isfinite(most) & differ & ((most > FLOAT32_WHOLE) | narrow)
    return may


def tell_lost_digits(what: str, name: str, given: np.ndarray, kept: np.ndarray) -> bool:
    """Warn of numbers that differ, but become the same number in float32.

    Of whole numbers, such as identifiers, none may become equal; of others at least half must
    remain different.

    Args:
        what: name of the part.
        name: what the numbers are, such as the name of a column.
        given: the numbers in their own precision.
        kept: what is kept of them, in float32.

    Returns:
        Whether there are such numbers.
    """
    if given.dtype.kind == "f":
        finite = np.isfinite(given)
        given, kept = given[finite], kept[finite]
    if len(given) == 0:
        return False
    low, high = given.min(), given.max()
    if not _may_lose_digits(low, high):
        return False
    most = max(abs(float(low)), abs(float(high)))
    # Above 2^53 every double is a whole number, and fractions are not meant to be told apart.
    whole = given.dtype.kind in "iu" or (most < 2.0**53 and np.array_equal(given, np.round(given)))
    if whole:
        large = (given > FLOAT32_WHOLE) | (given < -FLOAT32_WHOLE)
        given, kept = given[large], kept[large]
    distinct, remaining = len(np.unique(given)), len(np.unique(kept))
    if remaining >= (distinct if whole else distinct / 2):
        return False
    sizes = f"whole numbers above {FLOAT32_WHOLE:,}" if whole else "numbers so close together"
    them = "" if whole else "them "
    warn(
        f"{what}: {name} holds {sizes} that float32 cannot tell {them}apart ({distinct} different "
        f"ones become {remaining}); subtract a fixed constant before (an offset= by column is "
        "subtracted in float64), or encode identifiers as categories"
    )
    return True


def check_contents(
    what: str,
    features: Any,
    labels: Shaped[Tensor, " n *target"],
    num_classes: int,
) -> None:
    """Refuse class numbers outside 0..C-1 and features that are not finite.

    Raises:
        ValueError: there are such labels or features.
    """
    outside = (labels < 0) | (labels >= num_classes)
    if num_classes and outside.any():
        value = labels[outside][0].item()
        way = "number the classes from 0, or give num_classes="
        if value < 0:
            way = (
                "number the classes from 0 (for labels -1 and 1 as (labels + 1) // 2), and leave "
                "out rows where a negative number marks a missing label"
            )
        raise ValueError(
            f"{what}: {int(outside.sum())} labels are outside 0..{num_classes - 1} (rows "
            f"{row_numbers(outside)}, such as {value}); {way}"
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
    what: str,
    frame: "pd.DataFrame",
    target: Hashable,
    columns: list[Hashable],
    groups: Hashable = None,
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
    named = [target, *columns] if groups is None else [target, groups, *columns]
    missing = [column for column in named if column not in held]
    if missing:
        tops = {column[0] for column in held if isinstance(column, tuple) and column}
        levels = (
            "; give the whole tuple of a column" if tops & set(missing) else _near(missing, frame)
        )
        raise KeyError(f"{what} lacks {missing}; its columns are {frame.columns.tolist()}{levels}")
    if len(set(columns)) < len(columns):
        twice = next(column for column in columns if columns.count(column) > 1)
        raise ValueError(f"features= names {twice!r} more than once; name it once")
    if target in columns or not columns:
        raise ValueError(
            f"{what}: the features are {columns} and the target is {target!r}; give at least one "
            "feature column, and leave out the target"
        )


def _near(missing: Sequence[Hashable], frame: "pd.DataFrame") -> str:
    """Name columns that differ from the missing ones only in spaces, case or kind."""
    wanted = {str(column).strip().casefold() for column in missing}
    near = [column for column in frame.columns if str(column).strip().casefold() in wanted]
    return f"; {' and '.join(map(repr, near))} may be meant" if near else ""


def warn(message: str) -> None:
    """Warn at the line that called the package, whichever of its functions that line called."""
    frame: FrameType | None = sys._getframe(1)
    level = caller = 2
    inside = True
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        own = name.partition(".")[0] == "unlearnkit"
        inside = own or (inside and name.partition(".")[0] in BETWEEN)
        caller = level + 1 if inside else caller
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=caller)
