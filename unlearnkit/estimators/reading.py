"""Reading of X and y by scikit-learn, with one sentence where it cannot read them."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import validate_data

from unlearnkit.data.conversion import numbers_of, refuse_masks, row_numbers
from unlearnkit.data.reading.tables import as_frame, is_frame

NOTHING_GIVEN = "no_validation"  # scikit-learn's word for a y that is not read


def validated(estimator: Any, X: Any, y: Any = NOTHING_GIVEN, *, reset: bool, **kinds: Any) -> Any:
    """Read X, and y if it is given, as ``sklearn.utils.validation.validate_data`` does.

    Args:
        estimator: the estimator, of which the number and the names of the columns are checked.
        X: features.
        y: classes or targets.
        reset: whether the columns are those that later calls are compared with.
        kinds: further arguments of ``validate_data``.

    Raises:
        TypeError: X has columns of text, dates and the like, or y holds no numbers where they are
            needed; or as scikit-learn.
        ValueError: X has missing values, or y lacks a class; or as scikit-learn.
    """
    refuse_masks(X, "X")
    refuse_masks(y, "y")
    try:
        read = validate_data(estimator, X, y, reset=reset, **kinds)
    except (TypeError, ValueError) as error:
        _refuse_columns(X, error)
        if "X contains NaN" in str(error):
            _refuse_gaps(X, error)
        raise
    if not isinstance(y, str):
        _check_labels(read[1], kinds.get("y_numeric", False))
    return read


def _refuse_columns(X: Any, error: Exception) -> None:
    if not is_frame(X):
        return
    frame = as_frame("X", X)
    odd = {
        frame.columns[place]: str(kind)
        for place, kind in enumerate(frame.dtypes)
        if isinstance(kind, pd.CategoricalDtype)
        or kind.kind in "Mmc"
        or (kind.kind == "O" and numbers_of(frame.iloc[:, place].to_numpy(object)) is None)
    }
    if odd:
        raise TypeError(
            f"X has columns {odd} that hold no numbers; encode text in a step before, with a fixed "
            "vocabulary (OneHotEncoder(categories=[...], sparse_output=False)), and give dates as "
            "numbers since a fixed date, or leave these columns out"
        ) from error


def _refuse_gaps(X: Any, error: Exception) -> None:
    values: np.ndarray = as_frame("X", X).to_numpy() if is_frame(X) else np.asarray(X)
    gaps: Any = pd.isna(values)
    rows = gaps.reshape(len(gaps), -1).any(axis=1)
    raise ValueError(
        f"X: {int(rows.sum())} of {len(rows)} rows hold missing values (NaN) (rows "
        f"{row_numbers(rows)}); drop these rows, or fill them with a fixed constant "
        "(SimpleImputer(strategy='constant', fill_value=0)), not with a statistic of the data"
    ) from error


def _check_labels(y: np.ndarray, numeric: bool) -> None:
    if y.dtype == object:
        gaps = pd.isna(y)
        if gaps.any():
            raise ValueError(f"y is missing in rows {row_numbers(gaps)}; leave these rows out")
    if numeric and y.dtype.kind not in "biuf":
        raise TypeError(
            f"y holds values of kind {y.dtype} (such as {y.flat[0]!s:.40}), which are no numbers; "
            "give targets as numbers, or use UnlearnableClassifier for classes"
        )
