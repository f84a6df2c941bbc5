"""The Gaussian mechanism: noise that hides which of two near points it was added to.

If two points lie at most a distance D apart, Gaussian noise of standard deviation sigma, added to
every coordinate of one or the other, gives distributions P and Q with

    P(S) <= exp(epsilon) Q(S) + delta        for all sets S, and the same with P and Q exchanged,

if and only if, with mu = D/sigma and Phi the standard normal distribution function,

    delta >= Phi(mu/2 - epsilon/mu) - exp(epsilon) Phi(-mu/2 - epsilon/mu),

for points that are D apart (Balle and Wang 2018, Improving the Gaussian Mechanism for Differential
Privacy: Analytical Calibration and Optimal Denoising, arXiv 1805.06530, theorem 8). This holds for
every epsilon, while the better-known sigma = D sqrt(2 log(1.25/delta))/epsilon needs epsilon < 1.

Of several independent releases with mu_1, mu_2, ..., all together have mu = sqrt(sum mu_i^2), even
if a later one depends on the results of earlier ones (Dong, Roth and Su 2022, Gaussian Differential
Privacy, section 3.2).

The formulas hold for real numbers. Floating-point noise is not exactly Gaussian in its last bits
(Mironov 2012, On Significance of the Least Significant Bits for Differential Privacy), which they
do not cover.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unlearnkit.approximate.optimise import check_setting
from unlearnkit.seeding import Key, numpy_generator

LEAST_DELTA = 1e-12  # below, the difference of the formula is near the rounding of its terms
MOST_EPSILON = 100.0


def delta_of(mu: float, epsilon: float) -> float:
    """Return the least delta of the Gaussian mechanism.

    Args:
        mu: distance of the two points in standard deviations, above 0.
        epsilon: 0 or more.

    >>> round(delta_of(1.0, 0.0), 4)        # the total variation of N(0, 1) and N(1, 1)
    0.3829
    """
    near, far = _log_phi(mu / 2 - epsilon / mu), _log_phi(-mu / 2 - epsilon / mu)
    return max(0.0, math.exp(near) - math.exp(epsilon + far))


def largest_mu(epsilon: float, delta: float) -> float:
    """Return the largest distance, in standard deviations, that is (epsilon, delta)-hidden.

    Raises:
        TypeError, ValueError: epsilon or delta is no number, or out of range.
    """
    check_privacy(epsilon, delta)
    return _largest(lambda mu: delta_of(mu, epsilon) <= delta)


def noise_for(distance: float, epsilon: float, delta: float) -> float:
    """Return the least standard deviation that hides a distance.

    >>> round(noise_for(1.0, 1.0, 1e-5), 2)        # 4.84 by the better-known formula
    3.73

    Raises:
        TypeError, ValueError: as for :func:`largest_mu`.
    """
    return distance / largest_mu(epsilon, delta)


def epsilon_of(mu: float, delta: float) -> float:
    """Return the least epsilon at which this delta holds; infinity above ``MOST_EPSILON``."""
    if delta_of(mu, MOST_EPSILON) > delta:
        return math.inf
    low, high = 0.0, MOST_EPSILON
    if delta_of(mu, low) <= delta:
        return low
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if delta_of(mu, middle) > delta else (low, middle)
    return high


def gaussian_noise(shape: tuple[int, ...], sigma: float, *key: Key) -> Float[Tensor, "..."]:
    """Return independent noise of this standard deviation, in double precision.

    Args:
        shape: its shape.
        sigma: standard deviation.
        key: determines the noise. Equal keys give equal noise, which hides nothing from whoever
            sees both results, and nothing from whoever knows the key.
    """
    drawn: np.ndarray = numpy_generator("Gaussian mechanism", *key).standard_normal(shape)
    return sigma * torch.from_numpy(drawn)


def check_privacy(epsilon: float, delta: float) -> None:
    """Refuse an epsilon or a delta that is no number or out of range."""
    check_setting("epsilon", epsilon, 1e-3, MOST_EPSILON)
    check_setting("delta", delta, LEAST_DELTA, 0.5)


def _log_phi(x: float) -> float:
    return float(torch.special.log_ndtr(torch.tensor(x, dtype=torch.float64)))


def _largest(fits: Callable[[float], bool]) -> float:
    """Return the largest positive number that fits, to a relative error of 1e-12, from below."""
    low, high = 1e-9, 1.0
    while fits(high):
        low, high = high, 2 * high
    while high / low > 1 + 1e-12:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
