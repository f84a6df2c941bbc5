"""Datasets by name, and from any supported kind of data."""

import os
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from unlearnkit.data.arrays import from_arrays
from unlearnkit.data.examples import Dataset, Examples
from unlearnkit.data.frames import from_file, from_frame
from unlearnkit.data.from_hugging_face import from_hugging_face, is_table
from unlearnkit.data.from_torch import from_torch
from unlearnkit.data.named_images import (
    load_cifar_10,
    load_digits,
    load_fashion_mnist,
    load_mnist,
    load_shifted_digits,
)
from unlearnkit.data.named_tables import (
    load_adult,
    load_breast_cancer,
    load_covertype,
    load_diabetes,
)
from unlearnkit.data.reading.files import is_path
from unlearnkit.data.reading.tables import as_frame, is_frame
from unlearnkit.registry import Registry
from unlearnkit.torch_settings import own_settings

if TYPE_CHECKING:
    import pandas as pd

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
    """A function that loads a named dataset; to add one, put it into ``DATASETS``."""

    def __call__(self, *, path: str | Path | None, num_examples: int | None) -> Dataset:
        """Load the dataset.

        Args:
            path: folder of its files; None searches the default folders.
            num_examples: size of the training part; None for all examples. A smaller part is the
                beginning of a fixed shuffle, so it is nested in any larger one.

        Raises:
            ValueError: ``num_examples`` is out of range, or the files are damaged.
            FileNotFoundError: there are no files; the message says how to get them.
        """
        ...


DATASETS: Registry[DatasetSource] = Registry(
    "DATASETS",
    "dataset",
    """Data sets by name, for :func:`load` and for the first argument of a session.

    An entry is a callable ``(*, path, num_examples) -> Dataset``, as
    :class:`unlearnkit.data.datasets.DatasetSource` describes it. Data of your own need no entry:
    ``uk.from_arrays``, ``uk.from_frame``, ``uk.from_file``, ``uk.from_torch`` and
    ``uk.from_hugging_face`` make a data set of them. To add an entry, assign it:

    >>> import numpy as np
    >>> import unlearnkit as uk
    >>> def coins(*, path=None, num_examples=None):
    ...     X = np.linspace(-1, 1, num_examples or 90, dtype="float32")[:, None]
    ...     return uk.from_arrays(X, (X[:, 0] > 0).astype(int), name="coins")
    >>> uk.DATASETS["coins"] = coins
    >>> uk.load("coins").name
    'coins'
    >>> del uk.DATASETS["coins"]
    """,
    {
        "digits": load_digits,
        "shifted-digits": load_shifted_digits,
        "diabetes": load_diabetes,
        "breast-cancer": load_breast_cancer,
        "fashion-mnist": load_fashion_mnist,
        "mnist": load_mnist,
        "cifar-10": load_cifar_10,
        "adult": load_adult,
        "covertype": load_covertype,
    },
)


@own_settings()
def load(name: str, *, path: str | Path | None = None, num_examples: int | None = None) -> Dataset:
    """Load a dataset by its name in ``DATASETS``.

    ==================  ==========================  ==========  ====================================
    name                examples                    classes     where the files come from
    ==================  ==========================  ==========  ====================================
    ``digits``          1,797 images, 8x8           10          scikit-learn
    ``shifted-digits``  12,173 images, 8x8          10          scikit-learn
    ``diabetes``        442 rows of 10              regression  scikit-learn
    ``breast-cancer``   569 rows of 30              2           scikit-learn
    ``fashion-mnist``   70,000 images, 28x28        10          Debian's package, IDX files, OpenML
    ``mnist``           70,000 images, 28x28        10          IDX files, OpenML
    ``cifar-10``        60,000 images, 3x32x32      10          torchvision's folder, OpenML
    ``adult``           48,842 rows of 112          2           OpenML
    ``covertype``       581,012 rows of 54          7           scikit-learn's fetcher
    ==================  ==========================  ==========  ====================================

    The first four are part of scikit-learn and need no files; the last two are fetched by
    scikit-learn. The files of the others are searched in ``path``; in the folder
    ``$UNLEARNKIT_DATA``; in ``/usr/share/datasets``, ``data``, ``~/data`` and ``~/.cache``, also in
    torchvision's layout. If they are in none of these, scikit-learn downloads them and keeps a
    copy. Files are compared with published checksums where there are any, and downloads otherwise
    with the shapes, values and classes that their authors state.
    ``load(...).source`` and ``load(...).licence`` name origin and licence.

    Features are scaled by fixed constants, and the ids of examples never change.

    Args:
        name: name of the dataset.
        path: the only folder to search for its files; None searches the default folders.
        num_examples: size of the training part, a fixed random choice; None for all examples.

    Raises:
        KeyError: the name is unknown; the message lists the known names.
        TypeError: ``num_examples`` is not an integer.
        ValueError: ``num_examples`` is out of range, or the files are damaged.
        FileNotFoundError: there are no files; the message says how to get them.

    >>> load("digits", num_examples=400)
    Dataset('digits': 400 train, 200 probe, 300 test; 10 classes; inputs (1, 8, 8))
    """
    if name == "purchase-100" and name not in DATASETS:
        raise KeyError(
            "purchase-100 is not loaded by name; put a line of column names, 'class' first, into "
            "its file, and read it with from_file('dataset_purchase.csv', 'class')"
        )
    source = DATASETS[name]
    if num_examples is not None and (
        isinstance(num_examples, bool) or not isinstance(num_examples, int | np.integer)
    ):
        raise TypeError(
            f"num_examples={num_examples!r} is a {type(num_examples).__name__}; "
            "give a whole number, or None for all"
        )
    return source(path=path, num_examples=num_examples)


@own_settings()
def as_dataset(data: object, **options: Any) -> Dataset:
    """Convert any supported kind of data to a dataset.

    Args:
        data: one of

            - a Dataset (returned unchanged), or a name for :func:`load`;
            - a pair of features and labels, for :func:`from_arrays`;
            - a pair of a table (pandas, polars, pyarrow) and the name of its target column, for
              :func:`from_frame`;
            - a pair of a CSV or Parquet file and the name of its target column, for
              :func:`from_file`;
            - a torch map-style Dataset, or a pair of them (training part, test part), for
              :func:`from_torch`;
            - a Hugging Face Dataset or DatasetDict, alone or in a pair with the name of its
              target column, for :func:`from_hugging_face`.
        options: keyword arguments of the function named there.

    Raises:
        TypeError: the data are of another kind, or options are given for a Dataset.
    """
    if isinstance(data, Dataset):
        if options:
            raise TypeError(
                f"options {', '.join(options)} were given with a finished Dataset; give them to "
                "the function that makes the dataset"
            )
        return data
    if isinstance(data, Path) or (isinstance(data, str) and data not in DATASETS and is_path(data)):
        raise TypeError(
            f"{os.fspath(data)!r} is a file, of which the target is not known; give a pair "
            f"({os.fspath(data)!r}, target column)"
        )
    if isinstance(data, str):
        return load(data, **options)
    if is_table(data):  # first, since some Hugging Face datasets are torch datasets too
        return from_hugging_face(data, **options)
    if isinstance(data, TorchDataset):
        return from_torch(data, **options)
    if isinstance(data, tuple | list) and len(data) == 2:
        return _of_pair(*data, **options)
    if isinstance(data, DataLoader):
        raise TypeError(
            f"a {type(data).__name__} is not a dataset, since it reads batches; give "
            "what it reads, a torch Dataset (.dataset)"
        )
    raise TypeError(
        f"a {type(data).__name__} is not a dataset; give a name ({', '.join(DATASETS)}), a "
        "Dataset, a pair (features, labels) of tensors or arrays, a pair (DataFrame, target "
        'column) or ("file.csv", target column), a torch Dataset, or a Hugging Face Dataset'
    )


def text_options(data: object) -> dict[str, Any]:
    """Return the option that keeps texts as they are, for data that hold nothing else.

    These are a pair of a list of strings and labels, and a pair of a table and its target, with a
    single other column, which holds texts.

    >>> text_options((["a", "b"], [0, 1]))
    {'dtype': <class 'str'>}
    >>> text_options(([[1.0], [2.0]], [0, 1]))
    {}
    """
    if not isinstance(data, tuple | list) or len(data) != 2:
        return {}
    first, second = data
    if not isinstance(first, str | os.PathLike) and is_frame(first):
        frame = as_frame("frame", first)
        if not _names_column(frame, second):
            return {}
        columns = [column for column in frame.columns if column != second]
        first = frame[columns[0]] if len(columns) == 1 else []
    rows = first.tolist() if isinstance(first, np.ndarray) or hasattr(first, "to_list") else first
    texts = isinstance(rows, list | tuple) and rows and all(isinstance(row, str) for row in rows)
    return {"dtype": str} if texts else {}


def _of_pair(first: Any, second: Any, **options: Any) -> Dataset:
    if isinstance(first, str | os.PathLike):
        return from_file(first, second, **options)
    if isinstance(second, str) and is_table(first):
        return from_hugging_face(first, second, **options)
    if isinstance(first, TorchDataset) and isinstance(second, TorchDataset):
        return from_torch(first, test=second, **options)
    if isinstance(first, TorchDataset):
        raise TypeError(
            f"a pair of a {type(first).__name__} and a {type(second).__name__}; give the torch "
            "Dataset alone, whose items are pairs (input, label), or a pair (training part, test "
            "part)"
        )
    if is_frame(first) and _names_column(as_frame("frame", first), second):
        return from_frame(first, second, **options)
    return from_arrays(first, second, **options)


def _names_column(frame: "pd.DataFrame", second: Any) -> bool:
    """Whether the second of a pair is the name of a column of the first, rather than labels."""
    if isinstance(second, list):  # several names, which from_frame refuses in words
        return len(second) != len(frame) and all(_names_column(frame, name) for name in second)
    sized = hasattr(second, "__len__") and not isinstance(second, str | bytes | tuple)
    if sized or not isinstance(second, Hashable) or isinstance(second, Tensor):
        return False
    if second in set(frame.columns):
        return True
    if isinstance(second, tuple):
        return len(second) != len(frame)
    return isinstance(second, str | bytes) or np.ndim(second) == 0  # type: ignore[arg-type]
