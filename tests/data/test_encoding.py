"""Encodings of columns: vocabularies, hashes, and constants of the whole table."""

import numpy as np
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
