"""Datasets by name, and from whatever a caller may hold."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Int64
from torch.utils.data import Dataset as TorchDataset

from unlearnkit.arrays import from_arrays, keyed_permutation, split
from unlearnkit.examples import Dataset, Examples
from unlearnkit.frames import from_file, from_frame
from unlearnkit.hugging_face import from_hugging_face, is_table
from unlearnkit.sources import fashion_mnist_arrays
from unlearnkit.torch_data import from_torch

__all__ = [
    "DATASETS",
    "Dataset",
    "Examples",
    "as_dataset",
    "from_arrays",
    "from_file",
    "from_frame",
    "from_hugging_face",
    "from_torch",
    "load",
]

# Inputs are (pixels - offset) / scale: the pixels' published range, mapped to -1..1.
DIGITS_OFFSET, DIGITS_SCALE = 8.0, 8.0
FASHION_MNIST_OFFSET, FASHION_MNIST_SCALE = 127.5, 127.5

# Measurements of the diabetes data, each mapped to about -2..2 by constants that are no statistics
# of it: an adult's age, the two codes of sex, and the limits between normal and high that medicine
# uses (body mass index 25: WHO; mean arterial pressure of 120/80; cholesterol 200, LDL 130, HDL 50
# mg/dl: NCEP; their ratio 4; triglycerides 150 mg/dl, of which the natural logarithm is given;
# fasting glucose 100 mg/dl). The spreads are round numbers.
DIABETES_COLUMNS = {
    "age": (50.0, 15.0),
    "sex": (1.5, 0.5),
    "body mass index": (25.0, 5.0),
    "blood pressure": (93.0, 15.0),
    "cholesterol": (200.0, 40.0),
    "LDL": (130.0, 40.0),
    "HDL": (50.0, 15.0),
    "cholesterol/HDL": (4.0, 1.5),
    "log triglycerides": (5.0, 0.5),
    "glucose": (100.0, 15.0),
}
# The score of progression is published as running from 25 to 346: to about -1.25..2.
DIABETES_TARGET_OFFSET, DIABETES_TARGET_SCALE = 150.0, 100.0

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


class DatasetSource(Protocol):
    """A way to get a dataset by name, to be entered in ``DATASETS``."""

    def __call__(self, *, path: str | Path | None, num_examples: int | None) -> Dataset:
        """The dataset.

        Args:
            path: folder of its files; None for the usual places.
            num_examples: size of the training part; None for all of it. A smaller part is the
                beginning of a fixed shuffle, so that it holds all classes and is nested in any
                larger one.

        Raises:
            ValueError: ``num_examples`` out of range, or damaged files.
            FileNotFoundError: no files; the message names the ways out.
        """
        ...


def _load_digits(*, path: str | Path | None, num_examples: int | None) -> Dataset:
    """1,797 handwritten digits, 8 x 8 pixels of 0..16 (scikit-learn ships them).

    They come sorted by writer, so they are shuffled once and for all; ids number the shuffled
    examples: training 0..1296, probe 1297..1496, test 1497..1796.
    """
    from sklearn.datasets import load_digits  # slow to import, and only needed here

    if path is not None:
        raise ValueError(f"path={str(path)!r}, but digits ships with scikit-learn; leave path= out")
    order = keyed_permutation(1797, seed=0)
    train = _first_of(np.arange(1297), num_examples)
    images, labels = load_digits(return_X_y=True)
    images, labels = images[order], labels[order]
    features = torch.from_numpy(images.astype(np.uint8)).reshape(-1, 1, 8, 8)
    return split(
        "digits",
        features,
        torch.from_numpy(labels.astype(np.int64)),
        {"train": train, "probe": np.arange(1297, 1497), "test": np.arange(1497, 1797)},
        class_names=tuple(str(digit) for digit in range(10)),
        offset=DIGITS_OFFSET,
        scale=DIGITS_SCALE,
    )


def _load_fashion_mnist(*, path: str | Path | None, num_examples: int | None) -> Dataset:
    """70,000 images of clothing, 28 x 28 bytes (Xiao et al. 2017).

    Ids 0..59999 are the published training set in its order, 60000..69999 its test set, of which a
    fixed choice of 2,000 is the probe.
    """
    train = _first_of(keyed_permutation(60_000, seed=0), num_examples)
    held_out = 60_000 + keyed_permutation(10_000, seed=0)
    train_images, train_labels, test_images, test_labels = fashion_mnist_arrays(path)
    features = torch.from_numpy(np.concatenate([train_images, test_images])).unsqueeze(1)
    labels = torch.from_numpy(np.concatenate([train_labels, test_labels]).astype(np.int64))
    return split(
        "fashion-mnist",
        features,
        labels,
        {"train": train, "probe": held_out[:2000], "test": held_out[2000:]},
        class_names=FASHION_MNIST_CLASSES,
        offset=FASHION_MNIST_OFFSET,
        scale=FASHION_MNIST_SCALE,
    )


def _load_diabetes(*, path: str | Path | None, num_examples: int | None) -> Dataset:
    """442 patients, ten measurements, and a score of how diabetes progressed in a year.

    A regression (Efron, Hastie, Johnstone and Tibshirani 2004; scikit-learn ships it). Loaded
    unscaled: as it comes by default every column is centred and scaled over all patients, so that
    each of them is in all rows. Ids number the shuffled examples: training 0..308, probe 309..352,
    test 353..441.
    """
    from sklearn.datasets import load_diabetes  # slow to import, and only needed here

    if path is not None:
        raise ValueError(
            f"path={str(path)!r}, but diabetes ships with scikit-learn; leave path= out"
        )
    order = keyed_permutation(442, seed=0)
    train = _first_of(np.arange(309), num_examples)
    measured, progression = load_diabetes(return_X_y=True, scaled=False)
    offsets, scales = np.array(list(DIABETES_COLUMNS.values())).T
    features = ((measured[order] - offsets) / scales).astype(np.float32)
    scaled = (progression[order] - DIABETES_TARGET_OFFSET) / DIABETES_TARGET_SCALE
    dataset = split(
        "diabetes",
        torch.from_numpy(features),
        torch.from_numpy(scaled.astype(np.float32)).unsqueeze(1),
        {"train": train, "probe": np.arange(309, 353), "test": np.arange(353, 442)},
        class_names=(),
        offset=0.0,
        scale=1.0,
        target_names=("progression",),
        target_offset=(DIABETES_TARGET_OFFSET,),
        target_scale=(DIABETES_TARGET_SCALE,),
    )
    return replace(dataset, feature_names=tuple(DIABETES_COLUMNS))


DATASETS: dict[str, DatasetSource] = {
    "digits": _load_digits,
    "diabetes": _load_diabetes,
    "fashion-mnist": _load_fashion_mnist,
}


def load(name: str, *, path: str | Path | None = None, num_examples: int | None = None) -> Dataset:
    """A dataset by its name in ``DATASETS``.

    Args:
        name: ``"digits"`` or ``"diabetes"`` (a regression; both at once, offline) or
            ``"fashion-mnist"`` (see :func:`unlearnkit.sources.fashion_mnist_arrays` for where it is
            looked for).
        path: folder of its files; None for the usual places.
        num_examples: size of the training part; None for all of it.

    Raises:
        KeyError: an unknown name; the message lists the known ones.
        ValueError: ``num_examples`` out of range, or damaged files.
        FileNotFoundError: no files; the message names the ways out.

    >>> load("digits", num_examples=400)
    Dataset('digits': 400 train, 200 probe, 300 test; 10 classes; inputs (1, 8, 8))
    """
    if name not in DATASETS:
        raise KeyError(
            f"unknown dataset {name!r}; known are {', '.join(DATASETS)}. Own data: from_arrays, "
            "from_frame"
        )
    if num_examples is not None and (
        isinstance(num_examples, bool) or not isinstance(num_examples, int | np.integer)
    ):
        raise TypeError(
            f"num_examples={num_examples!r} is a {type(num_examples).__name__}; "
            "give a whole number, or None for all"
        )
    return DATASETS[name](path=path, num_examples=num_examples)


def _first_of(order: Int64[np.ndarray, " n"], num_examples: int | None) -> Int64[np.ndarray, " k"]:
    if num_examples is not None and not 1 <= num_examples <= len(order):
        raise ValueError(
            f"num_examples={num_examples}, but the training part has {len(order)} examples; "
            f"give 1 to {len(order)}, or None for all"
        )
    return order[:num_examples]


def as_dataset(data: object, **options: Any) -> Dataset:
    """A dataset from whatever a caller may hold.

    Args:
        data: one of

            - a Dataset (returned as it is), or a name for :func:`load`;
            - a pair of features and labels, for :func:`from_arrays`;
            - a pair of a DataFrame and its target column's name, for :func:`from_frame`;
            - a pair of a CSV or Parquet file and the same, for :func:`from_file`;
            - a torch map-style Dataset, or a pair of them for training and test part, for
              :func:`from_torch`;
            - a Hugging Face Dataset or DatasetDict, or a pair of it and the target column's name,
              for :func:`from_hugging_face`.
        options: keyword arguments of that function.

    Raises:
        TypeError: anything else, or options for a Dataset.
    """
    if isinstance(data, Dataset):
        if options:
            raise TypeError(
                f"options {', '.join(options)} with a finished Dataset; give them to the function "
                "that makes it"
            )
        return data
    if isinstance(data, str):
        return load(data, **options)
    if is_table(data):  # before torch's: some of Hugging Face's are of both kinds
        return from_hugging_face(data, **options)
    if isinstance(data, TorchDataset):
        return from_torch(data, **options)
    if isinstance(data, tuple | list) and len(data) == 2:
        return _of_pair(*data, **options)
    raise TypeError(
        f"a {type(data).__name__} is no dataset; give a name ({', '.join(DATASETS)}), a Dataset, "
        "a pair (features, labels) of tensors or arrays, a pair (DataFrame, target column) or "
        '("file.csv", target column), a torch Dataset, or a Hugging Face Dataset'
    )


def _of_pair(first: Any, second: Any, **options: Any) -> Dataset:
    import pandas as pd

    if isinstance(second, str | int):
        if isinstance(first, pd.DataFrame):
            return from_frame(first, second, **options)
        if isinstance(first, str | Path):
            return from_file(first, second, **options)
    if isinstance(second, str) and is_table(first):
        return from_hugging_face(first, second, **options)
    if isinstance(first, TorchDataset) and isinstance(second, TorchDataset):
        return from_torch(first, test=second, **options)
    return from_arrays(first, second, **options)
