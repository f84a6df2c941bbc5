"""CIFAR-10 from the authors' pickles in torchvision's layout, or from OpenML."""

import io
import pickle
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import UInt8

from unlearnkit.data.sources.download import from_openml
from unlearnkit.data.sources.locate import Published, find_files

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

# MD5 of each file, as listed in torchvision's CIFAR10.
PICKLE_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}

# The first labels of the training part, and the first pixels of its first image (red, green, blue).
# Together with the numbers of examples per class they detect a copy at OpenML whose rows or pixels
# are in another order; no checksum of that copy is published.
FIRST_LABELS = (6, 9, 9, 4, 1, 1, 2, 7, 8, 3)
FIRST_PIXELS = ((59, 43, 50), (62, 46, 48), (63, 45, 43))

CIFAR_10 = Published(
    name="cifar-10",
    title="CIFAR-10",
    files="data_batch_1 to data_batch_5 and test_batch (the Python version)",
    folders=("cifar-10-batches-py",),
    address="https://www.cs.toronto.edu/~kriz/cifar.html",
    ways=("torchvision's copy in data/cifar-10-batches-py",),
    network="OpenML",
)


def cifar_10_arrays(path: str | Path | None = None) -> Arrays:
    """Read CIFAR-10: training images and labels, then test images and labels.

    The files are searched in the folder ``$UNLEARNKIT_DATA``, in ``data``, ``~/data`` and
    ``~/.cache``, and in torchvision's subfolder ``cifar-10-batches-py``; else the data are
    downloaded from OpenML (``CIFAR_10``), which takes a few GB of memory.

    The files are pickles, which can execute code when they are read. They are read
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
    paths = find_files(folder, tuple(PICKLE_MD5))
    if paths is None:
        return None
    batches = [
        read_pickle(CIFAR_10.check_md5(path, expected))
        for path, expected in zip(paths, PICKLE_MD5.values(), strict=True)
    ]
    return _parts(*map(np.concatenate, zip(*batches, strict=True)))


def _dtype(kind: str, align: int, copy: int) -> "np.dtype[Any]":
    """Make a dtype from the arguments in pickles, whose integer flags numpy would warn about."""
    return np.dtype(kind)


class _Arrays(pickle.Unpickler):
    """Unpickler that accepts only numpy arrays and plain values."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            # The module of this function differs between numpy versions.
            "_reconstruct": np.empty(0).__reduce__()[0],
            "ndarray": np.ndarray,
            "dtype": _dtype,
        }
        if module.partition(".")[0] == "numpy" and name in known:
            return known[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is not an array")


def read_pickle(raw: bytes) -> Batch:
    """Read images and labels of a file of the Python version, without executing code from it.

    Raises:
        UnpicklingError: the file names something other than arrays and plain values.
    """
    found = _Arrays(io.BytesIO(raw), encoding="latin1").load()
    return found["data"].reshape(-1, 3, 32, 32), np.array(found["labels"], np.uint8)


def _parts(images: UInt8[np.ndarray, "n 3 32 32"], labels: UInt8[np.ndarray, " n"]) -> Arrays:
    return images[:NUM_TRAIN], labels[:NUM_TRAIN], images[NUM_TRAIN:], labels[NUM_TRAIN:]


def _check(
    images: UInt8[np.ndarray, "n 3 32 32"], labels: UInt8[np.ndarray, " n"], where: str
) -> None:
    """Verify the number and the order of the examples; the training part comes first."""
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


def _download() -> Arrays:
    bunch = from_openml("CIFAR_10", 1, 40927)
    try:
        images = np.asarray(bunch.data).astype(np.uint8).reshape(-1, 3, 32, 32)
        labels = np.asarray(bunch.target).astype(np.uint8)
    except ValueError as error:  # another shape
        raise OSError(f"OpenML's answer is unusable: {error}") from error
    _check(images, labels, "OpenML's copy of CIFAR-10")
    return _parts(images, labels)
