"""Rows to estimate from, and what an estimator keeps."""

import numpy as np

from unlearnkit.estimators import UnlearnableClassifier, UnlearnableRegressor
from worker import contents

OURS = {"random_state": 3, "epochs": 3, "num_shards": 3, "num_slices": 2}


def problem(rows: int = 61, shape: tuple[int, ...] = (5,)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(rows)
    y = rng.integers(3, size=rows)
    X = rng.normal(size=(rows, *shape)).astype(np.float32)
    X[:, 0] += y.reshape(-1, *[1] * (len(shape) - 1))
    return X, np.array(["ant", "bee", "cow"])[y]


def bits(estimator: UnlearnableClassifier | UnlearnableRegressor) -> dict[str, object]:
    """All checkpoints, by key."""
    return contents(estimator.store_)
