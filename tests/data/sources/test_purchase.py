"""Purchase-100, read from a small stand-in in every layout that it comes in."""

import numpy as np
import pytest
import torch

import unlearnkit as uk
from published import same
from unlearnkit.data.sources import purchase

RANDOM = np.random.default_rng(0)


def csv_bytes(rows):
    return "".join(",".join(map(str, row)) + "\n" for row in rows.tolist()).encode()


@pytest.fixture
def shoppers(monkeypatch):
    """Rows of a small Purchase-100 as its text has them: class of 1 to 100, then 600 products."""
    monkeypatch.setattr(purchase, "NUM_ROWS", 300)
    products = RANDOM.integers(2, size=(300, 600))
    return np.column_stack([1 + RANDOM.permutation(np.arange(300) % 100), products])


def write_purchase(folder, form, rows):
    folder.mkdir(parents=True, exist_ok=True)
    labels, features = rows[:, 0] - 1, rows[:, 1:]
    if form == "text":
        (folder / "dataset_purchase").write_bytes(csv_bytes(rows))
    elif form == "rows":
        np.savez_compressed(folder / "dataset_purchase.npz", rows)
    else:
        one_hot = np.eye(100)[labels]
        np.savez_compressed(folder / "purchase100.npz", features=features, labels=one_hot)


@pytest.mark.parametrize("form", ["text", "rows", "arrays"])
@pytest.mark.parametrize("layout", [".", "purchase-100", "purchase100"])
def test_purchase_100_is_read_in_every_layout(no_files, monkeypatch, shoppers, form, layout):
    write_purchase(no_files / "mine" / layout, form, shoppers)
    monkeypatch.setenv("UNLEARNKIT_DATA", str(no_files / "mine"))
    data = uk.load("purchase-100")
    assert same(data, shoppers[:, 1:], shoppers[:, 0] - 1)
    assert data.train.features.dtype == torch.uint8 and data.num_classes == 100
    assert data.train.inputs().unique().tolist() == [0, 1]
    assert (len(data.train), len(data.probe), len(data.test)) == (220, 30, 50)


@pytest.mark.parametrize("form", ["text", "rows", "arrays"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], r"shape \(299, "),
        (lambda rows: rows[:, :-1], r"shape \(300, 599\)"),
        (lambda rows: rows + (np.arange(601) == 7), "not all 0 or 1"),
        (lambda rows: np.where(np.arange(601) == 0, 7, rows), "1 classes from 7 to 7"),
    ],
)
def test_damaged_purchase_100_is_noticed(no_files, shoppers, form, change, message):
    write_purchase(no_files, form, change(shoppers))
    with pytest.raises(ValueError, match=f"damaged or not Purchase-100: .*{message}"):
        uk.load("purchase-100", path=no_files)


def test_arrays_of_objects_and_broken_archives_are_not_opened(no_files, shoppers):
    path = no_files / "dataset_purchase.npz"
    np.savez(path, np.array([{}, []], object))
    with pytest.raises(ValueError, match=r"dataset_purchase.npz is damaged .*allow_pickle"):
        uk.load("purchase-100", path=no_files)
    np.savez(path, features=np.zeros((300, 600)))
    with pytest.raises(ValueError, match="it lacks the arrays features and labels, or arr_0"):
        uk.load("purchase-100", path=no_files)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"dataset_purchase.npz is damaged .*BadZipFile"):
        uk.load("purchase-100", path=no_files)
