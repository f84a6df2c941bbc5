"""The clock: predicts CPU seconds from measured rates, which are fitted again after every run.

CPU seconds are those of the threads that do the work
(:func:`~unlearnkit.training.kernels.cpu_time.cpu_clock`). They hardly change while other work keeps
the processor busy, so neither do predictions nor what is decided from them. How much wall time a
CPU second takes here, the pace, serves only to judge deadlines and to say how long one has to wait.

Training, modification and the rest of a request (planning, storing, destroying) have separate
rates. Counting example gradients alone would choose the wrong route, because a gradient in a large
batch takes less time than one in a training step.
"""

import platform
import reprlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

MAX_MEASUREMENTS = 300  # number of most recent measurements kept of each kind
MOST_MEASURED = 1e18  # no measurement is larger
HALF_LIFE = 60  # number of later measurements after which a measurement counts half
PRIOR_WEIGHT = 1e-6  # weight of an assumed rate (the latest measurement has 1): it only fills gaps
PROBE_WEIGHT = 0.1  # of large batches timed by themselves, beside a modification
FITS, MOST_APART = 3, 2.0  # see _fit
NUM_PACES = 5  # runs of which the median pace is taken
# Of stored rates. Earlier versions stored wall seconds, or did not time checks by themselves.
UNIT = "CPU seconds, checks apart"
MIN_ERRORS, MIN_MULTIPLE = 9, 1.5  # with fewer errors, an interval has MIN_MULTIPLE

# Rates assumed until they have been measured, in ticks. A tick is a small torch operation, so rates
# scale with the speed of the machine. They are rounded from runs of one model on one machine, and
# serve only as starting values.
EXACT_PRIOR = (60.0, 30.0, 110.0, 11.0, 0.1, 450.0, 600.0)
MODIFY_PRIOR = (1000.0, 150.0, 0.25)
CHECK_PRIOR = (1500.0, 2500.0, 0.25)
# Assumed ratio of the arithmetic of an example gradient in a large batch to one in a training step.
LARGE_BATCH = 0.55
REQUEST_PRIOR = (2000.0, 400.0, 200.0)


@dataclass(frozen=True)
class Work:
    """An amount of training.

    Attributes:
        stages: stages that end, with their checkpoints read out and stored.
        epochs: epochs, counted for each shard.
        lockstep: sequential steps; lanes that run together share a step.
        steps: optimizer steps, counted for each lane.
        visits: example gradients.
        starts: shards that start from initial weights.
        groups: groups of lanes that are trained in lockstep, each of which creates its own buffers;
            without lockstep, shards that are trained, each with its own module and optimizer.
    """

    stages: int
    epochs: int
    lockstep: int
    steps: int
    visits: int
    starts: int = 0
    groups: int = 0

    def row(self) -> tuple[int, ...]:
        """Return the amounts that have a rate each; steps of further lanes count separately."""
        further = self.steps - self.lockstep
        counts = (self.stages, self.epochs, self.lockstep, further, self.visits)
        return (*counts, self.starts, self.groups)


@dataclass(frozen=True)
class Batches:
    """An amount of work in large batches.

    Attributes:
        shards: shards that are modified.
        batches: gradients, linearisations and curvature products, each over one batch.
        visits: cost of these in gradients of one example; a curvature product counts as one for
            each of its examples.
    """

    shards: int
    batches: int
    visits: int

    @classmethod
    def total(cls, planned: Iterable[tuple[int, int]]) -> "Batches":
        """Add up the batches and visits of several shards.

        >>> Batches.total([(2, 64), (3, 90)])
        Batches(shards=2, batches=5, visits=154)
        """
        shards = list(planned)
        return cls(len(shards), sum(b for b, _ in shards), sum(v for _, v in shards))


@dataclass(frozen=True)
class Checks:
    """An amount of work that checks modified shards.

    Attributes:
        requests: requests that modify shards; some checks are made once for all of them.
        shards: shards that are checked and stored.
        visits: cost of the outputs that are compared, in gradients of one example.
    """

    requests: int
    shards: int
    visits: int


@dataclass(frozen=True)
class Interval:
    """The range of CPU seconds around a prediction.

    The range is empirical: 90 % of past errors lie within it, once there are enough of them.

    Attributes:
        low: lower end in CPU seconds.
        high: upper end in CPU seconds.
    """

    low: float
    high: float

    def __repr__(self) -> str:
        return f"{self.low:.2g} to {self.high:.2g} CPU s"


@dataclass(frozen=True)
class Clock:
    """Rates of this machine for one model and spec; each observation returns a new clock.

    CPU seconds are modelled as amounts of work times rates:

    - training = c0 stages + c1 shard-epochs + c2 lockstep steps + c3 steps of further lanes
      + c4 visits + c5 new shards + c6 groups of lanes;
    - modification = d0 shards + d1 large batches + d2 large-batch visits;
    - checks of what was modified = k0 requests + k1 shards + k2 visits;
    - rest of a request = r0 + r1 shards retrained + r2 shards modified.

    The rates are fitted by non-negative least squares on relative errors, so that short and long
    runs count equally, and recent runs count more. Rates that no measurement determines keep an
    assumed value, in ticks. The model was devised for unlearnkit.

    Attributes:
        exact: timed pieces of training.
        modify: timed modifications; the replay after a modification counts as training.
        checks: timed checks of modified shards, with storing them.
        request: numbers of shards retrained and modified by past requests, with the CPU seconds
            besides training and modification.
        errors: logarithms of measured over predicted CPU seconds, for past requests without and
            with an approximate part.
        tick: CPU seconds of a small torch operation.
        paces: wall seconds over CPU seconds of the last runs.
        note: why the rates stored with a store were not used; empty if they were used.
    """

    exact: tuple[tuple[Work, float], ...] = ()
    modify: tuple[tuple[Batches, float], ...] = ()
    request: tuple[tuple[int, int, float], ...] = ()
    errors: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    tick: float = 1e-6
    paces: tuple[float, ...] = ()
    note: str = ""
    checks: tuple[tuple[Checks, float], ...] = ()

    def __repr__(self) -> str:
        text = f"Clock({len(self.exact)} trainings and {len(self.modify)} modifications timed"
        return text + (f"; {self.note})" if self.note else ")")

    def observe(self, timed: Sequence[tuple[Work, float]], tick: float | None = None) -> "Clock":
        """Return the clock after training was timed.

        Args:
            timed: pieces of training with their CPU seconds.
            tick: CPU seconds of a small torch operation, if it was measured.
        """
        fresh = tuple((work, seconds) for work, seconds in timed if any(work.row()))
        if not fresh:
            return self
        kept = (*self.exact, *fresh)[-MAX_MEASUREMENTS:]
        return replace(self, exact=kept, tick=self.tick if tick is None else tick)

    def observe_modify(self, batches: Batches, seconds: float) -> "Clock":
        """Return the clock after a modification with this planned work was timed."""
        return replace(self, modify=(*self.modify, (batches, seconds))[-MAX_MEASUREMENTS:])

    def observe_checks(self, checks: Checks, seconds: float) -> "Clock":
        """Return the clock after the checks of modified shards were timed."""
        return replace(self, checks=(*self.checks, (checks, seconds))[-MAX_MEASUREMENTS:])

    def observe_probe(self, batches: Batches, seconds: float) -> "Clock":
        """Return the clock after large batches were timed by themselves.

        Of repeated timings of the same work the minimum is kept, because other work on the machine
        can only make a timing slower.
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
        """Return the clock after a request.

        Args:
            exact: number of shards retrained.
            approximate: number of shards modified.
            beside: CPU seconds besides training and modification.
            seconds: CPU seconds of the whole request.
            predicted: prediction of ``seconds`` before the request; None if there was none.
        """
        errors = list(self.errors)
        if predicted:
            kind = int(approximate > 0)
            errors[kind] = (*errors[kind], float(np.log(seconds / predicted)))[-MAX_MEASUREMENTS:]
        request = (*self.request, (exact, approximate, beside))[-MAX_MEASUREMENTS:]
        return replace(self, request=request, errors=(errors[0], errors[1]))

    def observe_pace(self, cpu_seconds: float | None, seconds: float) -> "Clock":
        """Return the clock after a run took this many CPU seconds and this much wall time."""
        if not cpu_seconds:
            return self
        return replace(self, paces=(*self.paces, seconds / cpu_seconds)[-NUM_PACES:])

    @property
    def pace(self) -> float:
        """Wall seconds in which this machine does a CPU second: the median of the last runs.

        It grows with other work on the machine, and falls below 1 where several threads work.
        """
        return float(np.median(self.paces)) if self.paces else 1.0

    @property
    def calibrated(self) -> bool:
        """Whether any training has been timed yet."""
        return bool(self.exact)

    @cached_property
    def rates(self) -> Float[np.ndarray, " cause"]:
        """CPU seconds per stage, epoch, lockstep step, further lane's step, visit, start and group.

        Raises:
            LookupError: no training has been timed yet.
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
        # The arithmetic of a visit. Its rate is separate from the overhead of a step only if lanes
        # in lockstep have been timed.
        told = any(work.steps > work.lockstep for work in works)
        step = min(self.rates[2], self.rates[3]) if told else self.rates[2]
        visit = step * steps / max(1, visits) + (0.0 if told else self.rates[4])
        prior = [cost * self.tick for cost in MODIFY_PRIOR]
        prior[2] += LARGE_BATCH * visit
        whole = np.array([batches.shards > 0 for batches, _ in self.modify])
        alone = PROBE_WEIGHT if whole.any() else 1.0
        return _fit(table, np.array(prior), np.where(whole, 1.0, alone))

    @cached_property
    def _check_rates(self) -> Float[np.ndarray, " cause"]:
        table = [[*astuple(checks), seconds] for checks, seconds in self.checks]
        return _fit(table, np.array(CHECK_PRIOR) * self.tick + [0, 0, self._modify_rates[2]])

    @cached_property
    def _request_rates(self) -> Float[np.ndarray, " cause"]:
        table = [[1, *measured] for measured in self.request]
        return _fit(table, np.array(REQUEST_PRIOR) * self.tick)

    def exact_seconds(self, work: Work) -> float | None:
        """Predict the CPU seconds of training; None before any training was timed."""
        return float(self.rates @ np.array(work.row())) if self.exact else None

    def modify_seconds(self, batches: Batches) -> float | None:
        """Predict the CPU seconds of large batches; None before any training was timed."""
        return float(self._modify_rates @ np.array(astuple(batches))) if self.exact else None

    def check_seconds(self, checks: Checks) -> float | None:
        """Predict the CPU seconds of checks; None before any training was timed."""
        return float(self._check_rates @ np.array(astuple(checks))) if self.exact else None

    def request_seconds(self, exact: int, approximate: int = 0) -> float | None:
        """Predict the CPU seconds of a request besides training and modification."""
        return float(self._request_rates @ (1, exact, approximate)) if self.exact else None

    def multiple(self, approximate: bool) -> float:
        """Return the factor by which a measurement may exceed its prediction or fall below it.

        The factor is the 90 % quantile of past errors as in split-conformal prediction (Vovk,
        Gammerman and Shafer 2005), that is, the ceil(0.9 (n + 1))-th smallest of n errors. With
        fewer than 9 errors it is the largest of them, but at least 1.5.

        Args:
            approximate: whether the request has an approximate part.
        """
        errors = np.sort(np.abs(self.errors[int(approximate)]))
        count = len(errors)
        if count < MIN_ERRORS:
            return float(max(np.exp(errors[-1]) if count else 1.0, MIN_MULTIPLE))
        return float(np.exp(errors[min(int(np.ceil(0.9 * (count + 1))), count) - 1]))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for the manifest of a store, with the machine that they hold for."""
        return {
            "machine": machine(),
            "unit": UNIT,
            "exact": [[list(astuple(work)), seconds] for work, seconds in self.exact],
            "modify": [[list(astuple(batches)), seconds] for batches, seconds in self.modify],
            "checks": [[list(astuple(checks)), seconds] for checks, seconds in self.checks],
            "request": [list(measured) for measured in self.request],
            "errors": [list(errors) for errors in self.errors],
            "tick": self.tick,
            "paces": list(self.paces),
        }

    @classmethod
    def from_dict(cls, kept: dict[str, Any] | None) -> "Clock":
        """Return the clock of a manifest, or an empty one with a note if its rates are of no use.

        They were measured on another machine, or by an earlier version in another way.

        Raises:
            KeyError, TypeError, ValueError, OverflowError, AttributeError: the entry was not
                written by unlearnkit.
        """
        if not kept:
            return cls()
        if kept.get("unit") != UNIT:
            return cls(
                note="the rates stored with the store were measured by an earlier version in "
                "another way, so the next run measures them again"
            )
        here = machine()
        differing = [
            f"{name} was {kept['machine'].get(name)} and is {value}"
            for name, value in here.items()
            if kept["machine"].get(name) != value
        ]
        if differing:
            return cls(
                note="the rates stored with the store were measured on another machine "
                f"({'; '.join(differing)}), so the next run measures them again"
            )
        exact, approximate = kept["errors"]
        clock = cls(
            tuple((Work(*work), seconds) for work, seconds in kept["exact"]),
            tuple((Batches(*batches), seconds) for batches, seconds in kept["modify"]),
            tuple((e, a, seconds) for e, a, seconds in kept["request"]),
            (tuple(exact), tuple(approximate)),
            kept["tick"],
            tuple(kept["paces"]),
            checks=tuple((Checks(*checks), seconds) for checks, seconds in kept["checks"]),
        )
        exactly = [(*astuple(work), seconds) for work, seconds in clock.exact]
        modified = [(*astuple(batches), seconds) for batches, seconds in clock.modify]
        checked = [(*astuple(checks), seconds) for checks, seconds in clock.checks]
        for number in (number for measured in exactly + modified + checked for number in measured):
            _check_measured(number, low=0)
        for number in (*(n for measured in clock.request for n in measured), *exact, *approximate):
            _check_measured(number)
        for above_zero in (clock.tick, *clock.paces):
            _check_measured(above_zero, low=1e-12)
        return clock


def _check_measured(value: Any, low: float = -MOST_MEASURED) -> None:
    if type(value) not in (int, float) or not low <= value <= MOST_MEASURED:
        raise ValueError(f"{reprlib.repr(value)} was not measured")


@lru_cache(1)
def machine() -> dict[str, str | int]:
    """Return the properties of this machine on which rates depend."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": len(models) or 1,
        "torch": str(torch.__version__),
    }


def time_tick(now: Callable[[], float], count: int = 8) -> float:
    """Return the seconds of a small torch operation: the least mean of ``count`` calls.

    Args:
        now: returns CPU seconds (:func:`~unlearnkit.training.kernels.cpu_time.cpu_clock`).
        count: number of calls.
    """
    a, b, found = torch.zeros(16), torch.ones(16), []
    for _ in range(16):
        begun = now()
        for _ in range(count):
            a.add_(b)
        found.append((now() - begun) / count)
    return min(found)


def _fit(
    measured: Sequence[Sequence[float]],
    prior: Float[np.ndarray, " cause"],
    trust: Float[np.ndarray, " measured"] | float = 1.0,
) -> Float[np.ndarray, " cause"]:
    """Fit non-negative rates by least squares on relative errors.

    Errors relative to the measured seconds would favour rates that are too low, because a
    measurement that is too long then counts less than one that is too short by the same amount.
    The fit is therefore repeated with errors relative to the seconds that the last one predicts
    (iteratively reweighted least squares, Holland and Welsch 1977). These are limited to
    ``MOST_APART`` times the measured ones in either direction, so that no measurement that other
    work disturbed outweighs the others.

    Args:
        measured: rows of amounts of work, with the seconds in the last column.
        prior: assumed rates. Each enters the fit as one more row with the weight PRIOR_WEIGHT.
        trust: weights of the measurements.
    """
    if not measured:
        return prior
    table = np.array(measured, float)
    ages = np.arange(len(table))[::-1]
    weights = (trust * 0.5 ** (ages / HALF_LIFE / 2))[:, None]  # least squares squares them
    # In units of the prior, all rates have similar magnitudes.
    works, seconds = table[:, :-1] * prior, np.maximum(table[:, -1:], 1e-9)
    scale = seconds
    for _ in range(FITS):
        a = np.vstack([works / scale * weights, PRIOR_WEIGHT * np.eye(len(prior))])
        b = np.concatenate([(seconds / scale * weights)[:, 0], np.full(len(prior), PRIOR_WEIGHT)])
        rates = nonnegative_least_squares(a, b)
        scale = np.clip(works @ rates[:, None], seconds / MOST_APART, seconds * MOST_APART)
    found: np.ndarray = rates * prior
    return found


def nonnegative_least_squares(
    a: Float[np.ndarray, "row column"], b: Float[np.ndarray, " row"]
) -> Float[np.ndarray, " column"]:
    """Return the x >= 0 that minimises |A x - b|.

    This is the active-set method of Lawson and Hanson (1974, chapter 23). It is fast enough for a
    few columns, while importing scipy's version takes longer than importing this package.

    >>> nonnegative_least_squares(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([2.0, -1.0]))
    array([2., 0.])
    """
    count = a.shape[1]
    x, free = np.zeros(count), np.zeros(count, bool)
    small = 1e-15 * max(1.0, float(np.abs(a).max()) * float(np.abs(b).max()))
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
            # Move towards the best point until the first variable reaches 0, and fix it there.
            step = (x[low] / np.maximum(x[low] - best[low], 1e-300)).min()
            x = np.maximum(x + step * (best - x), 0.0)
            free &= x > 1e-14
            x[~free] = 0.0
        x = best
    return x
