"""Datasets from tables, in memory or in files."""

import inspect
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearnkit.data.arrays import from_arrays
from unlearnkit.data.coercion import check_columns
from unlearnkit.data.column_constants import Constants
from unlearnkit.data.conversion import listed
from unlearnkit.data.encoding import (
    as_numbers,
    check_kinds,
    encoding_of,
    plain_array,
    whole_array,
)
from unlearnkit.data.examples import Dataset
from unlearnkit.data.reading.files import read_parts
from unlearnkit.data.reading.tables import as_frame
from unlearnkit.data.reading.texts import is_text
from unlearnkit.data.reading.vocabulary import (
    class_numbers,
    refuse_many_words,
    refuse_words_as_targets,
    vocabulary_of,
)
from unlearnkit.torch_settings import own_settings

if TYPE_CHECKING:
    import pandas as pd
    import torch

PART_OF = {"frame": "train"}  # of an argument, as a part of the dataset


@own_settings()
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
    dtype: "torch.dtype | type[str] | None" = None,
    groups: Hashable = None,
    propensity: Hashable | Mapping[Hashable, float] = None,
) -> Dataset:
    """Make a dataset from a table: a pandas DataFrame, or one of polars, pyarrow and the like.

    Integers in the target column are class numbers 0..C-1, and fractions are targets of a
    regression (see :func:`from_arrays`, and ``task`` there). Other values are replaced by their
    position in ``class_names``, else in the categories of a categorical column, else among the
    sorted values that occur. **The class names are a fixed vocabulary**, which must not depend on
    single examples: give ``class_names`` if a class might lose its last example.

    Columns of text and categories are encoded in one of two ways, neither of which looks at other
    rows. **One-hot encoding uses a vocabulary that you declare**, with one further position for
    missing values and for values outside the vocabulary. A vocabulary learned from the data would
    be a statistic of all rows: the only customer from Andorra would leave a column in every model
    even after she is revoked. This applies to ``frame[column].astype("category")`` too, which takes
    the categories from the data; declare them instead: ``pd.CategoricalDtype(["red", "green"])``.
    **Feature hashing** (Weinberger et al. 2009) needs no vocabulary: a hash of its text assigns a
    value to a bucket, with a sign.

    Args:
        frame: one row per example. The id of an example is its row number, not its index label.
        target: column with the classes or the targets.
        features: columns to learn from; None takes all except the target, the groups and
            the propensity.
        categories: the vocabulary of each column that is to be one-hot. Columns with a categorical
            dtype already have one.
        hash_buckets: length of the vector that all remaining text columns are hashed into. Choose
            a few times the number of distinct values.
        test: rows of the test part, with the same columns; None splits it off from ``frame``.
        probe: the same for the probe part.
        num_classes: as in :func:`from_arrays`.
        class_names: names of the classes, or the values of the target column in order.
        test_share: as in :func:`from_arrays`.
        probe_share: as in :func:`from_arrays`.
        offset: as in :func:`from_arrays`: a fixed constant for all numeric columns, a mapping
            with constants for some of them, such as ``{"age": 40}``, or, if all columns are
            numeric, a sequence with one constant for each.
        scale: as ``offset``, for example ``{"age": 20}``.
        seed: seed of the split.
        name: name for display.
        task: as in :func:`from_arrays`: ``"regression"`` if the targets are whole numbers.
        target_offset: as in :func:`from_arrays`.
        target_scale: as in :func:`from_arrays`.
        dtype: as in :func:`from_arrays`: ``torch.int64`` if all columns hold whole numbers that
            shall stay so; ``str`` if one column of texts, named by ``features=["text"]``, is to
            reach a frozen backbone as it is.
        groups: column that says which rows belong together, such as ``"person"``, for requests
            that come from persons; see :func:`from_arrays`. It is no feature.
        propensity: column that says how likely each row is to be revoked, as relative rates, or a
            mapping from the name of each group to its rate; see :func:`from_arrays`. It is no
            feature.

    Raises:
        KeyError: the frame lacks a column; the message lists its columns.
        TypeError: a feature column holds neither numbers nor booleans, and is not encoded; or the
            target, the groups or the propensity are no name of a column.
        ValueError: a target value is missing or matches no class name, or the groups or the
            propensity are the target or a feature; also as in :func:`from_arrays`.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"size": range(20), "kind": ["cat", "dog"] * 10})
    >>> data = from_frame(frame, "kind", class_names=["cat", "dog"])
    >>> data.examples([5, 6])
    (tensor([[5.],
            [6.]]), tensor([1, 0]))
    >>> frame["coat"] = ["red", "grey", "blue", None] * 5
    >>> data = from_frame(frame, "kind", categories={"coat": ["red", "grey"]}, scale={"size": 10})
    >>> data.examples([5, 6])[0]  # size, red, grey, other
    tensor([[0.5000, 0.0000, 1.0000, 0.0000],
            [0.6000, 0.0000, 0.0000, 1.0000]])
    """
    frames = {"frame": frame, "test": test, "probe": probe}
    given = {what: as_frame(what, table) for what, table in frames.items() if table is not None}
    frame = given["frame"]
    if not isinstance(target, Hashable):
        raise TypeError(
            f"target={target!r} is a {type(target).__name__}; name one column, or give several "
            "targets per row as an array, with from_arrays"
        )
    columns: list[Hashable] = list(frame.columns if features is None else _listed(features))
    chosen = None if features is None else columns
    rates = check_apart(groups, propensity, target, chosen)
    rates_of_rows = None
    if features is None:  # a set compares names of any kind, also tuples with numpy's numbers
        left_out = {target, *(one for one in (groups, rates) if one is not None)}
        columns = [column for column in columns if column not in left_out]
    for what, table in given.items():
        check_columns(what, table, target, columns, groups)
        if len(table) == 0:
            raise ValueError(f"{what}: no examples; give at least one row")
    if rates is not None:
        check_columns("frame", frame, target, columns, rates)
        rates_of_rows = frame[rates]
    texts = is_text(dtype)
    if texts and len(columns) != 1:
        raise ValueError(
            f"dtype=str keeps the texts of one column, but the features are {listed(columns)}; "
            "name one of them, as features=['text'], or join them in the table first"
        )
    if hash_buckets is None and not texts:
        objects = [column for column in columns if column not in (categories or {})]
        given = {what: as_numbers(table, objects) for what, table in given.items()}
        frame = given["frame"]
    targets = {what: table[target] for what, table in given.items()}
    vocabulary = vocabulary_of(targets, class_names)
    if class_names is None and task is None and vocabulary is not None:
        refuse_many_words(targets, vocabulary)
    if task == "regression" and class_names is None:
        refuse_words_as_targets(targets)
    names: Sequence[Hashable] | None = class_names if vocabulary is None else vocabulary
    kept = [] if texts and not (categories or hash_buckets) else columns
    encoding = encoding_of(
        frame,
        kept,
        categories=categories,
        hash_buckets=hash_buckets,
        offset=offset,
        scale=scale,
    )
    if dtype is not None and encoding is not None:
        raise ValueError(
            "dtype=str keeps texts as they are, but columns are encoded or scaled here; leave out "
            "dtype=, or categories=, hash_buckets=, offset= and scale="
            if texts
            else f"dtype={dtype} applies to tables that hold whole numbers only, but columns are "
            "encoded or scaled here; leave out dtype=, or give these columns as numbers"
        )
    encode = plain_array if encoding is None else encoding
    pairs: dict[str, tuple[Any, np.ndarray]] = {}
    for what, table in given.items():
        if texts:
            pairs[what] = (table[columns[0]], class_numbers(what, targets[what], vocabulary))
            continue
        check_kinds(what, table[columns], encoding, first=what == "frame", whole=dtype is not None)
        encoded = encode(table[columns]) if dtype is None else whole_array(what, table[columns])
        pairs[what] = (encoded, class_numbers(what, targets[what], vocabulary))
    held = None
    if groups is not None:
        held = {PART_OF.get(what, what): table[groups] for what, table in given.items()}
    dataset = from_arrays(
        *pairs["frame"],
        test=pairs.get("test"),
        probe=pairs.get("probe"),
        num_classes=num_classes,
        class_names=None if names is None else [str(value) for value in names],
        test_share=test_share,
        probe_share=probe_share,
        offset=0.0 if encoding else offset,
        scale=1.0 if encoding else scale,
        seed=seed,
        name=name,
        task=task,
        target_offset=target_offset,
        target_scale=target_scale,
        dtype=dtype,
        groups=held,
        propensity=propensity if rates is None else rates_of_rows,
    )
    feature_names = map(str, columns) if encoding is None else encoding.names
    target_names = (str(target),) if dataset.is_regression else ()
    names = () if texts else tuple(feature_names)
    return replace(dataset, feature_names=names, target_names=target_names)


def check_apart(
    groups: object,
    propensity: object,
    target: Hashable,
    features: Sequence[Hashable] | None,
) -> Hashable:
    """Refuse groups or a propensity that name no column, or that of the target or of a feature.

    Returns:
        The column of the propensity; None if none is named.

    Raises:
        TypeError: they are no name of a column.
        ValueError: they are the target, or a feature, or the same column.
    """
    rates = None if isinstance(propensity, Mapping) else propensity
    _check_column("groups", groups, "group", target, features)
    _check_column("propensity", rates, "rate", target, features)
    if groups is not None and groups == rates:
        raise ValueError(
            f"groups={groups!r} is the propensity as well; name another column, which holds the "
            "relative rate at which each row, or its group, is revoked"
        )
    return rates if isinstance(rates, Hashable) else None  # others were refused


def _check_column(
    what: str, name: object, item: str, target: Hashable, features: Sequence[Hashable] | None
) -> None:
    if name is None:
        return
    named = isinstance(name, str | bytes | tuple) or not hasattr(name, "__len__")
    if not named or not isinstance(name, Hashable):
        raise TypeError(
            f"{what} is a {type(name).__name__}; name the column that holds the {item}s, or give "
            f"one {item} per row to from_arrays"
        )
    if name == target:
        meant = "which rows belong together" if what == "groups" else "who is likely to be revoked"
        raise ValueError(f"{what}={name!r} is the target; name another column, which says {meant}")
    if features is not None and name in features:
        raise ValueError(
            f"{what}={name!r} is among the features; leave it out of them, since a model that "
            f"knows the {item}s would keep them"
        )


def _listed(features: Sequence[Hashable]) -> Sequence[Hashable]:
    """Return names of columns that were given in an order; refuse texts, sets and masks."""
    met = None
    if isinstance(features, str):
        met = "text"
    elif isinstance(features, set | frozenset):
        met = "a set, whose order differs between runs"
    elif not hasattr(features, "__iter__"):
        met = f"a {type(features).__name__}"
    elif len(features) and all(isinstance(name, bool | np.bool_) for name in features):
        met = "a mask"
    if met is not None:
        raise TypeError(f"features={features!r} is {met}; give a list of columns")
    return features


@own_settings()
def from_file(
    path: str | os.PathLike[str],
    target: Hashable,
    *,
    test: str | os.PathLike[str] | None = None,
    probe: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Dataset:
    """Make a dataset from a CSV or Parquet file, read by pandas.

    Columns of a CSV file whose declared ``categories`` are text are read as text, so that the code
    01067, the word true and the word NA keep the form that they have in the file. The same holds
    for the target if ``class_names`` are its texts, and for columns that another part holds as
    text. A separator at the end of each line adds no column.

    Args:
        path: a ``.csv`` file with a header line, perhaps packed (``.csv.gz``, ``.csv.zip``,
            ``.csv.bz2``, ``.csv.xz``), or a ``.parquet`` file. The id of an example is its row
            number, so the file must not change: revoke a row by its id rather than deleting its
            line.
        target: column with the classes or the targets.
        test: file of the test part; None splits it off from the first file.
        probe: the same for the probe part.
        options: further arguments of :func:`from_frame`, such as ``categories``, ``groups`` and
            ``propensity``.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: a Parquet file was given, and pyarrow is not installed.
        ValueError: the file is of another kind, or pandas cannot read it.
        KeyError, TypeError: as in :func:`from_frame`.

    Warns:
        UserWarning: a column counts the rows, as the index that pandas writes; the header names a
            column twice; a column holds codes such as 01067, and is read as numbers; or two groups
            are the same number, such as 007 and 7.

    >>> import tempfile
    >>> import pandas as pd
    >>> import unlearnkit as uk
    >>> folder = tempfile.TemporaryDirectory()
    >>> rows = pd.DataFrame({"size": range(40), "kind": ["low"] * 20 + ["high"] * 20})
    >>> rows.to_csv(f"{folder.name}/rows.csv", index=False)
    >>> uk.from_file(f"{folder.name}/rows.csv", "kind").class_names
    ('high', 'low')
    >>> folder.cleanup()
    """
    known = inspect.signature(from_frame).parameters
    unknown = [option for option in options if option not in known]
    if unknown:
        raise TypeError(
            f"from_file has no option {unknown[0]}=; to choose how a file is read, give from_frame "
            f"the table, as from_frame(pandas.read_csv(..., {unknown[0]}=...), {target!r})"
        )
    paths = {"path": path, "test": test, "probe": probe}
    given = {what: file for what, file in paths.items() if file is not None}
    wanted = options.get("features")
    texts = is_text(options.get("dtype"))
    tables = read_parts(
        given,
        target,
        categories=options.get("categories"),
        class_names=options.get("class_names"),
        features=None if wanted is None else _listed(wanted),
        groups=options.get("groups"),
        texts=texts,
    )
    return from_frame(
        tables["path"],
        target,
        test=tables.get("test"),
        probe=tables.get("probe"),
        **{"name": Path(path).name, **options},
    )
