"""Kronecker-factored curvature against dense matrices."""

import torch
from torch import nn

import unlearnkit as uk
from cases import CASES
from rounds import all_states, dense_gauss_newton, one_stored_state, uneven_session
from unlearnkit.approximate import (
    KroneckerInfluence,
)
from unlearnkit.approximate.baselines.kronecker_factors import factors
from unlearnkit.approximate.curvature import mean_gradient
from unlearnkit.models.losses import CrossEntropy, SquaredError
from unlearnkit.models.vector import trainable_names


def test_on_one_example_the_kronecker_form_of_linear_layers_is_exact():
    """Block by block: with one example E[a a^T] (x) E[s s^T] is E[a a^T (x) s s^T]."""
    module = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 4, generator=generator)
    state = {n: torch.randn(t.shape, generator=generator) for n, t in module.state_dict().items()}
    module.load_state_dict(state)
    found = factors(module, x, CrossEntropy())
    for name in ("0", "2"):
        a, s = found[f"{name}.A"], found[f"{name}.S"]
        names = (f"{name}.weight", f"{name}.bias")
        dense = dense_gauss_newton(module, state, names, x)
        inner = a.shape[0] - 1
        # Ours orders parameters as rows of [weight | bias], flatten puts the biases last.
        order = [i * inner + j if j < inner else 3 * inner + i
                 for i in range(3) for j in range(inner + 1)]  # fmt: skip
        assert torch.allclose(torch.kron(s, a), dense[order][:, order], atol=1e-6)


def test_with_a_convolution_over_the_whole_image_too():
    """One place only: a convolution is then a linear layer."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(20, 2, 3, 3, generator=generator)
    convolution = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten())
    linear = nn.Sequential(nn.Flatten(), nn.Linear(18, 4))
    linear[1].weight.data = convolution[0].weight.data.flatten(1)
    linear[1].bias.data = convolution[0].bias.data
    ours = factors(convolution, images, CrossEntropy())
    theirs = factors(linear, images, CrossEntropy())
    for part in ("A", "S"):
        assert torch.allclose(ours[f"0.{part}"], theirs[f"1.{part}"], atol=1e-5)


def test_the_factors_of_a_convolution_are_sums_and_means_over_places():
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(5, 1, 4, 4, generator=generator)
    module = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, stride=2), nn.Flatten())
    a, s = factors(module, images, SquaredError()).values()
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    expected = torch.zeros(10, 10)
    for image in padded:
        for i in (0, 2):
            for j in (0, 2):
                patch = torch.cat([image[0, i : i + 3, j : j + 3].flatten(), torch.ones(1)])
                expected += torch.outer(patch, patch) / 5
    assert torch.allclose(a, expected, atol=1e-5)
    # The Hessian is the identity and every output stands at one place: one of four for each.
    assert torch.allclose(s, torch.eye(2), atol=1e-6)


def test_the_kronecker_step_is_the_dense_solve_of_its_form():
    session = uneven_session("logistic")
    given, stored = one_stored_state(session)
    found, _ = KroneckerInfluence(damping=0.2, examples=10**6)(given, stored)
    module = session.plan.architecture.module(stored.state)
    inputs, _ = given.state.data(stored.retain)
    a, s = factors(module, inputs, CrossEntropy()).values()
    block = torch.kron(s, a)
    damping = 0.2 * block.diagonal().mean() + session.spec.weight_decay
    names = trainable_names(module)
    g = mean_gradient(module, stored.state, names, *given.state.data(stored.forget), CrossEntropy())
    rows = torch.cat([g[: s.shape[0] * 7].view(-1, 7), g[s.shape[0] * 7 :][:, None]], 1)
    n = len(stored.forget) + len(stored.retain)
    right = rows.flatten() * len(stored.forget) / n
    expected = torch.linalg.solve(block + damping * torch.eye(len(block)), right).view_as(rows)
    step = torch.cat(
        [found["1.weight"] - stored.state["1.weight"],
         (found["1.bias"] - stored.state["1.bias"])[:, None]], 1)  # fmt: skip
    assert (step - expected).norm() < 1e-3 * expected.norm() + 1e-6


def test_the_model_may_be_a_layer_by_itself():
    def layer():
        linear = nn.Linear(5, 3)
        nn.init.zeros_(linear.weight)  # as those of logistic regression are
        nn.init.zeros_(linear.bias)
        return linear

    states = []
    for model in (layer, "logistic"):
        session = uk.Session(CASES["adam"].dataset(), model=model, epochs=4, learning_rate=0.05)
        session.train()
        session.revoke(session.plan.partition.ids[::6])
        session.unlearn(0, method="kfac", amend="none")
        states.append([[*state.values()] for state in all_states(session).values()])
    for ours, theirs in zip(*states, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert torch.allclose(a, b, atol=1e-5)
