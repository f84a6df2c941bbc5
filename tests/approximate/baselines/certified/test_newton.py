"""Newton steps: the certificate holds, and the minimiser is reached."""

import re

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import unlearnkit as uk
from rounds import quiet, tiny_session, uneven_rounds, uneven_session
from unlearnkit.approximate.baselines.certified.newton import Newton, Objective, newton
from unlearnkit.models.losses import CrossEntropy, SquaredError


@pytest.mark.parametrize("loss", [CrossEntropy(), SquaredError()], ids=lambda loss: loss.name)
def test_the_certificate_is_never_violated(loss):
    """Against minimisers solved for closely, from anywhere, whenever the solver stops."""
    tightness = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        n, d, classes = (int(v) for v in rng.integers((5, 1, 2), (60, 12, 6)))
        inputs = torch.from_numpy(rng.normal(size=(n, d)) * 10 ** rng.uniform(-1, 1)).float()
        targets = torch.from_numpy(rng.integers(0, classes, n))
        decay = float(10 ** rng.uniform(-4, 0))
        objective = Objective(inputs, targets, loss, decay)
        zero = torch.zeros(classes, d + 1, dtype=torch.float64)
        best = newton(objective, zero, 1e-10, 60, 200)
        slack = objective.distance_bound(best)  # the reference is itself no further off than this
        assert slack <= 1e-6
        start = torch.from_numpy(rng.normal(size=zero.shape))
        for steps in (0, 1, 2, 5):
            w = newton(objective, start, 0.0, steps, int(rng.integers(1, 20))).float().double()
            distance = float((w - best).norm())
            assert distance <= objective.distance_bound(w) + slack
            tightness.append(objective.distance_bound(w) / distance)
    assert min(tightness) < 1.5  # it is not vacuous either


def test_newton_reaches_the_minimiser_and_says_so():
    session = uneven_session("logistic")
    [_, given, _] = uneven_rounds(session)
    [found] = Newton()([given], on_progress=quiet)
    assert found.bound is not None and found.bound < 2e-3
    spec, retain = session.spec, given.retain
    for r, checkpoint in found.checkpoints.items():
        inputs, labels = given.state.data(retain.until(r))
        # scikit-learn's penalty is on the sum, and not on the bias: the bias is an input here.
        ones = torch.ones(len(inputs), 1)
        fitted = LogisticRegression(
            C=1 / (spec.weight_decay * len(inputs)), fit_intercept=False, tol=1e-12, max_iter=10**5
        ).fit(torch.cat([inputs, ones], 1).double().numpy(), labels.numpy())
        rows = torch.from_numpy(fitted.classes_)
        state = checkpoint.state
        w = torch.cat([state["1.weight"], state["1.bias"][:, None]], 1)
        assert (w[rows] - torch.from_numpy(fitted.coef_)).norm() < 5e-3


def test_the_certificate_is_kept_where_the_amend_leaves_it_true():
    session = tiny_session()
    session.train()
    session.revoke(count=6)
    replayed, kept = session.fork(), session.fork()
    assert replayed.unlearn(0, method="newton").bounds == {}
    result = kept.unlearn(0, method="newton", amend="none")
    assert set(result.bounds) == set(result.decision.approximate)
    assert "proven to be within" in repr(result)


class Derived(CrossEntropy):
    """A subclass, of which nothing is known."""


def test_newton_is_refused_where_nothing_is_proven():
    data = uk.load("digits", num_examples=100)
    for spec, model, word in (
        (uk.TrainSpec(loss=Derived()), "logistic", r"Derived\(\) is not known to be convex"),
        (uk.TrainSpec(weight_decay=0.0), "logistic", "penalty"),
        (uk.TrainSpec(optimizer="adamw"), "logistic", "penalty"),
        (uk.TrainSpec(), "mlp", "convex"),
    ):
        assert re.search(word, Newton().unsuitable(uk.Session(data, model=model, spec=spec).plan))
