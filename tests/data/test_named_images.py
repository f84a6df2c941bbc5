"""Fashion-MNIST by its name: the published images in one numbering."""

import gzip

import numpy as np
import pytest
import torch

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
