"""True positives at few false positives, against rates that are known in closed form."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import roc_curve

from unlearnkit.metrics.metrics import METRICS
from unlearnkit.metrics.true_positives import true_positives


def known_rate(shift, false):
    """The rate of the best attack between two unit Gaussians a shift apart."""
    return norm.cdf(shift - norm.ppf(1 - false))


@pytest.mark.parametrize("false", [0.1, 0.01, 0.001])
def test_the_rate_is_that_of_the_curve(false):
    generator = np.random.default_rng(0)
    members, others = generator.normal(1.5, 1, 20_000), generator.normal(0, 1, 50_000)
    found = true_positives(members, others, false)
    assert found.true == pytest.approx(known_rate(1.5, false), abs=0.02)
    assert found.false == pytest.approx(false, abs=1e-12)
    labels = np.repeat([1, 0], [len(members), len(others)])
    share, true, _ = roc_curve(labels, np.concatenate([members, others]), drop_intermediate=False)
    assert found.true == pytest.approx(true[share <= false + 1e-12].max())


@pytest.mark.parametrize(
    ("members", "others", "false"), [(50, 200, 0.01), (100, 3000, 0.001), (20, 100, 0.1)]
)
def test_intervals_cover_the_rate_at_least_as_often_as_they_say(members, others, false):
    generator, rate = np.random.default_rng(1), known_rate(2.0, false)
    runs, covered, widths = 400, 0, []
    for _ in range(runs):
        found = true_positives(
            generator.normal(2.0, 1, members), generator.normal(0, 1, others), false
        )
        low, high = found.interval
        covered += low <= rate <= high
        widths.append(high - low)
    # At a coverage of 95 %, fewer than 92.5 % of 400 samples would be rare (1 in 100).
    assert covered / runs > 0.925
    assert np.mean(widths) < 0.95


def test_with_few_others_the_interval_says_that_little_is_known():
    found = true_positives(np.full(10, 5.0), np.zeros(10), 0.001)
    assert (found.true, found.false) == (1.0, 0.0)
    assert found.interval == (0.0, 1.0)


def test_ties_do_not_raise_false_positives():
    found = true_positives(np.ones(4), np.ones(100), 0.01)
    assert (found.true, found.false) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("members", "others", "false", "message"),
    [
        ([], [1.0], 0.1, "there is no rate at false=0.1 of 0 members and 1 others"),
        ([1.0], [1.0], 0.0, "give a false positive rate between 0 and 1"),
        ([float("nan")], [1.0], 0.1, "some scores are nan"),
    ],
)
def test_wrong_scores_are_refused(members, others, false, message):
    with pytest.raises(ValueError, match=message):
        true_positives(np.array(members, float), np.array(others, float), false)


def test_the_metric_counts_examples_that_are_fitted_conspicuously_well():
    generator = torch.Generator().manual_seed(0)
    b = torch.rand(800, 3, generator=generator).softmax(1)
    labels = torch.randint(3, (800,), generator=generator)
    a = b.clone()
    a[:120] = torch.eye(3)[labels[:120]] * 0.97 + 0.01  # as if these had been memorised
    measure = METRICS["tpr-gap-at-1%"](a, b, labels)
    # The threshold is the ninth largest probability of the reference, which eight exceed.
    scores, own = (p[torch.arange(800), labels] for p in (b, a))
    threshold = scores.sort(descending=True).values[8]
    expected = float((own > threshold).double().mean()) - 0.01
    assert measure.value == pytest.approx(expected) and 0.13 < expected < 0.17
    assert measure.interval[0] > 0.1
    rare = METRICS["tpr-gap-at-0.1%"](a, b, labels)
    assert rare.note == "800 examples are few for this rate" and rare.value > 0.1
    assert METRICS["tpr-gap-at-1%"](a[:, :2] * torch.nan, b[:, :2], labels * 0).note


@pytest.mark.parametrize(("count", "rate"), [(10, 0.01), (100, 0.01), (1000, 0.001)])
def test_the_null_is_the_mean_gap_of_a_model_that_fits_as_well(count, rate):
    generator, labels, gaps = np.random.default_rng(0), torch.zeros(count, dtype=torch.long), []
    metric = METRICS[f"tpr-gap-at-{rate * 100:g}%"]
    for _ in range(400):
        own, reference = torch.from_numpy(generator.random((2, count, 1)))
        measure = metric(
            torch.cat([own, 1 - own], 1), torch.cat([reference, 1 - reference], 1), labels
        )
        gaps.append(measure.value)
    assert abs(np.mean(gaps) - measure.null) < 4 * np.std(gaps) / np.sqrt(len(gaps))
    assert measure.null > 3 * np.std(gaps) / np.sqrt(len(gaps))  # 0 would be missed
