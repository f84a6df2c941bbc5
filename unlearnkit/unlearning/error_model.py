"""The error model predicts the error of an approximation from the size of its correction.

When exact retraining clears a debt, the approximation that it replaces is compared with the exact
model, which gives the true error of that approximation at no extra cost. Errors are modelled as

    log e = a + b log x,

where x is the norm of the corrections since the model was exact, and e the error. The upper bound
follows split-conformal prediction (Vovk, Gammerman and Shafer 2005): a and b are fitted to the
older half of the pairs, without the smallest corrections, and the ceil(.95 (n + 1))-th smallest of
the n residuals of the newer half is added. The halves are divided by time because shards of one
request resemble one another.

The bound holds in 95 % of future cases that are exchangeable with the past ones. Two rules keep it
honest for requests of other kinds: below the lower quartile of the past corrections it falls no
further, since examples that are easily learned need small corrections and leave errors that are
large beside them; and above the largest past correction there is no bound at all. It remains
empirical: requests of one class, of which the past ones say little, exceed it more often. (The
model was devised for unlearnkit; the benchmark ``bounds`` measures coverage by kind of request.)
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

LEVEL = 0.95
LEAST = 38  # pairs: with fewer than 19 residuals none of them is a bound at this level
MEMORY = 400  # most recent pairs kept
RECENT, ENOUGH = 9, 3  # number of recent drifts that give the regime: at most, at least


@dataclass(frozen=True)
class ErrorModel:
    """Pairs of correction and error of one model and spec, oldest first.

    Attributes:
        pairs: (x, e) of every approximation that was repaid, up to the most recent ``MEMORY``.
        owed: for each shard with debt, the sum of the norms of its corrections.
        drifts: the most recent drifts of approximations of networks, accepted or not (see
            :mod:`unlearnkit.unlearning.inspection`).
        removed: share of the gap of doing nothing that the default method and amend removed in
            their latest spot check (:mod:`unlearnkit.unlearning.boundary.spot_check`); None before
            the first.
    """

    pairs: tuple[tuple[float, float], ...] = ()
    owed: dict[int, float] = field(default_factory=dict)
    drifts: tuple[float, ...] = ()
    removed: float | None = None

    def __repr__(self) -> str:
        if not self.ready:
            return f"ErrorModel({len(self.pairs)} of {LEAST} pairs, no bound yet)"
        a, b, margin = self.fit
        return (
            f"ErrorModel({len(self.pairs)} pairs: log e = {a:.2g} + {b:.2g} log x, "
            f"{LEVEL:.0%} within {np.exp(margin):.2g} times that)"
        )

    @property
    def ready(self) -> bool:
        """Whether there are enough pairs for a bound."""
        return len(self.pairs) >= LEAST

    @cached_property
    def fit(self) -> tuple[float, float, float]:
        """The coefficients a and b, and the residual that 5 % of errors exceed.

        Raises:
            LookupError: there are fewer than ``LEAST`` pairs.
        """
        if not self.ready:
            raise LookupError(
                f"{len(self.pairs)} repaid approximations are too few for a bound; repay more, "
                f"until there are {LEAST}"
            )
        x, e = np.log(np.array(self.pairs)).T
        design = np.stack([np.ones_like(x), np.maximum(x, np.log(self.range[0]))], 1)
        half = len(x) // 2
        fitted = (np.arange(len(x)) < half) & (
            x >= design[:, 1]
        )  # smaller corrections get the bound of the quartile
        (a, b), *_ = np.linalg.lstsq(design[fitted], e[fitted], rcond=None)
        residuals = np.sort((e - design @ (a, b))[half:])
        rank = int(np.ceil(LEVEL * (len(residuals) + 1)))
        return float(a), float(b), float(residuals[rank - 1])

    @cached_property
    def range(self) -> tuple[float, float]:
        """The corrections for which there is a bound: lower quartile and largest of the past.

        Smaller corrections get the bound of the lower quartile, larger ones none.
        """
        x = np.array([correction for correction, _ in self.pairs])
        return float(np.quantile(x, 0.25)), float(x.max())

    @property
    def regime(self) -> float | None:
        """The median of ``drifts``; None if there are too few of them.

        It characterises the model and its training, above all the learning rate. It is high if
        training is chaotic, so that a replay undoes the correction (see
        ``AdaptiveBoundary.max_drift``).
        """
        return float(np.median(self.drifts)) if len(self.drifts) >= ENOUGH else None

    def saw(self, drift: float) -> "ErrorModel":
        """Return the error model after the drift of an approximation was measured."""
        return replace(self, drifts=(*self.drifts, drift)[-RECENT:])

    def spot_checked(self, removed: float | None) -> "ErrorModel":
        """Return the error model after a spot check; None if the check could measure nothing."""
        return self if removed is None else replace(self, removed=removed)

    def bound(self, shard: int, correction: float) -> float | None:
        """Bound the error of a shard after one more correction.

        Args:
            shard: the shard; its earlier corrections are added.
            correction: norm of the new correction.

        Returns:
            The bound; None if there are too few pairs, or if the norm of all corrections is 0, or
            larger than any that was repaid.
        """
        x = self.owed.get(shard, 0.0) + correction
        if not self.ready or not 0 < x <= self.range[1]:
            return None
        a, b, margin = self.fit
        return float(np.exp(a + b * np.log(max(x, self.range[0])) + margin))

    def corrected(self, shard: int, correction: float) -> "ErrorModel":
        """Return the error model after an approximation of a shard was accepted."""
        owed = {**self.owed, shard: self.owed.get(shard, 0.0) + correction}
        return replace(self, owed=owed)

    def retrained(self, shard: int, error: float | None = None) -> "ErrorModel":
        """Return the error model after a shard was retrained exactly.

        Args:
            shard: the shard, which has no debt any more.
            error: error of the approximation that was replaced, if it is known.
        """
        owed = dict(self.owed)
        x, pairs = owed.pop(shard, 0.0), self.pairs
        if error is not None and error > 0 and x > 0:
            pairs = (*pairs, (x, error))[-MEMORY:]
        return replace(self, pairs=pairs, owed=owed)
