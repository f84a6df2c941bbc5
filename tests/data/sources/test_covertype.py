"""Covertype, read from a small stand-in and scaled by constants."""

import gzip

import numpy as np
import pytest
import torch

import unlearnkit as uk
from unlearnkit.data.sources import covertype


@pytest.fixture
def forest(monkeypatch):
    """Rows of a small Covertype, six of each class."""
    monkeypatch.setattr(covertype, "COUNTS", (6,) * 7)
    rows = np.zeros((42, 55), np.int16)
    rows[:, 0] = 2000 + 10 * np.arange(42)
    rows[:, 4] = -np.arange(42)  # heights below the water
    rows[:, 6] = 255
    rows[np.arange(42), 10 + np.arange(42) % 4] = 1
    rows[np.arange(42), 14 + np.arange(42) % 40] = 1
    rows[:, -1] = 1 + np.arange(42) % 7
    return rows


def csv_bytes(rows):
    return "".join(",".join(map(str, row)) + "\n" for row in rows.tolist()).encode()


@pytest.mark.parametrize("way", ["plain", "gzip", "fetched"])
def test_covertype_is_read_and_scaled_by_constants(no_files, online, forest, way):
    folder = no_files / "data" / "covertype"
    folder.mkdir(parents=True)
    if way == "plain":
        (folder / "covtype.data").write_bytes(csv_bytes(forest))
    elif way == "gzip":
        (folder / "covtype.data.gz").write_bytes(gzip.compress(csv_bytes(forest)))
    else:
        pair = (forest[:, :-1].astype(float), forest[:, -1].astype(np.int32))
        online("fetch_covtype", lambda **kwargs: pair)
    data = uk.load("covertype")
    assert (len(data.train), len(data.probe), len(data.test)) == (31, 4, 7)
    inputs, labels = data.examples(np.arange(42))
    assert labels.tolist() == (np.arange(42) % 7).tolist()
    assert torch.allclose(inputs[:, 0], torch.arange(42) / 100 - 1)
    assert torch.allclose(inputs[:, 4], -torch.arange(42) / 100)
    assert inputs[:, 6].eq(1).all() and inputs[:, 1].eq(-1).all()
    assert np.array_equal(inputs[:, 10:].numpy(), forest[:, 10:-1])
    assert len(data.feature_names) == 54 and data.class_names[6] == "Krummholz"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], r"\(41, 55\) rows and columns, expected \(42, 55\)"),
        (lambda rows: rows[:, 1:], r"\(42, 54\) rows and columns"),
        (lambda rows: np.roll(rows, 1, 1), "examples of classes 0, 1"),
        (
            lambda rows: rows - np.eye(42, 55, 10, dtype=np.int16),
            "do not have exactly one of the wild",
        ),
    ],
)
def test_damaged_covertype_is_noticed(no_files, forest, change, message):
    path = no_files / "covtype.data"
    path.write_bytes(csv_bytes(change(forest)))
    with pytest.raises(ValueError, match=f"covtype.data is damaged or not Covertype: .*{message}"):
        uk.load("covertype", path=no_files)


CUT_OFF = gzip.compress(b"1,2\n" * 99, mtime=0)[:-9]


@pytest.mark.parametrize("raw", [b"", b"1,2,x\n", b"1,99999\n", CUT_OFF])
def test_a_file_that_is_no_table_of_numbers_is_refused(no_files, raw):
    for name, file in (("covertype", "covtype.data"), ("purchase-100", "dataset_purchase")):
        file = f"{file}.gz" if raw[:1] == b"\x1f" else file
        (no_files / file).write_bytes(raw)
        with pytest.raises(ValueError, match=f"{file} is damaged or not"):
            uk.load(name, path=no_files)
