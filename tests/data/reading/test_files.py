"""Files of which pandas guesses other types than the text that was declared."""

import pandas as pd
import pytest
import torch

from unlearnkit import from_file, from_frame

CASES = {
    "codes": ["1", "2"],
    "postcodes": ["01067", "98765"],
    "flags": ["true", "false"],
    "regions": ["NA", "EU"],
    "powers": ["1e5", "2e5"],
    "mixed": ["01", "x"],
}


def write(path, column, values, rows=40, target=(0, 1)):
    lines = [
        f"{row / 10},{values[row % len(values)]},{target[row // 2 % 2]}" for row in range(rows)
    ]
    path.write_text("\n".join([f"x,{column},y", *lines]) + "\n")
    return path


@pytest.mark.parametrize("column", CASES)
def test_a_declared_vocabulary_meets_the_text_in_the_file(tmp_path, column):
    values = CASES[column]
    path = write(tmp_path / "train.csv", column, values)
    # Of the test part pandas may guess another kind.
    test = write(tmp_path / "test.csv", column, values[:1], 6)
    data = from_file(path, "y", test=test, categories={column: values})
    ids = data.train.ids
    assert torch.equal(data.train.features[:, 1:], torch.eye(3)[torch.from_numpy(ids) % 2])
    assert data.test.features[:, 1:].tolist() == [[1, 0, 0]] * 6


@pytest.mark.parametrize("names", [["true", "false"], ["01", "02"], ["NA", "EU"], ["1", "2"]])
def test_class_names_meet_the_text_in_the_file(tmp_path, names):
    path = write(tmp_path / "train.csv", "z", [3, 4], target=names)
    data = from_file(path, "y", class_names=names)
    assert data.class_names == tuple(names)
    assert data.examples([0, 1, 2, 3])[1].tolist() == [0, 0, 1, 1]


def test_class_names_that_are_no_texts_of_the_file_name_its_numbers(tmp_path):
    path = write(tmp_path / "train.csv", "z", [3, 4])
    data = from_file(path, "y", class_names=["cat", "dog"])
    assert data.fingerprint == from_frame(pd.read_csv(path), "y").fingerprint


def test_hashed_columns_are_text_in_every_part(tmp_path):
    path = write(tmp_path / "train.csv", "code", ["01", "1.0", "x"], target=("a", "1"))
    test = write(tmp_path / "test.csv", "code", ["01", "1.0", ""], 6, target=("1", "1"))
    data = from_file(path, "y", test=test, hash_buckets=64)
    assert data.class_names == ("1", "a") and data.test.labels.tolist() == [0] * 6
    assert torch.equal(data.test.features[:2, 1:], data.train.features[:2, 1:])


def test_a_path_may_begin_with_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "train.csv", "z", [3, 4])
    assert len(from_file("~/train.csv", "y", test="~/train.csv").test) == 40
