"""Attacks on single examples, in populations whose best attack is known."""

from math import log
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import norm

from unlearnkit.studies.population import Population
from unlearnkit.studies.population_attacks import attack_examples


def drawn(original=2.0, unlearned=0.5, models=400, examples=20, seed=0, common=0.0):
    """Margins from unit Gaussians around 0, and around the shifts of each kind of model.

    ``common`` is the part of the variance that all examples of a model share.
    """
    generator = np.random.default_rng(seed)
    ids = np.arange(examples)
    margins = {}
    for kind, shift in (("original", original), ("unlearned", unlearned), ("scratch", 0.0)):
        own = np.sqrt(1 - common) * generator.normal(size=(models, 2 * examples))
        shared = np.sqrt(common) * generator.normal(size=(models, 1))
        margins[kind] = own + shared + shift
    return Population(ids, ids, margins)


def row(frame, attacker, models, rate):
    found = frame[(frame["attacker"] == attacker) & (frame["models"] == models)]
    return found[found["false_rate"] == rate].iloc[0]


@pytest.mark.parametrize(("rate", "apart"), [(0.01, 0.1), (0.001, 0.5)])
def test_the_attacks_are_as_good_as_the_best_between_two_gaussians(rate, apart):
    frame = attack_examples(drawn(unlearned=1.0), resamples=20)
    for attacker, models, shift in (
        ("lira", "original", 2.0),
        ("ruli", "unlearned", 1.0),
        ("lira", "unlearned", 1.0),
    ):
        best = norm.cdf(shift - norm.ppf(1 - rate))
        found = row(frame, attacker, models, rate)
        assert found["true_rate"] == pytest.approx(best, rel=apart)
        assert found["low"] <= found["true_rate"] <= found["high"]
        assert found["scores"] == 400 * 20 and found["false"] == pytest.approx(rate)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_scores_are_those_of_slow_code(seed):
    """Algorithm 1 of Carlini et al. 2022, online; each half of the models has its own shadows."""
    population, rate = drawn(models=24, examples=5, seed=seed), 0.1
    frame = attack_examples(population, rates=(rate,), resamples=1)
    for attacker, learned in (("lira", "original"), ("ruli", "unlearned")):
        scores = {kind: [] for kind in ("original", "unlearned", "scratch")}
        for model in range(24):
            for example in range(5):
                others = range((model + 1) % 2, 24, 2)
                inside, outside = (
                    NormalDist.from_samples([population.of(kind)[i, example] for i in others])
                    for kind in (learned, "scratch")
                )
                for kind, found in scores.items():
                    margin = population.of(kind)[model, example]
                    found.append(log(inside.pdf(margin)) - log(outside.pdf(margin)))
        innocent = sorted(scores["scratch"], reverse=True)
        threshold = innocent[round(rate * len(innocent))]  # so many are above it
        for kind in ("original", "unlearned"):
            caught = sum(score > threshold for score in scores[kind]) / len(scores[kind])
            assert row(frame, attacker, kind, rate)["true_rate"] == pytest.approx(caught)


def test_only_the_second_attacker_sees_what_was_pushed_too_far():
    # Unlearned models fit the forgotten examples worse than models that never saw them.
    frame = attack_examples(drawn(unlearned=-2.0), resamples=20)
    assert row(frame, "lira", "unlearned", 0.01)["true_rate"] < 0.001
    assert row(frame, "ruli", "unlearned", 0.01)["true_rate"] > 0.3


def test_of_perfectly_unlearned_models_no_more_are_found_than_false_positives():
    found = [
        row(
            attack_examples(drawn(2.0, 0.0, 40, 20, seed), resamples=40),
            attacker,
            "unlearned",
            0.01,
        )
        for seed in range(12)
        for attacker in ("lira", "ruli")
    ]
    rates = np.array([one["true_rate"] for one in found])
    assert abs(rates.mean() - 0.01) < 3 * rates.std() / np.sqrt(len(rates)) + 0.002


@pytest.mark.parametrize("common", [0.0, 0.5])
def test_intervals_allow_for_what_the_scores_of_a_model_share(common):
    def found(seed, resamples):
        population = drawn(models=40, seed=seed, common=common)
        frame = attack_examples(population, rates=(0.01,), resamples=resamples)
        return row(frame, "lira", "original", 0.01)

    expected = np.mean([found(seed, 1)["true_rate"] for seed in range(100, 160)])
    covered = 0
    for seed in range(40):
        one = found(seed, 100)
        covered += one["low"] <= expected <= one["high"]
    # At a coverage of 95 %, fewer than 34 of 40 samples would be rare (1 in 100).
    assert covered >= 34


def test_the_most_memorised_examples_are_found_most():
    population = drawn(examples=40)
    for kind in ("original", "unlearned"):
        population.margins[kind][:, :20] -= 2.0 if kind == "original" else 0.5  # not memorised
    everyone = attack_examples(population, resamples=1)
    some = attack_examples(population, memorised=0.5, resamples=1)
    best = norm.cdf(2.0 - norm.ppf(0.99))
    assert row(some, "lira", "original", 0.01)["true_rate"] == pytest.approx(best, rel=0.15)
    assert row(everyone, "lira", "original", 0.01)["true_rate"] < 0.75 * best
    assert row(some, "lira", "original", 0.01)["scores"] == 400 * 20


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        (7, {}, r"Population\(7 models, 20 examples forgotten\) is too small"),
        (8, {"memorised": 0}, "memorised=0 is no share"),
        (8, {"rates": (1.0,)}, "give a false positive rate between 0 and 1"),
        (8, {"resamples": 0}, "resamples=0 is too small"),
    ],
)
def test_wrong_arguments_are_refused(models, options, message):
    with pytest.raises(ValueError, match=message):
        attack_examples(drawn(models=models), **options)


@pytest.mark.parametrize("common", [0.0, 0.5])
def test_intervals_allow_for_few_scores_above_the_threshold(common):
    # At 0.1 % two of 2,000 scores lie above the threshold, and its place is known poorly.
    best, runs, covered = norm.cdf(2.0 - norm.ppf(0.999)), 60, 0
    for seed in range(runs):
        population = drawn(models=100, examples=10, seed=seed, common=common)
        frame = attack_examples(population, rates=(0.001,), resamples=50)
        found = row(frame, "lira", "original", 0.001)
        covered += found["low"] <= best <= found["high"]
    # At a coverage of 95 %, fewer than 52 of 60 samples would be rare (1 in 100).
    assert covered >= 52


@pytest.mark.parametrize(("models", "examples", "rate"), [(20, 5, 0.01), (40, 10, 0.001)])
def test_the_null_is_the_rate_of_perfectly_unlearned_models(models, examples, rate):
    found = [
        row(attack_examples(drawn(2.0, 0.0, models, examples, seed), resamples=1, rates=(rate,)),
            "lira", "unlearned", rate)
        for seed in range(200)
    ]  # fmt: skip
    rates = np.array([one["true_rate"] for one in found])
    [null] = {one["null"] for one in found}
    assert abs(rates.mean() - null) < 4 * rates.std() / np.sqrt(len(rates))
    assert null > 1.4 * rate  # the rate itself would be missed
