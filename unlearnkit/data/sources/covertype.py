"""Covertype, as scikit-learn fetches it."""

from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Int16

from unlearnkit.data.sources.download import bounded, fetched

Arrays: TypeAlias = tuple[Int16[np.ndarray, "n 54"], Int16[np.ndarray, " n"]]

FETCHED_FROM = "https://ndownloader.figshare.com/files/5976039"


def covertype_arrays() -> Arrays:
    """Fetch Covertype with scikit-learn's ``fetch_covtype``, which verifies its checksum.

    Returns:
        The 54 columns of each cell of forest, and its class, 1 to 7.

    Raises:
        FileNotFoundError: scikit-learn has no copy and could not download one.
    """
    columns, classes = fetched("Covertype", "scikit-learn's fetch_covtype", _download)
    return columns.astype(np.int16), classes.astype(np.int16)


def _download() -> Any:
    from sklearn.datasets import fetch_covtype  # slow to import, seldom needed

    return bounded(
        lambda: fetch_covtype(return_X_y=True, n_retries=1, delay=0.1),
        FETCHED_FROM,
        "covertype/samples*",
    )
