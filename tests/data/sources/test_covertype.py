"""Covertype, as scikit-learn fetches it, scaled by constants."""

import numpy as np
import pytest
import torch

import unlearnkit as uk


@pytest.fixture
def forest():
    """Rows of a small Covertype, six of each class."""
    rows = np.zeros((42, 55), np.int16)
    rows[:, 0] = 2000 + 10 * np.arange(42)
    rows[:, 4] = -np.arange(42)  # heights below the water
    rows[:, 6] = 255
    rows[np.arange(42), 10 + np.arange(42) % 4] = 1
    rows[np.arange(42), 14 + np.arange(42) % 40] = 1
    rows[:, -1] = 1 + np.arange(42) % 7
    return rows


def test_covertype_is_fetched_and_scaled_by_constants(online, forest):
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
