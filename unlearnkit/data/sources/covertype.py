"""Covertype: the file of the UCI repository, or the copy that scikit-learn fetches."""

from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Int16

from unlearnkit.data.sources.download import bounded
from unlearnkit.data.sources.locate import Published, find_files

Arrays: TypeAlias = tuple[Int16[np.ndarray, "n 54"], Int16[np.ndarray, " n"]]

# Trees in each class, as the authors give them (covtype.info).
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
    """Covertype as published: 54 columns of each cell of forest, and its class, 1 to 7.

    Searched in this order: ``path``; the folder in ``$UNLEARNKIT_DATA``; ``data``, ``~/data`` and
    ``~/.cache``; scikit-learn's ``fetch_covtype``, which holds its download to a checksum. Each
    folder may hold ``covtype.data`` (plain or ``.gz``) itself, or in ``covertype``. No checksum of
    the plain file is published; the shape, the values and the number per class are checked.

    Args:
        path: look here and nowhere else.

    Raises:
        FileNotFoundError: found nowhere; the message names every way out.
        ValueError: found, but damaged or another dataset.
    """
    return COVERTYPE.get(path, _read_folder, _download)


def _read_folder(folder: Path) -> Arrays | None:
    import pandas as pd

    paths = find_files(folder, ("covtype.data",))
    if paths is None:
        return None
    try:
        table = pd.read_csv(paths[0], header=None, dtype=np.int16)
    # Parsers' own errors are kinds of these; EOFError is a gzip file that ends too early.
    except (ValueError, OverflowError, OSError, EOFError) as error:
        raise COVERTYPE.damaged(paths[0], str(error)) from error
    return _checked(table.to_numpy(), paths[0])


def _checked(rows: Int16[np.ndarray, "n column"], where: object) -> Arrays:
    """Columns and classes, once they are as the authors say."""
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
            raise COVERTYPE.damaged(where, f"{wrong.sum()} rows have not one of the {word}")
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
