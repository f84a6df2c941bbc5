"""Datasets of Hugging Face, which is not imported: its objects are known by what they can do."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import numpy as np
from jaxtyping import Shaped
from torch import Tensor

from unlearnkit.data.arrays import from_arrays
from unlearnkit.data.coercion import class_numbers, vocabulary_of
from unlearnkit.data.examples import Dataset
from unlearnkit.data.frames import from_frame
from unlearnkit.data.from_torch import IMAGE_OFFSET, IMAGE_SCALE, as_input, is_image, stack

if TYPE_CHECKING:
    import pandas as pd


class Table(Protocol):
    """What is used of a Hugging Face ``Dataset``."""

    column_names: list[str]
    features: Mapping[str, Any]

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def __getitem__(self, key: Any) -> Any:
        """A row as a dict, or rows in the format chosen."""
        ...

    def with_format(self, type: str | None, columns: list[str] | None = None) -> "Table":
        """The same rows in another format."""
        ...


def is_table(data: object) -> TypeGuard[Table | Mapping[str, Table]]:
    """Whether this is a ``Dataset`` or ``DatasetDict`` of Hugging Face's."""
    needed = ("column_names", "with_format")
    if isinstance(data, Mapping):
        return bool(data) and all(is_table(part) for part in data.values())
    return all(hasattr(data, name) for name in (*needed, "features"))


def from_hugging_face(
    data: Table | Mapping[str, Table],
    target: str | None = None,
    *,
    features: Sequence[str] | None = None,
    test: Table | None = None,
    probe: Table | None = None,
    **options: Any,
) -> Dataset:
    """A dataset of a Hugging Face ``Dataset``, or of a ``DatasetDict`` with its parts.

    One column of images or arrays, or any number of columns of single values, which are then a
    table (:func:`~unlearnkit.data.frames.from_frame`). An example's id is its row number.

    Args:
        data: of the training part; of a ``DatasetDict`` its ``"train"``, with ``"test"`` for the
            test part and ``"validation"`` for the probe part, where it has them.
        target: the column with the classes; None takes the only column of kind ``ClassLabel``,
            whose names are those of the classes, or else ``"label"``.
        features: the columns to learn from; None takes all others.
        test: of the test part; None splits it off.
        probe: the same for the probe part.
        options: as for :func:`~unlearnkit.data.arrays.from_arrays`, for tables as for
            ``from_frame``.

    Raises:
        KeyError: no such part or column, or no way to tell the target.
        TypeError: a dataset without a length, or columns that do not go together.
        ValueError: a transform (``with_transform``) that has yet to be applied; and all that the
            functions above raise.
    """
    if isinstance(data, Mapping):
        if "train" not in data:
            raise KeyError(f"there is no 'train' among {list(data)}; give one, as data['...']")
        test = data.get("test") if test is None else test
        probe = data.get("validation") if probe is None else probe
        data = data["train"]
    parts = {"data": data, "test": test, "probe": probe}
    given = {what: part for what, part in parts.items() if part is not None}
    for what, part in given.items():
        _check_table(what, part)
    target = _target(data) if target is None else target
    columns = [column for column in data.column_names if column != target]
    columns = columns if features is None else list(features)
    absent = [
        c for part in given.values() for c in (target, *columns) if c not in part.column_names
    ]
    if absent or not columns:
        raise KeyError(f"columns {absent or 'to learn from'} are absent from {data.column_names}")
    label = data.features[target]
    if type(label).__name__ == "ClassLabel" and "num_classes" not in options:
        options = {"class_names": list(label.names), **options}
    info = getattr(data, "info", None)
    options = {"name": getattr(info, "dataset_name", None) or "hugging-face", **options}
    row = data.with_format(None)[0]
    shaped = [column for column in columns if is_image(row[column]) or np.ndim(row[column]) > 0]
    if not shaped:
        frames = {what: _frame(part, [*columns, target]) for what, part in given.items()}
        return from_frame(
            frames["data"],
            target,
            features=columns,
            test=frames.get("test"),
            probe=frames.get("probe"),
            **options,
        )
    if len(columns) > 1:
        raise TypeError(
            f"columns {columns}, of which {shaped} hold images or arrays; choose one of these, as "
            f"features=[{shaped[0]!r}], or columns of single values"
        )
    if is_image(row[columns[0]]):
        options = {"offset": IMAGE_OFFSET, "scale": IMAGE_SCALE, **options}
    labels = {what: _frame(part, [target])[target] for what, part in given.items()}
    vocabulary = vocabulary_of(labels, options.get("class_names"))
    if vocabulary is not None:
        options["class_names"] = [str(value) for value in vocabulary]
    pairs = {
        what: (_column(what, part, columns[0]), class_numbers(what, labels[what], vocabulary))
        for what, part in given.items()
    }
    return from_arrays(*pairs["data"], test=pairs.get("test"), probe=pairs.get("probe"), **options)


def _check_table(what: str, table: Table) -> None:
    if not hasattr(table, "__len__"):
        raise TypeError(
            f"{what}: a {type(table).__name__} has no length, and ids need one; load it without "
            "streaming=True"
        )
    if len(table) == 0:
        raise ValueError(f"{what}: no examples; give at least one row")
    if getattr(table, "format", {}).get("type") == "custom":
        raise ValueError(
            f"{what}: its transform (with_transform) runs whenever a row is read; apply it once, "
            "by data.map(...), or take it off, by data.with_format(None)"
        )


def _target(table: Table) -> str:
    kinds = {column: type(kind).__name__ for column, kind in table.features.items()}
    found = [column for column, kind in kinds.items() if kind == "ClassLabel"]
    if len(found) != 1:
        found = [column for column in ("label",) if column in kinds]
    if not found:
        raise KeyError(
            f"which of the columns {kinds} holds the classes? Name it, as a pair (data, 'column')"
        )
    return found[0]


def _frame(table: Table, columns: list[str]) -> "pd.DataFrame":
    import pandas as pd

    # By plain values: with_format("pandas", columns) fails where another column holds images
    # (KeyError, tried with datasets 5.2).
    return pd.DataFrame(table.with_format(None, columns)[:])


def _column(what: str, table: Table, column: str) -> Shaped[Tensor, "n *feature"]:
    plain = table.with_format(None, [column])
    return stack(
        what,
        [as_input(f"{what}: row {row}", plain[row][column]) for row in range(len(table))],
    )
