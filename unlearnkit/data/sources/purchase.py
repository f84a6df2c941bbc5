"""Purchase-100 from a file that the user downloads, in any of its common layouts."""

import zipfile
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import UInt8

from unlearnkit.data.sources.locate import Published, find_files

Arrays: TypeAlias = tuple[UInt8[np.ndarray, "n 600"], UInt8[np.ndarray, " n"]]

NUM_ROWS, NUM_PRODUCTS, NUM_CLASSES = 197_324, 600, 100

PURCHASE_100 = Published(
    name="purchase-100",
    title="Purchase-100",
    files="dataset_purchase (comma-separated: a class of 1 to 100, then 600 times 0 or 1; plain or "
    ".gz), the same rows as arr_0 of dataset_purchase.npz, or purchase100.npz (features, one-hot "
    "labels)",
    folders=("purchase-100", "purchase100"),
    address="https://www.comp.nus.edu.sg/~reza/files/datasets.html (dataset_purchase.tgz, to be "
    "unpacked) by Shokri et al.",
)


def purchase_100_arrays(path: str | Path | None = None) -> Arrays:
    """Read Purchase-100: for each of 600 products whether it was bought, and the class, 0 to 99.

    A file is searched in the folder ``$UNLEARNKIT_DATA``, in ``data``, ``~/data`` and ``~/.cache``,
    and in their subfolders ``purchase-100`` and ``purchase100``. It may be ``dataset_purchase``,
    the authors' text file; ``dataset_purchase.npz``, with the same rows as array ``arr_0``; or
    ``purchase100.npz``, with arrays ``features`` and one-hot ``labels``. There is neither a
    download for programs nor a published checksum, so shape, values and classes are verified.

    Args:
        path: the only folder to search; None searches the folders above.

    Raises:
        FileNotFoundError: the files were not found; the message says how to get them.
        ValueError: a file is damaged or belongs to another dataset.
    """
    return PURCHASE_100.get(path, _read_folder)


def _read_folder(folder: Path) -> Arrays | None:
    for name in ("purchase100.npz", "dataset_purchase.npz"):
        if (folder / name).is_file():
            return _read_npz(folder / name)
    texts = find_files(folder, ("dataset_purchase",))
    return None if texts is None else _read_text(texts[0])


def _read_text(path: Path) -> Arrays:
    import pandas as pd

    try:
        table = pd.read_csv(path, header=None, dtype=np.uint8)
    # The parser's errors are subclasses of these; a truncated gzip file raises EOFError.
    except (ValueError, OverflowError, OSError, EOFError) as error:
        raise PURCHASE_100.damaged(path, str(error)) from error
    return _of_rows(table.to_numpy(), path)


def _read_npz(path: Path) -> Arrays:
    try:
        # Pickled objects could execute code.
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("arr_0", "features", "labels") if name in file}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise PURCHASE_100.damaged(path, f"{type(error).__name__}: {error}") from error
    if "arr_0" in arrays:
        return _of_rows(arrays["arr_0"], path)
    if len(arrays) != 2:
        raise PURCHASE_100.damaged(path, "it lacks the arrays features and labels, or arr_0")
    labels = arrays["labels"]
    if labels.shape != (NUM_ROWS, NUM_CLASSES) or not np.array_equal(
        labels, np.eye(NUM_CLASSES)[labels.argmax(1)]
    ):
        raise PURCHASE_100.damaged(path, f"labels of shape {labels.shape} are not one-hot")
    return _checked(arrays["features"], labels.argmax(1), path)


def _of_rows(rows: np.ndarray, path: Path) -> Arrays:
    if rows.ndim != 2:
        raise PURCHASE_100.damaged(path, f"an array of shape {rows.shape} is no table")
    return _checked(rows[:, 1:], rows[:, 0].astype(np.int64) - 1, path)


def _checked(features: np.ndarray, labels: np.ndarray, path: Path) -> Arrays:
    """Return features and labels as bytes after verifying them."""
    if features.shape != (NUM_ROWS, NUM_PRODUCTS):
        raise PURCHASE_100.damaged(
            path, f"features of shape {features.shape}, expected {(NUM_ROWS, NUM_PRODUCTS)}"
        )
    as_bytes = features.astype(np.uint8)
    if as_bytes.max() > 1 or (as_bytes != features).any():
        raise PURCHASE_100.damaged(path, "its features are not all 0 or 1")
    found = np.unique(labels)
    if not np.array_equal(found, np.arange(NUM_CLASSES)):
        raise PURCHASE_100.damaged(
            path, f"{len(found)} classes from {found[0] + 1} to {found[-1] + 1}, expected 1 to 100"
        )
    return as_bytes, labels.astype(np.uint8)
