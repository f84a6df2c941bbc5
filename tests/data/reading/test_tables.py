"""Tables of other libraries and with other kinds of columns, which are the ordinary table."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pytest

from raw_data import people, table
from unlearnkit import UnlearnableClassifier, from_arrays, from_frame
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


@pytest.mark.parametrize("options", [HASHED, DECLARED])
def test_a_table_of_polars_is_its_frame(options):
    ours = people()
    theirs = pl.from_pandas(ours)
    data = as_dataset((theirs, "kind"), test=theirs[:5], **options)
    assert data.fingerprint == from_frame(ours, "kind", test=ours[:5], **options).fingerprint
    learned = theirs.with_columns(pl.col("coat").cast(pl.Categorical))
    assert as_dataset((learned, "kind"), test=theirs[:5], **options).fingerprint == data.fingerprint
    with pytest.raises(TypeError, match=r"'coat': .*fixed vocabulary"):
        as_dataset((learned.select("coat", "kind"), "kind"))


def test_an_enum_of_polars_is_a_declared_vocabulary():
    kinds = pl.Enum(["red", "grey", "blue"])
    words = pl.Series("coat", ["red", "grey"] * 20, dtype=kinds)
    theirs = pl.DataFrame({"coat": words, "size": range(40), "kind": words})
    data = from_frame(theirs, "kind")
    assert data.class_names == ("red", "grey", "blue")
    assert data.feature_names == ("coat=red", "coat=grey", "coat=blue", "coat=other", "size")


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table])
def test_tables_of_other_libraries_go_to_arrays_and_estimators(make):
    ours = table()[["size"]].assign(flag=[True, False] * 20)
    labels = [0, 0, 1, 1] * 10
    theirs = make({name: ours[name].tolist() for name in ours.columns})
    column = make({"y": labels})["y"]
    data = from_arrays(theirs, column, offset={"size": 3})
    assert data.fingerprint == from_arrays(ours, labels, offset={"size": 3}).fingerprint
    settings = {"epochs": 2, "random_state": 0, "offset": {"size": 3}}
    fitted = UnlearnableClassifier("logistic", **settings).fit(theirs, column)
    plain = UnlearnableClassifier("logistic", **settings).fit(ours, labels)
    assert np.array_equal(fitted.predict_proba(theirs), plain.predict_proba(ours))
    assert fitted.unlearn(make({"row": [3, 4]})["row"]).revoked_.tolist() == [3, 4]


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table, pd.DataFrame])
@pytest.mark.parametrize(
    "value", [datetime.datetime(2020, 5, 17, 3), datetime.timedelta(3), datetime.date(2020, 5, 17)]
)
def test_dates_are_refused_with_what_to_give_instead(make, value):
    values = pd.Series([value] * 40) if make is pd.DataFrame else [value] * 40
    if make is pd.DataFrame and type(value) is datetime.date:
        values = pd.to_datetime(values)
    theirs = make({"day": values, "kind": [0, 1] * 20})
    for options in ({}, HASHED):
        with pytest.raises(
            TypeError, match=r"column 'day' holds values of kind .*64; .*(fixed date|seconds)"
        ):
            from_frame(theirs, "kind", **options)


def test_integers_of_128_bits_are_numbers_where_they_are_small():
    theirs = pl.DataFrame({"size": pl.Series(range(40), dtype=pl.Int128), "kind": [0, 1] * 20})
    ours = pd.DataFrame({"size": range(40), "kind": [0, 1] * 20})
    assert from_frame(theirs, "kind").fingerprint == from_frame(ours, "kind").fingerprint
    with pytest.raises(TypeError, match=r"frame is a LazyFrame, .*after \.collect"):
        from_frame(theirs.lazy(), "kind")


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


def test_a_record_batch_is_its_table():
    theirs = pa.Table.from_pandas(people())
    batch = theirs.to_batches()[0]
    for read in (
        lambda: as_dataset((batch, "kind"), **HASHED),
        lambda: from_frame(batch, "kind", **HASHED),
    ):
        assert read().fingerprint == from_frame(people(), "kind", **HASHED).fingerprint


def test_tables_whose_rows_are_not_read_are_refused():
    theirs = pa.Table.from_pandas(people())
    for unread in (theirs.to_reader(), pyarrow.dataset.dataset(theirs)):
        with pytest.raises(TypeError, match="whose rows have not been read; give a table"):
            as_dataset((unread, "kind"))


def test_columns_that_occur_twice_are_refused_through_every_door():
    columns = [pa.array([1, 2]), pa.array([0, 1]), pa.array([0, 1])]
    theirs = pa.table(columns, names=["a", "y", "y"])
    frame = pd.DataFrame([[1, 0, 0]] * 40, columns=["a", "y", "y"])
    for given in (theirs, frame):
        with pytest.raises(ValueError, match="occur twice"):
            as_dataset((given, "y"))


def test_constants_by_name_for_a_table_of_pyarrow():
    features = pa.table({"a": np.arange(40.0), "b": np.arange(40.0)})
    data = from_arrays(features, np.arange(40) % 2, scale={"b": 10})
    assert data.examples([20])[0].tolist() == [[20, 2]]


def test_bytes_of_arrow_are_the_ordinary_ones():
    ours = pd.DataFrame({"c": [b"a", b"b"] * 20, "y": [0, 1] * 20})
    theirs = ours.assign(c=pd.Series(ours["c"], dtype=pd.ArrowDtype(pa.binary())))
    assert (
        from_frame(theirs, "y", **HASHED).fingerprint == from_frame(ours, "y", **HASHED).fingerprint
    )
