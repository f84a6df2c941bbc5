"""The error model predicts the error of an approximation from the size of its correction.

When exact retraining clears a debt, the approximation that it replaces is compared with the exact
model, which gives the true error of that approximation at no extra cost. Errors are modelled as

    log e = a + b log x,

where x is the norm of the corrections since the model was exact, and e the error. The upper bound
follows split-conformal prediction (Vovk, Gammerman and Shafer 2005): a and b are fitted to the
older half of the pairs, without the smallest corrections, and the ceil(.95 (n + 1))-th smallest of
the n residuals of the newer half is added. The halves are divided by time because shards of one
request resemble one another.

The bound holds in 95 % of future cases that are exchangeable with the past ones. Three rules keep
it honest for requests of other kinds. Below the lower quartile of the past corrections it falls no
further, since examples that are easily learned need small corrections and leave errors that are
large beside them. There is no bound for a correction above the largest past one. Nor is there one
for a shard that loses a larger share of any of its classes than was ever repaid: to forget much of
one class changes a model in another way than to forget equally many examples of all classes, and
leaves a larger error. The bound remains empirical. (The model was devised for unlearnkit; the
benchmark ``bounds`` measures coverage by kind of request.)
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Int

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
        class_shares: for each approximation that was repaid, up to the most recent ``MEMORY``, the
            largest share of a class that its shard had forgotten. Regressions and ledgers of
            earlier versions give none.
        owed_shares: for each shard with debt, the sum of such shares.
    """

    pairs: tuple[tuple[float, float], ...] = ()
    owed: dict[int, float] = field(default_factory=dict)
    drifts: tuple[float, ...] = ()
    removed: float | None = None
    class_shares: tuple[float, ...] = ()
    owed_shares: dict[int, float] = field(default_factory=dict)

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

    def bound(
        self, shard: int, correction: float, class_share: float | None = None
    ) -> float | None:
        """Bound the error of a shard after one more correction.

        Args:
            shard: the shard; its earlier corrections are added.
            correction: norm of the new correction.
            class_share: the largest share of a class that the shard forgets by it.

        Returns:
            The bound; None if there are too few pairs, or if the norm of all corrections is 0, or
            larger than any that was repaid, or if the share of a class is.
        """
        lost = self.owed_shares.get(shard, 0.0) + (class_share or 0.0)
        if self.class_shares and lost > max(self.class_shares):
            return None
        x = self.owed.get(shard, 0.0) + correction
        if not self.ready or not 0 < x <= self.range[1]:
            return None
        a, b, margin = self.fit
        return float(np.exp(a + b * np.log(max(x, self.range[0])) + margin))

    def corrected(
        self, shard: int, correction: float, class_share: float | None = None
    ) -> "ErrorModel":
        """Return the error model after an approximation of a shard was accepted."""
        owed = {**self.owed, shard: self.owed.get(shard, 0.0) + correction}
        shares = self.owed_shares
        if class_share is not None:
            shares = {**shares, shard: shares.get(shard, 0.0) + class_share}
        return replace(self, owed=owed, owed_shares=shares)

    def retrained(self, shard: int, error: float | None = None) -> "ErrorModel":
        """Return the error model after a shard was retrained exactly.

        Args:
            shard: the shard, which has no debt any more.
            error: error of the approximation that was replaced, if it is known.
        """
        owed, owed_shares = dict(self.owed), dict(self.owed_shares)
        x, share = owed.pop(shard, 0.0), owed_shares.pop(shard, None)
        pairs, shares = self.pairs, self.class_shares
        if error is not None and error > 0 and x > 0:
            pairs = (*pairs, (x, error))[-MEMORY:]
            shares = shares if share is None else (*shares, share)[-MEMORY:]
        return replace(self, pairs=pairs, owed=owed, class_shares=shares, owed_shares=owed_shares)


def largest_class_share(
    forget: Int[np.ndarray, " forget"], retain: Int[np.ndarray, " retain"]
) -> float:
    """Return the largest share of its examples that a class loses.

    Args:
        forget: classes of the examples that a shard forgets.
        retain: classes of those that it retains.

    >>> largest_class_share(np.array([0, 1, 1]), np.array([0, 0, 0, 1, 1]))
    0.5
    """
    gone = np.bincount(forget)
    members = gone + np.bincount(retain, minlength=len(gone))[: len(gone)]
    return float((gone / np.maximum(members, 1)).max(initial=0.0))
