"""The error model: what a correction of this size leaves, learnt from repayments.

When exact retraining clears a debt, the approximation that it replaces can be compared with the
exact model: that is its true error, for free. Errors are modelled as

    log e = a + b log x,

x the norm of the corrections since the model was exact, e the error. The upper bound is one of
split-conformal prediction (Vovk, Gammerman and Shafer 2005): a and b are fitted to one half of the
pairs, and of the other half's n residuals the ceil(.95 (n + 1))-th smallest is added. It holds in
95 % of cases that come about as the past ones did, so it is empirical: requests of another kind,
or of another size, are not promised anything. (The model is ours.)
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

LEVEL = 0.95
LEAST = 38  # pairs: below 19 residuals no quantile of them is a bound at this level
MEMORY = 400  # most recent pairs kept
RECENT, ENOUGH = 9, 3  # looks that tell the regime: the most recent, and how many it takes


@dataclass(frozen=True)
class ErrorModel:
    """Pairs of correction and error of one model and spec, oldest first.

    Attributes:
        pairs: (x, e) of every approximation that was repaid.
        owed: for each shard that owes, the norm of its corrections so far, added up.
        drifts: of approximations (see :mod:`unlearnkit.unlearning.inspection`); the most recent,
            accepted or not. Only of networks.
    """

    pairs: tuple[tuple[float, float], ...] = ()
    owed: dict[int, float] = field(default_factory=dict)
    drifts: tuple[float, ...] = ()

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
        """a, b, and the residual that is exceeded in 5 % of cases.

        Raises:
            LookupError: there are not enough pairs.
        """
        if not self.ready:
            raise LookupError(f"{len(self.pairs)} pairs are too few for a bound; it takes {LEAST}")
        x, e = np.log(np.array(self.pairs)).T
        design = np.stack([np.ones_like(x), x], 1)
        (a, b), *_ = np.linalg.lstsq(design[::2], e[::2], rcond=None)
        residuals = np.sort((e - design @ (a, b))[1::2])
        rank = int(np.ceil(LEVEL * (len(residuals) + 1)))
        return float(a), float(b), float(residuals[rank - 1])

    @property
    def regime(self) -> float | None:
        """The median of ``drifts``; None while there are too few.

        It belongs to a model and the way it was trained, above all to the learning rate: high where
        training is chaotic, so that corrections fade (see ``AdaptiveBoundary.max_drift``).
        """
        return float(np.median(self.drifts)) if len(self.drifts) >= ENOUGH else None

    def saw(self, drift: float) -> "ErrorModel":
        """After a look at an approximation."""
        return replace(self, drifts=(*self.drifts, drift)[-RECENT:])

    def bound(self, shard: int, correction: float) -> float | None:
        """The error that one more correction of a shard leaves at most; None without calibration.

        Args:
            shard: whose earlier corrections count too.
            correction: the norm of the new one.
        """
        x = self.owed.get(shard, 0.0) + correction
        if not self.ready or not x > 0:
            return None
        a, b, margin = self.fit
        return float(np.exp(a + b * np.log(x) + margin))

    def corrected(self, shard: int, correction: float) -> "ErrorModel":
        """After an approximation of a shard was accepted."""
        owed = {**self.owed, shard: self.owed.get(shard, 0.0) + correction}
        return replace(self, owed=owed)

    def retrained(self, shard: int, error: float | None = None) -> "ErrorModel":
        """After a shard was retrained exactly.

        Args:
            shard: that owes nothing any more.
            error: of the approximation that was replaced, if it is known.
        """
        owed = dict(self.owed)
        x, pairs = owed.pop(shard, 0.0), self.pairs
        if error is not None and error > 0 and x > 0:
            pairs = (*pairs, (x, error))[-MEMORY:]
        return replace(self, pairs=pairs, owed=owed)
