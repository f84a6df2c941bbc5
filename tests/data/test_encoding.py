"""Encodings of columns: vocabularies, hashes, and constants of the whole table."""

import datetime
import re

import numpy as np
import pandas as pd
import pytest

from raw_data import people
from unlearnkit import from_frame


def rows(data, *ids):
    return data.examples(list(ids))[0].tolist()


def test_a_vocabulary_has_a_place_for_each_value_and_one_for_all_others():
    coats = {"coat": ["grey", "red"]}
    data = from_frame(people(), "kind", features=["coat", "age"], categories=coats)
    # grey, red, any other; age
    assert rows(data, 0, 1, 2, 3) == [[0, 1, 0, 20], [1, 0, 0, 21], [0, 0, 1, 22], [0, 0, 1, 23]]


def test_numbers_may_have_a_vocabulary_too():
    options = {"features": ["age"], "categories": {"age": [21, 20]}}
    assert rows(from_frame(people(), "kind", **options), 0, 1, 2) == [
        [0, 1, 0],
        [1, 0, 0],
        [0, 0, 1],
    ]


def test_hashing_is_that_of_the_definition():
    """A bucket and a sign, by MurmurHash3 of column=value."""
    from sklearn.utils import murmurhash3_32

    data = from_frame(people(), "kind", features=["coat", "age", "town"], hash_buckets=7)
    assert data.feature_shape == (8,)
    for row, words in ((0, ["coat=red", "town=Rome"]), (2, ["coat is missing", "town=Bonn"])):
        expected = np.zeros(7)
        for word in words:
            number = murmurhash3_32(word)  # signed
            expected[abs(number) % 7] += 1 if number >= 0 else -1
        assert rows(data, row) == [[20.0 + row, *expected]]


def test_one_rows_encoding_does_not_depend_on_the_others():
    options = {"hash_buckets": 5, "categories": {"town": ["Rome"]}, "scale": {"age": 10}}
    whole = from_frame(people(), "kind", **options)
    changed = people()
    changed.loc[7, ["coat", "town", "age"]] = ["violet", "Andorra la Vella", 1e6]
    other = from_frame(changed, "kind", **options)
    assert whole.feature_shape == other.feature_shape
    for part, theirs in zip(whole.parts.values(), other.parts.values(), strict=True):
        same = (part.features == theirs.features).all(1)
        assert part.ids[~same.numpy()].tolist() in ([], [7])


def test_constants_by_column():
    data = from_frame(people(), "kind", features=["age", "sold"], offset={"age": 20}, scale=2)
    assert rows(data, 0, 1) == [[0, 0.5], [0.5, 0]]
    # With an encoding, constants are for numbers: a one stays one.
    coats = {"coat": ["red"]}
    data = from_frame(people(), "kind", features=["age", "coat"], categories=coats, offset=20)
    assert rows(data, 0, 1) == [[0, 1, 0], [1, 0, 1]]
    assert (data.train.offset, data.train.scale) == (0, 1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, TypeError, r"'coat': .*categories=\{'coat': \[...\]\}.*hash_buckets=64"),
        ({"categories": {"hat": ["red"]}}, KeyError, r"categories= names \['hat'\]"),
        ({"categories": ["coat"]}, TypeError, "give a mapping by column"),
        ({"categories": {"coat": "red"}}, ValueError, "give a list of distinct values"),
        ({"categories": {"coat": ["red", "red"]}}, ValueError, "give a list of distinct values"),
        ({"categories": {"coat": []}}, ValueError, "give a list of distinct values"),
        ({"hash_buckets": 0}, ValueError, "hash_buckets=0; give a whole number of at least 1"),
        ({"hash_buckets": 4, "offset": {"coat": 1}}, KeyError, "does not hold numbers"),
        ({"hash_buckets": 4, "offset": {"hat": 1}}, KeyError, r"offset= names \['hat'\]"),
        ({"hash_buckets": 4, "scale": {"age": 0}}, ValueError, "scale=0 for 'age'"),
        (
            {"hash_buckets": 4, "test": people().astype({"age": str})},
            TypeError,
            r"test: columns \('age', .*\) hold neither numbers nor booleans, but those",
        ),
    ],
)
def test_bad_columns(options, error, message):
    with pytest.raises(error, match=message):
        from_frame(people(), "kind", **options)


@pytest.mark.parametrize(
    ("values", "way"),
    [
        (np.arange(40) * 1j, "real and imaginary parts as two columns"),
        ([[1, 2]] * 40, "a column for each of their numbers"),
        ([b"a"] * 40, "decode"),
        (["1,5"] * 40, r"\(such as '1,5' in 'c'\); if they are numbers, .*decimal=','"),
        (
            ["?", *map(str, range(39))],
            r"\(such as '\?' in 'c'\); if they are numbers, .*na_values=",
        ),
        (["01067", "00001"] * 20, "fixed vocabulary"),
        ([None] * 40, "'c' is missing in every row"),
    ],
)
def test_columns_without_numbers_get_a_way_out_that_fits(values, way):
    frame = pd.DataFrame({"a": np.arange(40.0), "c": values, "y": [0, 1] * 20})
    with pytest.raises(
        TypeError, match=rf"columns \{{'c': .*hold neither.*{way}|{way}.*hold neither"
    ):
        from_frame(frame, "y")


@pytest.mark.parametrize(
    ("values", "way"),
    [
        (pd.to_timedelta(range(40), unit="h"), "total_seconds"),
        (pd.period_range("2020", periods=40, freq="D"), "start_time"),
        ([datetime.date(2020, 5, 17)] * 40, "to_datetime"),
    ],
)
def test_dates_get_a_way_out_that_works(values, way):
    frame = pd.DataFrame({"c": values, "y": [0, 1] * 20})
    with pytest.raises(TypeError, match="holds values of kind") as met:
        from_frame(frame, "y")
    call = next(part for part in str(met.value).split(", ") if way in part)
    numbers = eval(call, {"frame": frame, "pandas": pd})
    from_frame(frame.assign(c=numbers), "y")


def test_what_was_given_is_not_given_as_the_way_out():
    frame = pd.DataFrame({"c": pd.interval_range(0, 40), "y": [0, 1] * 20})
    with pytest.raises(TypeError, match=r"give them as text \(frame\['c'\].astype\(str\)\)"):
        from_frame(frame, "y", hash_buckets=8)


def test_objects_that_are_all_numbers_are_numbers():
    frame = pd.DataFrame({"a": np.arange(40.0), "b": [True, False] * 20, "y": [0, 1] * 20})
    objects = frame.astype({"a": object, "b": object})
    assert from_frame(objects, "y").fingerprint == from_frame(frame, "y").fingerprint
    objects.loc[3, "b"] = None
    with pytest.raises(ValueError, match=r"1 of 40 rows hold NaN .* columns 'b' \(rows 3\)"):
        from_frame(objects, "y")
    huge = frame.assign(a=[2**70 + row for row in range(40)])
    with pytest.warns(UserWarning, match="'a' holds whole numbers so large"):
        from_frame(huge, "y")


def test_columns_with_gaps_are_named():
    frame = people(40).assign(age=np.where(np.arange(40) == 7, np.nan, 1.0), size=np.inf)
    message = r"frame: 40 of 40 rows hold NaN or infinite values in the columns 'age', 'size'"
    with pytest.raises(ValueError, match=message):
        from_frame(frame, "kind", hash_buckets=4)


class Unnamed:
    """An object whose text is its address."""


@pytest.mark.parametrize("value", [{"a", "b"}, frozenset("ab"), Unnamed()])
def test_texts_that_differ_between_runs_are_not_hashed(value):
    frame = pd.DataFrame({"c": [value] * 40, "y": [0, 1] * 20})
    with pytest.raises(TypeError, match=r"column 'c' holds values of kind .* text differs between"):
        from_frame(frame, "y", hash_buckets=4)


@pytest.mark.parametrize(
    ("features", "met"), [(0, "a int"), (slice(2), "a slice"), ([True, False], "a mask")]
)
def test_features_are_a_list_of_columns(features, met):
    with pytest.raises(TypeError, match=f"is {met}; give a list of columns"):
        from_frame(people(), "kind", features=features)
    with pytest.raises(ValueError, match="features= names 'age' more than once"):
        from_frame(people(), "kind", features=["age", "age"])


DATES = {
    "naive": pd.date_range("2020-01-01", periods=40),
    "zone": pd.date_range("2020-01-01", periods=40, tz="Europe/Berlin"),
    "mixed": [
        pd.Timestamp("2020-01-01", tz=zone) + pd.Timedelta(days=day)
        for day in range(20)
        for zone in ("UTC", "Asia/Tokyo")
    ],
    "dates": [datetime.date(2020, 1, 1) + datetime.timedelta(day) for day in range(40)],
    "times": [datetime.time(day // 2, day) for day in range(40)],
    "months": pd.period_range("2020-01", periods=40, freq="M"),
    "spans": pd.to_timedelta(np.arange(40), unit="h"),
    "objects": pd.Series(list(pd.to_timedelta(np.arange(40), unit="h")), dtype=object),
}


@pytest.mark.parametrize("kind", DATES)
def test_the_way_out_for_dates_makes_numbers(kind):
    frame = pd.DataFrame({"when": DATES[kind], "y": np.arange(40) % 2})
    with pytest.raises(TypeError, match="column 'when' holds values of kind") as refused:
        from_frame(frame, "y")
    found = re.search(r"(?:date|seconds), (.*), or leave the column out", str(refused.value))
    assert found is not None
    frame["when"] = eval(found[1], {"frame": frame, "pandas": pd})
    assert from_frame(frame, "y").train.features.diff(dim=0).abs().max() > 0


def test_separators_of_thousands_are_no_decimal_commas():
    frame = pd.DataFrame({"size": [f"{990 + row:,}" for row in range(40)], "y": [0, 1] * 20})
    with pytest.raises(TypeError, match=r"'1,000' in 'size'\); if the commas separate thousands"):
        from_frame(frame, "y")
