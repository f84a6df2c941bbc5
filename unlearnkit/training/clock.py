"""The clock: seconds predicted from rates that are refitted after every run.

Exact and approximate work have rates of their own: visits alone would choose wrongly, because a
gradient in a large batch and one in a training step cost differently. Whatever is left of a request
(planning, storing, destroying) has rates of its own too.
"""

import platform
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

MEMORY = 300  # most recent measurements kept of each kind
HALF_LIFE = 60  # measurements after which one counts half
PRIOR_WEIGHT = 1e-6  # of a rate assumed, beside 1 of the latest measurement: it fills gaps only
FEW, FEW_MULTIPLE = 9, 1.5  # below so many past errors an interval has at least this multiple

# What is assumed of a cost until it has been measured, in ticks (a tick is a small operation of
# torch, so that a slow machine has slow ones). Rounded by hand from runs of the benchmark's
# logistic regression 64-10 on one machine; they have been tried on no other.
EXACT_PRIOR = (60.0, 60.0, 110.0, 11.0, 0.1, 450.0)
MODIFY_PRIOR = (1000.0, 150.0, 0.25)
# Seconds of a visit in a large batch, less what MODIFY_PRIOR says, over those of one in a training
# step. Measured, with stacks in lanes: .5 to .7 for perceptrons 784-256-10 at batch 64 and
# 600-128-100 at batch 32.
LARGE_BATCH = 0.55
REQUEST_PRIOR = (900.0, 200.0, 200.0)


@dataclass(frozen=True)
class Work:
    """An amount of training.

    Attributes:
        stages: ended: their checkpoints are read out and stored.
        epochs: passes of one shard over a pool.
        lockstep: steps one after the other; lanes that run together share them.
        steps: optimizer steps of single lanes.
        visits: example gradients.
        starts: shards that begin with new weights.
    """

    stages: int
    epochs: int
    lockstep: int
    steps: int
    visits: int
    starts: int = 0

    def row(self) -> tuple[int, ...]:
        """The causes of cost: a lockstep step has its price, and each lane after the first its."""
        further = self.steps - self.lockstep
        return (self.stages, self.epochs, self.lockstep, further, self.visits, self.starts)


@dataclass(frozen=True)
class Batches:
    """An amount of work in large batches.

    Attributes:
        shards: that are modified.
        batches: gradients, linearisations and curvature products.
        visits: what they take in gradients of one example; a curvature product counts as one for
            each of its examples.
    """

    shards: int
    batches: int
    visits: int


@dataclass(frozen=True)
class Interval:
    """Where the seconds lie that a prediction speaks of.

    Empirical: 90 % of the past errors were within it, where there are enough of them.
    """

    low: float
    high: float

    def __repr__(self) -> str:
        return f"{self.low:.2g} to {self.high:.2g} s"


@dataclass(frozen=True)
class Clock:
    """Rates of this machine for one model and spec; a new value after each observation.

    Seconds are sums of causes times rates, fitted by non-negative least squares on relative errors
    (weights 1/seconds), so that short runs count as much as long ones, and recent ones more:

    - training = c0 stages + c1 shard-epochs + c2 lockstep steps + c3 further shard-steps
      + c4 visits + c5 new shards;
    - modifying = d0 a shard + d1 large batches + d2 large-batch visits;
    - a request beside these = r0 + r1 shards retrained + r2 shards modified.

    A cause that nothing has told yet has an assumed rate, in ticks. (Ours.)

    Attributes:
        exact: trainings timed.
        modify: modifications timed; the replay after them is a training.
        request: shards retrained and modified, and the seconds that requests took beside it.
        errors: logarithms of measured over predicted seconds of past requests: of those retrained
            exactly, and of those with an approximate part.
        tick: seconds of a small operation.
        note: why the rates kept with a store were not taken; empty if they were.
    """

    exact: tuple[tuple[Work, float], ...] = ()
    modify: tuple[tuple[Batches, float], ...] = ()
    request: tuple[tuple[int, int, float], ...] = ()
    errors: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    tick: float = 1e-6
    note: str = ""

    def __repr__(self) -> str:
        text = f"Clock({len(self.exact)} trainings and {len(self.modify)} modifications timed"
        return text + (f"; {self.note})" if self.note else ")")

    def observe(self, timed: Sequence[tuple[Work, float]], tick: float | None = None) -> "Clock":
        """The clock after so much training took so many seconds, several times."""
        fresh = tuple((work, seconds) for work, seconds in timed if any(work.row()))
        if not fresh:
            return self
        kept = (*self.exact, *fresh)[-MEMORY:]
        return replace(self, exact=kept, tick=self.tick if tick is None else tick)

    def observe_modify(self, batches: Batches, seconds: float) -> "Clock":
        """The clock after a modification planned with so many batches was timed."""
        return replace(self, modify=(*self.modify, (batches, seconds))[-MEMORY:])

    def observe_probe(self, batches: Batches, seconds: float) -> "Clock":
        """The clock after batches by themselves were timed: of the same ones the fastest counts.

        Other work on the machine makes them slower, never faster.
        """
        before = [taken for work, taken in self.modify if work == batches]
        others = tuple(timed for timed in self.modify if timed[0] != batches)
        return replace(self, modify=(*others, (batches, min([*before, seconds]))))

    def observe_request(
        self,
        exact: int,
        approximate: int,
        beside: float,
        seconds: float,
        predicted: float | None,
    ) -> "Clock":
        """The clock after a request.

        Args:
            exact: shards retrained.
            approximate: shards modified.
            beside: seconds besides training and modifying.
            seconds: of all of it.
            predicted: the same, before.
        """
        errors = list(self.errors)
        if predicted:
            kind = int(approximate > 0)
            errors[kind] = (*errors[kind], float(np.log(seconds / predicted)))[-MEMORY:]
        request = (*self.request, (exact, approximate, beside))[-MEMORY:]
        return replace(self, request=request, errors=(errors[0], errors[1]))

    @property
    def calibrated(self) -> bool:
        """Whether anything has been measured yet."""
        return bool(self.exact)

    @cached_property
    def rates(self) -> Float[np.ndarray, " cause"]:
        """Seconds per stage, epoch, lockstep step, further shard-step, visit and new shard.

        Raises:
            LookupError: nothing has been measured.
        """
        if not self.exact:
            raise LookupError("no training has been timed yet; train first: session.train()")
        table = [[*work.row(), seconds] for work, seconds in self.exact]
        return _fit(table, np.array(EXACT_PRIOR) * self.tick)

    @cached_property
    def _modify_rates(self) -> Float[np.ndarray, " cause"]:
        table = [[*astuple(batches), seconds] for batches, seconds in self.modify]
        works = [work for work, _ in self.exact]
        visits, steps = (sum(getattr(w, name) for w in works) for name in ("visits", "steps"))
        # Arithmetic alone, where lanes in lockstep have told it from what a step costs anyway.
        told = any(work.steps > work.lockstep for work in works)
        step = min(self.rates[2], self.rates[3]) if told else self.rates[2]
        visit = step * steps / max(1, visits) + (0.0 if told else self.rates[4])
        prior = [cost * self.tick for cost in MODIFY_PRIOR]
        prior[2] += LARGE_BATCH * visit
        return _fit(table, np.array(prior))

    @cached_property
    def _request_rates(self) -> Float[np.ndarray, " cause"]:
        table = [[1, *measured] for measured in self.request]
        return _fit(table, np.array(REQUEST_PRIOR) * self.tick)

    def exact_seconds(self, work: Work) -> float | None:
        """Predicted seconds of training so much; None before anything was measured."""
        return float(self.rates @ np.array(work.row())) if self.exact else None

    def modify_seconds(self, batches: Batches) -> float | None:
        """Predicted seconds of so much work in large batches; None before any measurement."""
        return float(self._modify_rates @ np.array(astuple(batches))) if self.exact else None

    def request_seconds(self, exact: int, approximate: int = 0) -> float | None:
        """Predicted seconds of a request besides training and modifying."""
        return float(self._request_rates @ (1, exact, approximate)) if self.exact else None

    def multiple(self, approximate: bool) -> float:
        """By how much a measurement may differ from its prediction, either way.

        The 90 % quantile of past errors as in split-conformal prediction (Vovk, Gammerman and
        Shafer 2005), so their ceil(0.9 (n + 1))-th smallest; of fewer than 9 the largest, or 1.5
        if that is more.

        Args:
            approximate: of a request with an approximate part.
        """
        errors = np.sort(np.abs(self.errors[int(approximate)]))
        count = len(errors)
        if count < FEW:
            return float(max(np.exp(errors[-1]) if count else 1.0, FEW_MULTIPLE))
        return float(np.exp(errors[min(int(np.ceil(0.9 * (count + 1))), count) - 1]))

    def to_dict(self) -> dict[str, Any]:
        """For the manifest of a store, with the machine that it holds for."""
        return {
            "machine": machine(),
            "exact": [[list(astuple(work)), seconds] for work, seconds in self.exact],
            "modify": [[list(astuple(batches)), seconds] for batches, seconds in self.modify],
            "request": [list(measured) for measured in self.request],
            "errors": [list(errors) for errors in self.errors],
            "tick": self.tick,
        }

    @classmethod
    def from_dict(cls, kept: dict[str, Any] | None) -> "Clock":
        """The clock of a manifest; an empty one that says why where it does not hold here."""
        if not kept:
            return cls()
        here = machine()
        differing = [
            f"{name} was {kept['machine'].get(name)} and is {value}"
            for name, value in here.items()
            if kept["machine"].get(name) != value
        ]
        if differing:
            return cls(
                note=f"the rates kept with the store are of another machine ({'; '.join(differing)}"
                "), so the next run measures anew"
            )
        exact, approximate = kept["errors"]
        return cls(
            tuple((Work(*work), float(seconds)) for work, seconds in kept["exact"]),
            tuple((Batches(*batches), float(seconds)) for batches, seconds in kept["modify"]),
            tuple((int(e), int(a), float(seconds)) for e, a, seconds in kept["request"]),
            (tuple(exact), tuple(approximate)),
            float(kept["tick"]),
        )


@lru_cache(1)
def machine() -> dict[str, str | int]:
    """What rates depend on besides model and spec."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": len(models) or 1,
        "torch": str(torch.__version__),
    }


def time_tick(count: int = 8) -> float:
    """Seconds of a small operation of torch, about: the least of some means."""
    a, b, found = torch.zeros(16), torch.ones(16), []
    for _ in range(16):
        begun = time.perf_counter()
        for _ in range(count):
            a.add_(b)
        found.append((time.perf_counter() - begun) / count)
    return min(found)


def _fit(
    measured: Sequence[Sequence[float]], prior: Float[np.ndarray, " cause"]
) -> Float[np.ndarray, " cause"]:
    """Non-negative rates of all columns but the last, seconds, by relative least squares.

    Each row of the prior says, with little weight, that a rate is as assumed.
    """
    if not measured:
        return prior
    table = np.array(measured, float)
    ages = np.arange(len(table))[::-1]
    weights = 0.5 ** (ages / HALF_LIFE / 2)[:, None]  # squared in the sum
    rows = table[:, :-1] / np.maximum(table[:, -1:], 1e-9) * weights
    # In units of the prior, in which all rates are of like size.
    a = np.vstack([rows * prior, PRIOR_WEIGHT * np.eye(len(prior))])
    b = np.concatenate([weights[:, 0], np.full(len(prior), PRIOR_WEIGHT)])
    rates: np.ndarray = nonnegative_least_squares(a, b) * prior
    return rates


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
