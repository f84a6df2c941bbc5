"""Tables of pandas, polars, pyarrow and other libraries as ordinary pandas DataFrames."""

import sys
import warnings
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def is_frame(data: object) -> bool:
    """Whether an object is a table of a library that narwhals knows, such as pandas or polars."""
    import narwhals as nw

    if _rows_unread(data) or _is_record_batch(data):
        return True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of narwhals, about dask
            # An object of another kind passes through as it is.
            known = nw.from_native(data, pass_through=True)
    except nw.exceptions.NarwhalsError:  # a table that as_frame refuses in words
        return True
    return isinstance(known, nw.DataFrame | nw.LazyFrame)


def _is_record_batch(data: Any) -> bool:
    # Asked of the class, since a lazy table computes its schema when it is asked for.
    return all(hasattr(type(data), name) for name in ("schema", "to_pandas", "to_pylist"))


def _rows_unread(data: Any) -> bool:
    """Whether an object is a reader or a dataset of pyarrow, whose rows are in files."""
    kind = type(data)
    return hasattr(kind, "schema") and (hasattr(kind, "read_all") or hasattr(kind, "to_table"))


def as_frame(what: str, table: Any) -> "pd.DataFrame":
    """Convert a table to a DataFrame with one level of column names and ordinary columns of text.

    Several levels of column names become one level of tuples. Text in arrow's memory layout becomes
    ordinary text, with the same values.

    Args:
        what: name of the argument, for error messages.
        table: a DataFrame of pandas, or a table of polars, pyarrow or another library.

    Raises:
        TypeError: the object is no table, or a table whose rows have not been computed yet.
        ValueError: the table has two columns of the same name.
    """
    import pandas as pd

    frame: pd.DataFrame = (
        table if isinstance(table, pd.DataFrame) else _from_other_library(what, table)
    )
    if frame.columns.nlevels > 1:
        frame = frame.set_axis(pd.Index(list(frame.columns), tupleize_cols=False), axis=1)
    if not frame.columns.is_unique:  # refused later, with the names
        return frame
    changed = {
        column: _ordinary(frame[column])
        for column in frame.columns
        if isinstance(frame[column].dtype, pd.ArrowDtype)
    }
    if changed:
        frame = frame.copy(deep=False)
        for column, values in changed.items():
            frame[column] = values
    return frame


def _from_other_library(what: str, table: Any) -> "pd.DataFrame":
    import narwhals as nw
    import pandas as pd

    if _rows_unread(table):
        raise TypeError(
            f"{what} is a {type(table).__name__}, whose rows have not been read; give a table, as "
            "after .read_all() or .to_table()"
        )
    pyarrow: Any = sys.modules.get("pyarrow")  # imported by whoever has a batch of it
    if pyarrow is not None and isinstance(table, pyarrow.RecordBatch):
        table = pyarrow.Table.from_batches([table])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of narwhals, about dask
            known = nw.from_native(table, pass_through=True)
    except nw.exceptions.NarwhalsError as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{what} is a table that cannot be read: {reason}; rename columns that occur twice"
        ) from error
    if isinstance(known, nw.LazyFrame):
        raise TypeError(
            f"{what} is a {type(table).__name__}, whose rows have not been computed; give a "
            "finished table, as after .collect() (of dask .compute())"
        )
    if not isinstance(known, nw.DataFrame):
        raise TypeError(
            f"{what} is a {type(table).__name__}; give a pandas DataFrame, or a table of polars or "
            "pyarrow"
        )
    columns: dict[Hashable, Any] = {name: _values(known[name]) for name in known.columns}
    return pd.DataFrame(columns, index=pd.RangeIndex(len(known)))


def _values(series: Any) -> Any:
    """Return a column of another library as values that pandas keeps as they are."""
    import narwhals as nw
    import pandas as pd

    if isinstance(series.dtype, nw.Enum):  # its categories are declared, as in pandas
        return pd.Categorical(series.to_list(), categories=list(series.dtype.categories))
    if isinstance(series.dtype, nw.Decimal):
        series = series.cast(nw.Float64)
    if isinstance(series.dtype, nw.Date):  # pandas would keep dates as objects, as it keeps text
        series = series.cast(nw.Datetime())
    if "Int128" in str(series.dtype):
        return pd.Series(series.to_list(), dtype=None if len(series) else object)
    if series.dtype.is_numeric() or series.dtype == nw.Boolean:
        return pd.array(series.to_list()) if series.null_count() else series.to_numpy()
    return pd.Series(series.to_list(), dtype=None if len(series) else object)


def _ordinary(column: "pd.Series") -> "pd.Series":
    """Return a column of arrow's text, bytes, lists, dictionary or null type as ordinary values."""
    import pandas as pd

    name = str(getattr(column.dtype, "pyarrow_dtype", ""))
    kinds = ("string", "large_string", "dictionary", "null", "binary", "large_binary")
    if not name.startswith((*kinds, "list", "large_list", "fixed_size", "struct")):
        return column
    values = [None if gap else value for value, gap in zip(column, column.isna(), strict=True)]
    return pd.Series(values, index=column.index, dtype=object if name == "null" else None)
