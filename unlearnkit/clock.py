"""The clock: seconds predicted from rates that are refitted after every run.

Exact and approximate work have rates of their own: visits alone would choose wrongly, because a
gradient in a large batch and one in a training step cost differently.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

from unlearnkit.training import StageRun

MEMORY = 300  # most recent measurements kept


@dataclass(frozen=True)
class Measurement:
    """One timed piece of work.

    Attributes:
        epochs: passes over a pool.
        steps: optimizer steps.
        visits: example gradients.
        seconds: wall time.
    """

    epochs: int
    steps: int
    visits: int
    seconds: float


@dataclass(frozen=True)
class Clock:
    """Rates of this machine for one model and spec; a new value after each observation.

    Exact seconds = c0 stages + c1 epochs + c2 steps + c3 visits, by non-negative least squares on
    relative errors (weights 1/seconds), so that short stages count as much as long ones.
    Approximate seconds = the replayed epochs at the training rates + d0 a shard + d1 large-batch
    visits, fitted likewise.
    """

    exact: tuple[Measurement, ...] = ()
    modify: tuple[Measurement, ...] = ()
    probe: Measurement | None = None

    def observe(self, runs: Iterable[StageRun]) -> "Clock":
        """The clock after these stages were run."""
        fresh = tuple(Measurement(r.epochs, r.steps, r.visits, r.seconds) for r in runs if r.visits)
        return replace(self, exact=(*self.exact, *fresh)[-MEMORY:])

    def observe_modify(self, visits: int, seconds: float) -> "Clock":
        """The clock after a modification of so many planned large-batch visits was timed."""
        fresh = Measurement(0, 0, visits, seconds)
        return replace(self, modify=(*self.modify, fresh)[-MEMORY:])

    def observe_probe(self, visits: int, seconds: float) -> "Clock":
        """The clock after a few large-batch visits were timed, before any modification was."""
        return replace(self, probe=Measurement(0, 0, visits, seconds))

    @property
    def calibrated(self) -> bool:
        """Whether anything has been measured yet."""
        return bool(self.exact)

    def rates(self) -> tuple[float, float, float, float]:
        """Seconds per stage, epoch, step and visit.

        Raises:
            LookupError: nothing has been measured.
        """
        if not self.exact:
            raise LookupError("no training has been timed yet; train first: session.train()")
        table = np.array([[1, m.epochs, m.steps, m.visits, m.seconds] for m in self.exact], float)
        a, b, c, d = _fit(table)
        return a, b, c, d

    def exact_seconds(self, stages: int, epochs: int, steps: int, visits: int) -> float | None:
        """Predicted seconds of training so much; None before anything was measured."""
        if not self.exact:
            return None
        a, b, c, d = self.rates()
        return a * stages + b * epochs + c * steps + d * visits

    def modify_seconds(self, visits: int) -> float | None:
        """Predicted seconds of modifying one shard by so many large-batch visits.

        None before anything of the kind was timed.
        """
        if len(self.modify) > 1:
            constant, rate = _fit(np.array([[1, m.visits, m.seconds] for m in self.modify], float))
            return constant + rate * visits
        timed = self.modify[-1] if self.modify else self.probe
        return None if timed is None else timed.seconds / max(1, timed.visits) * visits


def _fit(table: Float[np.ndarray, "measurement column"]) -> list[float]:
    """Non-negative rates of all columns but the last, seconds, by relative least squares."""
    weighted = table / np.maximum(table[:, -1:], 1e-9)
    causes = weighted[:, :-1]
    scale = np.maximum(np.abs(causes).max(0), 1e-300)  # columns of like size
    solution, _ = nnls(causes / scale, weighted[:, -1])
    rates: list[float] = (solution / scale).tolist()
    return rates
