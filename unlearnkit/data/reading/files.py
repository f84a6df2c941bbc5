"""Reading of CSV and Parquet files, with columns of codes and words as the text in the file."""

import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

READERS = {".csv": "read_csv", ".csv.gz": "read_csv", ".parquet": "read_parquet"}


def read_parts(
    paths: Mapping[str, str | os.PathLike[str]],
    target: Hashable,
    *,
    categories: Any = None,
    class_names: Any = None,
) -> "dict[str, pd.DataFrame]":
    """Read the file of each part; columns whose declared values are text are read as text.

    Args:
        paths: file by part, such as ``{"path": "train.csv", "test": "test.csv"}``.
        target: column with the classes or the targets.
        categories: as in :func:`~unlearnkit.data.frames.from_frame`, which checks them.
        class_names: the same.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: a Parquet file was given, and pyarrow is not installed.
        ValueError: a file is of another kind, or pandas cannot read it.
    """
    declared = categories if isinstance(categories, Mapping) else {}
    words = {column for column, values in declared.items() if _has_text(values)}
    tables = {}
    for what, path in paths.items():
        table = tables[what] = read_table(path)
        if not _is_csv(path):
            continue
        # An empty cell becomes "" here, which no vocabulary holds unless it is declared.
        _replace(table, path, [column for column in table.columns if column in words], gaps=False)
    csv = [what for what, path in paths.items() if _is_csv(path)]
    if _has_text(class_names) and csv == list(paths):
        _read_target_as_text(tables, paths, target, class_names)
    mixed = [
        column
        for column in tables["path"].columns
        if column not in words
        and 0 < sum(_is_text(table, column) for table in tables.values()) < len(tables)
    ]
    for what in csv:
        own = [column for column in mixed if column == target or _is_text(tables["path"], column)]
        own = [column for column in own if column in tables[what].columns]
        _replace(tables[what], paths[what], own, gaps=True)
    return tables


def _read_target_as_text(
    tables: "Mapping[str, pd.DataFrame]",
    paths: Mapping[str, str | os.PathLike[str]],
    target: Hashable,
    class_names: Sequence[Hashable],
) -> None:
    """Put the text of the target into the tables if all of it is among the class names."""
    if set(class_names) == {str(number) for number in range(len(class_names))}:
        return  # numbers are the same classes
    if not all(target in table.columns for table in tables.values()):
        return  # refused later, with the names
    texts = {what: _texts(path, [target], gaps=False) for what, path in paths.items()}
    if all(set(table[target]) <= set(class_names) for table in texts.values()):
        for what, table in tables.items():
            table[target] = texts[what][target].to_numpy()


def _has_text(values: Any) -> bool:
    if isinstance(values, str) or not isinstance(values, Iterable):
        return False
    return any(isinstance(value, str) for value in values)


def _is_text(table: "pd.DataFrame", column: Hashable) -> bool:
    import pandas as pd

    if column not in table.columns:
        return False
    kind = table[column].dtype
    return isinstance(kind, pd.StringDtype) or pd.api.types.is_object_dtype(kind)


def _replace(
    table: "pd.DataFrame", path: str | os.PathLike[str], columns: list[Any], *, gaps: bool
) -> None:
    if columns:
        texts = _texts(path, columns, gaps=gaps)
        for column in columns:
            table[column] = texts[column].to_numpy()


def _texts(path: str | os.PathLike[str], columns: list[Any], *, gaps: bool) -> "pd.DataFrame":
    """Read columns as text; with ``gaps``, empty cells and words such as NA are missing values."""
    wanted: Callable[[Any], bool] = set(columns).__contains__
    return read_table(path, usecols=wanted, dtype=str, na_filter=gaps)


def _ending(path: str | os.PathLike[str]) -> str | None:
    return next((end for end in READERS if Path(path).name.lower().endswith(end)), None)


def _is_csv(path: str | os.PathLike[str]) -> bool:
    return str(_ending(path)).startswith(".csv")


def read_table(path: str | os.PathLike[str], **options: Any) -> "pd.DataFrame":
    """Read a CSV or Parquet file with pandas.

    Args:
        path: the file; ``~`` is the home folder.
        options: further arguments of pandas' reader.

    Raises:
        FileNotFoundError, ImportError, ValueError: as in :func:`read_parts`.
    """
    import pandas as pd

    file, ending = Path(path).expanduser(), _ending(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"there is no file {os.fspath(path)!r} in {Path.cwd()}; check the path"
        )
    if ending is None:
        raise ValueError(
            f"{os.fspath(path)!r} has an unknown ending; give a file that ends in one of "
            f"{', '.join(READERS)}"
        )
    if _is_csv(path):  # guessed of whole columns: a code keeps its zeros beside a late word
        options["low_memory"] = False
    try:
        table: pd.DataFrame = getattr(pd, READERS[ending])(file, **options)
    except ImportError as error:
        raise ImportError(
            f"reading {os.fspath(path)!r} needs pyarrow, which is not installed; "
            "pip install pyarrow, or give the table as a .csv"
        ) from error
    except (ValueError, OSError) as error:  # the parsers' errors are subclasses of these
        raise ValueError(f"{os.fspath(path)!r} cannot be read: {error}") from error
    return table
