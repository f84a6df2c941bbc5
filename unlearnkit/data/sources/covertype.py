"""Covertype from the file of the UCI repository, or from scikit-learn's fetcher."""

from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Int16

from unlearnkit.data.sources.download import bounded
from unlearnkit.data.sources.locate import Published, find_files

Arrays: TypeAlias = tuple[Int16[np.ndarray, "n 54"], Int16[np.ndarray, " n"]]

# Number of examples in each class, as given by the authors (covtype.info).
COUNTS = (211_840, 283_301, 35_754, 2747, 9493, 17_367, 20_510)
NUM_COLUMNS = 55  # ten measurements, four wilderness areas, forty types of soil, the class
AREAS, SOILS = slice(10, 14), slice(14, 54)

COVERTYPE = Published(
    name="covertype",
    title="Covertype",
    files="covtype.data (plain or .gz)",
    folders=("covertype",),
    address="https://archive.ics.uci.edu/dataset/31/covertype",
    network="scikit-learn's fetch_covtype",
)
FETCHED_FROM = "https://ndownloader.figshare.com/files/5976039"


def covertype_arrays(path: str | Path | None = None) -> Arrays:
    """Read Covertype: 54 columns for each forest cell, and its class, 1 to 7.

    The file ``covtype.data`` (plain or ``.gz``) is searched in the folder ``$UNLEARNKIT_DATA``, in
    ``data``, ``~/data`` and ``~/.cache``, and in their subfolder ``covertype``; else scikit-learn's
    ``fetch_covtype`` downloads the data and verifies a checksum. No checksum of the plain file is
    published, so its shape, its values and the number of examples per class are verified.

    Args:
        path: the only folder to search; None searches the folders above.

    Raises:
        FileNotFoundError: the files were not found; the message says how to get them.
        ValueError: a file is damaged or belongs to another dataset.
    """
    return COVERTYPE.get(path, _read_folder, _download)


def _read_folder(folder: Path) -> Arrays | None:
    import pandas as pd

    paths = find_files(folder, ("covtype.data",))
    if paths is None:
        return None
    try:
        table = pd.read_csv(paths[0], header=None, dtype=np.int16)
    # The parser's errors are subclasses of these; a truncated gzip file raises EOFError.
    except (ValueError, OverflowError, OSError, EOFError) as error:
        raise COVERTYPE.damaged(paths[0], str(error)) from error
    return _checked(table.to_numpy(), paths[0])


def _checked(rows: Int16[np.ndarray, "n column"], where: object) -> Arrays:
    """Return columns and classes after verifying them."""
    expected = (sum(COUNTS), NUM_COLUMNS)
    if rows.shape != expected:
        raise COVERTYPE.damaged(where, f"{rows.shape} rows and columns, expected {expected}")
    columns, classes = rows[:, :-1], rows[:, -1]
    counts = np.bincount(classes.clip(0), minlength=8)
    if tuple(counts[1:].tolist()) != COUNTS:
        raise COVERTYPE.damaged(
            where, f"{counts.tolist()} examples of classes 0, 1, ..., expected {[0, *COUNTS]}"
        )
    for word, block in (("wilderness areas", AREAS), ("types of soil", SOILS)):
        one_hot = columns[:, block]
        wrong = (one_hot.sum(1) != 1) | (one_hot.min(1) < 0)
        if wrong.any():
            raise COVERTYPE.damaged(
                where, f"{wrong.sum()} rows do not have exactly one of the {word}"
            )
    return columns, classes


def _download() -> Arrays:
    from sklearn.datasets import fetch_covtype  # slow to import, seldom needed

    data, classes = bounded(
        lambda: fetch_covtype(return_X_y=True, n_retries=1, delay=0.1),
        FETCHED_FROM,
        "covertype/samples*",
    )
    rows = np.column_stack([data, classes]).astype(np.int16)
    return _checked(rows, "scikit-learn's copy of Covertype")
