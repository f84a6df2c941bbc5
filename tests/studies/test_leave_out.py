"""Leave-k-out: margins against retraining, and scores whose correlation is known."""

import json

import numpy as np
import pytest
from scipy.stats import kstest, spearmanr

import unlearnkit as uk
from unlearnkit.studies.leave_out import LeftOut, leave_out

OPTIONS = {"model": "logistic", "num_shards": 2, "num_slices": 2, "epochs": 3, "num_test": 20}


def made(subsets=200, train=60, test=5, k=6, noise=0.0, seed=0):
    """Margins that fall by the sum of the left-out scores, with noise of this relative size."""
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(test, train))
    chosen = np.stack([generator.choice(train, k, replace=False) for _ in range(subsets)])
    change = -scores[:, chosen].sum(-1).T
    spread = np.sqrt(k * (1 - k / train))
    margins = 1 + change + noise * spread * generator.normal(size=change.shape)
    left = LeftOut(np.arange(train), np.arange(test), chosen, margins, np.ones(test))
    return left, scores


def test_true_scores_correlate_wholly_and_reversed_ones_the_other_way():
    left, scores = made()
    right = left.judge(scores)
    assert right.value == pytest.approx(1) and right.p_value == 1 / 200
    assert left.judge(-scores).value == pytest.approx(-1)
    assert abs(right.null) < 0.02 and right.direction == "higher"


def test_the_score_is_the_mean_of_spearmans_correlations():
    left, scores = made(subsets=40, noise=1.0)
    predicted = [[-scores[t, subset].sum() for subset in left.subsets] for t in range(5)]
    expected = np.mean([spearmanr(p, left.margins[:, t])[0] for t, p in enumerate(predicted)])
    assert left.judge(scores, shuffles=1).value == pytest.approx(expected)
    values = scores.sum(0)
    expected = spearmanr([-values[s].sum() for s in left.subsets], left.margins.mean(1))[0]
    assert left.judge(values, shuffles=1).value == pytest.approx(expected)


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_intervals_cover_the_correlation_of_normal_variables(noise):
    # Between normal variables of correlation r, Spearman's is 6 / pi asin(r / 2) (Pearson 1907).
    expected = 6 / np.pi * np.arcsin(1 / np.sqrt(1 + noise**2) / 2)
    covered, runs = 0, 100
    for seed in range(runs):
        generator = np.random.default_rng(seed)
        scores = generator.normal(size=(1, 4000))
        subsets = np.arange(4000).reshape(80, 50)  # disjoint, so that their sums are independent
        change = -scores[:, subsets].sum(-1).T
        margins = change + noise * np.sqrt(50) * generator.normal(size=change.shape)
        left = LeftOut(np.arange(4000), np.arange(1), subsets, margins, np.zeros(1))
        low, high = left.judge(scores, shuffles=1).interval
        covered += low <= expected <= high
    # At a coverage of 95 %, fewer than 89 of 100 samples would be rare (1 in 100).
    assert covered >= 89


def test_p_values_of_unrelated_scores_are_uniform():
    found = []
    for seed in range(80):
        left, _ = made(subsets=20, test=2, noise=1.0, seed=seed)
        unrelated = np.random.default_rng(1000 + seed).normal(size=(2, 60))
        found.append(left.judge(unrelated, shuffles=19).p_value)
    spread = np.random.default_rng(0).random(len(found)) / 20
    assert kstest(np.array(found) - spread, "uniform").pvalue > 1e-3


def test_margins_are_those_of_exact_retraining():
    left = leave_out("digits", 5, num_subsets=2, seeds=[3, 4], **OPTIONS)
    assert repr(left) == "LeftOut(2 subsets of 5 examples, 20 test examples)"
    for ids, margins in zip(left.subsets, left.margins, strict=True):
        models = uk.populate("digits", ids, seeds=[3, 4], **OPTIONS)
        assert np.array_equal(margins, models.of("scratch", "test").sum(0) / 2)
        assert np.array_equal(left.whole, models.of("original", "test").sum(0) / 2)
    frame = left.to_frame()
    assert len(frame) == 2 * 20 and np.isclose(
        frame["change"].iloc[25], left.margins[1, 5] - left.whole[5]
    )


def test_interrupted_work_is_resumed_with_the_same_bits(tmp_path):
    path = tmp_path / "left.jsonl"
    whole = leave_out("digits", 5, num_subsets=4, **OPTIONS)

    def lines():
        return len(path.read_text().splitlines()) if path.exists() else 0

    cancel = type("Cancel", (), {"is_set": lambda self: lines() >= 3})()
    with pytest.raises(uk.Cancelled):
        leave_out("digits", 5, num_subsets=4, path=path, cancel=cancel, **OPTIONS)
    assert lines() == 3
    with path.open("a") as file:
        file.write('{"key": "torn')
    resumed = leave_out("digits", 5, num_subsets=4, path=path, **OPTIONS)
    assert lines() == 5
    more = leave_out("digits", 5, num_subsets=5, path=path, **OPTIONS)
    assert lines() == 6
    assert np.array_equal(resumed.margins, whole.margins)
    assert np.array_equal(more.margins[:4], whole.margins)
    assert np.array_equal(more.subsets[:4], whole.subsets)


def test_workers_make_the_same_models(tmp_path):
    path, events = tmp_path / "left.jsonl", []
    here = leave_out("digits", 5, num_subsets=2, seeds=[3, 4], **OPTIONS)
    leave_out("digits", 5, num_subsets=1, seeds=[3], path=path, **OPTIONS)
    there = leave_out(
        "digits",
        5,
        num_subsets=2,
        seeds=[3, 4],
        path=path,
        parallel=2,
        on_progress=lambda event: events.append((event.done_visits, event.total_visits)),
        **OPTIONS,
    )
    assert np.array_equal(here.margins, there.margins) and np.array_equal(here.whole, there.whole)
    assert events == [(done, 6) for done in range(2, 7)]
    assert len(path.read_text().splitlines()) == 6


@pytest.mark.parametrize(
    ("data", "k", "options", "message"),
    [
        ("digits", 0, {}, "k=0 and num_subsets=200 of .* training examples leave nothing"),
        ("digits", 10**6, {}, "leave nothing to measure; give k from 1 to"),
        ("digits", 5, {"seeds": []}, "seeds is empty; give at least one seed"),
        ("digits", 5, {"seeds": [3, 3]}, "only 1 of 2 seeds are different"),
        ("digits", 5, {"parallel": 0}, "parallel=0"),
        ("diabetes", 5, {}, "leaving out by margins needs classes"),
    ],
)
def test_wrong_arguments_are_refused(data, k, options, message):
    with pytest.raises(ValueError, match=message):
        leave_out(data, k, **options)


@pytest.mark.parametrize(
    ("subsets", "change", "message"),
    [
        (20, lambda scores: scores[:, 1:], r"scores of shape \(5, 59\) do not fit; give \(5, 60\)"),
        (20, lambda scores: scores * np.nan, "some scores are nan or infinite"),
        (9, lambda scores: scores, "9 subsets and shuffles=199 are too few"),
    ],
)
def test_wrong_scores_are_refused(subsets, change, message):
    left, scores = made(subsets=subsets)
    with pytest.raises(ValueError, match=message):
        left.judge(change(scores))


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"seed": 7}, TypeError, "seed=7 is an argument of a session; give seeds=7"),
        ({"store": "a"}, TypeError, "store='a' holds the states of one session"),
        ({"k": 2.5}, TypeError, "k=2.5 is a float; give a whole number"),
        ({"num_subsets": 1.5}, TypeError, "num_subsets=1.5 is a float"),
        ({"num_test": 0}, ValueError, "num_test=0 is too small"),
        ({"draw": -1}, ValueError, "draw=-1 is too small"),
    ],
)
def test_arguments_that_would_mislead_are_refused(options, kind, message):
    with pytest.raises(kind, match=message):
        leave_out("digits", **{"k": 5, "num_subsets": 1} | options)


def test_damaged_margins_are_found(tmp_path):
    path = tmp_path / "left.jsonl"
    settings = {"k": 5, "num_subsets": 1, "path": path, **OPTIONS}
    whole = leave_out("digits", seeds=np.int64(0), **settings)
    assert np.array_equal(
        leave_out("digits", seeds=np.arange(1), **settings).margins, whole.margins
    )
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    entries[1]["row"]["margins"].pop()
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    with pytest.raises(
        ValueError, match=r"is damaged: the margins of the key \w+ are not 20 numbers"
    ):
        leave_out("digits", **settings)
