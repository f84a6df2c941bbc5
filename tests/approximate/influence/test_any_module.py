"""Influence steps of any module, against closed forms and dense solves."""

import pytest
import torch
from torch import nn

from unlearnkit.approximate.curvature import gauss_newton, mean_gradient
from unlearnkit.approximate.influence.any_module import implicit_euler
from unlearnkit.models.losses import CrossEntropy, SquaredError
from unlearnkit.models.state import get_state
from unlearnkit.models.vector import flatten, trainable_names


def ridge(inputs, targets, weight_decay):
    """Minimiser of mean 1/2 |Wx + b - t|^2 + lambda/2 (|W|^2 + |b|^2), by its normal equations."""
    ones = torch.ones(len(inputs), 1, dtype=inputs.dtype)
    design = torch.cat([inputs, ones], 1)
    gram = design.T @ design / len(design) + weight_decay * torch.eye(
        design.shape[1], dtype=inputs.dtype
    )
    solution = torch.linalg.solve(gram, design.T @ targets / len(design))
    return solution[:-1].T.contiguous(), solution[-1].contiguous()


def linear_problem():
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    inputs, targets, decay = draw(60, 5), draw(60, 3), 0.01
    module = nn.Linear(5, 3).double()
    weight, bias = ridge(inputs, targets, decay)
    return module, {"weight": weight, "bias": bias}, inputs, targets, decay


def forcing(module, state, names, inputs, targets, loss, num_forget):
    """The c of the difference equation, the first k rows being forgotten."""
    k, n = num_forget, len(inputs)
    g_forget = mean_gradient(module, state, names, inputs[:k], targets[:k], loss)
    g_retain = mean_gradient(module, state, names, inputs[k:], targets[k:], loss)
    return k / n * (g_forget - g_retain)


def test_the_step_lands_on_the_leave_out_solution_of_a_quadratic_loss():
    module, state, inputs, targets, decay = linear_problem()
    names, loss = trainable_names(module), SquaredError()
    product = gauss_newton(module, state, names, inputs[7:], loss)
    step, _ = implicit_euler(
        product,
        forcing(module, state, names, inputs, targets, loss, 7),
        torch.zeros(18, dtype=torch.float64),
        float("inf"),
        decay,
        iterations=200,
        tolerance=1e-14,
    )
    weight, bias = ridge(inputs[7:], targets[7:], decay)
    expected = torch.cat([weight.reshape(-1), bias])
    found = flatten(state, names) + step
    assert (found - expected).abs().max() < 1e-8
    assert (flatten(state, names) - expected).abs().max() > 1e-2  # doing nothing is far off


def test_a_damped_step_lands_on_the_ridge_solution_around_the_original():
    """It minimises the retained loss + d/2 |w - original|^2, a ridge regression of the change."""
    module, state, inputs, targets, decay = linear_problem()
    names, loss, damping = trainable_names(module), SquaredError(), 0.3
    step, _ = implicit_euler(
        gauss_newton(module, state, names, inputs[7:], loss),
        forcing(module, state, names, inputs, targets, loss, 7),
        torch.zeros(18, dtype=torch.float64),
        float("inf"),
        decay,
        damping,
        iterations=200,
        tolerance=1e-14,
    )
    design = torch.cat([inputs[7:], torch.ones(53, 1, dtype=inputs.dtype)], 1)
    original = torch.cat([state["weight"].T, state["bias"][None]])
    eye = torch.eye(6, dtype=inputs.dtype)
    system = design.T @ design / 53 + (decay + damping) * eye
    solution = torch.linalg.solve(system, design.T @ targets[7:] / 53 + damping * original)
    expected = (solution - original)[:-1].T.reshape(-1), (solution - original)[-1]
    assert (step - torch.cat(expected)).abs().max() < 1e-8
    assert step.abs().max() > 1e-3


@pytest.mark.parametrize("damping", [0.0, 0.4])
@pytest.mark.parametrize("h", [0.05, 3.0])
def test_at_finite_time_the_step_solves_the_dense_system(h, damping):
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, 3, (30,), generator=generator)
    state, names, loss = get_state(module), trainable_names(module), CrossEntropy()
    c = forcing(module, state, names, inputs, targets, loss, 5)
    before = torch.randn(len(c), generator=generator, dtype=torch.float64)

    def outputs(vector):
        parts, at = {}, 0
        for name, parameter in module.named_parameters():
            parts[name] = vector[at : at + parameter.numel()].view_as(parameter)
            at += parameter.numel()
        return torch.func.functional_call(module, parts, inputs[5:])

    at = flatten(state, names)
    jacobian = torch.func.jacrev(outputs)(at)
    p = outputs(at).softmax(1).detach()
    hessian = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    dense = torch.einsum("ncp,ncd,ndq->pq", jacobian, hessian, jacobian) / 25
    system = dense + (1 / h + 0.02 + damping) * torch.eye(len(c), dtype=torch.float64)
    expected = torch.linalg.solve(system, c + before / h)
    found, _ = implicit_euler(
        gauss_newton(module, state, names, inputs[5:], loss),
        c,
        before,
        h,
        0.02,
        damping,
        iterations=300,
        tolerance=1e-14,
    )
    assert (found - expected).norm() < 1e-9 * expected.norm()
