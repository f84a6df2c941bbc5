"""Named image data: the published images in one numbering, and digits in nine places."""

import gzip

import numpy as np
import pytest
import torch

import unlearnkit as uk
from published import DEBIAN, needs_fashion
from unlearnkit.data.datasets import load


@needs_fashion
def test_fashion_mnist_is_the_published_one():
    data = load("fashion-mnist")
    assert (len(data.train), len(data.probe), len(data.test)) == (60_000, 2000, 8000)
    assert np.array_equal(data.train.ids, np.arange(60_000))
    assert data.train.features.dtype == torch.uint8
    assert data.train.features.is_contiguous()
    assert data.train.labels.bincount().tolist() == [6000] * 10
    raw = gzip.open(DEBIAN / "t10k-images-idx3-ubyte.gz").read()[16:]
    image = torch.frombuffer(bytearray(raw[784 * 77 : 784 * 78]), dtype=torch.uint8)
    inputs, _ = data.examples([60_077])
    assert torch.equal(inputs.reshape(784), (image.float() - 72.94) / 90.02)
    pixels = data.train.features.double()
    assert abs(pixels.mean().item() - 72.94) < 0.01 and abs(pixels.std().item() - 90.02) < 0.01
    assert data.input_span == 255 / 90.02
    assert data.class_names[data.examples([0])[1].item()] == "Ankle boot"
    # The paper counts 60,000 different images; digests must not merge any of them.
    assert len(np.unique(data.train.digests, axis=0)) == 60_000


@needs_fashion
def test_a_smaller_fashion_mnist_is_mixed():
    data = load("fashion-mnist", num_examples=1000)
    assert data.train.labels.bincount().min() > 70  # 100 expected, standard deviation 9.5
    with pytest.raises(ValueError, match="give 1 to 60000"):
        load("fashion-mnist", num_examples=60_001)


def test_shifted_digits_are_the_digits_in_nine_places_and_no_copy_is_scored_on():
    data, plain = load("shifted-digits"), load("digits")
    assert len(data.train) == 9 * 1297 and len(data.test) == 300 and len(data.probe) == 200
    digits = data.train.ids % 1797
    assert np.array_equal(data.train.groups, digits) and set(digits) == set(range(1297))
    for part in ("probe", "test"):
        assert np.array_equal(data.parts[part].ids, plain.parts[part].ids)
        assert not np.isin(data.parts[part].ids % 1797, digits).any()
        inputs = data.examples(data.parts[part].ids)[0]
        assert torch.equal(inputs, plain.examples(plain.parts[part].ids)[0])
    inputs, labels = data.examples(data.train.ids)
    originals, classes = plain.examples(digits)
    assert torch.equal(labels, classes)
    # Each copy equals its original, where both show the same pixels.
    found = set()
    for i in np.flatnonzero(digits == 17):
        for y in (-1, 0, 1):
            for x in (-1, 0, 1):
                moved = torch.roll(originals[i, 0], (y, x), (0, 1))
                rows = slice(max(y, 0), 8 + min(y, 0)), slice(max(x, 0), 8 + min(x, 0))
                border = torch.ones(8, 8, dtype=torch.bool)
                border[rows] = False
                same = torch.equal(inputs[i, 0][rows], moved[rows])
                if same and bool((inputs[i, 0][border] == -1).all()):
                    found.add((y, x))
    assert len(found) == 9


def test_a_smaller_part_of_shifted_digits_is_nested_and_keeps_copies_together():
    few, more = (load("shifted-digits", num_examples=count) for count in (90, 180))
    assert np.isin(few.train.ids, more.train.ids).all()
    assert len(few.train) == 90 and len(np.unique(few.train.ids % 1797)) == 10


def test_a_digit_is_forgotten_with_its_copies():
    data = load("shifted-digits", num_examples=900)
    session = uk.Session(data, model="logistic", num_shards=3, num_slices=2, epochs=1)
    session.revoke(group=17)
    assert session.pending.tolist() == [17 + 1797 * k for k in range(9)]
    own = np.isin(session.plan.partition.ids, session.pending)
    assert own.sum() == 9 and len(np.unique(session.plan.partition.shard[own])) == 1
