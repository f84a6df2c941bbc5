"""Tables of other libraries and with other kinds of columns, which are the ordinary table."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from raw_data import people, table
from unlearnkit import from_frame
from unlearnkit.data.datasets import as_dataset
from unlearnkit.data.reading.tables import as_frame, is_frame

HASHED = {"hash_buckets": 8}
DECLARED = {"categories": {"coat": ["red", "grey"], "town": ["Rome"]}}


@pytest.mark.parametrize("options", [HASHED, DECLARED])
@pytest.mark.parametrize(
    "text", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())]
)
def test_text_in_arrows_layout_is_text(text, options):
    ours = people()
    arrow = ours.convert_dtypes(dtype_backend="pyarrow")
    arrow = arrow.astype(dict.fromkeys(["coat", "town", "kind"], pd.ArrowDtype(text)))
    data = from_frame(arrow, "kind", test=arrow[:5], **options)
    assert data.fingerprint == from_frame(ours, "kind", test=ours[:5], **options).fingerprint


@pytest.mark.parametrize("options", [HASHED, DECLARED])
def test_a_table_of_pyarrow_is_its_frame(options):
    ours, theirs = people(), pa.Table.from_pandas(people())
    data = as_dataset((theirs, "kind"), **options)
    assert data.fingerprint == from_frame(ours, "kind", **options).fingerprint


def test_columns_of_other_libraries_keep_their_kinds():
    theirs = pa.table(
        {
            "bytes": pa.array([1, 2, 3], pa.uint8()),
            "gaps": pa.array([1, None, 3]),
            "flag": pa.array([True, None, False]),
            "nothing": pa.array([None] * 3, pa.string()),
        }
    )
    frame = as_frame("frame", theirs)
    assert is_frame(theirs) and not is_frame(np.eye(3))
    assert frame.dtypes.map(str).tolist()[:3] == ["uint8", "Int64", "boolean"]
    assert frame.isna().sum().tolist() == [0, 1, 1, 3]


def test_columns_may_be_named_by_numbers_and_tuples():
    plain = pd.DataFrame(np.c_[np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 2])
    plain[2] = plain[2].astype(int)
    ours = from_frame(plain, 2).fingerprint
    assert as_dataset((plain, plain.columns.to_numpy()[-1])).fingerprint == ours
    levels = plain.set_axis(
        pd.MultiIndex.from_tuples([("in", "a"), ("in", "b"), ("out", "y")]), axis=1
    )
    data = as_dataset((levels, ("out", "y")), scale={("in", "a"): 1})
    assert data.fingerprint == ours and data.feature_names[0] == "('in', 'a')"
    # A tuple may also hold the labels.
    labels = tuple(plain[2].tolist())
    assert as_dataset((plain[[0, 1]], labels)).fingerprint == ours
    for name in ("out", ("out", "z"), ["out"]):
        with pytest.raises((KeyError, TypeError), match="column"):
            as_dataset((levels, name))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: from_frame(table()["kind"], "kind"), "frame is a Series; give a pandas DataFrame"),
        (lambda: from_frame(table(), "kind", test=[1]), "test is a list; give a pandas DataFrame"),
        (lambda: from_frame(table(), ["kind"]), r"target=\['kind'\] is a list; name one column"),
        (lambda: from_frame(table(), "kind", features="size"), "'size' is text; give a list of"),
        (
            lambda: from_frame(table().assign(kind=[[1, 2]] * 40), "kind"),
            "'kind' holds values that are no single words or numbers",
        ),
        (
            lambda: from_frame(
                table().assign(wild=[[1]] * 40), "kind", categories={"wild": [1, 2]}
            ),
            "'wild' holds values that are no single words or numbers",
        ),
    ],
)
def test_what_is_no_table_is_refused_in_words(call, message):
    with pytest.raises(TypeError, match=message):
        call()
