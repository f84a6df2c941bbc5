"""Tables, in memory and in files: which columns become what, and which are refused."""

import builtins

import numpy as np
import pandas as pd
import pytest
import torch

from raw_data import people, table
from unlearnkit import Session, from_file, from_frame
from unlearnkit.data.datasets import as_dataset


def rows(data, *ids):
    return data.examples(list(ids))[0].tolist()


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
        ("table.xlsx", b"", ValueError, r"unknown ending; .* one of \.csv, \.csv\.gz, \.parquet"),
        ("empty.csv", b"", ValueError, r"empty\.csv' cannot be read: No columns"),
        ("torn.csv", b"a,kind\n1,2\n1,2,3\n", ValueError, "cannot be read: Error tokenizing"),
        ("other.csv.gz", b"a,b", ValueError, r"cannot be read: .*Not a gzipped file"),
        ("columns.csv", b"a,b\n1,2\n", KeyError, r"lacks \['kind'\]; its columns are \['a', 'b'\]"),
    ],
)
def test_bad_files(tmp_path, name, content, error, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        from_file(tmp_path / name, "kind")


def test_a_table_becomes_rows_by_position():
    data = from_frame(table(), "kind")
    assert data.feature_shape == (2,)
    assert data.class_names == ("cat", "dog", "emu")
    inputs, labels = data.examples([6, 1])
    assert inputs.tolist() == [[3, 1], [0.5, 0]]
    assert labels.tolist() == [1, 0]
    assert from_frame(table(), "kind", features=["size"]).feature_shape == (1,)


def test_target_values_map_by_a_fixed_vocabulary():
    named = from_frame(table(), "kind", class_names=["emu", "dog", "cat", "yak"])
    assert named.class_names == ("emu", "dog", "cat", "yak")
    assert named.examples([0, 1, 2])[1].tolist() == [1, 2, 0]

    frame = table()
    frame["kind"] = pd.Categorical(frame["kind"], categories=["yak", "dog", "cat", "emu"])
    assert from_frame(frame, "kind").examples([0, 1, 2])[1].tolist() == [1, 2, 3]

    frame["kind"] = np.arange(40) % 2 == 1
    assert from_frame(frame, "kind").class_names == ("False", "True")
    assert from_frame(frame, "kind").examples([0, 1])[1].tolist() == [0, 1]


def test_numbers_in_the_target_are_class_numbers_unless_values_are_named():
    frame = table().assign(kind=np.arange(40) % 3)
    assert from_frame(frame, "kind").examples([4, 5])[1].tolist() == [1, 2]
    named = from_frame(frame, "kind", class_names=["a", "b", "c"])
    assert named.examples([4, 5])[1].tolist() == [1, 2]
    frame["kind"] = np.where(frame["kind"] == 0, -1, 1)
    with pytest.raises(ValueError, match=r"labels are outside 0..1 .* such as -1"):
        from_frame(frame, "kind")
    signs = from_frame(frame, "kind", class_names=[-1, 1])
    assert signs.class_names == ("-1", "1")
    assert signs.examples([0, 1])[1].tolist() == [0, 1]
    frame["kind"] = frame["kind"].clip(0).astype("Int64")
    assert from_frame(frame, "kind").examples([0, 1])[1].tolist() == [0, 1]


def test_given_parts_of_a_table_share_its_vocabulary():
    unseen = table(4).assign(kind="ant")
    data = from_frame(table(), "kind", test=unseen)
    assert data.class_names == ("ant", "cat", "dog", "emu")
    assert data.test.ids.tolist() == [40, 41, 42, 43]
    assert data.test.labels.tolist() == [0] * 4


def test_tables_of_bytes_stay_bytes():
    frame = pd.DataFrame(np.ones((40, 3), np.uint8)).assign(y=np.arange(40) % 2)
    assert from_frame(frame, "y").train.features.dtype == torch.uint8


@pytest.mark.parametrize(
    ("frame", "options", "error", "message"),
    [
        (
            table().assign(name="x"),
            {},
            TypeError,
            r"\{'name': .*\} hold neither .* fixed vocabulary",
        ),
        (
            table().assign(day=pd.Timestamp(0)),
            {"hash_buckets": 4},
            TypeError,
            "'day' holds values of kind datetime64",
        ),
        (
            table().assign(day=pd.Timestamp(0)),
            {},
            TypeError,
            "'day' holds values of kind datetime64",
        ),
        (table().assign(z=1j), {}, TypeError, "'z': 'complex128'"),
        (table().drop(columns="kind"), {}, KeyError, r"lacks \['kind'\]; its columns are"),
        (table(), {"features": ["size", "age"]}, KeyError, r"lacks \['age'\]"),
        (table(), {"features": ["size", "kind"]}, ValueError, "leave out the target"),
        (table(), {"features": []}, ValueError, "at least one feature column"),
        (pd.concat([table(), table()], axis=1), {}, ValueError, "occur twice"),
        (
            table().replace({"kind": {"emu": None}}),
            {},
            ValueError,
            "target is missing in rows 2, 5",
        ),
        (table(), {"class_names": ["dog", "cat"]}, ValueError, "rows 2, 5.* such as 'emu'"),
        (table().assign(kind=0.5), {}, ValueError, "all targets are equal"),
        (table().assign(size=np.nan), {}, ValueError, "40 of 40 rows hold NaN"),
        (table().assign(size=pd.array([None] * 40, "Int64")), {}, ValueError, "40 of 40 rows"),
        (table().assign(size=1e300), {}, ValueError, "float32 cannot hold"),
        (table()[:0], {}, ValueError, "no examples"),
        (table().assign(kind="dog"), {}, ValueError, "fewer than two classes"),
        (table().assign(kind=["a", 1] * 20), {}, TypeError, "cannot be sorted"),
        (table(), {"test": table().drop(columns="wild")}, KeyError, r"test lacks \['wild'\]"),
    ],
)
def test_bad_tables(frame, options, error, message):
    with pytest.raises(error, match=message):
        from_frame(frame, "kind", **options)


@pytest.mark.parametrize("backend", [None, "numpy_nullable", "pyarrow"])
def test_columns_of_whole_numbers_stay_whole_where_that_is_asked_for(backend):
    frame = pd.DataFrame({"a": 2**40 + np.arange(40), "b": np.arange(40) % 5, "y": [0, 1] * 20})
    ours = frame if backend is None else frame.convert_dtypes(dtype_backend=backend)
    data = from_frame(ours, "y", dtype=torch.int64)
    assert data.examples([3])[0].tolist() == [[2**40 + 3, 3]]
    with pytest.raises(ValueError, match=r"column 'a'.* 1 of 40 rows .*\(rows 1, such as nan\)"):
        gap = ours.assign(a=ours["a"].astype("Int64").where(frame["b"].ne(1) | (frame.index > 1)))
        from_frame(gap, "y", dtype=torch.int64)
    with pytest.raises(ValueError, match=r"dtype=torch\.int64 applies to tables"):
        from_frame(frame.assign(w="x"), "y", hash_buckets=4, dtype=torch.int64)
