"""Tasks and their measures, against computations of another kind."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.metrics import mean_squared_error, r2_score

from unlearnkit.metrics.tasks import Classification, Regression, task_of


def test_divergence_is_the_kl_of_normal_distributions() -> None:
    a, b = torch.tensor([[0.3, -1.0]]), torch.tensor([[1.1, 0.5]])
    draws = np.random.default_rng(0).normal(size=(200_000, 2)) + a.numpy()
    logs = [multivariate_normal(mean.numpy()[0]).logpdf(draws) for mean in (a, b)]
    gain = logs[0] - logs[1]
    # Five standard errors of the mean of the draws.
    margin = 5 * gain.std() / len(draws) ** 0.5
    assert abs(float(Regression().divergence(a, b)) - gain.mean()) < margin
    shift = Regression().log_likelihood(b, a) - Regression().log_likelihood(a, a)
    theirs = multivariate_normal(a.numpy()[0])
    assert float(shift) == pytest.approx(theirs.logpdf(b[0]) - theirs.logpdf(a[0]), rel=1e-6)


def test_scores_are_those_of_scikit_learn() -> None:
    outputs, targets = torch.rand(9, 2), torch.rand(9, 2)
    pair = targets.numpy(), outputs.numpy()
    r2 = r2_score(*pair)
    assert Regression((1.0, 1.0)).score(outputs, targets) == pytest.approx(r2, rel=1e-6)
    scale = np.array([3.0, 40.0])
    assert Regression((3.0, 40.0)).part_score(outputs, targets) == pytest.approx(
        mean_squared_error(pair[0] * scale, pair[1] * scale) ** 0.5, rel=1e-6
    )
    one = Regression((2.0,))
    assert np.isnan(one.score(outputs[:1, :1], targets[:1, :1]))
    assert one.part_score(torch.ones(1, 1), torch.zeros(1, 1)) == 2
    assert task_of(torch.zeros(3, 1)) == Regression()
    assert task_of(torch.zeros(3, dtype=torch.int64)) == Classification()
