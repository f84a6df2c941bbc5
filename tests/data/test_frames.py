"""Tables whose columns are no plain numbers, in memory and in files."""

import builtins

import numpy as np
import pandas as pd
import pytest
import torch

from unlearnkit import Session, as_dataset, from_file, from_frame


def people(rows: int = 40) -> pd.DataFrame:
    """A number, a boolean, two columns of text with a missing value in each, and the classes."""
    return pd.DataFrame(
        {
            "age": 20.0 + np.arange(rows),
            "sold": np.arange(rows) % 2 == 0,
            "coat": [["red", "grey", None, "blue"][row % 4] for row in range(rows)],
            "town": [["Rome", "Oslo", "Bonn", "Rome", None][row % 5] for row in range(rows)],
            "kind": [["dog", "cat"][row % 2] for row in range(rows)],
        }
    )


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


def test_a_categorical_column_brings_its_vocabulary_and_a_declared_one_wins():
    frame = people()
    frame["coat"] = frame["coat"].astype(pd.CategoricalDtype(["blue", "red", "grey"]))
    assert rows(from_frame(frame, "kind", features=["coat"]), 0, 2, 3) == [
        [0, 1, 0, 0],
        [0, 0, 0, 1],
        [1, 0, 0, 0],
    ]
    declared = from_frame(frame, "kind", features=["coat"], categories={"coat": ["blue"]})
    assert rows(declared, 0, 3) == [[0, 1], [1, 0]]
    # A test part has the vocabulary of the frame, whatever its own says.
    test = people(4).astype({"coat": "category"})
    data = from_frame(frame, "kind", features=["coat"], test=test)
    assert data.test.features.argmax(1).tolist() == [1, 2, 3, 0]


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
        ({"categories": {"hat": ["red"]}}, KeyError, r"categories for \['hat'\]"),
        ({"categories": ["coat"]}, TypeError, "give a mapping by column"),
        ({"categories": {"coat": "red"}}, ValueError, "give a list of distinct values"),
        ({"categories": {"coat": ["red", "red"]}}, ValueError, "give a list of distinct values"),
        ({"categories": {"coat": []}}, ValueError, "give a list of distinct values"),
        ({"hash_buckets": 0}, ValueError, "hash_buckets=0; give a whole number of at least 1"),
        ({"hash_buckets": 4, "offset": {"coat": 1}}, KeyError, "does not hold numbers"),
        ({"hash_buckets": 4, "offset": {"hat": 1}}, KeyError, r"offset for \['hat'\]"),
        ({"hash_buckets": 4, "scale": {"age": 0}}, ValueError, "scale=0 of 'age'"),
        (
            {"hash_buckets": 4, "test": people().astype({"age": str})},
            TypeError,
            r"test: columns \('age', .*\) hold neither numbers nor booleans, and those",
        ),
    ],
)
def test_bad_columns(options, error, message):
    with pytest.raises(error, match=message):
        from_frame(people(), "kind", **options)


# Files


def test_a_csv_file_is_its_table(tmp_path):
    path, options = tmp_path / "people.csv", {"hash_buckets": 4, "class_names": ["cat", "dog"]}
    people().to_csv(path, index=False)
    data = from_file(path, "kind", **options)
    assert data.fingerprint == from_frame(people(), "kind", **options).fingerprint
    assert data.name == "people.csv"
    assert as_dataset((str(path), "kind"), **options).fingerprint == data.fingerprint

    people(6).to_csv(tmp_path / "test.csv.gz", index=False)
    data = from_file(path, "kind", test=tmp_path / "test.csv.gz", **options)
    assert data.test.ids.tolist() == list(range(40, 46))


def test_a_session_on_a_file(tmp_path):
    people().drop(columns=["coat", "town"]).to_csv(tmp_path / "numbers.csv", index=False)
    session = Session((tmp_path / "numbers.csv", "kind"), model="logistic", epochs=1)
    session.train()
    session.revoke([int(session.dataset.train.ids[0])])
    assert session.unlearn(1).debt_after == 0


def test_parquet(tmp_path):
    people().to_parquet(tmp_path / "people.parquet")
    data = from_file(tmp_path / "people.parquet", "kind", hash_buckets=4)
    assert torch.equal(
        data.train.features, from_frame(people(), "kind", hash_buckets=4).train.features
    )


def test_parquet_without_pyarrow_is_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / "people.parquet").write_bytes(b"PAR1")
    imported = builtins.__import__

    def without(name, *rest, **more):
        if name.partition(".")[0] in ("pyarrow", "fastparquet"):
            raise ImportError(name)
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"needs pyarrow, .*pip install pyarrow, or .* \.csv"):
        from_file(tmp_path / "people.parquet", "kind")


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("absent.csv", None, FileNotFoundError, r"no file '.*absent\.csv'"),
        ("table.xlsx", b"", ValueError, r"ends in none of \.csv, \.csv\.gz, \.parquet"),
        ("empty.csv", b"", ValueError, r"empty\.csv' cannot be read: No columns"),
        ("torn.csv", b"a,kind\n1,2\n1,2,3\n", ValueError, "cannot be read: Error tokenizing"),
        ("other.csv.gz", b"a,b", ValueError, "cannot be read: Not a gzipped file"),
        ("columns.csv", b"a,b\n1,2\n", KeyError, r"lacks \['kind'\]; its columns are \['a', 'b'\]"),
    ],
)
def test_bad_files(tmp_path, name, content, error, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        from_file(tmp_path / name, "kind")
