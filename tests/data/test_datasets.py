"""Datasets by name and from what callers hold."""

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from torch.utils.data import TensorDataset

from raw_data import problem, table
from unlearnkit import UnlearnableClassifier
from unlearnkit.data.arrays import from_arrays
from unlearnkit.data.datasets import DATASETS, as_dataset, load
from unlearnkit.data.examples import Dataset
from unlearnkit.data.frames import from_file

DOORS = {
    "arrays": lambda X, y, folder: (X, y),
    "tensors": lambda X, y, folder: (torch.tensor(X), torch.tensor(y)),
    "pandas": lambda X, y, folder: (pd.DataFrame({"x": X[:, 0], "y": y}), "y"),
    "polars": lambda X, y, folder: (pl.DataFrame({"x": X[:, 0], "y": y}), "y"),
    "pyarrow": lambda X, y, folder: (pa.table({"x": X[:, 0], "y": y}), "y"),
    "file": lambda X, y, folder: (csv(folder, X, y), "y"),
    "torch": lambda X, y, folder: TensorDataset(torch.tensor(X), torch.tensor(y)),
    "hugging face": lambda X, y, folder: datasets.Dataset.from_dict({"x": X[:, 0], "label": y}),
}


def csv(folder, X, y):
    pd.DataFrame({"x": X[:, 0], "y": y}).to_csv(folder / "data.csv", index=False)
    return folder / "data.csv"


@pytest.mark.parametrize("door", DOORS)
def test_every_door_asks_about_class_numbers_with_gaps(door, tmp_path):
    X, y = problem()
    for labels, absent in (
        (y + 1, "no row has 0:"),
        (10 * (y + 1), "no row has 0, 1, 2, 3, 4 and"),
    ):
        with pytest.warns(UserWarning, match=absent) as caught:
            data = as_dataset(DOORS[door](X, labels, tmp_path))
        assert data.num_classes == labels.max() + 1 and caught[0].filename == __file__
    fitted = UnlearnableClassifier("logistic", epochs=1).fit(X / 40, 10 * (y + 1))
    assert fitted.classes_.tolist() == [10, 20, 30] and fitted.predict_proba(X).shape == (40, 3)


@pytest.mark.parametrize("door", DOORS)
def test_every_door_tells_of_whole_numbers_that_lose_digits(door, tmp_path):
    X, y = problem()
    with pytest.warns(UserWarning, match="float32 cannot tell apart"):
        as_dataset(DOORS[door](X.astype(np.int64) + 2**40, y, tmp_path))


def test_digits_is_scikit_learns_in_another_order():
    from sklearn.datasets import load_digits

    data = load("digits")
    images, labels = load_digits(return_X_y=True)
    assert (len(data.train), len(data.probe), len(data.test)) == (1297, 200, 300)
    assert data.feature_shape == (1, 8, 8)
    assert data.train.features.dtype == torch.uint8
    inputs, found = data.examples(np.arange(1797))
    ours = np.column_stack([found.numpy(), inputs.reshape(1797, 64).numpy() * 8 + 8])
    theirs = np.column_stack([labels, images])
    assert np.array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])
    assert data.train.ids.tolist() == list(range(1297))


def test_the_split_of_digits_never_moves():
    # Ids in stores and notebooks point here; a change of these numbers orphans them.
    data = load("digits")
    assert data.train.labels[:8].tolist() == [0, 6, 3, 8, 1, 8, 4, 1]
    assert data.fingerprint == "516b4850a2b9cc71e2d6040f4b3ed02d"


def test_fewer_examples_are_nested_mixed_and_repeatable():
    few, more = load("digits", num_examples=100), load("digits", num_examples=400)
    assert len(few.train) == 100
    assert np.array_equal(few.train.ids, load("digits", num_examples=100).train.ids)
    assert np.isin(few.train.ids, more.train.ids).all()
    assert np.isin(more.train.ids, load("digits").train.ids).all()
    assert np.array_equal(few.test.ids, more.test.ids)
    assert len(few.train.labels.unique()) == 10
    assert few.fingerprint != more.fingerprint


@pytest.mark.parametrize("number", [0, -3, 1298])
def test_num_examples_out_of_range(number):
    with pytest.raises(ValueError, match=f"num_examples={number}, .* 1297 examples; give 1 to"):
        load("digits", num_examples=number)


def test_load_names_what_it_knows():
    with pytest.raises(KeyError, match=r"no dataset is named 'nist'; .*hoose from digits, .*mnist"):
        load("nist")
    with pytest.raises(TypeError, match="num_examples=True is a bool"):
        load("digits", num_examples=True)
    with pytest.raises(ValueError, match="leave path= out"):
        load("digits", path="here")


def test_a_source_of_ones_own_joins_by_its_name(monkeypatch):
    def tiny(*, path, num_examples):
        return from_arrays(*problem(num_examples or 40))

    monkeypatch.setitem(DATASETS, "tiny", tiny)
    assert len(load("tiny", num_examples=20).train) == 14


FEATURES, LABELS = problem()


def test_as_dataset_takes_what_callers_hold():
    data = as_dataset("digits", num_examples=50)
    assert isinstance(data, Dataset)
    assert as_dataset(data) is data
    assert as_dataset(problem(), seed=3).name == "arrays"
    assert as_dataset((table(), "kind")).num_classes == 3
    frame = table()
    pair = (frame[["size", "wild"]].astype(float), pd.Series(np.arange(40) % 2))
    assert as_dataset(pair).feature_shape == (2,)


@pytest.mark.parametrize("data", [None, 3, table(), (1, 2, 3), FEATURES])
def test_as_dataset_names_the_accepted_kinds(data):
    with pytest.raises(
        TypeError, match=r"is not a dataset; give a name \(digits, shifted-digits, dia"
    ):
        as_dataset(data)


def test_options_for_a_finished_dataset_are_refused():
    with pytest.raises(TypeError, match="options seed were given with a finished Dataset"):
        as_dataset(from_arrays(*problem()), seed=1)


def test_purchase_100_is_read_from_a_file(tmp_path):
    with pytest.raises(KeyError, match=r"purchase-100 is not loaded by name; .*from_file\("):
        load("purchase-100")
    path = tmp_path / "dataset_purchase.csv"
    rows = [f"{1 + k % 100},{k % 2},{k % 3 % 2}" for k in range(300)]
    path.write_text("\n".join(["class,product 1,product 2", *rows]))
    data = from_file(path, "class")
    assert data.feature_names == ("product 1", "product 2")
    assert data.examples([4])[1].item() == 5


def test_a_path_alone_asks_for_the_target(tmp_path):
    path = tmp_path / "people.csv"
    for given in (path, str(path), "people.csv"):
        with pytest.raises(
            TypeError, match=r"people.csv' is a file.*give a pair .*, target column"
        ):
            as_dataset(given)
