"""Declared vocabularies: which word of a list a value of a table is, whatever type it was read as.

A reader of files guesses the type of a column: the postcode 01067 becomes the number 1067, the word
true becomes a truth value. A value therefore matches the word that is equal to it; else the word
with the same text; else, if one of the two is a number, the word with the same number.
"""

import math
import numbers
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64

from unlearnkit.data.coercion import too_many_classes, warn
from unlearnkit.data.conversion import listed, row_numbers

if TYPE_CHECKING:
    import pandas as pd

# Words that readers of files take for a missing value.
MISSING_WORDS = frozenset(
    ["NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A", ""]
)


def places_of(
    what: str, column: "pd.Series", vocabulary: Sequence[Hashable]
) -> Int64[np.ndarray, " row"]:
    """Return the position of each value in the vocabulary; -1 for missing and unknown values.

    Raises:
        TypeError: a value cannot be compared with words, as a list cannot.
        ValueError: a number is equal to two words, such as "1" and "01".
    """
    exact = {word: place for place, word in enumerate(vocabulary)}
    try:
        places = np.array([exact.get(value, -1) for value in column], dtype=np.int64)
    except TypeError as error:
        raise TypeError(
            f"{what}: column {column.name!r} holds values that are no single words or numbers "
            f"({error}); give one word or number per row"
        ) from error
    unknown = np.flatnonzero((places < 0) & ~column.isna().to_numpy(dtype=bool))
    if len(unknown):
        words = _Words(vocabulary)
        found: dict[tuple[type, Hashable], int] = {}
        for row, value in zip(unknown.tolist(), column.iloc[unknown], strict=True):
            key = (type(value), value)
            if key not in found:
                found[key] = words.place(what, column.name, value)
            places[row] = found[key]
    return places


class _Words:
    """The positions of the words of a vocabulary by their texts and by their numbers."""

    def __init__(self, vocabulary: Sequence[Hashable]) -> None:
        self.vocabulary = vocabulary
        self.by_text: dict[str, int] = {}
        self.by_number: dict[float, list[int]] = {}
        for place, word in enumerate(vocabulary):
            for text in _texts(word):
                self.by_text.setdefault(text, place)
            if (number := _number(word)) is not None:
                self.by_number.setdefault(number, []).append(place)

    def place(self, what: str, column: Hashable, value: Hashable) -> int:
        """Return the position of a value that is equal to no word, or -1."""
        if isinstance(value, str):  # two texts that differ are two words, even "1" and "01"
            if value in self.by_text:
                return self.by_text[value]
            number = _number(value)
            found = [] if number is None else self.by_number.get(number, [])
            found = [place for place in found if not isinstance(self.vocabulary[place], str)]
            return found[0] if found else -1
        number = _number(value)
        found = [] if number is None else self.by_number.get(number, [])
        if len(found) > 1:
            raise ValueError(
                f"{what}: column {column!r} was read as numbers, and {value!r} may be any of "
                f"{[self.vocabulary[place] for place in found]}; read the column as text "
                f"(dtype={{{column!r}: str}})"
            )
        if found:
            return found[0]
        return next((self.by_text[text] for text in _texts(value) if text in self.by_text), -1)


def _texts(value: Hashable) -> tuple[str, ...]:
    """Return the texts that a value may have in a file."""
    text = str(value)
    if isinstance(value, bool | np.bool_):
        return text, text.lower(), text.upper()
    if hasattr(value, "isoformat"):
        return text, text.removesuffix(" 00:00:00")
    return (text,)


def _number(value: Any) -> float | None:
    """Return the finite number that a value is or spells, or None."""
    if isinstance(value, bool | np.bool_):
        return None
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, str) and "_" in value:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def check_words(
    what: str, column: "pd.Series", vocabulary: Sequence[Hashable], *, first: bool
) -> None:
    """Refuse a column of which no value is in its declared vocabulary, and warn of doubtful gaps.

    Args:
        what: name of the table, for messages.
        column: the column.
        vocabulary: its declared words.
        first: whether this is the training part. In another part such a column is only warned of,
            since a small part may hold unknown values alone.

    Raises:
        TypeError: a value cannot be compared with words.
        ValueError: no value of the training part is in the vocabulary, or see :func:`places_of`.
    """
    import pandas as pd

    gaps = column.isna()
    lost = [word for word in vocabulary if isinstance(word, str) and word in MISSING_WORDS]
    try:
        values = pd.Series(column[~gaps].unique(), name=column.name, dtype=object)
    except TypeError:  # unhashable values, which places_of names
        values = column[~gaps]
    places = places_of(what, values, vocabulary)
    never = [word for word in lost if vocabulary.index(word) not in places]
    if never and gaps.any():
        warn(
            f"{what}: column {column.name!r} has missing values in rows "
            f"{row_numbers(gaps.to_numpy(dtype=bool))} and never holds the declared {never[0]!r}, "
            "which pandas reads as missing; read the table with keep_default_na=False, or with "
            "from_file, if these values are words"
        )
    if len(values) and (places >= 0).any():
        _tell_near_misses(what, values, places, vocabulary)
    if len(values) == 0 or (places >= 0).any():
        return
    held, words = listed(list(map(repr, values))), listed(list(map(repr, vocabulary)))
    sentence = (
        f"{what}: no value of column {column.name!r} ({held}) is among "
        f"its declared categories {words}, so all rows "
        "count as 'other'; declare the values that occur, or read the column as text (dtype=str)"
    )
    if first:
        raise ValueError(sentence)
    warn(sentence)


def _tell_near_misses(
    what: str,
    values: "pd.Series",
    places: Int64[np.ndarray, " row"],
    vocabulary: Sequence[Hashable],
) -> None:
    """Warn of an unknown value that is a declared word but for spaces, case or a number's form."""
    forms = {form: word for word in vocabulary for form in _forms(word)}
    for value in values.iloc[np.flatnonzero(places < 0)]:
        word = next((forms[form] for form in _forms(value) if form in forms), None)
        if word is not None:
            warn(
                f"{what}: column {values.name!r} holds {value!r}, which counts as 'other' although "
                f"{word!r} is declared; declare both, or write them in one way"
            )
            return


def _forms(value: Hashable) -> tuple[Hashable, ...]:
    number = _number(value)
    text = str(value).strip().casefold()
    return (text,) if number is None else (text, float(number))


def vocabulary_of(
    targets: Mapping[str, "pd.Series"], class_names: Sequence[Hashable] | None
) -> tuple[Hashable, ...] | None:
    """Return the target values in the order of their class numbers; None if they are numbers.

    Numbers are class numbers, unless the class names spell the numbers themselves, such as "01" and
    "02" of which pandas makes 1 and 2.

    Raises:
        TypeError: the values cannot be sorted, or are no single values.
        ValueError: a target is missing, or the class names repeat.
    """
    import pandas as pd

    for what, column in targets.items():
        if column.isna().any():
            rows = row_numbers(column.isna().to_numpy())
            raise ValueError(f"{what}: the target is missing in rows {rows}; drop these rows")
    kinds = [column.dtype for column in targets.values()]
    numeric = all(pd.api.types.is_any_real_numeric_dtype(kind) for kind in kinds)
    if class_names is not None:
        if isinstance(class_names, set | frozenset):
            raise ValueError("class_names= is a set, whose order differs between runs; give a list")
        if not hasattr(class_names, "__len__"):
            raise TypeError(f"class_names= is a {type(class_names).__name__}; give a list")
        if isinstance(class_names, str) or len(set(class_names)) != len(class_names):
            raise ValueError(f"class_names={class_names!r}; give a sequence of distinct values")
        strings = all(isinstance(word, str) for word in class_names)
        by_number = numeric and strings and not _spelled(targets, class_names)
        return None if by_number else tuple(class_names)
    if numeric:
        return None
    if isinstance(kinds[0], pd.CategoricalDtype):
        return tuple(kinds[0].categories)
    if all(pd.api.types.is_bool_dtype(kind) for kind in kinds):
        return (False, True)
    try:
        values = {value for column in targets.values() for value in column}
    except TypeError as error:
        name = next(iter(targets.values())).name
        raise TypeError(
            f"the target column {name!r} holds values that are no single words or numbers "
            f"({error}); give one class or target per row, or several targets per row as an array, "
            "with from_arrays"
        ) from error
    try:
        return tuple(sorted(values))
    except TypeError as error:
        raise TypeError(
            f"the target's values cannot be sorted ({error}); give their order as class_names="
        ) from error


def refuse_many_words(targets: Mapping[str, "pd.Series"], vocabulary: Sequence[Hashable]) -> None:
    """Refuse target values that are hardly classes, because there are too many of them.

    Raises:
        ValueError: there are such values, and no categorical type declares them.
    """
    import pandas as pd

    columns = list(targets.values())
    rows = sum(len(column) for column in columns)
    declared = isinstance(columns[0].dtype, pd.CategoricalDtype)
    if declared or not too_many_classes(len(vocabulary), rows):
        return
    raise ValueError(
        f"the target {columns[0].name!r} holds {len(vocabulary)} different values in {rows} rows "
        f"(such as {columns[0].iloc[0]!r}), so they may be targets or names rather than classes; "
        "give numbers for a regression (of texts such as '1,5' with pandas.read_csv(..., "
        "decimal=',', thousands='.')), or class_names= if they are classes"
    )


def refuse_words_as_targets(targets: Mapping[str, "pd.Series"]) -> None:
    """Refuse target values of a regression that are no numbers.

    Raises:
        TypeError: there are such values.
    """
    import pandas as pd

    for what, column in targets.items():
        kind = column.dtype
        if not pd.api.types.is_any_real_numeric_dtype(kind):
            raise TypeError(
                f"{what}: the target {column.name!r} holds {str(kind)!r} (such as "
                f"{column.iloc[0]!r:.40}), but a regression needs numbers; give them as such (of "
                "texts such as '1,5' with pandas.read_csv(..., decimal=',', thousands='.')), or "
                "leave out task='regression' if these are classes"
            )


def _spelled(targets: Mapping[str, "pd.Series"], class_names: Sequence[Hashable]) -> bool:
    """Whether all class names are numbers in text, and all target values are among them."""
    if set(class_names) == {str(number) for number in range(len(class_names))}:
        return False  # these are the class numbers
    if len({_number(name) for name in class_names} - {None}) != len(class_names):
        return False
    return all(
        bool((places_of(what, column, class_names) >= 0).all()) for what, column in targets.items()
    )


def class_numbers(
    what: str, column: "pd.Series", vocabulary: tuple[Hashable, ...] | None
) -> np.ndarray:
    """Convert target values to their positions in the vocabulary; without one, to numbers.

    Raises:
        ValueError: a value is not in the vocabulary.
    """
    import pandas as pd

    if vocabulary is None:  # without dtype=, pandas' nullable integers would become objects
        whole = pd.api.types.is_integer_dtype(column.dtype)
        return column.to_numpy(dtype=np.int64 if whole else np.float64)
    codes = places_of(what, column, vocabulary)
    if np.any(codes < 0):
        raise ValueError(
            f"{what}: {np.sum(codes < 0)} target values are not among the classes "
            f"{listed(vocabulary)} (rows {row_numbers(codes < 0)}, such as "
            f"{column.iloc[int(np.argmax(codes < 0))]!r}); give all values as class_names="
        )
    return codes
