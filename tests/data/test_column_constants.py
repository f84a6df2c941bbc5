"""Constants by column: the same numbers through every door, and errors that name the column."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import unlearnkit as uk
from unlearnkit.data.column_constants import constants_by_column, scaled, warn_of_magnitudes

OFFSET, SCALE = [5.0, 50.0, 1.7e9], [1.0, 10.0, 10000.0]


def table(rows: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 3)) * SCALE + OFFSET, np.arange(rows) % 2


def right(features: np.ndarray) -> torch.Tensor:
    return torch.tensor((features - OFFSET) / SCALE, dtype=torch.float32)


@pytest.mark.parametrize(
    ("offset", "scale"),
    [
        (OFFSET, SCALE),
        (tuple(OFFSET), np.array(SCALE)),
        (torch.tensor(OFFSET, dtype=torch.float64), dict(enumerate(SCALE))),
        (dict(enumerate(OFFSET)), {1: 10, 2: np.float64(10000)}),
    ],
)
def test_arrays_are_scaled_column_by_column_in_full_precision(offset, scale):
    features, labels = table()
    data = uk.from_arrays(features, labels, offset=offset, scale=scale)
    for part in data.parts.values():  # float32 would lose the last column's digits before scaling
        torch.testing.assert_close(part[part.ids][0], right(features[part.ids]))
    assert (data.train.offset, data.train.scale) == (0, 1)


def test_all_parts_and_named_columns_are_scaled_alike():
    features, labels = table()
    frame = pd.DataFrame(features, columns=["a", "b", "c"])
    pair = frame.iloc[:20], labels[:20]
    scale = pd.Series(SCALE[::-1], index=["c", "b", "a"])  # by name, not by position
    data = uk.from_arrays(
        frame, labels, test=pair, probe=pair, offset={"a": 5, "b": 50, "c": 1.7e9}, scale=scale
    )
    torch.testing.assert_close(data.test.inputs(), right(features[:20]))
    encoded = frame.assign(kind=labels)
    again = uk.from_frame(
        encoded, "kind", offset=dict(zip("abc", OFFSET, strict=True)), scale=scale
    )
    torch.testing.assert_close(again.train.inputs(), data.examples(again.train.ids)[0])
    again = uk.from_frame(encoded, "kind", offset=OFFSET, scale=np.array(SCALE))
    torch.testing.assert_close(again.train.inputs(), data.examples(again.train.ids)[0])
    with pytest.raises(
        ValueError, match=r"a sequence, but the columns t hold no numbers; give a map"
    ):
        uk.from_frame(encoded.assign(t="x"), "kind", hash_buckets=4, scale=[1, 2, 3, 4])


def test_channels_of_images_have_constants_of_their_own():
    images = torch.randint(0, 256, (30, 3, 4, 4), dtype=torch.uint8)
    data = uk.from_arrays(images, torch.arange(30) % 2, offset=[100, 110, 120], scale=[50, 60, 70])
    means = torch.tensor([100.0, 110, 120]).view(3, 1, 1)
    spreads = torch.tensor([50.0, 60, 70]).view(3, 1, 1)
    expected = (images[data.train.ids].float() - means) / spreads
    torch.testing.assert_close(data.train.inputs(), expected)


def test_one_number_for_all_columns_keeps_features_and_fingerprint():
    features, labels = table()
    plain = uk.from_arrays(features, labels, offset=2, scale=3)
    for offset, scale in ((2.0, np.float32(3)), (torch.tensor(2), np.array(3))):
        other = uk.from_arrays(features, labels, offset=offset, scale=scale)
        assert other.fingerprint == plain.fingerprint
    assert torch.equal(plain.train.features, torch.tensor(features[plain.train.ids]).float())
    # Constants that differ between columns are part of what the fingerprint covers.
    one, two = (uk.from_arrays(features, labels, scale=[1, 1, c]) for c in (1, 2))
    assert one.fingerprint != two.fingerprint


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scale": [1, 2]}, ValueError, "scale has 2 constants for 3 columns; give one for all"),
        ({"scale": [[1], [2]]}, ValueError, r"scale has the shape \(2, 1\) for 3 columns"),
        ({"scale": [1, 0, 1]}, ValueError, "scale of columns 1 is 0.0; give finite"),
        ({"offset": [1, np.nan, 1]}, ValueError, "offset of columns 1 is nan"),
        ({"offset": {"b": 1}}, KeyError, r"offset= names \['b'\]; the columns are 0, 1, 2"),
        ({"offset": ["a", "b", "c"]}, TypeError, "offset holds something other than numbers"),
        ({"offset": "a"}, TypeError, "offset='a' is a str; give a number, or one number for each"),
        ({"scale": None}, TypeError, "scale=None is a NoneType; give a number"),
    ],
)
def test_constants_that_do_not_fit_are_refused(options, error, message):
    features, labels = table()
    with pytest.raises(error, match=message):
        uk.from_arrays(features, labels, **options)
    with pytest.raises(error, match=message):
        uk.UnlearnableClassifier("logistic", **options).fit(features, labels)


def test_a_mapping_needs_a_table():
    with pytest.raises(ValueError, match="mapping by column, but the features have the shape"):
        constants_by_column("scale", {0: 2}, (3, 8, 8))
    assert scaled(torch.zeros(0, 3), OFFSET, SCALE).shape == (0, 3)


def test_magnitudes_far_from_one_are_told_with_the_way_out():
    features, labels = table()
    with pytest.warns(UserWarning, match=r"columns 1, 2 range .* uk.suggest_scaling") as met:
        uk.Session((features, labels), model="logistic")
    assert met[0].filename == __file__
    assert "not compute such constants silently" in str(met[0].message)
    with pytest.warns(UserWarning, match="targets range from 90 to 110") as met:
        wide = uk.from_arrays(right(features), np.linspace(90, 110.5, 60).clip(90, 110))
        warn_of_magnitudes(wide)
    with pytest.warns(UserWarning, match=r"inputs range from -0.0\d+ to 0.0\d+, from which"):
        warn_of_magnitudes(uk.from_arrays(right(features), labels, scale=100))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        uk.Session(uk.from_arrays(features, labels, offset=OFFSET, scale=SCALE), model="logistic")
        # A model of the user's own may want such numbers, as an embedding does.
        uk.Session((features, labels), model=lambda: torch.nn.Linear(3, 2), version="1")
