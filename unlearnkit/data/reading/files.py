"""Reading of CSV and Parquet files, with columns of codes and words as the text in the file."""

import os
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearnkit.data.coercion import warn
from unlearnkit.data.conversion import listed, row_numbers
from unlearnkit.data.reading.unpack import PACKINGS, opened

if TYPE_CHECKING:
    import pandas as pd

READERS = {".csv": "read_csv", ".csv.gz": "read_csv", ".parquet": "read_parquet"}
READERS |= {f".csv.{packing}": "read_csv" for packing in PACKINGS}
OTHER_SEPARATORS = (";", "\t", "|")
NO_INDEX = "read without an index"  # attribute of a table whose file has to be read so again
ROWS_LOOKED_AT = 1000  # rows among which codes with leading zeros are looked for
FROM_PANDAS = "read it with pandas (such as {}) and give the table to from_frame"


def read_parts(
    paths: Mapping[str, str | os.PathLike[str]],
    target: Hashable,
    *,
    categories: Any = None,
    class_names: Any = None,
    features: Iterable[Hashable] | None = None,
    groups: Hashable = None,
    texts: bool = False,
) -> "dict[str, pd.DataFrame]":
    """Read the file of each part; columns whose declared values are text are read as text.

    Args:
        paths: file by part, such as ``{"path": "train.csv", "test": "test.csv"}``.
        target: column with the classes or the targets.
        categories: as in :func:`~unlearnkit.data.frames.from_frame`, which checks them.
        class_names: the same.
        features: the same.
        groups: the same. If numbers would change a group of a CSV file, as 7 for 007, all groups
            are read as text.
        texts: whether the features are texts, which keep the form that they have in the file.

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
        _check_header(table, path, target)
        if texts:
            chosen = table.columns if features is None else [*features]
            words |= {c for c in chosen if c in table.columns and c not in (target, groups)}
        # An empty cell becomes "" here, which no vocabulary holds unless it is declared.
        _replace(table, path, [column for column in table.columns if column in words], gaps=False)
    csv = [what for what, path in paths.items() if _is_csv(path)]
    if _has_text(class_names) and csv == list(paths):
        _read_target_as_text(tables, paths, target, class_names)
    if isinstance(groups, Hashable) and groups != target:  # others are refused later
        _keep_codes({what: tables[what] for what in csv}, paths, groups)
    for what in csv:
        _refuse_missing_words(tables[what], paths[what], target)
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
        used = list(tables[what].columns) if features is None else [*features, target, groups]
        _tell_codes(tables[what], paths[what], used)
    return tables


def _check_header(table: "pd.DataFrame", path: str | os.PathLike[str], target: Hashable) -> None:
    """Refuse a file without a header or with two targets; warn of two names and of row numbers."""
    names = table.columns.tolist()
    if target not in names and names and all(_is_number(name) for name in names):
        raise KeyError(
            f"the first line of {os.fspath(path)!r} holds numbers ({listed(names)}), so it "
            "has no header line; " + FROM_PANDAS.format("pandas.read_csv(path, header=None)")
        )
    if any(str(name).rpartition(".")[2].isdigit() for name in names):
        header = read_table(path, header=None, nrows=1, dtype=str, index_col=False).iloc[0].tolist()
        repeated = [name for name in dict.fromkeys(header) if header.count(name) > 1]
        if target in repeated:
            raise ValueError(
                f"the target {target!r} occurs twice in the header of {os.fspath(path)!r}; "
                "rename one of the columns"
            )
        if repeated:
            warn(
                f"the header of {os.fspath(path)!r} names {listed(list(map(repr, repeated)))} more "
                f"than once, and the later columns were read as {f'{repeated[0]}.1'!r} and so on; "
                "rename them"
            )
    for name in names:
        if str(name).startswith("Unnamed: ") and name != target and len(table) > 1:
            numbers = table[name].to_numpy()
            if numbers.dtype.kind == "i" and (np.diff(numbers) == 1).all():
                warn(
                    f"the column without a name in {os.fspath(path)!r} only counts the rows, as "
                    "the index that pandas writes (to_csv without index=False); leave it out with "
                    "features=, since models would learn from the order of the rows"
                )


def _tell_codes(
    table: "pd.DataFrame", path: str | os.PathLike[str], used: Collection[Hashable]
) -> None:
    """Warn of a column of codes, such as 01067, of which pandas makes numbers."""
    whole = [name for name in table.columns if table[name].dtype.kind == "i" and name in used]
    if not whole:
        return
    texts = _texts(table, path, whole, gaps=False, nrows=ROWS_LOOKED_AT)
    for name in whole:
        codes = texts[name][texts[name].str.fullmatch(r"0\d+")]
        if len(codes):
            warn(
                f"column {name!r} of {os.fspath(path)!r} holds {codes.iloc[0]!r}, which is read as "
                "a number and loses its zeros; if these are codes, declare them (categories=, or "
                "class_names= for the target), or read them as text (pandas.read_csv(path, "
                f"dtype={{{name!r}: str}})) for from_frame"
            )
            return


def _keep_codes(
    tables: "Mapping[str, pd.DataFrame]",
    paths: Mapping[str, str | os.PathLike[str]],
    groups: Hashable,
) -> None:
    """Put the text of the groups into the tables if numbers would change one of them."""
    held = {what: table for what, table in tables.items() if groups in table.columns}
    if all(_is_text(table, groups) for table in held.values()):
        return
    texts = {
        what: _texts(table, paths[what], [groups], gaps=True)[groups].str.strip().to_numpy(object)
        for what, table in held.items()
    }
    read = [table[groups].astype(str).to_numpy(object) for table in held.values()]
    pairs = zip(texts.values(), read, held.values(), strict=True)
    if not any(((text != was) & ~table[groups].isna()).any() for text, was, table in pairs):
        return
    for what, table in held.items():
        table[groups] = texts[what]
    alike: dict[float, str] = {}
    for name in sorted({n for text in texts.values() for n in text if isinstance(n, str)}):
        first = alike.setdefault(float(name), name) if _is_number(name) else name
        if first != name:
            warn(
                f"the groups in {groups!r} are read as text, so that {first!r} and {name!r} are "
                "two groups; write them alike in the file if they are one"
            )
            return


def _is_number(name: Any) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


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
    texts = {what: _texts(tables[what], path, [target], gaps=False) for what, path in paths.items()}
    if all(set(table[target]) <= set(class_names) for table in texts.values()):
        for what, table in tables.items():
            table[target] = texts[what][target].to_numpy()


def _refuse_missing_words(
    table: "pd.DataFrame", path: str | os.PathLike[str], target: Hashable
) -> None:
    """Refuse words in the target, such as NA and None, that pandas reads as missing values."""
    if target not in table.columns or not table[target].isna().any():
        return
    texts = _texts(table, path, [target], gaps=False)[target].to_numpy()
    words = table[target].isna().to_numpy() & (texts != "")
    if words.any():
        word = texts[words][0]
        raise ValueError(
            f"the target {target!r} of {os.fspath(path)!r} holds {word!r} in rows "
            f"{row_numbers(words)}, which is read as a missing value; if it is a class, give all "
            f"classes in order (class_names=[{word!r}, ...]), else drop these rows"
        )


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
        texts = _texts(table, path, columns, gaps=gaps)
        for column in columns:
            table[column] = texts[column].to_numpy()


def _texts(
    table: "pd.DataFrame",
    path: str | os.PathLike[str],
    columns: list[Any],
    *,
    gaps: bool,
    **options: Any,
) -> "pd.DataFrame":
    """Read columns of a table's file as text.

    With ``gaps``, empty cells and words such as NA are missing values.
    """
    wanted: Callable[[Any], bool] = set(columns).__contains__
    if table.attrs.get(NO_INDEX):
        options["index_col"] = False
    return read_table(path, usecols=wanted, dtype=str, na_filter=gaps, **options)


def _ending(path: str | os.PathLike[str]) -> str | None:
    return next((end for end in READERS if Path(path).name.lower().endswith(end)), None)


def is_path(name: str) -> bool:
    """Whether a text ends as the path of a file that can be read, or names a file."""
    return _ending(name) is not None or Path(name).is_file()


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
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"a {type(path).__name__} is no path; give the path of a file as text, or "
            + FROM_PANDAS.format("pandas.read_csv(file)")
        )
    file, ending = Path(path).expanduser(), _ending(path)
    if not file.is_file():
        if file.is_dir():
            raise FileNotFoundError(f"{os.fspath(path)!r} is a folder; give a file")
        where = "" if file.is_absolute() else f" in {Path.cwd()}"
        raise FileNotFoundError(f"there is no file {os.fspath(path)!r}{where}; check the path")
    if ending is None:
        raise ValueError(
            f"{os.fspath(path)!r} has an unknown ending; give a file that ends in one of "
            f"{', '.join(READERS)}, or {FROM_PANDAS.format('pandas.read_csv(path, sep=...)')}"
        )
    if _is_csv(path):  # guessed of whole columns: a code keeps its zeros beside a late word
        options["low_memory"] = False
    try:
        table = _read(file, ending, options)
        if _is_csv(path) and "usecols" not in options and _ends_in_separators(table):
            table = _read(file, ending, {**options, "index_col": False})
            table.attrs[NO_INDEX] = True
    except ImportError as error:
        raise ImportError(
            f"reading {os.fspath(path)!r} needs pyarrow, which is not installed; "
            "pip install pyarrow, or give the table as a .csv"
        ) from error
    except (ValueError, OSError) as error:
        # The parsers' errors are subclasses of ValueError.
        reason, way = " ".join(str(error).split()).rstrip("."), "pandas.read_csv(path, ...)"
        if isinstance(error, UnicodeDecodeError):
            reason, way = f"it is not encoded in UTF-8 ({reason})", "read_csv(path, encoding=...)"
        raise ValueError(
            f"{os.fspath(path)!r} cannot be read: {reason}; {FROM_PANDAS.format(way)}"
        ) from error
    if "usecols" not in options and table.shape[1] == 1:
        name = str(table.columns[0])
        found = next((mark for mark in OTHER_SEPARATORS if mark in name), None)
        if found is not None:
            raise ValueError(
                f"{os.fspath(path)!r} has the single column {name!r}, so it is separated by "
                f"{found!r} rather than commas; "
                + FROM_PANDAS.format(f"pandas.read_csv(path, sep={found!r})")
            )
    return table


def _read(file: Path, ending: str, options: dict[str, Any]) -> "pd.DataFrame":
    import pandas as pd

    reader, packing = getattr(pd, READERS[ending]), ending.rpartition(".")[2]
    if packing not in PACKINGS:
        table: pd.DataFrame = reader(file, **options)
        return table
    with opened(file, packing) as unpacked:
        table = reader(unpacked, **options)
    return table


def _ends_in_separators(table: "pd.DataFrame") -> bool:
    """Whether each line of a file ends in a separator, so that pandas moved all columns by one.

    A file whose lines have one more field than its header names is read with the first field as the
    index, which is right for row names. (Its type tells nothing: pandas makes a ``RangeIndex`` of
    evenly spaced numbers.) A last column of missing values is read again, and stays if it is one.
    """
    return table.shape[1] > 0 and len(table) > 0 and bool(table.iloc[:, -1].isna().all())
