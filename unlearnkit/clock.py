"""The clock: seconds predicted from rates that are refitted after every run.

Exact and approximate work have rates of their own: visits alone would choose wrongly, because a
gradient in a large batch and one in a training step cost differently.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float

MEMORY = 300  # most recent measurements kept


@dataclass(frozen=True)
class Work:
    """An amount of training.

    Attributes:
        stages: run.
        epochs: passes of one shard over a pool.
        lockstep: steps one after the other; lanes that run together share them.
        steps: optimizer steps of single lanes.
        visits: example gradients.
    """

    stages: int
    epochs: int
    lockstep: int
    steps: int
    visits: int

    def row(self) -> list[float]:
        """The causes of cost."""
        return [self.stages, self.epochs, self.lockstep, self.steps, self.visits]


@dataclass(frozen=True)
class Clock:
    """Rates of this machine for one model and spec; a new value after each observation.

    Exact seconds = c0 stages + c1 shard-epochs + c2 lockstep steps + c3 shard-steps + c4 visits, by
    non-negative least squares on relative errors (weights 1/seconds), so that short runs count as
    much as long ones. Approximate seconds = the replayed epochs at the training rates + d0 a shard
    + d1 large-batch visits, fitted likewise.
    """

    exact: tuple[tuple[Work, float], ...] = ()
    modify: tuple[tuple[int, float], ...] = ()
    probe: tuple[int, float] | None = None

    def observe(self, timed: tuple[tuple[Work, float], ...]) -> "Clock":
        """The clock after so much training took so many seconds, several times."""
        fresh = tuple((work, seconds) for work, seconds in timed if work.visits)
        return replace(self, exact=(*self.exact, *fresh)[-MEMORY:])

    def observe_modify(self, visits: int, seconds: float) -> "Clock":
        """The clock after a modification of so many planned large-batch visits was timed."""
        return replace(self, modify=(*self.modify, (visits, seconds))[-MEMORY:])

    def observe_probe(self, visits: int, seconds: float) -> "Clock":
        """The clock after a few large-batch visits were timed, before any modification was."""
        return replace(self, probe=(visits, seconds))

    @property
    def calibrated(self) -> bool:
        """Whether anything has been measured yet."""
        return bool(self.exact)

    @cached_property
    def rates(self) -> list[float]:
        """Seconds per stage, epoch, lockstep step, shard-step and visit.

        Raises:
            LookupError: nothing has been measured.
        """
        if not self.exact:
            raise LookupError("no training has been timed yet; train first: session.train()")
        return _fit(np.array([[*work.row(), seconds] for work, seconds in self.exact], float))

    def exact_seconds(self, work: Work) -> float | None:
        """Predicted seconds of training so much; None before anything was measured."""
        if not self.exact:
            return None
        return float(np.dot(self.rates, work.row()))

    def modify_seconds(self, visits: int) -> float | None:
        """Predicted seconds of modifying one shard by so many large-batch visits.

        None before anything of the kind was timed.
        """
        if len(self.modify) > 1:
            constant, rate = _fit(np.array([[1, v, seconds] for v, seconds in self.modify], float))
            return constant + rate * visits
        timed = self.modify[-1] if self.modify else self.probe
        return None if timed is None else timed[1] / max(1, timed[0]) * visits


def nonnegative_least_squares(
    a: Float[np.ndarray, "row column"], b: Float[np.ndarray, " row"]
) -> Float[np.ndarray, " column"]:
    """The x >= 0 that makes |A x - b| least.

    The active-set method of Lawson and Hanson (1974, chapter 23). For a handful of columns this is
    fast enough, and scipy's costs more time to import than all of this package.

    >>> nonnegative_least_squares(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([2.0, -1.0]))
    array([2., 0.])
    """
    count = a.shape[1]
    x, free = np.zeros(count), np.zeros(count, bool)
    small = 1e-12 * max(1.0, float(np.abs(a).max()) * float(np.abs(b).max()))
    for _ in range(10 * count):
        gain = np.where(free, -np.inf, a.T @ (b - a @ x))
        if free.all() or gain.max() <= small:
            break
        free[gain.argmax()] = True
        while True:
            best = np.zeros(count)
            best[free] = np.linalg.lstsq(a[:, free], b, rcond=None)[0]
            low = free & (best <= 0)
            if not low.any():
                break
            # Go towards the best point until the first variable meets 0, and hold it there.
            step = (x[low] / np.maximum(x[low] - best[low], 1e-300)).min()
            x = np.maximum(x + step * (best - x), 0.0)
            free &= x > 1e-14
            x[~free] = 0.0
        x = best
    return x


def _fit(table: Float[np.ndarray, "measurement column"]) -> list[float]:
    """Non-negative rates of all columns but the last, seconds, by relative least squares."""
    weighted = table / np.maximum(table[:, -1:], 1e-9)
    causes = weighted[:, :-1]
    scale = np.maximum(np.abs(causes).max(0), 1e-300)  # columns of like size
    solution = nonnegative_least_squares(causes / scale, weighted[:, -1])
    rates: list[float] = (solution / scale).tolist()
    return rates
