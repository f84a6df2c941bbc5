"""Published data: where a machine has them, which tests need them, and how they are compared."""

from pathlib import Path

import numpy as np
import pytest

DEBIAN = Path("/usr/share/datasets/fashion-mnist")

needs_fashion = pytest.mark.skipif(
    not (DEBIAN / "train-images-idx3-ubyte.gz").exists(),
    reason="needs Fashion-MNIST's files: apt install dataset-fashion-mnist",
)


def same(data, features, labels):
    """Whether the example of each id is the published row of that number, as it came."""
    for part in data.parts.values():
        assert np.array_equal(part.features.numpy(), features[part.ids])
        assert np.array_equal(part.labels.numpy(), labels[part.ids])
    ids = np.concatenate([part.ids for part in data.parts.values()])
    assert np.array_equal(np.sort(ids), np.arange(len(labels)))
    return True
