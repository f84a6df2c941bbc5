"""KLoM and U-LiRA on populations whose distances are known."""

from dataclasses import replace
from math import log
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import kstest, norm

import unlearnkit as uk
from unlearnkit.studies.population import Population
from unlearnkit.studies.population_metrics import judge

FORMS = [
    lambda population, **options: uk.klom(population, estimator="histogram", **options),
    lambda population, **options: uk.klom(population, estimator="gaussian", **options),
    uk.ulira,
]


def drawn(shift, models=600, examples=30, seed=0, correlation=0.0):
    """Margins from unit Gaussians, those of unlearned models shifted.

    The margins of one seed's models are correlated, whichever their kind, if asked.
    """
    generator = np.random.default_rng(seed)
    scratch, unlearned, original, shared = generator.normal(size=(4, models, 2 * examples))
    own, common = np.sqrt(1 - correlation), np.sqrt(correlation) * shared
    ids = np.arange(examples)
    margins = {
        "scratch": own * scratch + common,
        "unlearned": own * unlearned + common + shift,
        "original": own * original + common + 2 * shift,
    }
    return Population(ids, ids, margins)


@pytest.mark.parametrize("seeds", ["paired", "independent"])
@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
def test_the_attack_is_as_good_as_the_best_one_between_two_gaussians(shift, seeds):
    # The area under the curve of two unit Gaussians a shift apart.
    best = norm.cdf(shift / np.sqrt(2)) - 0.5
    measure = uk.ulira(drawn(shift), seeds=seeds, swaps=9)
    assert abs(measure.value - best) < 0.02
    assert measure.null < 0.02 and measure.p_value == 0.1
    assert measure.direction == "zero"


def test_equal_populations_are_told_apart_by_nobody():
    measure = uk.ulira(drawn(0.0), swaps=19)
    assert measure.interval[0] < 0.0 < measure.interval[1]
    assert measure.p_value > 0.05


@pytest.mark.parametrize("seeds", ["paired", "independent"])
def test_the_divergence_is_that_of_the_gaussians(seeds):
    # KL of unit Gaussians a shift apart is shift^2 / 2; bins and the floor take a little.
    for shift in (0.5, 1.0):
        population = drawn(shift, models=4000, examples=10)
        found = uk.klom(population, seeds=seeds, swaps=1).value
        assert found == pytest.approx(shift**2 / 2, rel=0.15)
    assert uk.klom(drawn(1.0), "original").value > uk.klom(drawn(1.0)).value


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("reverse", [False, True])
def test_fitted_gaussians_need_few_models(scale, reverse):
    population = drawn(1.0, models=100, examples=50)
    population.margins["unlearned"] *= scale
    fitted = uk.klom(population, estimator="gaussian", reverse=reverse)
    # Between N(m, s^2) and N(n, t^2): log(t / s) + (s^2 + (m - n)^2) / (2 t^2) - 1/2; the shift of
    # unlearned models is scaled too.
    s, t = (scale, 1) if reverse else (1, scale)
    expected = np.log(t / s) + (s**2 + scale**2) / (2 * t**2) - 0.5
    assert fitted.value == pytest.approx(expected, rel=0.15)
    assert fitted.interval[0] < fitted.value < fitted.interval[1]
    assert "Gaussians fitted" in fitted.note and ("reverse" in fitted.note) == reverse


def published(p, q, bins=20, floor=1e-5):
    """KL(p || q) of one example as EasyDUB's code defines it, with the largest margin counted."""
    low, high = min(*p, *q), max(*p, *q)
    counts = [[0] * bins, [0] * bins]
    for number, sample in enumerate((p, q)):
        for margin in sample:
            place = int((margin - low) / (high - low) * bins)
            counts[number][min(place, bins - 1)] += 1
    x, y = (
        [count / len(sample) for count in row] for row, sample in zip(counts, (p, q), strict=True)
    )
    return sum(a * np.log(a / max(b, floor)) for a, b in zip(x, y, strict=True) if a)


@pytest.mark.parametrize("reverse", [False, True])
def test_histograms_are_those_of_the_published_code(reverse):
    population = drawn(0.7, models=40, examples=5)
    unlearned, scratch = population.of("unlearned").T, population.of("scratch").T
    pairs = (unlearned, scratch) if reverse else (scratch, unlearned)
    expected = np.mean([published(p, q) for p, q in zip(*pairs, strict=True)])
    assert uk.klom(population, reverse=reverse).value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_attack_is_that_of_slow_code(seed):
    """Algorithm 1 of Hayes et al. 2024: Gaussians fitted to one half of the models of each kind."""
    population = drawn(0.8, models=30, examples=6, seed=seed)
    areas = []
    for example in range(6):
        shadows, targets = {}, {}
        for kind in ("unlearned", "scratch"):
            margins = population.of(kind)[:, example].tolist()
            own, targets[kind] = margins[0::2], margins[1::2]
            shadows[kind] = NormalDist.from_samples(own)
        ratios = {
            kind: [
                log(shadows["unlearned"].pdf(m)) - log(shadows["scratch"].pdf(m)) for m in margins
            ]
            for kind, margins in targets.items()
        }
        wins = [(a > b) + (a == b) / 2 for a in ratios["unlearned"] for b in ratios["scratch"]]
        areas.append(sum(wins) / len(wins) - 0.5)
    assert uk.ulira(population).value == pytest.approx(sum(areas) / 6, abs=1e-12)


def test_margins_that_never_vary_have_no_divergence():
    population = drawn(0.0, models=8)
    for rows in population.margins.values():
        rows[:] = 3.0
    assert uk.klom(population).value == 0 and uk.klom(population).p_value == 1
    assert uk.klom(population, estimator="gaussian").value == 0
    assert uk.ulira(population).value == 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("seeds", "correlation"), [("paired", 0.9), ("independent", 0.0)])
def test_without_a_difference_p_values_are_uniform(form, seeds, correlation):
    found = [
        form(drawn(0.0, 16, 2, seed, correlation), seeds=seeds, swaps=19).p_value
        for seed in range(80)
    ]
    # p-values are multiples of 1/20; the test of Kolmogorov and Smirnov takes them as continuous.
    spread = np.random.default_rng(0).random(len(found)) / 20
    assert kstest(np.array(found) - spread, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("form", FORMS[:2])
@pytest.mark.parametrize("seeds", ["paired", "independent"])
def test_without_a_difference_the_divergence_is_its_null(form, seeds):
    found = [form(drawn(0.0, 40, 40, seed, 0.5), seeds=seeds, swaps=9) for seed in range(10)]
    gaps = np.array([measure.value - measure.null for measure in found])
    nulls = np.array([measure.null for measure in found])
    assert abs(gaps.mean()) < 3 * gaps.std() / np.sqrt(len(gaps)) + 0.01 * nulls.mean()


def test_intervals_cover_the_mean_over_examples_as_often_as_they_say():
    def found(seed, examples):
        population = drawn(0.0, models=20, examples=examples, seed=seed)
        shifts = np.random.default_rng(1000 + seed).uniform(0, 2, size=2 * examples)
        population.margins["unlearned"] += shifts
        return uk.klom(population, estimator="gaussian", swaps=1)

    expected = np.mean([found(seed, 4000).value for seed in range(200, 205)])
    intervals = [found(seed, 150).interval for seed in range(200)]
    covered = sum(low <= expected <= high for low, high in intervals)
    # At a coverage of 95 %, fewer than 182 of 200 samples would be rare (1 in 100).
    assert covered >= 182


def test_pairs_show_a_difference_that_independent_seeds_hide():
    # Models of a seed have almost the same margins, and those of unlearned ones lie a little off.
    population = drawn(0.05, models=40, examples=30, correlation=0.999)
    assert uk.klom(population, estimator="gaussian").p_value <= 0.01
    hidden = uk.klom(population, estimator="gaussian", seeds="independent")
    assert hidden.value < 2 * hidden.null


def test_the_value_is_shown_beside_its_null():
    measure = uk.klom(drawn(0.5, models=40))
    assert f"null {measure.null:.4f}, p {measure.p_value:.3f}, best zero" in repr(measure)


def test_all_forms_are_judged_in_one_table():
    table = judge(drawn(0.5, models=16), swaps=9)
    assert len(table) == 2 * 2 * (2 * 2 + 1)
    assert set(table["seeds"]) == {"paired", "independent"}
    assert table[["value", "null", "p_value"]].notna().all(axis=None)
    row = table[(table["measure"] == "u-lira") & (table["seeds"] == "paired")].iloc[-1]
    assert row["value"] == uk.ulira(drawn(0.5, models=16)).value
    assert len(judge(drawn(0.5, models=15), swaps=1)) == len(table) - 2


@pytest.mark.parametrize(
    ("models", "call", "message"),
    [
        (3, uk.klom, r"Population\(3 models, 30 examples forgotten\) is too"),
        (7, uk.ulira, "at least 8 seeds"),
        (15, lambda p: uk.ulira(p, seeds="independent"), "at least 16 seeds"),
        (7, judge, "at least 8 seeds"),
        (8, lambda p: uk.klom(p, bins=0), "bins=0 is too small; give a whole number"),
        (8, lambda p: uk.ulira(p, swaps=0), "swaps=0 is too small; give a whole number"),
    ],
)
def test_too_small_numbers_are_refused(models, call, message):
    with pytest.raises(ValueError, match=message):
        call(drawn(0.0, models=models))


def test_unknown_names_are_refused():
    with pytest.raises(KeyError, match="no part is named 'forgot'; choose from forget, test"):
        uk.klom(drawn(0.0, models=8), part="forgot")
    with pytest.raises(KeyError, match="no kind of model is named 'retrained'; choose from orig"):
        uk.ulira(drawn(0.0, models=8), "retrained")
    with pytest.raises(KeyError, match="no estimator is named 'kernel'; use 'histogram' or"):
        uk.klom(drawn(0.0, models=8), estimator="kernel")
    with pytest.raises(KeyError, match="no pairing of seeds is named 'both'; use 'paired' or"):
        uk.klom(drawn(0.0, models=8), seeds="both")


@pytest.mark.parametrize("form", FORMS)
def test_a_single_example_has_no_interval(form):
    measure = form(drawn(0.5, models=16, examples=1), swaps=9)
    assert measure.interval is None and "one example gives no interval" in measure.note
    table = judge(drawn(0.5, models=16, examples=1), swaps=1)
    assert table["value"].notna().all() and table[["low", "high"]].isna().all(axis=None)


def test_intervals_of_few_examples_cover_as_often_as_they_say():
    covered, runs = 0, 200
    for seed in range(runs):
        population = drawn(0.0, models=8, examples=3, seed=seed)
        scratch = population.margins["scratch"]
        scratch /= scratch.std(0, ddof=1)
        # Of two Gaussians of variance 1 the divergence is half the square of their distance.
        divergences = np.random.default_rng(1000 + seed).normal(3, 0.5, size=6)
        population.margins["unlearned"] = scratch + np.sqrt(2 * divergences)
        low, high = uk.klom(population, estimator="gaussian", swaps=1).interval
        covered += low <= 3 <= high
    # At a coverage of 95 %, fewer than 182 of 200 samples would be rare (1 in 100).
    assert covered >= 182


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_concluded_from_margins_that_are_missing(form):
    population = drawn(0.5, models=16, examples=3)
    population.margins["unlearned"][2, 1] = np.nan
    with pytest.raises(ValueError, match="some margins are nan or infinite; leave out"):
        form(population)
    empty = replace(
        population,
        test=np.arange(0),
        margins={
            kind: rows[:, :3] for kind, rows in drawn(0.5, models=16, examples=3).margins.items()
        },
    )
    for call in (uk.klom, judge):
        with pytest.raises(ValueError, match="no examples of this part; call populate with a"):
            call(empty, part="test")
