"""Suggested constants: printed for every kind of data, rounded, and usable as they are printed."""

import ast

import numpy as np
import pandas as pd
import pytest
import torch

import unlearnkit as uk
from unlearnkit.data.column_constants import NOT_SILENTLY


def printed(capsys, *data) -> dict:
    """Return the printed constants, read as the arguments of a call."""
    assert uk.suggest_scaling(*data) is None
    text = capsys.readouterr().out
    about = " ".join(line.removeprefix("# ") for line in text.splitlines() if line[0] == "#")
    assert NOT_SILENTLY in about and max(map(len, text.splitlines())) <= 100
    call = ast.parse(f"f({text}\n)").body[0].value
    return {word.arg: ast.literal_eval(word.value) for word in call.keywords}


def numbers(rows: int = 200) -> np.ndarray:
    rng = np.random.default_rng(0)
    columns = [rng.normal(40, 12, rows), rng.normal(1e5, 3e4, rows), np.arange(rows) % 2]
    return np.stack([*columns, np.full(rows, 7.0), rng.normal(0, 0.002, rows)], 1)


def test_printed_constants_bring_columns_near_one_through_every_door(capsys):
    features = numbers()
    found = printed(capsys, features, np.arange(200) % 3)
    assert found == {"offset": [40, 100000, 0, 7, 0], "scale": [10, 30000, 1, 1, 0.002]}
    inputs = uk.from_arrays(features, np.arange(200) % 3, **found).train.inputs()
    assert inputs.abs().max() < 6
    uk.UnlearnableClassifier("logistic", epochs=1, **found).fit(features, np.arange(200) % 2)
    assert printed(capsys, (torch.tensor(features), torch.arange(200) % 3)) == found


def test_frames_give_constants_by_name_of_their_numeric_columns(capsys, tmp_path):
    names = ["age", "net income", "member", "seven", "tiny"]
    frame = pd.DataFrame(numbers(), columns=names).assign(town="Rome", price=numbers()[:, 0] * 9)
    found = printed(capsys, frame, "price")
    assert found["scale"] == {"age": 10, "net income": 30000, "tiny": 0.002}
    assert found["offset"] == {"age": 40, "net income": 100000, "seven": 7}
    assert (found["target_offset"], found["target_scale"]) == (400, 100)
    frame.to_csv(tmp_path / "prices.csv", index=False)
    assert printed(capsys, (str(tmp_path / "prices.csv"), "price")) == found
    uk.from_frame(frame.drop(columns="town"), "price", **found)
    wide = pd.DataFrame({f"a long name {i}": numbers()[:, 0] for i in range(40)})
    assert len(printed(capsys, wide)["scale"]) == 40


def test_labels_get_no_constants_and_targets_get_theirs(capsys):
    features = numbers()
    texts = np.where(features[:, 0] > 40, "old", "young")
    for labels in (texts, np.arange(200) % 20, np.arange(200) % 2 + 0.0, texts.tolist()):
        assert "target_scale" not in printed(capsys, features, labels)
    assert printed(capsys, features, features[:, 1])["target_scale"] == 30000
    assert printed(capsys, features, np.arange(200))["target_scale"] == 60
    assert printed(capsys, features, features[:, :2])["target_scale"] == [10, 30000]


def test_datasets_and_images_are_read_as_a_session_reads_them(capsys):
    data = uk.from_arrays(numbers(), numbers()[:, 1], target_offset=5, target_scale=100)
    assert printed(capsys, data)["target_scale"] == 30000  # in the units of the given values
    images = torch.randint(0, 256, (30, 3, 4, 4), dtype=torch.uint8)
    assert printed(capsys, images) == {"offset": 0, "scale": 255}
    torch_data = torch.utils.data.TensorDataset(images, torch.arange(30) % 2)
    assert printed(capsys, torch_data) == {"offset": 0, "scale": 255}


def test_what_has_no_numbers_is_refused():
    with pytest.raises(TypeError, match="features with values of kind <U1"):
        uk.suggest_scaling([["a"], ["b"]])
    with pytest.raises(KeyError, match="no column 'prise'"):
        uk.suggest_scaling(pd.DataFrame({"price": [1.0]}), "prise")
    with pytest.raises(ValueError, match="rows have different lengths"):
        uk.suggest_scaling([[1], [1, 2]])


@pytest.mark.parametrize("kind", [object, np.longdouble])
def test_numbers_of_any_kind_have_constants(capsys, kind):
    rows = numbers()
    assert printed(capsys, rows.astype(kind)) == printed(capsys, rows)
    frame = pd.DataFrame({"a": rows[:, 0], "when": pd.Timedelta(1), "z": 1j})
    expected = printed(capsys, frame[["a"]])
    assert printed(capsys, frame.astype({"a": kind})) == expected


def test_large_numbers_have_constants(capsys):
    rows = numbers()[:, :2]
    small, large = printed(capsys, rows), printed(capsys, rows * 1e300)
    for word in ("offset", "scale"):
        assert np.allclose(np.array(large[word]) / 1e300, small[word])


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ((np.ma.masked_greater(numbers(), 100),), ValueError, "masked entries"),
        ((numbers(), np.ma.masked_equal(np.arange(200), 3)), ValueError, "masked entries"),
        ((numbers().astype(str),), TypeError, "encode text"),
        ((numbers()[:0],), ValueError, r"shape \(0, 5\)"),
        ((pd.DataFrame(numbers(), columns=list("aabcd")),), ValueError, "'a'.* occur twice"),
        ((pd.DataFrame({"a": []}),), ValueError, "no rows"),
    ],
)
def test_data_without_constants_say_why(data, error, message):
    with pytest.raises(error, match=message):
        uk.suggest_scaling(*data)
