"""The clock: rates found again from work whose cost is known, and what it says of its own error."""

import numpy as np
import pytest
from scipy.optimize import nnls

from unlearnkit.clock import nonnegative_least_squares


@pytest.mark.parametrize("seed", range(100))
def test_nonnegative_least_squares_is_as_close_as_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(1, 30), rng.integers(1, 8)
    a = rng.random((rows, columns)) * (rng.random((rows, columns)) < 0.8)
    b = rng.normal(size=rows) + (seed % 2) * a @ rng.random(columns)
    ours, theirs = nonnegative_least_squares(a, b), nnls(a, b)[0]
    assert (ours >= 0).all()
    # Two methods meet at one minimum, up to rounding of sums of at most thirty squares.
    assert np.linalg.norm(a @ ours - b) <= np.linalg.norm(a @ theirs - b) + 1e-12
