"""Influence with fixed damping is the dense solve."""

import torch

import unlearnkit as uk
from rounds import dense_gauss_newton, one_stored_state, uneven_session
from unlearnkit.approximate import (
    FixedDamping,
)
from unlearnkit.approximate.curvature import mean_gradient
from unlearnkit.models.losses import CrossEntropy
from unlearnkit.models.vector import flatten, trainable_names


def test_fixed_damping_is_the_dense_solve():
    session = uneven_session(uk.MLP((5,), activation="tanh"))
    given, stored = one_stored_state(session)
    rule = FixedDamping(damping=0.3, examples=10**6, iterations=400, tolerance=1e-9)
    found, _ = rule(given, stored)
    module, loss = session.plan.architecture.module(stored.state), CrossEntropy()
    names = trainable_names(module)
    inputs, _ = given.state.data(stored.retain)
    w = flatten(stored.state, names)
    dense = dense_gauss_newton(module, stored.state, names, inputs)
    system = dense + (0.3 + session.spec.weight_decay) * torch.eye(len(w))
    # The sum over the forget set, over all n, is what Koh and Liang write.
    total = mean_gradient(module, stored.state, names, *given.state.data(stored.forget), loss)
    total *= len(stored.forget)
    n = len(stored.forget) + len(stored.retain)
    expected = torch.linalg.solve(system, total) / n
    step = flatten(found, names) - w
    assert (step - expected).norm() < 1e-4 * expected.norm() + 1e-6
