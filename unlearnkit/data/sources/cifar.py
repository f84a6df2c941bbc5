"""CIFAR-10 from the authors' binary files or pickles (torchvision's layout), or from OpenML."""

import io
import pickle
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import UInt8

from unlearnkit.data.sources.download import from_openml
from unlearnkit.data.sources.locate import Published, find_files, read_bytes

Batch: TypeAlias = tuple[UInt8[np.ndarray, "n 3 32 32"], UInt8[np.ndarray, " n"]]
Arrays: TypeAlias = tuple[
    UInt8[np.ndarray, "train 3 32 32"],
    UInt8[np.ndarray, " train"],
    UInt8[np.ndarray, "test 3 32 32"],
    UInt8[np.ndarray, " test"],
]

CIFAR_10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)

NUM_TRAIN, NUM_TEST = 50_000, 10_000
PIXELS = 3 * 32 * 32

# MD5 of each pickle, as listed in torchvision's CIFAR10. Of the binary version only the archive has
# a published checksum, so its files are verified by their contents.
PICKLE_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
BINARY_FILES = tuple(f"{name}.bin" for name in PICKLE_MD5)

# The first labels of the training part, and the first pixels of its first image (red, green, blue).
# Together with the numbers of examples per class they detect copies without a checksum whose rows
# or pixels are in another order.
FIRST_LABELS = (6, 9, 9, 4, 1, 1, 2, 7, 8, 3)
FIRST_PIXELS = ((59, 43, 50), (62, 46, 48), (63, 45, 43))

CIFAR_10 = Published(
    name="cifar-10",
    title="CIFAR-10",
    files="data_batch_1 to data_batch_5 and test_batch (the Python version), or the same with .bin "
    "(the binary version), plain or .gz",
    folders=("cifar-10-batches-py", "cifar-10-batches-bin", "cifar-10"),
    address="https://www.cs.toronto.edu/~kriz/cifar.html",
    ways=("torchvision's copy in data/cifar-10-batches-py",),
    network="OpenML",
)


def cifar_10_arrays(path: str | Path | None = None) -> Arrays:
    """Read CIFAR-10: training images and labels, then test images and labels.

    The files are searched in the folder ``$UNLEARNKIT_DATA``, in ``data``, ``~/data`` and
    ``~/.cache``, and in their subfolders ``cifar-10-batches-py`` (torchvision's),
    ``cifar-10-batches-bin`` and ``cifar-10``; else the data are downloaded from OpenML
    (``CIFAR_10``), for which scikit-learn's fetcher needs a few GB of memory.

    The Python version consists of pickles, which can execute code when they are read. They are read
    only if their checksum is the published one, and by an unpickler that accepts only arrays, text,
    numbers, lists and dictionaries.

    Args:
        path: the only folder to search; None searches the folders above.

    Raises:
        FileNotFoundError: the files were not found; the message says how to get them.
        ValueError: a file is damaged or belongs to another dataset.
    """
    return CIFAR_10.get(path, _read_folder, _download)


def _read_folder(folder: Path) -> Arrays | None:
    binary = find_files(folder, BINARY_FILES)
    if binary is not None:
        return _checked([read_binary(path) for path in binary], folder)
    pickles = find_files(folder, tuple(PICKLE_MD5))
    if pickles is None:
        return None
    batches = []
    for path, expected in zip(pickles, PICKLE_MD5.values(), strict=True):
        raw = CIFAR_10.check_md5(path, expected)
        batches.append(read_pickle(raw, path))
    return _checked(batches, folder)


def read_binary(path: Path) -> Batch:
    """Read images and labels of a file of the binary version.

    An example is a label byte, followed by its red, green and blue pixels.

    Raises:
        ValueError: the size of the file is not a multiple of that of an example.
    """
    raw = read_bytes(path)
    if not raw or len(raw) % (1 + PIXELS):
        raise CIFAR_10.damaged(path, f"{len(raw)} bytes are no multiple of {1 + PIXELS}")
    rows = np.frombuffer(raw, np.uint8).reshape(-1, 1 + PIXELS)
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]


# Errors that reading a damaged pickle may raise, according to Python's documentation.
BAD_PICKLE = (
    *(pickle.UnpicklingError, AttributeError, EOFError, ImportError, IndexError),
    *(KeyError, OverflowError, TypeError, ValueError),
)


def _dtype(kind: str, align: int, copy: int) -> "np.dtype[Any]":
    """Make a dtype from the arguments in pickles, whose integer flags numpy would warn about."""
    return np.dtype(kind)


class _Arrays(pickle.Unpickler):
    """Unpickler that accepts only numpy arrays and plain values."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            "_reconstruct": np.empty(0).__reduce__()[
                0
            ],  # its module differs between numpy versions
            "ndarray": np.ndarray,
            "dtype": _dtype,
        }
        if module.partition(".")[0] == "numpy" and name in known:
            return known[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no array")


def read_pickle(raw: bytes, where: object) -> Batch:
    """Read images and labels of a file of the Python version, without executing code from it.

    Args:
        raw: bytes of the file.
        where: source of the bytes, for error messages.

    Raises:
        ValueError: the file is not a pickled dictionary with ``data`` and ``labels``.
    """
    try:
        found = _Arrays(io.BytesIO(raw), encoding="latin1").load()
        images, labels = found["data"], np.asarray(found["labels"], np.int64)
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
            raise TypeError("its data are no array of bytes")
        if labels.min() < 0 or labels.max() > 255:
            raise ValueError(f"labels from {labels.min()} to {labels.max()}")
        return images.reshape(len(labels), 3, 32, 32), labels.astype(np.uint8)
    except BAD_PICKLE as error:
        raise CIFAR_10.damaged(where, f"{type(error).__name__}: {error}") from error


def _checked(batches: list[Batch], where: object) -> Arrays:
    """Join the batches into arrays after verifying them; the last batch is the test part."""
    images = np.concatenate([batch[0] for batch in batches])
    labels = np.concatenate([batch[1] for batch in batches])
    if len(labels) != NUM_TRAIN + NUM_TEST or labels.max() > 9:
        raise CIFAR_10.damaged(
            where,
            f"{len(labels)} examples with labels up to {labels.max()}, expected "
            f"{NUM_TRAIN + NUM_TEST} with labels up to 9",
        )
    for part, size in ((labels[:NUM_TRAIN], NUM_TRAIN), (labels[NUM_TRAIN:], NUM_TEST)):
        counts = np.bincount(part, minlength=10)
        if (counts != size // 10).any():
            raise CIFAR_10.damaged(
                where, f"{counts.tolist()} examples per class, expected {size // 10} of each"
            )
    labels_are = tuple(labels[: len(FIRST_LABELS)].tolist())
    pixels_are = tuple(map(tuple, images[0, :, 0, :3].tolist()))
    if (labels_are, pixels_are) != (FIRST_LABELS, FIRST_PIXELS):
        raise CIFAR_10.damaged(
            where,
            f"first labels {labels_are} and pixels {pixels_are}, expected {FIRST_LABELS} and "
            f"{FIRST_PIXELS}",
        )
    return images[:NUM_TRAIN], labels[:NUM_TRAIN], images[NUM_TRAIN:], labels[NUM_TRAIN:]


def _download() -> Arrays:
    bunch = from_openml("CIFAR_10", 1, 40927)
    try:
        images = np.asarray(bunch.data).astype(np.uint8).reshape(-1, 3, 32, 32)
        labels = np.asarray(bunch.target).astype(np.uint8)
    except ValueError as error:  # another shape
        raise OSError(f"OpenML's answer is unusable: {error}") from error
    return _checked([(images, labels)], "OpenML's copy of CIFAR-10")
