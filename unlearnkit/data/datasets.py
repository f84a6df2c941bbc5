"""Datasets by name, and from whatever a caller may hold."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch.utils.data import Dataset as TorchDataset

from unlearnkit.data.arrays import from_arrays
from unlearnkit.data.examples import Dataset, Examples
from unlearnkit.data.frames import from_file, from_frame
from unlearnkit.data.from_hugging_face import from_hugging_face, is_table
from unlearnkit.data.from_torch import from_torch
from unlearnkit.data.named_images import load_cifar_10, load_digits, load_fashion_mnist, load_mnist
from unlearnkit.data.named_tables import (
    load_adult,
    load_breast_cancer,
    load_covertype,
    load_diabetes,
    load_purchase_100,
)
from unlearnkit.registry import Registry

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


DATASETS: Registry[DatasetSource] = Registry(
    "DATASETS",
    "dataset",
    """Data sets by name, for :func:`load` and for the first argument of a session.

    An entry is a callable ``(*, path, num_examples) -> Dataset``, as
    :class:`unlearnkit.data.datasets.DatasetSource` describes it. Data of your own need no entry:
    ``uk.from_arrays``, ``uk.from_frame``, ``uk.from_file``, ``uk.from_torch`` and
    ``uk.from_hugging_face`` make a data set of them.
    """,
    {
        "digits": load_digits,
        "diabetes": load_diabetes,
        "breast-cancer": load_breast_cancer,
        "fashion-mnist": load_fashion_mnist,
        "mnist": load_mnist,
        "cifar-10": load_cifar_10,
        "adult": load_adult,
        "covertype": load_covertype,
        "purchase-100": load_purchase_100,
    },
)


def load(name: str, *, path: str | Path | None = None, num_examples: int | None = None) -> Dataset:
    """A dataset by its name in ``DATASETS``.

    ``"digits"``, ``"diabetes"`` (a regression) and ``"breast-cancer"`` come with scikit-learn: at
    once, offline.
    ``"fashion-mnist"``, ``"mnist"``, ``"cifar-10"``, ``"adult"`` and ``"covertype"`` are looked for
    in ``path``; in the folder ``$UNLEARNKIT_DATA``; in ``/usr/share/datasets``, ``data``,
    ``~/data`` and ``~/.cache``, in torchvision's layout too; and are else downloaded through
    scikit-learn, which keeps a copy. ``"purchase-100"`` has to be fetched by hand. What each folder
    may hold, and how it is checked, stands with the readers in :mod:`unlearnkit.data.sources`;
    parts, scaling, source and licence with the loaders in :mod:`unlearnkit.data.named_images` and
    :mod:`unlearnkit.data.named_tables`, and in ``load(...).source`` and ``load(...).licence``.

    Preprocessing is by constants that no example shapes, and an example has one id for ever.

    Args:
        name: one of these.
        path: folder of its files, the only one looked into; None for the usual places.
        num_examples: size of the training part, a fixed random choice; None for all of it.

    Raises:
        KeyError: an unknown name; the message lists the known ones.
        ValueError: ``num_examples`` out of range, or damaged files.
        FileNotFoundError: no files; the message names the ways out.

    >>> load("digits", num_examples=400)
    Dataset('digits': 400 train, 200 probe, 300 test; 10 classes; inputs (1, 8, 8))
    """
    source = DATASETS[name]
    if num_examples is not None and (
        isinstance(num_examples, bool) or not isinstance(num_examples, int | np.integer)
    ):
        raise TypeError(
            f"num_examples={num_examples!r} is a {type(num_examples).__name__}; "
            "give a whole number, or None for all"
        )
    return source(path=path, num_examples=num_examples)


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
