"""Arrays of any library are read as numbers, or refused with a sentence that fits their kind."""

import decimal

import numpy as np
import pandas as pd
import pytest
import torch

from unlearnkit.data.arrays import from_arrays
from unlearnkit.data.conversion import as_tensor, numbers_of

ROWS = np.arange(80.0).reshape(40, 2) - 3
LABELS = np.arange(40) % 2
RIGHT = torch.tensor(ROWS, dtype=torch.float32)


@pytest.mark.parametrize(
    "rows",
    [
        ROWS.astype(object),
        ROWS.astype(np.longdouble),
        np.array([[decimal.Decimal(value) for value in row] for row in ROWS.tolist()]),
        pd.DataFrame(ROWS).astype(object),
        pd.Series(ROWS.tolist()),
        pd.Series(list(ROWS)),
        [torch.tensor(row).requires_grad_() for row in ROWS],
        [torch.tensor(row, dtype=torch.bfloat16) for row in ROWS],
        torch.tensor(ROWS, dtype=torch.bfloat16),
        torch.complex(torch.zeros(40, 2), -RIGHT).conj().imag,  # a view with negated numbers
    ],
)
def test_numbers_in_other_clothes_are_numbers(rows):
    data = from_arrays(rows, LABELS)
    assert torch.equal(data.examples(np.arange(40))[0], RIGHT)


@pytest.mark.parametrize("kind", [torch.float8_e5m2, torch.bfloat16, torch.float16])
def test_short_floats_are_targets(kind):
    labels = (torch.arange(40) % 4 / 4).to(kind)
    assert from_arrays(ROWS, labels).is_regression


@pytest.mark.parametrize("labels", [LABELS.astype(object), (LABELS > 0).astype(object)])
def test_objects_that_are_numbers_are_classes(labels):
    assert from_arrays(ROWS, labels).fingerprint == from_arrays(ROWS, LABELS).fingerprint


def test_missing_objects_are_missing_values():
    rows = ROWS.astype(object)
    rows[5, 1] = None
    with pytest.raises(ValueError, match=r"1 of 40 rows hold NaN .*\(rows 5\)"):
        from_arrays(rows, LABELS)
    assert numbers_of(np.array([None, None], object)) is None


DATES = pd.date_range("2020", periods=40).to_numpy()


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (ROWS, np.array(["b", "a"])[LABELS], r"^labels .*such as '?b.*fixed list .*class_names"),
        (ROWS, pd.Series(["b", "a"])[LABELS], r"^labels .*such as '?b.*fixed list"),
        (ROWS, DATES, "^labels with values of kind datetime64.*since a fixed date"),
        (ROWS, None, "^labels are None"),
        (ROWS, {"y": LABELS}, "^labels are a dict"),
        (ROWS.astype(str), LABELS, "^features with .*encode text by a fixed table"),
        (np.full((40, 1), b"a"), LABELS, "^features with .*encode text by a fixed table"),
        (DATES[:, None], LABELS, "^features with .*since a fixed date"),
        (DATES[:, None] - DATES[0], LABELS, "^features with .*in a fixed unit"),
        (ROWS + 1j, LABELS, "real and imaginary parts as two features"),
        (np.zeros(40, [("a", "f8")]), LABELS, "pandas.DataFrame"),
        (pd.DataFrame({"a": DATES, "b": "x"}), LABELS, "'a': 'datetime64.*'b': .*hold no real"),
        (RIGHT.to("meta"), LABELS, "on the meta device cannot be used; give a tensor that has"),
        (RIGHT.to_mkldnn(), LABELS, r"give a dense tensor \(.to_dense"),
        ([torch.zeros(2).to_sparse()] * 40, LABELS, "sparse .*cannot be used; give a dense tens"),
    ],
)
def test_the_way_out_fits_the_kind(features, labels, message):
    with pytest.raises(TypeError, match=message):
        from_arrays(features, labels)


def test_the_part_is_named():
    with pytest.raises(TypeError, match=r"^test: labels with values of kind"):
        from_arrays(ROWS, LABELS, test=(ROWS, LABELS.astype(str)))
    with pytest.raises(ValueError, match="rows have different lengths"):
        as_tensor(pd.Series([[1], [1, 2]]), "test", "features")
