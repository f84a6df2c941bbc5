"""The Gaussian mechanism, against numerical integration and its known limits."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from unlearnkit.approximate.baselines.certified.gaussian import (
    delta_of,
    epsilon_of,
    gaussian_noise,
    largest_mu,
    noise_for,
)


@pytest.mark.parametrize("mu", [0.01, 0.3, 1.0, 4.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.2, 1.0, 5.0])
def test_delta_is_the_hockey_stick_divergence(mu, epsilon):
    """Integrated numerically: the largest excess of P over exp(epsilon) Q."""
    x = np.linspace(-12, 12 + mu, 400_001)
    excess = norm.pdf(x - mu) - math.exp(epsilon) * norm.pdf(x)
    integral = np.maximum(excess, 0).sum() * (x[1] - x[0])
    assert delta_of(mu, epsilon) == pytest.approx(integral, abs=1e-6)


@pytest.mark.parametrize("delta", [1e-9, 1e-5, 0.05])
def test_noise_hides_the_distance_and_no_less_noise_does(delta):
    for epsilon in (0.01, 0.5, 1.0, 10.0):
        mu = largest_mu(epsilon, delta)
        assert delta_of(mu, epsilon) <= delta < delta_of(mu * 1.001, epsilon)
        assert noise_for(3.0, epsilon, delta) == pytest.approx(3 / mu)
        assert epsilon_of(mu, delta) == pytest.approx(epsilon, rel=1e-6)
        if epsilon < 1:  # the better-known formula is sufficient there, and not necessary
            assert 1 / mu < math.sqrt(2 * math.log(1.25 / delta)) / epsilon


def test_noise_is_keyed_and_standard():
    first, again, other = (gaussian_noise((5000,), 2.0, 7, key) for key in ("a", "a", "b"))
    assert (first == again).all() and (first != other).all()
    assert abs(float(first.std()) - 2) < 0.1 and abs(float(first.mean())) < 0.15


@pytest.mark.parametrize(
    ("epsilon", "delta"), [(0, 1e-5), (-1, 1e-5), (math.inf, 1e-5), (1, 0), (1, 1), (1, math.nan)]
)
def test_impossible_promises_are_refused(epsilon, delta):
    with pytest.raises(ValueError, match="out of range"):
        largest_mu(epsilon, delta)
