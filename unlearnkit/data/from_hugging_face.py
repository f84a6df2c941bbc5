"""Datasets from Hugging Face objects, which are recognised by their methods, without an import."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import numpy as np
from jaxtyping import Shaped
from torch import Tensor

from unlearnkit.data.arrays import from_arrays
from unlearnkit.data.conversion import listed
from unlearnkit.data.examples import Dataset
from unlearnkit.data.frames import check_apart, from_frame
from unlearnkit.data.from_torch import IMAGE_OFFSET, IMAGE_SCALE, as_input, is_image, stack
from unlearnkit.data.reading.classes import match_classes
from unlearnkit.data.reading.vocabulary import class_numbers, vocabulary_of
from unlearnkit.torch_settings import own_settings

if TYPE_CHECKING:
    import pandas as pd


class Table(Protocol):
    """The part of the interface of a Hugging Face ``Dataset`` that is used here."""

    column_names: list[str]
    features: Mapping[str, Any]

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def __getitem__(self, key: Any) -> Any:
        """Return a row as a dict, or rows in the chosen format."""
        ...

    def with_format(self, type: str | None, columns: list[str] | None = None) -> "Table":
        """Return the same rows in another format."""
        ...


def is_table(data: object) -> TypeGuard[Table | Mapping[str, Table]]:
    """Whether an object is a Hugging Face ``Dataset`` or ``DatasetDict``."""
    needed = ("column_names", "with_format")
    if isinstance(data, Mapping):
        return bool(data) and all(is_table(part) for part in data.values())
    return all(hasattr(data, name) for name in (*needed, "features"))


@own_settings()
def from_hugging_face(
    data: Table | Mapping[str, Table],
    target: str | None = None,
    *,
    features: Sequence[str] | None = None,
    test: Table | None = None,
    probe: Table | None = None,
    groups: str | None = None,
    propensity: str | Mapping[Hashable, float] | None = None,
    **options: Any,
) -> Dataset:
    """Make a dataset from a Hugging Face ``Dataset`` or ``DatasetDict``.

    The features are one column of images or arrays, or any number of columns of single values,
    which are treated as a table (:func:`~unlearnkit.data.frames.from_frame`). A column of class
    labels holds their numbers, or their names where ``categories`` declares these. The id of an
    example is its row number.

    Args:
        data: the training part. From a ``DatasetDict`` the parts ``"train"``, ``"test"`` and
            ``"validation"`` (as probe part) are taken.
        target: column with the classes or the targets. None takes the only column of type
            ``ClassLabel``, with its class names, or else ``"label"``.
        features: columns to learn from; None takes all except the target, the groups and
            the propensity.
        test: the test part; None splits it off.
        probe: the probe part; None splits it off.
        groups: column that says which rows belong together, such as ``"person"``; see
            :func:`~unlearnkit.data.arrays.from_arrays`.
        propensity: column of the training part that says how likely each row is to be revoked, as
            relative rates, or a mapping from the name of each group to its rate; see there.
        options: further arguments of :func:`~unlearnkit.data.arrays.from_arrays`, or for tables of
            :func:`~unlearnkit.data.frames.from_frame`.

    Raises:
        KeyError: a part or column is missing, or the target column cannot be determined.
        TypeError: a part has no length, or the columns cannot be combined.
        ValueError: a part has a transform (``with_transform``); also as in the functions above.

    >>> import datasets
    >>> import unlearnkit as uk
    >>> rows = {"size": [i / 40 for i in range(40)], "kind": ["low"] * 20 + ["high"] * 20}
    >>> uk.from_hugging_face(datasets.Dataset.from_dict(rows), "kind").class_names
    ('high', 'low')
    """
    if isinstance(data, Mapping):
        if "train" not in data:
            raise KeyError(
                f"there is no part 'train' among {list(data)}; give one part, as data['...']"
            )
        test = data.get("test") if test is None else test
        probe = data.get("validation") if probe is None else probe
        data = data["train"]
    parts = {"data": data, "test": test, "probe": probe}
    given = {what: part for what, part in parts.items() if part is not None}
    features = [features] if isinstance(features, str) else features
    for what, part in given.items():
        _check_table(what, part)
    target = _target(data) if target is None else target
    check_apart(groups, propensity, target, features)
    rates = propensity if isinstance(propensity, str) else None
    columns = [column for column in data.column_names if column not in (target, groups, rates)]
    columns = columns if features is None else list(features)
    named = [target, *([] if groups is None else [groups]), *columns]
    absent = [c for part in given.values() for c in named if c not in part.column_names]
    absent += [] if rates is None or rates in data.column_names else [rates]
    if absent or not columns:
        raise KeyError(
            f"there are no columns {absent or 'to learn from'}; choose from {data.column_names}"
        )
    labels = {what: _frame(part, [target])[target] for what, part in given.items()}
    label = data.features[target]
    if type(label).__name__ == "ClassLabel":
        labels, names = with_common_classes(target, given, labels)
        if "num_classes" not in options and options.get("task") != "regression":
            options = {"class_names": names, **options}
    elif any(_is_text(column) for column in labels.values()):
        labels = {
            what: _as_words(given[what].features[target], column) for what, column in labels.items()
        }
    info = getattr(data, "info", None)
    options = {"name": getattr(info, "dataset_name", None) or "hugging-face", **options}
    row = _first_row(data, columns)
    shaped = [column for column in columns if is_image(row[column]) or np.ndim(row[column]) > 0]
    if not shaped:
        frames = {what: _frame(part, named) for what, part in given.items()}
        declared = options.get("categories")
        for column in columns:
            if type(data.features[column]).__name__ != "ClassLabel":
                continue
            if _names_declared(data.features[column], declared, column):
                for what, part in given.items():
                    frames[what][column] = _as_words(part.features[column], frames[what][column])
            else:
                held = {what: frame[column] for what, frame in frames.items()}
                held, _ = with_common_classes(column, given, held)
                for what, numbers in held.items():
                    frames[what][column] = numbers
        for what, frame in frames.items():
            frame[target] = labels[what]
            if groups is not None:
                frame[groups] = _groups(given[what], groups)
        if rates is not None:
            frames["data"][rates] = _frame(data, [rates])[rates]
        return from_frame(
            frames["data"],
            target,
            features=columns,
            test=frames.get("test"),
            probe=frames.get("probe"),
            groups=groups,
            propensity=propensity,
            **options,
        )
    if len(columns) > 1:
        raise TypeError(
            f"columns {columns} cannot be combined, because {shaped} hold images or "
            f"arrays; give one of these alone, as features=[{shaped[0]!r}], or only columns of "
            "single values"
        )
    if is_image(row[columns[0]]):
        options = {"offset": IMAGE_OFFSET, "scale": IMAGE_SCALE, **options}
    vocabulary = vocabulary_of(labels, options.get("class_names"))
    if vocabulary is not None:
        options["class_names"] = [str(value) for value in vocabulary]
    pairs = {
        what: (_column(what, part, columns[0]), class_numbers(what, labels[what], vocabulary))
        for what, part in given.items()
    }
    if groups is not None:
        options["groups"] = {
            "train" if what == "data" else what: _groups(part, groups)
            for what, part in given.items()
        }
    options["propensity"] = propensity if rates is None else _frame(data, [rates])[rates]
    return from_arrays(*pairs["data"], test=pairs.get("test"), probe=pairs.get("probe"), **options)


def _first_row(table: Table, columns: Sequence[str]) -> dict[str, Any]:
    """Return the first value of each column that is not missing; None if all are."""
    plain = table.with_format(None, list(columns))
    row: dict[str, Any] = {}
    for number in range(len(table)):
        for column, value in plain[number].items():
            if row.get(column) is None:
                row[column] = value
        if all(value is not None for value in row.values()):
            break
    return row


def _is_text(column: "pd.Series") -> bool:
    return bool(column.map(lambda value: isinstance(value, str)).any())


def _as_words(label: Any, labels: "pd.Series") -> "pd.Series":
    """Return numbers of classes as their names, where a part declares them (ClassLabel)."""
    if type(label).__name__ != "ClassLabel":
        return labels
    names = list(label.names)
    return labels.map(lambda number: names[number] if 0 <= number < len(names) else None)


def _names_declared(label: Any, declared: Any, column: str) -> bool:
    """Whether a declared vocabulary holds names of a column's classes rather than their numbers."""
    words = declared.get(column) if isinstance(declared, Mapping) else None
    return isinstance(words, list | tuple) and any(word in label.names for word in words)


def _as_numbers(names: Sequence[str], labels: "pd.Series") -> "pd.Series":
    """Return labels that are all names of classes as the numbers of these classes."""
    places = {name: number for number, name in enumerate(names)}
    if len(labels) and all(value in places for value in labels):
        return labels.map(places)
    return labels


def with_common_classes(
    target: str, parts: Mapping[str, Table], labels: "dict[str, pd.Series]"
) -> "tuple[dict[str, pd.Series], list[str]]":
    """Return the labels with the classes of the first part, matched by name, and the classes.

    A part whose column holds the names themselves gets their numbers.
    """
    first = list(next(iter(parts.values())).features[target].names)
    names = {
        what: list(getattr(part.features[target], "names", None) or first)
        for what, part in parts.items()
    }
    texts = [what for what in labels if _is_text(labels[what])]
    labels = {what: _as_numbers(names[what], held) for what, held in labels.items()}
    for what in texts:
        if _is_text(labels[what]):
            odd = next(value for value in labels[what] if value not in first)
            raise ValueError(
                f"{what}: column {target!r} holds {odd!r}, which is none of the classes "
                f"{listed(first)} of the training part; give all classes there (ClassLabel)"
            )
    whole = all(column.dtype.kind in "iu" for column in labels.values())
    if not whole or all(own == first for own in names.values()):
        return labels, first
    found, common = match_classes({w: column.to_numpy() for w, column in labels.items()}, names)
    import pandas as pd

    return {what: pd.Series(numbers, name=target) for what, numbers in found.items()}, common


def _check_table(what: str, table: Table) -> None:
    if isinstance(table, Mapping):
        raise TypeError(f"{what}: a {type(table).__name__} has parts; give one, as data['test']")
    if not hasattr(table, "__len__"):
        raise TypeError(
            f"{what}: a {type(table).__name__} has no length, so its rows cannot have ids; load it "
            "without streaming=True"
        )
    if len(table) == 0:
        raise ValueError(f"{what}: no examples; give at least one row")
    if getattr(table, "format", {}).get("type") == "custom":
        raise ValueError(
            f"{what}: its transform (with_transform) runs whenever a row is read; apply it once "
            "with data.map(...), or remove it with data.with_format(None)"
        )


def _target(table: Table) -> str:
    kinds = {column: type(kind).__name__ for column, kind in table.features.items()}
    found = [column for column, kind in kinds.items() if kind == "ClassLabel"]
    if len(found) != 1:
        found = [column for column in ("label",) if column in kinds]
    if not found:
        raise KeyError(
            f"none of the columns {kinds} is clearly the target; name it, as in the pair "
            "(data, 'column')"
        )
    return found[0]


def _frame(table: Table, columns: list[str]) -> "pd.DataFrame":
    import pandas as pd

    # Plain values, because with_format("pandas", columns) fails with a KeyError if another column
    # holds images (datasets 5.2).
    return pd.DataFrame(table.with_format(None, columns)[:])


def _groups(table: Table, column: str) -> "pd.Series":
    return _as_words(table.features[column], _frame(table, [column])[column])


def _column(what: str, table: Table, column: str) -> Shaped[Tensor, "n *feature"]:
    plain = table.with_format(None, [column])
    return stack(
        what,
        [as_input(f"{what}: row {row}", plain[row][column]) for row in range(len(table))],
    )
