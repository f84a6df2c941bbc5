"""Datasets of tables, in memory or in files."""

import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnkit.data.arrays import from_arrays
from unlearnkit.data.coercion import check_columns, class_numbers, vocabulary_of
from unlearnkit.data.encoding import Constants, check_kinds, encoding_of, plain_array
from unlearnkit.data.examples import Dataset

if TYPE_CHECKING:
    import pandas as pd


def from_frame(
    frame: "pd.DataFrame",
    target: Hashable,
    *,
    features: Sequence[Hashable] | None = None,
    categories: Mapping[Hashable, Sequence[Hashable]] | None = None,
    hash_buckets: int | None = None,
    test: "pd.DataFrame | None" = None,
    probe: "pd.DataFrame | None" = None,
    num_classes: int | None = None,
    class_names: Sequence[Hashable] | None = None,
    test_share: float = 0.2,
    probe_share: float = 0.1,
    offset: Constants = 0.0,
    scale: Constants = 1.0,
    seed: int = 0,
    name: str = "frame",
    task: str | None = None,
    target_offset: float = 0.0,
    target_scale: float = 1.0,
) -> Dataset:
    """A dataset of a pandas DataFrame.

    Whole numbers in the target column are class numbers 0..C-1 as they stand, fractions are targets
    of a regression (see :func:`from_arrays`, and ``task`` there). Any other value is
    replaced by its place in ``class_names``, else in the categories of a categorical column, else
    among the sorted values that occur. **The class names are a fixed vocabulary**: what they are
    may not depend on one example, so give ``class_names`` where a class may lose its last one.

    Columns of text and categories become numbers in one of two ways that look at no other row.
    **One-hot by a vocabulary that you declare**, with a place of its own after the others for all
    values outside it and for missing ones. A vocabulary read off the data would be a global
    statistic: the only customer from Andorra would leave a column behind in every model, after she
    was revoked. That holds for ``frame[column].astype("category")`` too, which reads the categories
    off the data; a categorical column is taken as declared, so declare it:
    ``pd.CategoricalDtype(["red", "green"])``. Or **by feature hashing** (Weinberger et al. 2009),
    which needs no vocabulary: a value goes to a bucket, with a sign, by a hash of its text.

    Args:
        frame: one row per example; an example's id is its row number (position), not its index.
        target: the column with the classes, or with the targets.
        features: the columns to learn from; None takes all but the target.
        categories: values of a column, for each that is to be one-hot. A column of a categorical
            kind has its own.
        hash_buckets: length of the vector that all remaining columns of text are hashed into
            together, a few times the number of values that are expected.
        test: rows of the test part with the same columns; None splits it off from ``frame``.
        probe: the same for the probe part.
        num_classes: as in :func:`from_arrays`.
        class_names: names of the classes, or the values that the target column holds for them.
        test_share: as in :func:`from_arrays`.
        probe_share: as in :func:`from_arrays`.
        offset: as in :func:`from_arrays`: a fixed constant for all columns of numbers, or one for
            each of some: ``{"age": 40}``.
        scale: the same: ``{"age": 20}``.
        seed: of the split.
        name: for people.
        task: as in :func:`from_arrays`: ``"regression"`` where targets are whole numbers.
        target_offset: as in :func:`from_arrays`.
        target_scale: as in :func:`from_arrays`.

    Raises:
        KeyError: a column that the frame lacks; the message lists those it has.
        TypeError: feature columns that hold neither numbers nor booleans, and are not encoded.
        ValueError: a missing target value or one that no class name matches; and all that
            :func:`from_arrays` raises.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"size": range(20), "kind": ["cat", "dog"] * 10})
    >>> data = from_frame(frame, "kind", class_names=["cat", "dog"])
    >>> data.examples([5, 6])
    (tensor([[5.],
            [6.]]), tensor([1, 0]))
    >>> frame["coat"] = ["red", "grey", "blue", None] * 5
    >>> data = from_frame(frame, "kind", categories={"coat": ["red", "grey"]}, scale={"size": 10})
    >>> data.examples([5, 6])[0]  # the size, red, grey, any other
    tensor([[0.5000, 0.0000, 1.0000, 0.0000],
            [0.6000, 0.0000, 0.0000, 1.0000]])
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"frame is a {type(frame).__name__}; give a pandas DataFrame")
    columns: list[Hashable] = list(frame.columns if features is None else features)
    if features is None:
        columns = [column for column in columns if column != target]
    frames = {"frame": frame, "test": test, "probe": probe}
    given = {what: table for what, table in frames.items() if table is not None}
    for what, table in given.items():
        check_columns(what, table, target, columns)
    targets = {what: table[target] for what, table in given.items()}
    vocabulary = vocabulary_of(targets, class_names)
    names: Sequence[Hashable] | None = class_names if vocabulary is None else vocabulary
    encoding = encoding_of(
        frame,
        columns,
        categories=categories,
        hash_buckets=hash_buckets,
        offset=offset,
        scale=scale,
    )
    pairs = {}
    for what, table in given.items():
        check_kinds(what, table[columns], encoding)
        encoded = (plain_array if encoding is None else encoding)(table[columns])
        pairs[what] = (encoded, class_numbers(what, targets[what], vocabulary))
    dataset = from_arrays(
        *pairs["frame"],
        test=pairs.get("test"),
        probe=pairs.get("probe"),
        num_classes=num_classes,
        class_names=None if names is None else [str(value) for value in names],
        test_share=test_share,
        probe_share=probe_share,
        offset=0.0 if encoding or isinstance(offset, Mapping) else offset,
        scale=1.0 if encoding or isinstance(scale, Mapping) else scale,
        seed=seed,
        name=name,
        task=task,
        target_offset=target_offset,
        target_scale=target_scale,
    )
    feature_names = map(str, columns) if encoding is None else encoding.names
    target_names = (str(target),) if dataset.is_regression else ()
    return replace(dataset, feature_names=tuple(feature_names), target_names=target_names)


READERS = {".csv": "read_csv", ".csv.gz": "read_csv", ".parquet": "read_parquet"}


def is_table(name: str | os.PathLike[str]) -> bool:
    """Whether a name ends as one of a CSV or a Parquet file does."""
    return Path(name).name.lower().endswith(tuple(READERS))


def from_file(
    path: str | os.PathLike[str],
    target: Hashable,
    *,
    test: str | os.PathLike[str] | None = None,
    probe: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Dataset:
    """A dataset of a CSV or a Parquet file, read by pandas.

    Args:
        path: of a ``.csv`` (or ``.csv.gz``) with a line of column names, or a ``.parquet``. An
            example's id is its row number, so the file has to stay as it is: revoke a row by its
            id; do not delete its line.
        target: the column with the classes.
        test: a file of the test part; None splits it off from the first.
        probe: the same for the probe part.
        options: as for :func:`from_frame`, such as ``categories``.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: Parquet needs pyarrow, and it is not installed.
        ValueError: another kind of file, or one that pandas cannot read.
        KeyError, TypeError: as :func:`from_frame`.
    """
    return from_frame(
        _read(path),
        target,
        test=None if test is None else _read(test),
        probe=None if probe is None else _read(probe),
        **{"name": Path(path).name, **options},
    )


def _read(path: str | os.PathLike[str]) -> "pd.DataFrame":
    import pandas as pd

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {os.fspath(path)!r} in {Path.cwd()}")
    if not is_table(path):
        raise ValueError(f"{os.fspath(path)!r} ends in none of {', '.join(READERS)}; rename it")
    reader = next(read for end, read in READERS.items() if Path(path).name.lower().endswith(end))
    try:
        table: pd.DataFrame = getattr(pd, reader)(path)
    except ImportError as error:
        raise ImportError(
            f"reading {os.fspath(path)!r} needs pyarrow, which is not installed; "
            "pip install pyarrow, or give the table as a .csv"
        ) from error
    except (ValueError, OSError) as error:  # parsers' own errors are kinds of these
        raise ValueError(f"{os.fspath(path)!r} cannot be read: {error}") from error
    return table
