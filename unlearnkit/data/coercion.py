"""What a caller's arrays and tables must be: checked here at the door, then trusted.

Each check says what was met, what was expected and the way out. `datasets` calls them in order.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, Shaped
from torch import Tensor

if TYPE_CHECKING:
    import pandas as pd

TASKS = ("classification", "regression")
Array: TypeAlias = "Tensor | np.ndarray | pd.DataFrame | pd.Series | Sequence[Any]"


def as_pair(
    pair: tuple[Array, Array], what: str
) -> tuple[Shaped[Tensor, " n *feature"], Shaped[Tensor, " n *target"]]:
    """Features as uint8 or float32 and labels as they are, of one length; contents come later."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"{what}= is a {type(pair).__name__}; give a pair (features, labels)")
    features, labels = (_as_tensor(array, what) for array in pair)
    if features.ndim and len(features) == 0:
        raise ValueError(f"{what}: no examples; give at least one row")
    if features.ndim < 2 or math.prod(features.shape[1:]) == 0:
        raise ValueError(
            f"{what}: features of shape {tuple(features.shape)} have no feature axis with "
            "something in it; give shape (examples, features...), for a single feature "
            "features.reshape(-1, 1)"
        )
    if len(features) != len(labels):
        raise ValueError(
            f"{what}: {len(features)} rows of features and {len(labels)} labels; "
            "give one label per row"
        )
    if features.dtype != torch.uint8:
        features = features.to(torch.float32)
    return features, labels


def _as_tensor(array: Array, what: str) -> Shaped[Tensor, "..."]:
    """A plain tensor of numbers on the CPU, sharing memory with the caller where it can."""
    kind: object
    if isinstance(array, Tensor):
        tensor = array.detach()
        kind = tensor.dtype
        usable = tensor.layout == torch.strided and not tensor.is_complex()
        usable = usable and not tensor.is_quantized
    else:
        try:
            values = np.asarray(array)
        except ValueError as error:
            raise ValueError(f"{what}: rows of different lengths ({error})") from error
        kind = values.dtype
        usable = values.dtype.kind in "biuf" and values.dtype.itemsize <= 8
        if usable:
            native = values.astype(values.dtype.newbyteorder("="), copy=False)
            # Only writable memory can be shared with torch without a warning.
            tensor = torch.from_numpy(np.require(native, requirements=["C", "W"]))
    if not usable:
        raise TypeError(
            f"{what}: values of kind {kind} cannot be used; give dense arrays of real numbers "
            "(text and categories encoded by a fixed table, complex numbers as two features)"
        )
    return tensor.cpu()


def task_of_labels(labels: Sequence[Shaped[Tensor, "..."]], task: str | None, named: bool) -> str:
    """Whether labels are class numbers or targets.

    Integers are class numbers, fractions are targets. Floats that are all whole numbers may be
    either, and which may not be guessed: an example more could change it.

    Args:
        labels: of all parts.
        task: what the caller says they are.
        named: whether the caller has told the number or names of classes.

    Raises:
        ValueError: an unknown task, or labels that may be either.
    """
    if task is not None:
        if task not in TASKS:
            raise ValueError(f"task={task!r} is not known; use one of {', '.join(TASKS)}")
        return task
    if named or not any(part.is_floating_point() for part in labels):
        return "classification"
    if all(bool((part == part.round()).all()) for part in labels):
        raise ValueError(
            "labels are floats, but all of them whole numbers: classes or targets? Give "
            "task='regression', or task='classification' (or integers) for class numbers; of "
            "one-hot rows labels.argmax(1)"
        )
    return "regression"


def targets_of(
    what: str,
    labels: Shaped[Tensor, " n *target"],
    offset: Sequence[float],
    scale: Sequence[float],
) -> Float32[Tensor, "n target"]:
    """Rows of finite targets, scaled by constants."""
    rows = labels.to(torch.float64)
    rows = rows.unsqueeze(1) if rows.ndim == 1 else rows
    if rows.ndim != 2 or rows.shape[1] != len(scale):
        raise ValueError(
            f"{what}: targets of shape {tuple(labels.shape)}; give (examples,) for one target or "
            "(examples, targets), and as many in every part"
        )
    scaled = ((rows - rows.new_tensor(offset)) / rows.new_tensor(scale)).to(torch.float32)
    broken = ~torch.isfinite(scaled).all(1)
    if broken.any():
        raise ValueError(
            f"{what}: {int(broken.sum())} of {len(rows)} rows have a label that is NaN, infinite "
            f"or too large for float32 (rows {places(broken)}); drop these rows"
        )
    return scaled


def constants_of(word: str, constants: float | Sequence[float], count: int) -> tuple[float, ...]:
    """One finite constant a target, of one for all of them or one for each."""
    given = [constants] * count if isinstance(constants, int | float) else list(constants)
    values = tuple(float(value) for value in given)
    if len(values) != count:
        raise ValueError(f"{word} holds {len(values)} constants for {count} targets; give one each")
    if not all(map(math.isfinite, values)) or (word.endswith("scale") and not all(values)):
        raise ValueError(f"{word}={constants}; give finite constants, a scale not 0")
    return values


def class_labels(what: str, labels: Shaped[Tensor, " n *target"]) -> Int64[Tensor, " n"]:
    """Labels as integers; floats only where they are whole numbers."""
    if labels.ndim != 1:
        raise ValueError(
            f"{what}: labels of shape {tuple(labels.shape)}; give one class number per example "
            "(labels.reshape(-1), or labels.argmax(1) where they are one-hot), or "
            "task='regression'"
        )
    if labels.is_floating_point():
        bad = ~torch.isfinite(labels) | (labels != labels.round())
        if bad.any():
            raise ValueError(
                f"{what}: {int(bad.sum())} labels are not whole numbers (rows {places(bad)}, "
                f"such as {labels[bad][0].item():g}); give class numbers 0..C-1, or "
                "task='regression'"
            )
    return labels.to(torch.int64)


def names_of_classes(
    labels: Sequence[Int64[Tensor, "..."]],
    num_classes: int | None,
    class_names: Sequence[str] | None,
) -> tuple[str, ...]:
    """One name per class, which also settles the number of classes.

    ``labels`` holds those of the split rows first, then those of parts given apart.
    """
    if class_names is not None:
        if isinstance(class_names, str) or not all(isinstance(word, str) for word in class_names):
            raise TypeError(f"class_names={class_names!r}; give a sequence of strings")
        if len(set(class_names)) != len(class_names):
            raise ValueError(f"class_names={list(class_names)} holds a name twice; give each once")
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
                f"labels reach {largest}, more classes than there are examples; give class "
                "numbers 0..C-1, or num_classes= if this is meant"
            )
        num_classes = max(largest, 0) + 1 if num_classes is None else num_classes
        names = tuple(str(label) for label in range(num_classes))
    present = np.unique(labels[0].numpy())
    if len(names) < 2 or len(present) < 2:
        raise ValueError(
            f"num_classes={len(names)} and labels {listed(present)}: fewer than two classes; "
            "give examples of at least two"
        )
    return names


def check_contents(
    what: str,
    features: Shaped[Tensor, " n *feature"],
    labels: Shaped[Tensor, " n *target"],
    num_classes: int,
) -> None:
    """Refuse labels outside 0..C-1 (of classes) and features that are not finite."""
    outside = (labels < 0) | (labels >= num_classes)
    if num_classes and outside.any():
        raise ValueError(
            f"{what}: {int(outside.sum())} labels are outside 0..{num_classes - 1} (rows "
            f"{places(outside)}, such as {labels[outside][0].item()}); number the classes from 0, "
            "or give num_classes="
        )
    if features.is_floating_point():
        broken = ~torch.isfinite(features).flatten(1).all(1)
        if broken.any():
            raise ValueError(
                f"{what}: {int(broken.sum())} of {len(features)} rows hold NaN or infinite values, "
                f"or such as float32 cannot hold (rows {places(broken)}); drop these rows, or "
                "fill them with a fixed constant (not with a statistic of the data)"
            )


def check_columns(
    what: str, frame: "pd.DataFrame", target: Hashable, columns: list[Hashable]
) -> None:
    """Refuse columns that are absent or ambiguous."""
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()].tolist()
        raise ValueError(f"{what}: columns {twice} occur twice; rename them")
    absent = [column for column in [target, *columns] if column not in frame.columns]
    if absent:
        raise KeyError(f"{what} lacks {absent}; its columns are {frame.columns.tolist()}")
    if target in columns or not columns:
        raise ValueError(
            f"{what}: features {columns} with target {target!r}; give at least one feature "
            "column, and not the target itself"
        )


def vocabulary_of(
    targets: Mapping[str, "pd.Series"], class_names: Sequence[Hashable] | None
) -> tuple[Hashable, ...] | None:
    """The target values in order of their class number; None where they are numbers already."""
    import pandas as pd

    for what, column in targets.items():
        if column.isna().any():
            rows = places(column.isna().to_numpy())
            raise ValueError(f"{what}: the target is missing in rows {rows}; drop these rows")
    kinds = [column.dtype for column in targets.values()]
    numbers = all(pd.api.types.is_any_real_numeric_dtype(kind) for kind in kinds)
    if class_names is not None:
        if isinstance(class_names, str) or len(set(class_names)) != len(class_names):
            raise ValueError(f"class_names={class_names!r}; give a sequence of different values")
        strings = all(isinstance(word, str) for word in class_names)
        return None if numbers and strings else tuple(class_names)
    if numbers:
        return None
    if isinstance(kinds[0], pd.CategoricalDtype):
        return tuple(kinds[0].categories)
    if all(pd.api.types.is_bool_dtype(kind) for kind in kinds):
        return (False, True)
    values = {value for column in targets.values() for value in column.unique()}
    try:
        return tuple(sorted(values))
    except TypeError as error:
        raise TypeError(
            f"the target's values cannot be sorted ({error}); give their order as class_names="
        ) from error


def class_numbers(
    what: str, column: "pd.Series", vocabulary: tuple[Hashable, ...] | None
) -> np.ndarray:
    """Target values as places in the vocabulary, or as they stand without one."""
    import pandas as pd

    if vocabulary is None:  # pandas' own integer kinds would come as objects
        whole = pd.api.types.is_integer_dtype(column.dtype)
        return column.to_numpy(dtype=np.int64 if whole else np.float64)
    numbers = {value: number for number, value in enumerate(vocabulary)}
    codes = np.array([numbers.get(value, -1) for value in column], dtype=np.int64)
    if np.any(codes < 0):
        raise ValueError(
            f"{what}: {np.sum(codes < 0)} target values are not among the classes "
            f"{listed(vocabulary)} (rows {places(codes < 0)}, such as "
            f"{column.iloc[int(np.argmax(codes < 0))]!r}); give all of them as class_names="
        )
    return codes


def places(mask: Bool[Tensor, " n"] | Bool[np.ndarray, " n"]) -> str:
    """The first row numbers where the mask holds."""
    return listed(np.flatnonzero(np.asarray(mask)))


def listed(items: Sequence[Any] | np.ndarray, most: int = 5) -> str:
    """The first items, and how many more there are."""
    text = ", ".join(str(item) for item in items[:most])
    return text + (f" and {len(items) - most} more" if len(items) > most else "")
