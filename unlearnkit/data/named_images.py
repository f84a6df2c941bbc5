"""Named image datasets: digits, Fashion-MNIST, MNIST and CIFAR-10, with parts and scaling."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from unlearnkit.data.arrays import first_of, keyed_permutation, split
from unlearnkit.data.examples import Dataset
from unlearnkit.data.reading.groups import Grouping
from unlearnkit.data.sources import (
    CIFAR_10_CLASSES,
    cifar_10_arrays,
    fashion_mnist_arrays,
    mnist_arrays,
)

# Inputs are (pixels - offset) / scale, which maps 0..16 to -1..1.
DIGITS_OFFSET, DIGITS_SCALE = 8.0, 8.0
NUM_DIGITS, DIGITS_TRAIN = 1797, 1297
DIGITS_SOURCE = "Alpaydin and Kaynak 1998, UCI Machine Learning Repository"

# Means and standard deviations of all pixels of the training sets, 0..255, as they are commonly
# published; of CIFAR-10's channels, whose constants hardly differ, the mean. They are constants of
# this module, so no revoked example has an influence on them.
FASHION_MNIST_PIXELS = (72.94, 90.02)
MNIST_PIXELS = (33.32, 78.57)
CIFAR_10_PIXELS = (120.71, 64.15)

DIGIT_CLASSES = tuple(str(digit) for digit in range(10))
FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def load_digits(*, path: str | Path | None = None, num_examples: int | None = None) -> Dataset:
    """Load 1,797 handwritten digits of 8 x 8 pixels with values 0..16 from scikit-learn.

    Scikit-learn's rows are sorted by writer, so they are shuffled in a fixed order. Ids number the
    shuffled examples: training 0..1296, probe 1297..1496, test 1497..1796.

    Source: Alpaydin and Kaynak 1998, UCI Machine Learning Repository. Licence: CC BY 4.0.
    """
    images, labels = _digits("digits", path)
    dataset = split(
        "digits",
        torch.from_numpy(images),
        torch.from_numpy(labels),
        {
            "train": first_of(np.arange(DIGITS_TRAIN), num_examples),
            "probe": np.arange(DIGITS_TRAIN, 1497),
            "test": np.arange(1497, NUM_DIGITS),
        },
        class_names=DIGIT_CLASSES,
        offset=DIGITS_OFFSET,
        scale=DIGITS_SCALE,
    )
    return replace(dataset, source=f"{DIGITS_SOURCE}, by scikit-learn", licence="CC BY 4.0")


def load_shifted_digits(
    *, path: str | Path | None = None, num_examples: int | None = None
) -> Dataset:
    """Load the training digits of :func:`load_digits` in nine places each: 11,673 images.

    A digit is shifted by up to one pixel up, down, left and right; what leaves the image is lost.
    It is a larger problem on which no file has to be fetched. The nine copies of a digit are one
    group, so that they lie in one shard and slice and are forgotten together with
    ``session.revoke(group=17)``. Probe and test examples are the digits of those parts of
    :func:`load_digits`, which are not shifted and of which no copy is trained on.

    Ids: ``id % 1797`` is the id of the digit in :func:`load_digits`, and its group. Ids below 1797
    are the digits that are not shifted.

    Source: as for :func:`load_digits`; the shifts are ours. Licence: CC BY 4.0.
    """
    images, labels = _digits("shifted-digits", path)
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    shifts = sorted(((y, x) for y in range(3) for x in range(3)), key=lambda shift: shift != (1, 1))
    copies = [padded[:, :, y : y + 8, x : x + 8] for y, x in shifts]
    digits = np.tile(np.arange(NUM_DIGITS), len(shifts))
    ids = np.arange(len(digits)).reshape(len(shifts), NUM_DIGITS)
    dataset = split(
        "shifted-digits",
        torch.from_numpy(np.concatenate(copies)),
        torch.from_numpy(labels[digits]),
        {
            # All places of the first digit, then all of the second, and so on.
            "train": first_of(ids[:, :DIGITS_TRAIN].T.ravel(), num_examples),
            "probe": ids[0, DIGITS_TRAIN:1497],
            "test": ids[0, 1497:],
        },
        class_names=DIGIT_CLASSES,
        offset=DIGITS_OFFSET,
        scale=DIGITS_SCALE,
        groups=digits,
        grouping=Grouping(tuple(range(NUM_DIGITS)), "digit"),
    )
    return replace(dataset, source=f"{DIGITS_SOURCE}, by scikit-learn", licence="CC BY 4.0")


def _digits(
    name: str, path: str | Path | None
) -> tuple[UInt8[np.ndarray, "n 1 8 8"], Int64[np.ndarray, " n"]]:
    """Return scikit-learn's digits and their labels in the order of the ids."""
    from sklearn import datasets  # slow to import, and only needed here

    if path is not None:
        raise ValueError(f"path={str(path)!r}, but {name} ships with scikit-learn; leave path= out")
    order = keyed_permutation(NUM_DIGITS, seed=0)
    images, labels = datasets.load_digits(return_X_y=True)
    return images[order].astype(np.uint8).reshape(-1, 1, 8, 8), labels[order].astype(np.int64)


def load_fashion_mnist(
    *, path: str | Path | None = None, num_examples: int | None = None
) -> Dataset:
    """Load Fashion-MNIST: 70,000 images of clothing, 28 x 28 bytes (Xiao et al. 2017).

    Ids 0..59999 are the published training set in its order and 60000..69999 the test set, from
    which a fixed random choice of 2,000 examples is the probe part.

    Source: https://github.com/zalandoresearch/fashion-mnist. Licence: MIT.
    """
    train_images, train_labels, test_images, test_labels = fashion_mnist_arrays(path)
    return _published(
        "fashion-mnist",
        (train_images[:, None], train_labels),
        (test_images[:, None], test_labels),
        num_examples,
        pixels=FASHION_MNIST_PIXELS,
        class_names=FASHION_MNIST_CLASSES,
        source="Xiao et al. 2017, https://github.com/zalandoresearch/fashion-mnist",
        licence="MIT",
    )


def load_mnist(*, path: str | Path | None = None, num_examples: int | None = None) -> Dataset:
    """Load MNIST: 70,000 handwritten digits, 28 x 28 bytes (LeCun et al. 1998).

    Ids 0..59999 are the published training set in its order and 60000..69999 the test set, from
    which a fixed random choice of 2,000 examples is the probe part.

    Source: http://yann.lecun.com/exdb/mnist. Licence: CC BY-SA 3.0, copyright of Yann LeCun and
    Corinna Cortes.
    """
    train_images, train_labels, test_images, test_labels = mnist_arrays(path)
    return _published(
        "mnist",
        (train_images[:, None], train_labels),
        (test_images[:, None], test_labels),
        num_examples,
        pixels=MNIST_PIXELS,
        class_names=DIGIT_CLASSES,
        source="LeCun et al. 1998, http://yann.lecun.com/exdb/mnist",
        licence="CC BY-SA 3.0, copyright of Yann LeCun and Corinna Cortes",
    )


def load_cifar_10(*, path: str | Path | None = None, num_examples: int | None = None) -> Dataset:
    """Load CIFAR-10: 60,000 photographs in ten classes, 3 x 32 x 32 bytes (Krizhevsky 2009).

    Ids 0..49999 are the published training set in its order and 50000..59999 the test set, from
    which a fixed random choice of 2,000 examples is the probe part. ``model="cnn"`` suits it.

    Source: https://www.cs.toronto.edu/~kriz/cifar.html. Licence: none is stated; the authors ask
    that the report be cited.
    """
    train_images, train_labels, test_images, test_labels = cifar_10_arrays(path)
    return _published(
        "cifar-10",
        (train_images, train_labels),
        (test_images, test_labels),
        num_examples,
        pixels=CIFAR_10_PIXELS,
        class_names=CIFAR_10_CLASSES,
        source="Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none named; its authors ask that Krizhevsky 2009 be cited",
    )


def _published(
    name: str,
    train: tuple[UInt8[np.ndarray, "n *pixels"], UInt8[np.ndarray, " n"]],
    test: tuple[UInt8[np.ndarray, "m *pixels"], UInt8[np.ndarray, " m"]],
    num_examples: int | None,
    *,
    pixels: tuple[float, float],
    class_names: tuple[str, ...],
    source: str,
    licence: str,
) -> Dataset:
    """Make a dataset of published parts; a fixed fifth of the test set is the probe part.

    Ids number the examples in the order of the files. Inputs are centred and scaled by ``pixels``,
    the published mean and standard deviation.
    """
    offset, scale = pixels
    num_train, num_test = len(train[1]), len(test[1])
    held_out = num_train + keyed_permutation(num_test, seed=0)
    chosen = first_of(keyed_permutation(num_train, seed=0), num_examples)
    dataset = split(
        name,
        torch.from_numpy(np.concatenate([train[0], test[0]])),
        torch.from_numpy(np.concatenate([train[1], test[1]]).astype(np.int64)),
        {"train": chosen, "probe": held_out[: num_test // 5], "test": held_out[num_test // 5 :]},
        class_names=class_names,
        offset=offset,
        scale=scale,
    )
    return replace(dataset, source=source, licence=licence, input_span=255 / scale)
