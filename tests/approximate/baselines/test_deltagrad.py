"""DeltaGrad and its quasi-Hessian, where retraining is known in closed form."""

import numpy as np
import pytest
import torch

import unlearnkit as uk
from unlearnkit.approximate.baselines.deltagrad import QuasiHessian, follow_difference


def quadratic(isotropic, steps, momentum=0.0):
    """Gradient descent on ridge regression with and without the first 6 examples, step by step."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(60, 5)))
    if isotropic:  # the retained examples have the identity as their second moment
        x[6:] = torch.linalg.qr(x[6:])[0] * 54**0.5
    y = torch.from_numpy(rng.normal(size=60))
    spec = uk.TrainSpec(learning_rate=0.05, momentum=momentum, weight_decay=0.01)

    def gradient(w, rows):
        return x[rows].T @ (x[rows] @ w - y[rows]) / len(x[rows])

    def descend(rows):
        w, v, path = torch.zeros(5).double(), 0.0, []
        for _ in range(steps):
            path.append(w)
            v = momentum * v + gradient(w, rows) + spec.weight_decay * w
            w = w - spec.learning_rate * v
        return w, path

    every, forget, kept = slice(0, 60), slice(0, 6), slice(6, 60)
    (w, path), (without, _) = descend(every), descend(kept)

    def explicit(step, difference):
        change = gradient(path[step] + difference, kept) - gradient(path[step], kept)
        return 0.1 * (gradient(path[step], forget) - gradient(path[step], kept)), change

    return spec, explicit, w, without


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_deltagrad_with_explicit_steps_alone_is_retraining(momentum):
    spec, explicit, w, without = quadratic(False, 40, momentum)
    zero = torch.zeros(5).double()
    found, count = follow_difference(explicit, zero, 40, spec, lambda step: True, 2)
    assert count == 40
    assert torch.allclose(w + found, without, atol=1e-12)
    assert (w - without).norm() > 0.05


def test_deltagrad_is_retraining_where_its_hessian_is_exact():
    """On a quadratic with curvature alike in all directions one pair tells the Hessian.

    The forcing is held between explicit steps, so it is made constant here: then nothing else is
    left to be off, and a Hessian that is not used shows.
    """
    for isotropic in (True, False):
        spec, explicit, *_ = quadratic(isotropic, 40)
        forcing = explicit(20, torch.zeros(5).double())[0]

        def held(step, difference, forcing=forcing, explicit=explicit):
            return forcing, explicit(step, difference)[1]

        zero = torch.zeros(5).double()
        truth, _ = follow_difference(held, zero, 40, spec, lambda step: True, 2)
        found, count = follow_difference(held, zero, 40, spec, lambda step: step < 2, 2)
        flat, _ = follow_difference(
            lambda s, d, f=forcing: (f, 0 * d), zero, 40, spec, lambda step: True, 2
        )
        assert count == 2
        error, without = (found - truth).norm() / truth.norm(), (flat - truth).norm() / truth.norm()
        assert without > 0.3
        assert error < (1e-10 if isotropic else 0.1)


def test_the_quasi_hessian_meets_its_last_pair_and_leaves_out_bad_ones():
    rng = np.random.default_rng(1)
    root = torch.from_numpy(rng.normal(size=(6, 6)))
    hessian, known = root @ root.T, QuasiHessian(3)
    assert (known.product(torch.ones(6)) == 0).all()
    for _ in range(5):
        s = torch.from_numpy(rng.normal(size=6))
        known.add_pair(s, hessian @ s)
        assert torch.allclose(known.product(s), hessian @ s)
    before = known.product(s)
    known.add_pair(s, -s)
    assert torch.equal(known.product(s), before) and len(known.pairs) == 3
    dense = torch.stack([known.product(e) for e in torch.eye(6).double()])
    assert torch.allclose(dense, dense.T) and torch.linalg.eigvalsh(dense).min() > 0


def test_no_pair_takes_the_quasi_hessian_beyond_its_limit():
    rng = np.random.default_rng(2)
    known, seen = QuasiHessian(2, limit=5.0), 0
    for _ in range(200):
        s, y = torch.from_numpy(rng.normal(size=(2, 4)))
        known.add_pair(s, y + s)
        seen = max(seen, len(known.pairs))
        dense = torch.stack([known.product(e) for e in torch.eye(4).double()])
        assert torch.linalg.eigvalsh(dense).max() <= 15 + 1e-9
    assert seen == 2
