"""The file of features: rows with marks, which are overwritten when they are destroyed."""

import os

import numpy as np
import pytest
import torch

from unlearnkit.store import DiskStore, StoreError
from unlearnkit.store.feature_file import FEATURES, FeatureFile, read_features

ORIGINS = [f"origin {i}".encode() for i in range(6)]


def filled(folder):
    file = FeatureFile(DiskStore(folder), 6, 5)
    rows = torch.arange(1.0, 31).reshape(6, 5)
    places = np.array([1, 2, 5])
    file.write(places, rows[places], [ORIGINS[i] for i in places])
    return file, rows


def test_rows_come_back_with_marks_that_fit_their_origin_only(tmp_path):
    file, rows = filled(tmp_path)
    assert np.flatnonzero(file.filled).tolist() == [1, 2, 5]
    assert torch.equal(file.values[[1, 2, 5]], rows[[1, 2, 5]])
    places = np.array([1, 2, 5])
    assert file.fitting(places, [ORIGINS[1], ORIGINS[3], ORIGINS[5]]).tolist() == [
        True,
        False,
        True,
    ]
    assert repr(file).endswith("3 of 6 rows)")
    del file
    again = FeatureFile(DiskStore(tmp_path), 6, 5)
    assert again.fitting(places, [ORIGINS[i] for i in places]).all()


def test_erased_rows_are_nowhere_in_the_folder(tmp_path):
    file, rows = filled(tmp_path)
    file.erase(np.array([1, 5]))
    held = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert [rows[i].numpy().tobytes() in held for i in (1, 2, 5)] == [False, True, False]
    assert np.flatnonzero(file.filled).tolist() == [2]
    assert not file.values[[1, 5]].any()


def test_a_damaged_row_does_not_fit(tmp_path):
    file, _ = filled(tmp_path)
    with open(tmp_path / FEATURES, "r+b") as handle:
        handle.seek(4 * 5 * 2 + 3)
        handle.write(b"x")
    places = np.array([1, 2, 5])
    assert file.fitting(places, [ORIGINS[i] for i in places]).tolist() == [True, False, True]


def test_a_file_of_another_size_is_replaced(tmp_path):
    old, rows = filled(tmp_path)
    assert not FeatureFile(DiskStore(tmp_path), 6, 4).filled.any()
    assert torch.equal(old.values[1], rows[1]), "who has mapped the old file still reads it"
    assert (tmp_path / FEATURES).stat().st_size == 6 * (4 * 4 + 16)


def test_another_owner_writes_and_the_earlier_one_does_not(tmp_path):
    file, rows = filled(tmp_path)
    assert file.writable
    DiskStore(tmp_path)
    assert not file.writable
    with pytest.raises(StoreError, match="opened again"):
        file.write(np.array([0]), rows[:1], ORIGINS[:1])


def test_links_are_refused(tmp_path):
    store = DiskStore(tmp_path / "store")
    (tmp_path / "elsewhere").write_bytes(b"precious")
    os.link(tmp_path / "elsewhere", store.folder / FEATURES)
    with pytest.raises(StoreError, match="2 names"):
        FeatureFile(store, 6, 5)
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"


def test_reading_needs_no_lock_and_names_another_size(tmp_path):
    assert read_features(tmp_path, 6, 5) is None
    _, rows = filled(tmp_path)
    values, marks = read_features(tmp_path, 6, 5)
    assert np.array_equal(values[2], rows[2].numpy()) and marks.shape == (6, 16)
    with pytest.raises(StoreError, match="take 256"):
        read_features(tmp_path, 8, 4)
