"""Arrays of the caller: ids, split, kinds of numbers, and one clear error per bad input."""

import numpy as np
import torch

from unlearnkit.data.arrays import from_arrays


def problem(n=40, classes=3):
    """Rows that say which row they are, and labels that go round."""
    features = np.stack([np.arange(n), -np.arange(n)], 1).astype(np.float64)
    return features, np.arange(n) % classes


def test_later_changes_of_the_callers_arrays_do_not_reach_the_dataset():
    features = torch.arange(40.0).reshape(20, 2)
    labels = torch.arange(20) % 2
    data = from_arrays(features, labels)
    before = data.examples([3])[0].clone()
    features.fill_(-1)
    labels.fill_(0)
    assert torch.equal(data.examples([3])[0], before)
    assert data.to_frame()["label"].sum() == 10


def test_ids_are_the_callers_row_numbers_and_given_parts_follow():
    features, labels = problem(10)
    more, most = problem(3), problem(5)
    data = from_arrays(features, labels, probe=more, test=most)
    assert data.train.ids.tolist() == list(range(10))
    assert data.test.ids.tolist() == list(range(10, 15))
    assert data.probe.ids.tolist() == list(range(15, 18))
    assert data.examples([13, 17, 9])[0][:, 0].tolist() == [3, 2, 9]

    half = from_arrays(*problem(), test=most)
    assert (len(half.train), len(half.probe), len(half.test)) == (36, 4, 5)
    assert half.test.ids.tolist() == list(range(40, 45))
    assert half.examples(half.probe.ids)[0][:, 0].tolist() == half.probe.ids.tolist()


def test_the_split_depends_on_seed_and_number_alone():
    features, labels = problem()
    first = from_arrays(features, labels)
    np.random.seed(1)
    torch.manual_seed(1)
    other = from_arrays(np.zeros((40, 5)), labels[::-1], num_classes=9)
    assert np.array_equal(first.test.ids, other.test.ids)
    assert not np.array_equal(first.test.ids, from_arrays(features, labels, seed=1).test.ids)


def test_bytes_stay_bytes_and_all_else_becomes_float32():
    labels = np.arange(40) % 2
    for kind in (np.float64, np.float16, np.int64, np.int16, np.uint16, bool, ">f4"):
        data = from_arrays(np.ones((40, 3), kind), labels)
        assert data.train.features.dtype == torch.float32
        assert data.train.inputs().eq(1).all()
    for kind in (torch.bfloat16, torch.float64, torch.int8):
        data = from_arrays(torch.ones(40, 3, dtype=kind), torch.from_numpy(labels))
        assert data.train.features.dtype == torch.float32
    images = np.full((40, 1, 4, 4), 51, np.uint8)
    data = from_arrays(images, labels, scale=255)
    assert data.train.features.dtype == torch.uint8
    assert torch.equal(data.test.inputs(), torch.full((8, 1, 4, 4), 0.2))
    images.flags.writeable = False
    from_arrays(images[:, :, ::-1], labels.astype(np.float64), task="classification")
