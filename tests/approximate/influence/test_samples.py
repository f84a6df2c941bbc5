"""Which examples the curvature is taken on: exact numbers, fair ratio, unbiased means."""

import numpy as np
import pytest
import torch

from unlearnkit.approximate import Members
from unlearnkit.approximate.curvature import gauss_newton
from unlearnkit.approximate.influence.samples import (
    Candidates,
    hessian_traces,
    inclusion_probabilities,
    systematic_sample,
)
from unlearnkit.models.losses import CrossEntropy, SquaredError, WeightedCrossEntropy
from unlearnkit.models.state import get_state
from unlearnkit.models.vector import trainable_names

LOSSES = [CrossEntropy(), SquaredError(), WeightedCrossEntropy((1.0, 5.0, 2.0))]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_traces_are_of_the_dense_hessians(loss):
    outputs = torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
    for row, trace in zip(outputs, hessian_traces(outputs, loss), strict=True):
        units = torch.eye(3)
        dense = torch.stack([loss.output_hessian_product(row, e) for e in units])
        assert trace == pytest.approx(float(dense.trace()), rel=1e-5)


@pytest.mark.parametrize("count", [1, 10, 39])
def test_chances_follow_the_traces_and_sum_to_the_number_drawn(count):
    traces = np.random.default_rng(0).lognormal(sigma=2, size=40)
    chances = inclusion_probabilities(traces, count)
    assert chances.sum() == pytest.approx(count)
    assert 0 < chances.min() and chances.max() <= 1
    free = chances < 1  # there they are one multiple of the shares
    shares = 0.9 * traces / traces.sum() + 0.1 / 40
    assert np.ptp(chances[free] / shares[free]) < 1e-9 * count
    assert traces[~free].min(initial=np.inf) >= traces[free].max(initial=0)


@pytest.mark.parametrize("traces", [np.zeros(6), np.full(6, np.nan)], ids=["zero", "not a number"])
def test_where_the_traces_say_nothing_all_are_drawn_alike(traces):
    assert inclusion_probabilities(traces, 3) == pytest.approx(0.5)


def test_systematic_drawing_keeps_the_chances():
    chances, generator = np.array([0.1, 0.9, 0.4, 1.0, 0.6]), np.random.default_rng(3)
    drawn = [systematic_sample(chances, generator) for _ in range(4000)]
    assert {len(some) for some in drawn} == {3}
    met = np.bincount(np.concatenate(drawn), minlength=5) / 4000
    assert np.abs(met - chances).max() < 0.04  # five standard deviations


def test_weighted_means_are_unbiased_and_vary_less():
    generator = np.random.default_rng(5)
    traces = generator.lognormal(sigma=2, size=300)
    members = Members(np.arange(100, 400), np.repeat([1, 2, 3], 100))
    values = traces * generator.uniform(0.5, 1.5, 300)  # what the traces tell but for a factor
    means = {}
    nobody = Members(members.rows[:0], members.slices[:0])
    for name, candidates in (
        ("alike", Candidates(members, nobody, traces[:0])),
        ("by curvature", Candidates(members, members, traces)),
    ):
        samples = [candidates.draw(2, 20, generator) for _ in range(500)]
        assert all(len(s) == 20 and s.members.slices.max() <= 2 for s in samples)
        means[name] = np.array([s.weights.numpy() @ values[s.members.rows - 100] for s in samples])
    expected, spread = values[:200].mean(), {name: m.std() for name, m in means.items()}
    for name, found in means.items():
        assert abs(found.mean() - expected) < 5 * spread[name] / 500**0.5
    assert spread["by curvature"] < spread["alike"] / 3


def test_where_no_more_are_there_all_count_alike():
    members = Members(np.arange(5), np.array([1, 1, 2, 2, 2]))
    for known in (members, Members(members.rows[2:], members.slices[2:])):  # of stage 1 none, too
        candidates = Candidates(members, known, np.arange(float(len(known))))
        sample = candidates.draw(1, 10, np.random.default_rng(0))
        assert sample.members.rows.tolist() == [0, 1] and sample.weights.tolist() == [0.5, 0.5]


def test_weights_stand_for_the_mean_in_products():
    generator = torch.Generator().manual_seed(2)
    layers = torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3)
    module = torch.nn.Sequential(*layers)
    inputs, weights = torch.randn(6, 4, generator=generator), torch.rand(6, generator=generator)
    names, state, loss = trainable_names(module), get_state(module), CrossEntropy()
    vector = torch.randn(sum(state[n].numel() for n in names), generator=generator)
    found = gauss_newton(module, state, names, inputs, loss, weights)(vector)
    one_by_one = sum(
        weight * gauss_newton(module, state, names, row[None], loss)(vector)
        for row, weight in zip(inputs, weights, strict=True)
    )
    assert torch.allclose(found, one_by_one, rtol=1e-4, atol=1e-6)
