"""KLoM and U-LiRA on populations whose distances are known."""

import numpy as np
import pytest
from scipy.stats import norm

import unlearnkit as uk
from unlearnkit.studies.population import Population

IDS = [3, 141, 592]
OPTIONS = {"model": "logistic", "num_shards": 2, "num_slices": 2, "epochs": 3}


def drawn(shift, models=600, examples=30, seed=0):
    """Margins from unit Gaussians, those of unlearned models shifted."""
    generator = np.random.default_rng(seed)
    scratch, unlearned, original = generator.normal(size=(3, models, 2 * examples))
    ids = np.arange(examples)
    margins = {"scratch": scratch, "unlearned": unlearned + shift, "original": original + 2 * shift}
    return Population(ids, ids, margins)


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
def test_the_attack_is_as_good_as_the_best_one_between_two_gaussians(shift):
    # The area under the curve of two unit Gaussians a shift apart.
    best = norm.cdf(shift / np.sqrt(2)) - 0.5
    measure = uk.ulira(drawn(shift))
    assert abs(measure.value - best) < 0.02
    assert measure.direction == "zero"


def test_equal_populations_are_told_apart_by_nobody():
    measure = uk.ulira(drawn(0.0))
    assert measure.interval[0] < 0.0 < measure.interval[1]


def test_the_divergence_is_that_of_the_gaussians():
    # KL of unit Gaussians a shift apart is shift^2 / 2; bins and smoothing take a little.
    for shift in (0.5, 1.0):
        found = uk.klom(drawn(shift, models=4000, examples=10)).value
        assert found == pytest.approx(shift**2 / 2, rel=0.15)
    assert uk.klom(drawn(1.0), "original").value > uk.klom(drawn(1.0)).value


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_fitted_gaussians_need_few_models(scale):
    population = drawn(1.0, models=100, examples=50)
    population.margins["unlearned"] *= scale
    fitted = uk.klom(population, estimator="gaussian")
    # Between N(0, 1) and N(s, s^2): log s + (1 + s^2) / (2 s^2) - 1/2.
    expected = np.log(scale) + (1 + scale**2) / (2 * scale**2) - 0.5
    assert fitted.value == pytest.approx(expected, rel=0.15)
    assert fitted.interval[0] < fitted.value < fitted.interval[1]
    assert "Gaussians fitted" in fitted.note
    with pytest.raises(KeyError, match="no estimator is named 'kernel'; use 'histogram'"):
        uk.klom(population, estimator="kernel")


def test_equal_populations_diverge_as_halves_of_one_do():
    measure = uk.klom(drawn(0.0, models=200))
    null = float(measure.note.split()[1].rstrip(","))
    # The null compares halves, so it is about twice as noisy.
    assert measure.value < 1.2 * null


def test_too_small_a_population_is_refused():
    with pytest.raises(ValueError, match=r"Population\(3 models, 30 examples forgotten\) is too"):
        uk.klom(drawn(0.0, models=3))
    with pytest.raises(ValueError, match="at least 8 seeds"):
        uk.ulira(drawn(0.0, models=7))


def test_unknown_parts_and_kinds_are_refused():
    with pytest.raises(KeyError, match="no part is named 'forgot'; choose from forget, test"):
        uk.klom(drawn(0.0, models=8), part="forgot")
    with pytest.raises(KeyError, match="no kind of model is named 'retrained'; choose from orig"):
        uk.ulira(drawn(0.0, models=8), "retrained")
