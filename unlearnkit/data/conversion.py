"""Conversion of a caller's arrays to tensors of real numbers, or one sentence that says why not."""

import decimal
import math
import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

if TYPE_CHECKING:
    import pandas as pd

Array: TypeAlias = "Tensor | np.ndarray | pd.DataFrame | pd.Series | Sequence[Any]"

IN_A_TABLE = (
    "give a table and the name of its target column instead (from_frame, with categories= or "
    "hash_buckets=)"
)
# The way out by numpy's letter of a kind, for features and labels.
WAYS = {
    "U": {
        "features": f"encode text by a fixed table, or {IN_A_TABLE}",
        "labels": "give class numbers, such as the places of the words in a fixed list "
        "(numpy.searchsorted(names, labels) with the sorted names, and class_names=names)",
    },
    "M": {
        "features": "give numbers since a fixed date, such as "
        "(dates - numpy.datetime64('2020-01-01')) / numpy.timedelta64(1, 'D')",
        "labels": "give numbers since a fixed date, and task='regression'",
    },
    "m": {
        "features": "give numbers in a fixed unit, such as times / numpy.timedelta64(1, 's')",
        "labels": "give numbers in a fixed unit, and task='regression'",
    },
    "c": {
        "features": "give real and imaginary parts as two features",
        "labels": "give real numbers",
    },
    "V": {
        "features": "give a table made of it (pandas.DataFrame), to from_frame",
        "labels": "give one number per row",
    },
}
OTHERWISE = {
    "features": f"give arrays of real numbers, or {IN_A_TABLE}",
    "labels": "give one number per row",
}


def as_tensor(array: Array, what: str, role: str) -> Shaped[Tensor, "..."]:
    """Convert to a dense tensor of real numbers on the CPU, sharing memory if possible.

    Args:
        array: tensor, array, table, or nested sequences of numbers.
        what: the argument that it comes from, for messages.
        role: ``"features"`` or ``"labels"``, for messages.

    Raises:
        TypeError: it holds something other than real numbers, or is not dense.
        ValueError: rows differ in length, or entries are masked.
    """
    refuse_masks(array, what)
    if isinstance(array, Tensor):
        return _of_tensor(array, what, role)
    if hasattr(array, "toarray") and hasattr(array, "nnz"):  # of scipy
        matrix: Any = array
        size = math.prod(matrix.shape) * 4 / 1e9
        way = f"give a dense array (.toarray(), {size:.3g} GB as float32)"
        _refuse(what, role, f"sparse {matrix.dtype}", way)
    if array is None or isinstance(array, dict):
        kind = "None" if array is None else f"a {type(array).__name__}"
        raise TypeError(f"{_place(what, role)} are {kind}; {OTHERWISE[role]}")
    _refuse_columns(array, what, role)
    values = _as_array(array, what)
    if isinstance(values, Tensor):
        return _of_tensor(values, what, role)
    if values.dtype == object:
        values = _of_objects(array, values, what)
    if values.dtype.kind == "f" and values.dtype.itemsize > 8:
        values = values.astype(np.float64)
    if values.dtype.kind not in "biuf":
        kind = str(values.dtype)
        if values.size and values.dtype.kind in "OU":
            # A number is only odd if nothing else is.
            odd = next((v for v in values.flat if not isinstance(v, numbers.Real)), values.flat[0])
            kind += f" (such as {str(odd) if isinstance(odd, str) else odd!r:.40})"
        letter = "U" if _is_text(values) else values.dtype.kind
        _refuse(what, role, kind, WAYS.get(letter, OTHERWISE)[role])
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    # Torch warns unless the shared memory is writable.
    return torch.from_numpy(np.require(native, requirements=["C", "W"]))


def _refuse(what: str, role: str, kind: str, way: str) -> NoReturn:
    raise TypeError(f"{_place(what, role)} with values of kind {kind} cannot be used; {way}")


def _place(what: str, role: str) -> str:
    return role if role in what else f"{what}: {role}"


def _of_tensor(array: Tensor, what: str, role: str) -> Shaped[Tensor, "..."]:
    kind = str(array.dtype)
    if array.is_nested:
        _refuse(what, role, f"nested {kind}", "give rows of the same length as one dense tensor")
    if array.is_meta:
        _refuse(what, role, f"{kind} on the meta device", "give a tensor that has data")
    if array.layout != torch.strided:
        _refuse(what, role, f"sparse {kind}", "give a dense tensor (.to_dense())")
    if array.is_complex():
        _refuse(what, role, kind, WAYS["c"][role])
    if array.is_quantized:
        _refuse(what, role, kind, "give its numbers (.dequantize())")
    # Tensors made in inference mode cannot take part in training; a copy can.
    tensor = array.clone() if array.is_inference() else array.detach()
    if tensor.is_floating_point() and tensor.element_size() == 1:
        tensor = tensor.to(torch.float32)  # hardly any operation takes 8 bits
    return tensor.cpu().resolve_neg()


def _refuse_columns(array: Any, what: str, role: str) -> None:
    """Refuse a DataFrame with columns of text and the like by their names."""
    import pandas as pd

    if not isinstance(array, pd.DataFrame):
        return
    odd = {
        column: str(kind)
        for place, (column, kind) in enumerate(zip(array.columns, array.dtypes, strict=True))
        if kind.kind in "Mmc"
        or (kind.kind == "O" and numbers_of(array.iloc[:, place].to_numpy(object)) is None)
    }
    if odd:
        raise TypeError(
            f"{_place(what, role)} have columns {odd} that hold no real numbers; {OTHERWISE[role]}"
        )


def _as_array(array: Any, what: str) -> Any:
    """Return numpy's view of an array, or a tensor of a list of tensors that numpy cannot read."""
    try:
        return np.asarray(array)
    except ValueError as error:
        raise ValueError(
            f"{what}: rows have different lengths ({error}); give all rows the same length"
        ) from error
    except (RuntimeError, TypeError) as error:
        if isinstance(array, list | tuple) and all(isinstance(row, Tensor) for row in array):
            return torch.stack([row.detach().cpu() for row in array])
        raise TypeError(
            f"{what}: a {type(array).__name__} cannot be read as an array ({error}); give arrays "
            "of real numbers"
        ) from error


def _of_objects(array: Any, values: np.ndarray, what: str) -> np.ndarray:
    """Return objects as numbers if they are, with NaN for missing ones; else as they are."""
    import pandas as pd

    def is_numeric(kind: Any) -> bool:
        return pd.api.types.is_any_real_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind)

    if isinstance(array, pd.DataFrame | pd.Series):
        kinds = array.dtypes if isinstance(array, pd.DataFrame) else [array.dtype]
        if all(is_numeric(kind) for kind in kinds):
            return array.to_numpy(dtype=np.float64, na_value=np.nan)
    rows = list(values) if values.ndim == 1 else []
    if rows and all(isinstance(row, list | tuple | np.ndarray) for row in rows):
        try:
            values = np.asarray([np.asarray(row) for row in rows])
        except ValueError as error:
            raise ValueError(
                f"{what}: rows have different lengths ({error}); give all rows the same length"
            ) from error
    if values.dtype != object:
        return values
    found = numbers_of(values)
    return values if found is None else found


def numbers_of(values: np.ndarray) -> np.ndarray | None:
    """Return an array of objects as numbers, with NaN for missing values; None if one is neither.

    >>> numbers_of(np.array([1, None, 2.5], object))
    array([1. , nan, 2.5])
    >>> numbers_of(np.array([1, "2"], object))
    """
    import pandas as pd

    gaps = pd.isna(values)
    known = values[~gaps]
    if not all(isinstance(v, numbers.Real | np.bool_ | decimal.Decimal) for v in known):
        return None
    if not gaps.any():
        plain = np.array(values.tolist())
        if plain.dtype.kind in "biuf":
            return plain
    result = np.full(values.shape, np.nan)
    result[~gaps] = [float(v) for v in known]
    return None if gaps.all() else result


def _is_text(values: np.ndarray) -> bool:
    if values.dtype == object:
        return any(isinstance(value, str | bytes) for value in values.flat)
    return values.dtype.kind in "US"


def refuse_masks(array: Any, what: str) -> None:
    """Refuse masked entries, whose filler would be read as a number."""
    masks: np.ndarray = np.zeros(0, bool)
    if isinstance(array, torch.masked.MaskedTensor):
        masks = ~array.get_mask().cpu().numpy()
    elif isinstance(array, np.ma.MaskedArray):
        masks = np.ma.getmaskarray(array)
    elif isinstance(array, list | tuple):
        masks = np.array([_is_masked(row) for row in array], bool)
    if masks.any():
        given = np.atleast_1d(masks)
        rows = np.array([bool(row.any()) for row in given])
        raise ValueError(
            f"{what}: {int(rows.sum())} of {len(rows)} rows have masked entries (rows "
            f"{row_numbers(rows)}), which are missing values; drop these rows, or fill features "
            "with a fixed constant (not with a statistic of the data)"
        )


def _is_masked(row: Any) -> bool:
    if isinstance(row, list | tuple):
        nested = bool(row) and isinstance(row[0], list | tuple | np.ma.MaskedArray)
        return nested and any(map(_is_masked, row))
    return isinstance(row, np.ma.MaskedArray) and bool(np.ma.is_masked(row))


def row_numbers(mask: Bool[Tensor, " n"] | Bool[np.ndarray, " n"]) -> str:
    """List the first row numbers at which the mask is true."""
    return listed(np.flatnonzero(np.asarray(mask)))


def listed(items: Sequence[Any] | np.ndarray, most: int = 5) -> str:
    """List the first items and the number of further ones."""
    text = ", ".join(str(item) for item in items[:most])
    return text + (f" and {len(items) - most} more" if len(items) > most else "")
