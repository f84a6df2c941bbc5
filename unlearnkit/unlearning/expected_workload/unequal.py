"""Expected workloads of requests whose examples, or groups, leave at unequal rates.

An example without a group, or a group as a whole, is a *unit*. Units leave one after the other,
each time one of those that are left, with a probability in proportion to its propensity. This is
successive sampling without replacement, or the first k arrivals of exponential clocks.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int, Num

from unlearnkit.training.plan import Plan

MOST_RATES = 1024  # different rates that are told apart; neighbouring ones are averaged beyond that
POINTS = 512  # moments at which the units that are left are counted
LEAST_RATE = 1e-9  # beside the largest; units of lower rates leave only after all others
SAMPLED = 64  # rates at which the probability to leave is computed


@dataclass(frozen=True, eq=False)
class Departures:
    """Units of the retain set that leave at unequal rates.

    Attributes:
        rates: rate of each unit, 0 or more.
        row_units: unit of each row.
        row_cells: place of each row, as shard * R + slice - 1.
        pair_units: unit of each pair of a unit and a shard that holds rows of it.
        pair_cells: place of its first slice there.
        epochs: epochs of each stage, e_1..e_R.
    """

    rates: Float[np.ndarray, " unit"]
    row_units: Int[np.ndarray, " row"]
    row_cells: Int[np.ndarray, " row"]
    pair_units: Int[np.ndarray, " pair"]
    pair_cells: Int[np.ndarray, " pair"]
    epochs: Int[np.ndarray, " stage"]

    @property
    def most(self) -> int:
        """Number of units that may leave."""
        return int((self.rates > 0).sum())

    def visits(self, num_requests: int) -> float:
        """Return the expected visits of exact retraining after this many units have left together.

        E[W] = sum_s sum_r e_r (n_sr - q_sr m_sr), where m_sr counts the rows of slices 1..r of
        shard s, n_sr is the expected number of those that are left, and q_sr the probability that
        no unit with a row there has left. With W_A the sum of the rates of these units, and R(j)
        that of the other units after j of them have left, q_sr = prod_j<k R(j) / (W_A + R(j)),
        into which the expectation of R(j) is put. This is exact for one request, and for equal
        rates, where it is the formula of
        :func:`~unlearnkit.unlearning.expected_workload.uniform.expected_visits`; otherwise the
        fluctuation of R(j) is neglected. (The formula was derived for unlearnkit.)

        Args:
            num_requests: k, at most :attr:`most`.
        """
        if not num_requests:
            return 0.0
        left = self._left(num_requests)
        members = self._sums(np.ones(len(self.row_units)))
        return float((left - members * self._untouched(num_requests)).sum(0) @ self.epochs)

    def remaining(self, num_requests: int) -> float:
        """Return the expected visits of training everything from scratch without these units."""
        return float(self._left(num_requests).sum(0) @ self.epochs)

    def _sums(self, values: Float[np.ndarray, " row"]) -> Float[np.ndarray, "shard stage"]:
        """Sum values of rows over slices 1..r of each shard."""
        stages = len(self.epochs)
        cells = (int(self.row_cells.max(initial=0)) // stages + 1) * stages
        held = np.bincount(self.row_cells, values, cells)
        sums: np.ndarray = held.reshape(-1, stages).cumsum(1)
        return sums

    @cached_property
    def _levels(self) -> tuple[Float[np.ndarray, " level"], Int[np.ndarray, " unit"]]:
        """The different rates, ascending, and the number of each unit's rate among them."""
        values, code = np.unique(self.rates, return_inverse=True)
        if len(values) <= MOST_RATES:
            return values, code
        level = np.arange(len(values)) * MOST_RATES // len(values)
        units = np.bincount(code)
        return np.bincount(level, values * units) / np.bincount(level, units), level[code]

    @cached_property
    def _decay(self) -> Float[np.ndarray, "moment level"]:
        """Probability that a unit of each rate is still there, at moments from 0 to the end."""
        values, _ = self._levels
        slowest = max(values[values > 0][0], LEAST_RATE * values[-1])
        moments = np.geomspace(1e-3 / self.rates.sum(), 60 / slowest, POINTS)
        decay: np.ndarray = np.exp(-np.append(0, moments)[:, None] * values)
        return decay

    def _over_time(
        self, counts: Num[np.ndarray, "set level"]
    ) -> tuple[Float[np.ndarray, "set moment"], Float[np.ndarray, "set moment"]]:
        """Return how many units of some sets have left, and the rates of the others, on average.

        Args:
            counts: number of units of each rate in each set.
        """
        values, _ = self._levels
        everyone = counts[:, values > 0].sum(1, keepdims=True)
        gone = np.hstack([counts @ (1 - self._decay).T, everyone])
        left = np.hstack([(counts * values) @ self._decay.T, 0.0 * everyone])
        return gone, left

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of slices 1..r of each shard: the sum of rates, and the other units over time."""
        values, code = self._levels
        stages = len(self.epochs)
        cells = self._sums(np.zeros(len(self.row_units))).size
        places = self.pair_cells * len(values) + code[self.pair_units]
        held = np.bincount(places, minlength=cells * len(values))
        counts = held.reshape(-1, stages, len(values)).cumsum(1).reshape(cells, -1)
        rates = np.bincount(self.pair_cells, self.rates[self.pair_units], cells)
        others = np.bincount(code, minlength=len(values)) - counts
        return rates.reshape(-1, stages).cumsum(1).ravel(), *self._over_time(others)

    @cached_property
    def _units(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of one unit with each of some rates: its rate, and the other units over time."""
        values, code = self._levels
        sampled = np.unique(np.linspace(0, len(values) - 1, SAMPLED).astype(int))
        others = np.bincount(code, minlength=len(values)) - np.eye(len(values))[sampled]
        return values[sampled], *self._over_time(others)

    def _untouched(self, num_requests: int) -> Float[np.ndarray, "shard stage"]:
        """Return q_sr, the probability that no unit with a row in slices 1..r has left."""
        found = [_stays(*one, num_requests) for one in zip(*self._places, strict=True)]
        return np.array(found).reshape(-1, len(self.epochs))

    def _left(self, num_requests: int) -> Float[np.ndarray, "shard stage"]:
        """Return n_sr, the expected number of rows that are left in slices 1..r of each shard."""
        if not num_requests:
            return self._sums(np.ones(len(self.row_units)))
        values, code = self._levels
        stays = [_stays(*one, num_requests) for one in zip(*self._units, strict=True)]
        of_level = np.interp(values, self._units[0], stays)
        return self._sums(of_level[code][self.row_units])


def _stays(
    own: float,
    gone: Float[np.ndarray, " moment"],
    left: Float[np.ndarray, " moment"],
    num_requests: int,
) -> float:
    """Return the probability that no unit leaves of some with this sum of rates.

    Args:
        own: the sum of their rates.
        gone: how many of the other units have left, over time.
        left: the sum of the rates of the others that have not.
        num_requests: number of units that leave.
    """
    if own <= 0:
        return 1.0
    then = np.interp(np.arange(num_requests), gone, left)
    return float(np.prod(then / (own + then)))


def departures(plan: Plan) -> Departures:
    """Return the units of a plan's retain set with their rates, equal ones without propensities."""
    examples, partition, kept = plan.examples, plan.partition, plan.retained
    stages, count = partition.num_slices, int(kept.sum())
    shard, slice_ = partition.shard[kept].astype(np.int64), partition.slice_[kept]
    rates = np.ones(count) if examples.propensity is None else examples.propensity[kept]
    cells = shard * stages + slice_ - 1
    epochs = np.array(plan.spec.stage_epochs())
    if examples.groups is None:
        each = np.arange(count)
        return Departures(rates, each, cells, each, cells, epochs)
    names, unit = np.unique(examples.groups[kept], return_inverse=True)
    of_unit = np.zeros(len(names))
    of_unit[unit] = rates
    pairs, at = np.unique(unit * partition.num_shards + shard, return_inverse=True)
    first = np.full(len(pairs), stages * partition.num_shards)
    np.minimum.at(first, at, cells)
    return Departures(of_unit, unit, cells, pairs // partition.num_shards, first, epochs)
