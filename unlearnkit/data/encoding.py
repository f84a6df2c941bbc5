"""Encoding of table columns as numbers, where each value is encoded without looking at other rows.

A vocabulary learned from the data, a mean or a most frequent value would be a statistic of all
rows, so that revoked rows would keep an influence on every model. Vocabularies are therefore
declared, or values are hashed, and numbers are scaled by constants.
"""

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float32, Int64

from unlearnkit.data.coercion import tell_lost_digits, warn, whole_numbers
from unlearnkit.data.column_constants import Constants, by_column, constants_by_column
from unlearnkit.data.conversion import listed, numbers_of, row_numbers
from unlearnkit.data.reading.vocabulary import check_words, places_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Encoding:
    """Encoding of a table: scaled numbers and one-hot columns in order, then one hashed vector.

    Attributes:
        columns: the columns that are used and not hashed.
        vocabularies: values by one-hot column. Missing values and values outside the vocabulary
            share one further position.
        hashed: columns whose values are hashed into one vector.
        hash_buckets: length of that vector.
        offset: constant subtracted from a numeric column, by column; 0 if absent.
        scale: constant that divides the difference, by column; 1 if absent.
    """

    columns: tuple[Hashable, ...]
    vocabularies: Mapping[Hashable, tuple[Hashable, ...]] = field(default_factory=dict)
    hashed: tuple[Hashable, ...] = ()
    hash_buckets: int = 0
    offset: Mapping[Hashable, float] = field(default_factory=dict)
    scale: Mapping[Hashable, float] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each number of an encoded row."""
        names: list[str] = []
        for column in self.columns:
            if column in self.vocabularies:
                names += [f"{column}={value}" for value in self.vocabularies[column]]
                names.append(f"{column}=other")
            else:
                names.append(str(column))
        return (
            *names,
            *(f"hash {place}" for place in range(self.hash_buckets if self.hashed else 0)),
        )

    def __call__(self, table: "pd.DataFrame") -> Float32[np.ndarray, "row feature"]:
        """Encode rows; missing numbers stay NaN."""
        blocks = [np.empty((len(table), 0), np.float32)]
        for column in self.columns:
            if column in self.vocabularies:
                blocks.append(_one_hot(table[column], self.vocabularies[column]))
            else:
                numbers = table[column].to_numpy(dtype=np.float64, na_value=np.nan)
                numbers = (numbers - self.offset.get(column, 0.0)) / self.scale.get(column, 1.0)
                with np.errstate(over="ignore"):  # check_contents reports infinities
                    blocks.append(numbers.astype(np.float32).reshape(-1, 1))
        if self.hashed:
            blocks.append(_hash(table[list(self.hashed)], self.hash_buckets))
        return np.concatenate(blocks, axis=1)


def encoding_of(
    frame: "pd.DataFrame",
    columns: Sequence[Hashable],
    *,
    categories: Mapping[Hashable, Sequence[Hashable]] | None = None,
    hash_buckets: int | None = None,
    offset: Constants = 0.0,
    scale: Constants = 1.0,
) -> Encoding | None:
    """Return the encoding that the arguments of ``from_frame`` describe.

    Returns:
        The encoding; None if all columns are numbers or booleans with the same constants.

    Raises:
        KeyError: constants or categories are given for a column that is not a suitable feature.
        TypeError: a column holds neither numbers nor booleans, and no encoding is given for it.
        ValueError: a vocabulary is empty or repeats a value, ``hash_buckets`` is below 1, a
            constant is not finite, or a scale is 0.
    """
    import pandas as pd

    categories = {} if categories is None else categories
    _check_known(columns, categories, "categories")
    vocabularies = {
        column: tuple(frame[column].cat.categories)
        for column in columns
        if isinstance(frame[column].dtype, pd.CategoricalDtype)
    }
    vocabularies |= {column: _vocabulary(column, given) for column, given in categories.items()}
    kinds = {column: frame[column].dtype for column in columns if column not in vocabularies}
    numeric = [column for column, kind in kinds.items() if _is_numeric(kind)]
    texts = [column for column, kind in kinds.items() if _is_text(kind)]
    if hash_buckets is None:
        texts = []
    elif isinstance(hash_buckets, bool) or not isinstance(hash_buckets, int) or hash_buckets < 1:
        raise ValueError(f"hash_buckets={hash_buckets!r}; give a whole number of at least 1")
    other = [column for column in kinds if column not in (*numeric, *texts)]
    for column in other:
        _refuse_dates(column, frame[column])
    if other:
        raise TypeError(_refusal(frame, other, hash_buckets))
    constants = {"offset": offset, "scale": scale}
    found = {word: _by_column(word, given, numeric, columns) for word, given in constants.items()}
    mapped = any(by_column(given) for given in constants.values())
    if not (vocabularies or texts or mapped):
        return None
    unhashed = tuple(column for column in columns if column not in texts)
    return Encoding(
        unhashed,
        vocabularies,
        tuple(texts),
        hash_buckets or 0,
        found["offset"],
        found["scale"],
    )


def _refusal(frame: "pd.DataFrame", columns: Sequence[Hashable], hash_buckets: int | None) -> str:
    """Say which columns hold no numbers, an example of each, and the way out for its kind."""
    held = {column: str(frame[column].dtype) for column in columns}
    first = next((column for column in columns if _way_out(frame[column])), columns[0])
    text = f"give them as text (frame[{first!r}].astype(str))"
    hashed = text if hash_buckets else "hash text (hash_buckets=64)"
    way = _way_out(frame[first]) or (
        f"list their values as a fixed vocabulary (categories={{{first!r}: [...]}}), {hashed}"
    )
    return (
        f"columns {held} hold neither numbers nor booleans{_example(frame[first])}; {way}, or "
        "leave them out (features=[...]). A vocabulary learned from the data would be a statistic "
        "that depends on revoked examples."
    )


def _example(column: "pd.Series") -> str:
    """Return the first value of a column that spells no number, for a message."""
    known = column[~column.isna()]
    if len(known) == 0:
        return f" ({column.name!r} is missing in every row)"
    odd = (value for value in known if not isinstance(value, str) or not _spells_a_number(value))
    return f" (such as {next(odd, known.iloc[0])!r:.40} in {column.name!r})"


def _spells_a_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _has_thousands(text: str) -> bool:
    """Whether a text is a number as 1,234,567.8, or a shorter one that needs no separators."""
    return re.fullmatch(r"\s*-?\d{1,3}(,\d{3})*(\.\d*)?\s*", text) is not None


def _way_out(column: "pd.Series") -> str:
    """Return the way out for complex numbers, arrays and numbers in text; "" for other kinds."""
    name = column.name
    known = column[~column.isna()]
    value = known.iloc[0] if len(known) else None
    if column.dtype.kind == "c":
        return "give real and imaginary parts as two columns"
    if isinstance(value, str):
        texts = [v for v in known if isinstance(v, str)]
        if not all(map(_spells_a_number, texts)) and all(map(_has_thousands, texts)):
            return (
                "if the commas separate thousands, read the numbers as such (with "
                "pandas.read_csv(..., thousands=',') and from_frame; decimal=',' is for decimal "
                f"commas); if they are words, declare them (categories={{{name!r}: [...]}})"
            )
        plain = [_spells_a_number(v) for v in known if isinstance(v, str)]
        loose = [_spells_a_number(v.replace(",", ".")) for v in known if isinstance(v, str)]
        if sum(loose) > len(loose) / 2 and not all(plain):
            return (
                "if they are numbers, read them as such (with pandas.read_csv(..., decimal=',') "
                "or na_values= for words such as '?', and from_frame); if they are words, declare "
                f"them (categories={{{name!r}: [...]}})"
            )
    if isinstance(value, bytes):
        return f"give bytes as text (frame[{name!r}].str.decode('utf-8'))"
    if isinstance(value, list | tuple | dict | set | frozenset | np.ndarray):
        return (
            "give a column for each of their numbers, or arrays of shape (rows, numbers) to "
            "from_arrays"
        )
    return ""


def _is_numeric(kind: Any) -> bool:
    from pandas.api.types import is_any_real_numeric_dtype, is_bool_dtype

    return is_any_real_numeric_dtype(kind) or is_bool_dtype(kind)


def _is_text(kind: Any) -> bool:
    import pandas as pd

    return pd.api.types.is_object_dtype(kind) or isinstance(kind, pd.StringDtype)


def _refuse_dates(column: Hashable, values: "pd.Series") -> None:
    """Refuse dates, times and durations, which are numbers only since a fixed date."""
    import pandas as pd

    found = pd.api.types.infer_dtype(values, skipna=True)
    name = f"frame[{column!r}]"
    if found in ("timedelta", "timedelta64"):
        spans = f"pandas.to_timedelta({name})" if values.dtype == object else name
        way = f"the seconds, {spans}.dt.total_seconds()"
    elif found == "time":
        way = f"the seconds, pandas.to_timedelta({name}.astype(str)).dt.total_seconds()"
    elif found in ("date", "datetime", "datetime64", "period"):
        known = values.dropna()
        zones = getattr(values.dtype, "tz", None) or getattr(known.iloc[0], "tzinfo", None)
        dates = f"{name}.dt.start_time" if found == "period" else name
        dates = f"pandas.to_datetime({name})" if values.dtype == object else dates
        dates = f"pandas.to_datetime({name}, utc=True)" if zones else dates
        start = "'2020-01-01', tz='UTC'" if zones else "'2020-01-01'"
        way = f"the days since a fixed date, ({dates} - pandas.Timestamp({start})).dt.days"
    else:
        return
    raise TypeError(
        f"column {column!r} holds values of kind {found}; give numbers, such as {way}, or leave "
        "the column out (features=[...])"
    )


def _check_known(columns: Sequence[Hashable], given: Mapping[Hashable, object], word: str) -> None:
    if not isinstance(given, Mapping):
        raise TypeError(f"{word}={given!r}; give a mapping by column, such as {{'colour': ...}}")
    unknown = [column for column in given if column not in columns]
    if unknown:
        raise KeyError(
            f"{word}= names {unknown}, which are not feature columns; the feature columns are "
            f"{list(columns)}"
        )


def _vocabulary(column: Hashable, values: Sequence[Hashable]) -> tuple[Hashable, ...]:
    if isinstance(values, set | frozenset):
        raise ValueError(
            f"categories of {column!r} are a set, whose order differs between runs; give a list"
        )
    if not hasattr(values, "__len__"):
        raise TypeError(f"categories of {column!r} are a {type(values).__name__}; give a list")
    if isinstance(values, str) or len(values) == 0 or len(set(values)) != len(values):
        raise ValueError(f"categories of {column!r} are {values!r}; give a list of distinct values")
    return tuple(values)


def _by_column(
    word: str, given: Constants, numeric: Sequence[Hashable], columns: Sequence[Hashable]
) -> dict[Hashable, float]:
    result: dict[Hashable, Any]
    if isinstance(given, Mapping):
        _check_known(columns, given, word)
        result = dict(given)
    elif by_column(given):
        other = [column for column in columns if column not in numeric]
        if other:
            raise ValueError(
                f"{word} is a sequence, but the columns {listed(other)} hold no numbers; give a "
                f"mapping from the columns that do, such as {{{(*numeric, 'age')[0]!r}: 40}}"
            )
        values = constants_by_column(word, given, (len(columns),), columns)
        result = dict(zip(columns, values.tolist(), strict=True))
    else:
        result = dict.fromkeys(numeric, given)
    for column, constant in result.items():
        if column not in numeric:
            raise KeyError(f"{word}= names {column!r}, which does not hold numbers; leave it out")
        if isinstance(constant, str) or np.ndim(constant) or constant is None:
            raise TypeError(f"{word}={constant!r} for {column!r}; give a number")
        if not math.isfinite(constant) or (word == "scale" and constant == 0):
            raise ValueError(
                f"{word}={constant} for {column!r}; give a finite constant, and a scale "
                "other than 0"
            )
    return result


def _one_hot(
    column: "pd.Series", vocabulary: tuple[Hashable, ...]
) -> Float32[np.ndarray, "row place"]:
    """Encode values one-hot, with one further position for all values outside the vocabulary."""
    places = places_of("the table", column, vocabulary)  # -1, the last, is the further position
    rows: np.ndarray = np.eye(len(vocabulary) + 1, dtype=np.float32)[places]
    return rows


def _hash(table: "pd.DataFrame", buckets: int) -> Float32[np.ndarray, "row bucket"]:
    """Feature hashing (Weinberger et al. 2009, section 2): +1 or -1 in the bucket of column=value.

    The bucket and the sign are a hash of the text alone (MurmurHash3, by scikit-learn). Models
    can hardly distinguish values that share a bucket, so use several buckets per value.
    """
    from sklearn.feature_extraction import FeatureHasher  # slow to import, and only needed here

    words = {
        str(column): [
            f"{column} is missing" if missing else f"{column}={value}"
            for value, missing in zip(table[column], table[column].isna(), strict=True)
        ]
        for column in table.columns
    }
    hasher = FeatureHasher(buckets, input_type="string", dtype=np.float32)
    hashed: np.ndarray = hasher.transform(zip(*words.values(), strict=True)).toarray()
    return hashed


def as_numbers(frame: "pd.DataFrame", columns: Sequence[Hashable]) -> "pd.DataFrame":
    """Return a table with numbers in those of the columns whose objects are all numbers."""
    changed = {}
    for column in columns:
        if frame[column].dtype == object and len(frame):
            numbers = numbers_of(frame[column].to_numpy())
            if numbers is not None:
                changed[column] = numbers
                if numbers.dtype.kind == "f" and frame[column].nunique() > len(np.unique(numbers)):
                    warn(
                        f"column {column!r} holds whole numbers so large that float64 cannot tell "
                        "them apart; encode identifiers as categories, or hash them as text"
                    )
    if changed:
        frame = frame.copy(deep=False)
        for column, numbers in changed.items():
            frame[column] = numbers
    return frame


def plain_array(frame: "pd.DataFrame") -> np.ndarray:
    """Convert numbers and booleans to an array: uint8 if all columns are, else float32."""
    if all(kind == np.uint8 for kind in frame.dtypes):
        return frame.to_numpy()
    with np.errstate(over="ignore"):  # check_contents reports infinities
        return frame.to_numpy(dtype=np.float32, na_value=np.nan)


def whole_array(what: str, frame: "pd.DataFrame") -> Int64[np.ndarray, "row column"]:
    """Convert columns of whole numbers to an array, column by column, without a way through floats.

    Raises:
        ValueError: a value is missing, or no whole number of 64 bits.
    """
    columns = []
    for name in frame.columns:
        column = frame[name]
        gaps = column.isna().any()
        values = column.to_numpy(np.float64, na_value=np.nan) if gaps else column.to_numpy()
        if values.dtype == object:  # nullable integers without gaps, or arrow's
            values = values.astype(np.float64 if column.dtype.kind == "f" else np.int64)
        # A copy, since torch warns of memory that it must not write to.
        columns.append(whole_numbers(f"{what}: column {name!r}", torch.tensor(values)).numpy())
    return np.stack(columns, 1)


def check_kinds(
    what: str,
    table: "pd.DataFrame",
    encoding: Encoding | None,
    *,
    first: bool,
    whole: bool = False,
) -> None:
    """Refuse a part whose columns do not hold what the encoding needs.

    Args:
        what: name of the part, for messages.
        table: its feature columns.
        encoding: the encoding, or None.
        first: whether this is the training part.
        whole: whether numbers stay whole, so that they lose no digits.

    Raises:
        TypeError: a column that needs numbers holds neither numbers nor booleans.
        ValueError: a column of the training part holds no value of its declared vocabulary.
    """
    vocabularies = {} if encoding is None else encoding.vocabularies
    hashed = () if encoding is None else encoding.hashed
    other = {
        column: str(table[column].dtype)
        for column in table.columns
        if column not in vocabularies
        and column not in hashed
        and not _is_numeric(table[column].dtype)
    }
    if other:
        raise TypeError(
            f"{what}: columns {listed(list(other.items()))} hold neither numbers nor booleans, "
            "but those of the training part do; give both parts the same types, such as text in "
            "both for columns to be hashed (dtype=str)"
        )
    plain = [c for c in table.columns if c not in vocabularies and c not in hashed]
    if not whole:
        _check_numbers(what, table[plain], encoding)
    for name, words in vocabularies.items():
        check_words(what, table[name], words, first=first)
    for name in hashed:
        _refuse_unstable_texts(what, table[name])
        kind = table[name].dtype
        if _is_numeric(kind) and kind.kind in "fb":
            warn(
                f"{what}: column {name!r} holds {kind} where the training part holds text, so "
                "the same value may have another text and another hash; read the column as text "
                f"(dtype={{{name!r}: str}})"
            )


def _check_numbers(what: str, table: "pd.DataFrame", encoding: Encoding | None) -> None:
    """Refuse numeric columns with missing values by name, and announce digits that are lost."""
    gaps, columns = np.zeros(len(table), bool), []
    for column in table.columns:
        numbers = table[column].to_numpy(dtype=np.float64, na_value=np.nan)
        broken = ~np.isfinite(numbers)
        if broken.any():
            gaps |= broken
            columns.append(column)
            continue
        whole = table[column].dtype.kind in "iu"
        given = table[column].to_numpy(dtype=f"{table[column].dtype.kind}8") if whole else numbers
        if encoding is not None:
            numbers = numbers - encoding.offset.get(column, 0.0)
            numbers = numbers / encoding.scale.get(column, 1.0)
        with np.errstate(over="ignore"):  # check_contents reports infinities
            tell_lost_digits(what, f"column {column!r}", given, numbers.astype(np.float32))
    if columns:
        raise ValueError(
            f"{what}: {int(gaps.sum())} of {len(gaps)} rows hold NaN or infinite values in the "
            f"columns {listed(list(map(repr, columns)))} (rows {row_numbers(gaps)}); drop these "
            "rows, fill them with a fixed constant (not with a statistic of the data), or leave "
            "out the columns (features=[...])"
        )


def _refuse_unstable_texts(what: str, column: "pd.Series") -> None:
    """Refuse values whose text differs between runs, and with it their hash."""
    if column.dtype != object:
        return
    for kind in set(map(type, column)):
        texts: tuple[object, ...] = (kind.__str__, kind.__repr__)
        plain = texts == (object.__str__, object.__repr__)
        if plain or issubclass(kind, set | frozenset):
            raise TypeError(
                f"{what}: column {column.name!r} holds values of kind {kind.__name__}, whose text "
                "differs between runs and so cannot be hashed; give words or numbers"
            )
