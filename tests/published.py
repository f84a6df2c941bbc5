"""Published data that a machine may have, and the mark of the tests that need them."""

from pathlib import Path

import pytest

DEBIAN = Path("/usr/share/datasets/fashion-mnist")

needs_fashion = pytest.mark.skipif(
    not (DEBIAN / "train-images-idx3-ubyte.gz").exists(),
    reason="needs Fashion-MNIST's files: apt install dataset-fashion-mnist",
)
