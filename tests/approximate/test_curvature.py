"""Curvature against dense matrices, autograd, real SGD and the closed-form leave-out solution."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from unlearnkit.approximate.curvature import (
    conjugate_gradients,
    effective_time,
    gauss_newton,
    mean_gradient,
)
from unlearnkit.models.losses import LOSSES, CrossEntropy, Loss, SquaredError
from unlearnkit.models.state import get_state
from unlearnkit.models.vector import flatten, head_names, trainable_names, unflatten

# float64 rounding of sums over some hundred products of order one
TOLERANCE = 1e-12
NUM_CLASSES = 3


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, NUM_CLASSES)
    )


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(3, 3)
    )


@pytest.fixture(params=[mlp, cnn], ids=["mlp", "cnn"])
def module(request: pytest.FixtureRequest) -> nn.Module:
    """In training mode but for one frozen part, with running statistics that matter."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built: nn.Module = request.param().double()
        built(2 + 3 * torch.randn(30, 1, 4, 4, dtype=torch.float64))
    built[1].eval()
    return built


@pytest.fixture(params=LOSSES.values(), ids=LOSSES.keys())
def loss(request: pytest.FixtureRequest) -> Loss:
    return request.param


def data(rows: int = 11) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(rows, 1, 4, 4, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(NUM_CLASSES, (rows,), generator=generator)


def other_state(module: nn.Module) -> dict[str, Tensor]:
    """A state that is not the module's own."""
    return {name: value.detach() * 1.25 for name, value in module.state_dict().items()}


def forward(module: nn.Module, state: dict[str, Tensor], inputs: Tensor, vector: Tensor) -> Tensor:
    """Outputs in eval mode as a function of all trainable parameters, by a copy."""
    own = copy.deepcopy(module).eval()
    values, first = dict(state), 0
    for name, parameter in own.named_parameters():
        last = first + parameter.numel()
        values[name] = vector[first:last].reshape(parameter.shape)
        first = last
    return functional_call(own, values, (inputs,))


def test_gradient_is_autograds(module: nn.Module, loss: Loss) -> None:
    inputs, labels = data()
    state, names = other_state(module), trainable_names(module)
    vector = flatten(state, names).requires_grad_(True)
    value = loss.value(forward(module, state, inputs, vector), labels).mean()
    (expected,) = torch.autograd.grad(value, vector)
    for chunk in (4096, 4, 1):
        gradient = mean_gradient(module, state, names, inputs, labels, loss, chunk=chunk)
        assert torch.allclose(gradient, expected, rtol=0, atol=TOLERANCE)


def test_gauss_newton_is_the_dense_matrix(module: nn.Module, loss: Loss) -> None:
    inputs, _ = data()
    state, names = other_state(module), trainable_names(module)
    vector = flatten(state, names)
    jacobian = jacrev(lambda v: forward(module, state, inputs, v))(vector)  # batch class parameter
    outputs = forward(module, state, inputs, vector)
    columns = torch.eye(NUM_CLASSES, dtype=torch.float64)
    hessian = torch.stack(
        [loss.output_hessian_product(outputs, c.expand_as(outputs)) for c in columns], dim=2
    )
    dense = torch.einsum("ncp,ncd,ndq->pq", jacobian, hessian, jacobian) / len(inputs)
    product = gauss_newton(module, state, names, inputs, loss)
    products = torch.stack([product(v) for v in torch.eye(len(vector), dtype=torch.float64)])
    assert torch.allclose(products, dense, rtol=0, atol=TOLERANCE)


def test_head_alone_is_a_block_of_the_whole(module: nn.Module, loss: Loss) -> None:
    inputs, labels = data()
    state, names, head = module.state_dict(), trainable_names(module), head_names(module)
    assert names[-2:] == head  # so the head is the end of the whole vector
    size = len(flatten(state, head))
    whole = mean_gradient(module, state, names, inputs, labels, loss)
    part = mean_gradient(module, state, head, inputs, labels, loss)
    assert torch.allclose(part, whole[-size:], rtol=0, atol=TOLERANCE)
    vector = torch.zeros_like(whole)
    vector[-size:] = torch.arange(1.0, size + 1, dtype=torch.float64)
    whole = gauss_newton(module, state, names, inputs, loss)(vector)
    part = gauss_newton(module, state, head, inputs, loss)(vector[-size:])
    assert torch.allclose(part, whole[-size:], rtol=0, atol=TOLERANCE * size)


def test_measuring_leaves_everything_as_it_was(module: nn.Module, loss: Loss) -> None:
    inputs, labels = data()
    state, names = other_state(module), trainable_names(module)
    watched = {"state": state, "module": module.state_dict()}
    before = {key: {n: t.clone() for n, t in value.items()} for key, value in watched.items()}
    modes, random = [m.training for m in module.modules()], torch.get_rng_state()
    with torch.no_grad():  # callers often are
        first = mean_gradient(module, state, names, inputs, labels, loss)
        product = gauss_newton(module, state, names, inputs, loss)
        products = [product(first) for _ in range(3)]
    assert all(torch.equal(p, products[0]) and not p.requires_grad for p in products)
    assert not first.requires_grad
    assert [m.training for m in module.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in module.parameters())
    for key, value in watched.items():
        assert all(torch.equal(before[key][name], t) for name, t in value.items())


def test_a_failing_forward_restores_the_modes(module: nn.Module) -> None:
    modes = [m.training for m in module.modules()]
    with pytest.raises(RuntimeError):
        gauss_newton(
            module,
            module.state_dict(),
            trainable_names(module),
            torch.zeros(2, 9, dtype=torch.float64),
            SquaredError(),
        )
    assert [m.training for m in module.modules()] == modes


def test_no_rows_give_zeros(module: nn.Module, loss: Loss) -> None:
    inputs, labels = data(0)
    state, names = module.state_dict(), trainable_names(module)
    zeros = torch.zeros(len(flatten(state, names)), dtype=torch.float64)
    assert torch.equal(mean_gradient(module, state, names, inputs, labels, loss), zeros)
    assert torch.equal(gauss_newton(module, state, names, inputs, loss)(zeros + 1), zeros)


def test_tied_and_frozen_parameters(loss: Loss) -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)).double()
    module[2].weight = module[0].weight
    module[0].bias.requires_grad_(False)
    assert trainable_names(module) == ("0.weight", "2.bias")
    inputs, labels = torch.eye(3, dtype=torch.float64), torch.arange(3)
    (expected,) = torch.autograd.grad(loss.value(module(inputs), labels).mean(), [module[0].weight])
    gradient = mean_gradient(module, module.state_dict(), ("0.weight",), inputs, labels, loss)
    assert torch.allclose(gradient, expected.flatten(), rtol=0, atol=TOLERANCE)


def test_flatten_and_unflatten_are_inverse(module: nn.Module) -> None:
    state, names = module.state_dict(), trainable_names(module)
    vector = flatten(state, names)
    back = unflatten(vector, state, names)
    assert tuple(back) == names
    assert all(torch.equal(back[name], state[name]) for name in names)
    vector.zero_()
    assert state[names[0]].abs().sum() > 0  # flatten copies


def positive_definite(size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    root = torch.randn(size, size, generator=generator, dtype=torch.float64)
    matrix = root @ root.T / size + 0.1 * torch.eye(size, dtype=torch.float64)
    return matrix, torch.randn(size, generator=generator, dtype=torch.float64)


def test_conjugate_gradients_solve() -> None:
    matrix, right = positive_definite(30)
    expected = torch.linalg.solve(matrix, right)
    solution = conjugate_gradients(matrix.mv, right, iterations=200, tolerance=1e-13)
    assert solution.converged
    # condition number about 50, times the tolerance, times the solution's norm of about 20
    assert torch.allclose(solution.x, expected, rtol=0, atol=1e-10)
    warm = conjugate_gradients(matrix.mv, right, iterations=0, tolerance=1e-9, start=expected)
    assert warm.converged and torch.equal(warm.x, expected)


def test_conjugate_gradients_are_best_in_the_krylov_space() -> None:
    matrix, right = positive_definite(12)
    powers = torch.stack([torch.linalg.matrix_power(matrix, i) @ right for i in range(4)], dim=1)
    basis = torch.linalg.qr(powers).Q  # least error in the matrix's norm: Galerkin
    expected = basis @ torch.linalg.solve(basis.T @ matrix @ basis, basis.T @ right)
    solution = conjugate_gradients(matrix.mv, right, iterations=4, tolerance=0.0)
    assert torch.allclose(solution.x, expected, rtol=0, atol=1e-10)
    true = float((right - matrix @ solution.x).norm() / right.norm())
    assert solution.residual == pytest.approx(true, rel=1e-9)
    assert (solution.iterations, solution.converged) == (4, False)
    assert repr(solution) == f"Solution(iterations=4, residual={true:.1e}, converged=False)"


def test_conjugate_gradients_stop_at_non_positive_curvature() -> None:
    right = torch.ones(2, dtype=torch.float64)
    for diagonal in ([-1.0, -1.0], [0.0, 0.0], [float("nan"), 1.0]):
        product = torch.tensor(diagonal, dtype=torch.float64).mul
        solution = conjugate_gradients(product, right, iterations=9, tolerance=1e-3)
        assert (solution.iterations, solution.converged, solution.residual) == (1, False, 1.0)
        assert torch.equal(solution.x, torch.zeros_like(right))
    zero = conjugate_gradients(torch.neg, 0 * right, iterations=9, tolerance=0.0, start=right)
    assert zero.converged and torch.equal(zero.x, 0 * right)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("steps", [0, 1, 7, 200])
def test_effective_time_is_sgds_displacement(momentum: float, steps: int) -> None:
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.03, momentum=momentum)
    for _ in range(steps):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    assert effective_time(0.03, momentum, steps) == pytest.approx(-weight.item(), rel=1e-12)


def leave_out_problem() -> tuple[nn.Module, Tensor, Tensor, Tensor, Tensor, Tensor, float]:
    """Ridge regression with 40 examples of which the first 9 go; both optima by normal equations.

    The bias is decayed too, as the optimiser does, so it is one more column of the inputs.
    """
    decay = 0.05
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    targets = torch.randn(40, NUM_CLASSES, generator=generator, dtype=torch.float64)
    inputs[:9] += 2  # the forgotten ones are unlike the others, so that the step is not small

    def optimum(rows: slice) -> Tensor:
        design = torch.cat([inputs[rows], torch.ones_like(inputs[rows, :1])], dim=1)
        gram = design.T @ design / len(design)
        gram = gram + decay * torch.eye(len(gram), dtype=torch.float64)
        solution = torch.linalg.solve(gram, design.T @ targets[rows] / len(design)).T
        return torch.cat([solution[:, :-1].reshape(-1), solution[:, -1]])

    module = nn.Linear(6, NUM_CLASSES).double()
    return module, inputs, targets, optimum(slice(None)), optimum(slice(9, None)), decay


def test_influence_step_lands_on_the_leave_out_optimum() -> None:
    module, inputs, targets, full, retrained, decay = leave_out_problem()
    names, loss = trainable_names(module), SquaredError()
    state = unflatten(full, module.state_dict(), names)
    forget = mean_gradient(module, state, names, inputs[:9], targets[:9], loss)
    retain = mean_gradient(module, state, names, inputs[9:], targets[9:], loss)
    curved = gauss_newton(module, state, names, inputs[9:], loss)
    right = 9 / 40 * (forget - retain)
    assert torch.allclose(right, -(retain + decay * full), rtol=0, atol=TOLERANCE)
    step = conjugate_gradients(
        lambda v: curved(v) + decay * v, right, iterations=500, tolerance=1e-13
    )
    assert step.converged
    assert (full - retrained).norm() > 0.1  # doing nothing is far off
    # condition number below 200, times the tolerance of the solve: well inside 1e-8
    assert torch.allclose(full + step.x, retrained, rtol=0, atol=1e-10)


def test_influence_step_at_finite_time_is_the_dense_solve(loss: Loss) -> None:
    generator = torch.Generator().manual_seed(4)
    inputs, _ = data(30)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = mlp().double()
    state, names = module.state_dict(), trainable_names(module)
    curved = gauss_newton(module, state, names, inputs, loss)
    right = torch.randn(len(flatten(state, names)), generator=generator, dtype=torch.float64)
    damping = 1 / effective_time(0.01, 0.9, 100) + 1e-4
    eye = torch.eye(len(right), dtype=torch.float64)
    dense = torch.stack([curved(v) for v in eye]) + damping * eye
    step = conjugate_gradients(
        lambda v: curved(v) + damping * v, right, iterations=500, tolerance=1e-13
    )
    expected = torch.linalg.solve(dense, right)
    assert torch.allclose(step.x, expected, rtol=0, atol=1e-9 * float(expected.norm()))


def test_errors() -> None:
    module, inputs = nn.Linear(2, 3), torch.zeros(2, 2)
    state, names, loss = module.state_dict(), trainable_names(module), SquaredError()
    with pytest.raises(
        KeyError, match=r"the state has no parameter body; choose from weight, bias"
    ):
        flatten(state, ("weight", "body"))
    with pytest.raises(ValueError, match="no parameter names"):
        flatten(state, ())
    with pytest.raises(ValueError, match="a vector of 8 numbers does not fit 9 parameters"):
        unflatten(torch.zeros(8), state, names)
    with pytest.raises(ValueError, match="chunk=0"):
        mean_gradient(module, state, names, inputs, torch.zeros(2).long(), loss, chunk=0)
    # Where annotations are checked, they find wrong lengths first, with a TypeError.
    with pytest.raises((ValueError, TypeError), match="targets"):
        mean_gradient(module, state, names, inputs, torch.zeros(3).long(), loss)
    with pytest.raises(ValueError, match=r"ReLU has no nn\.Linear"):
        head_names(nn.ReLU())
    assert head_names(nn.Linear(2, 2, bias=False)) == ("weight",)
    with pytest.raises(ValueError, match=r"momentum=1\.0"):
        effective_time(0.1, 1.0, 3)
    with pytest.raises(ValueError, match="iterations=-1"):
        conjugate_gradients(torch.neg, torch.ones(1), iterations=-1, tolerance=0.1)


def test_a_batch_that_does_not_reach_the_parameters_has_no_gradient_and_no_curvature() -> None:
    class Gated(nn.Module):
        """Uses its second layer for examples above zero only."""

        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(2, 3), nn.Linear(2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.other(x) if (x > 0).all() else self.one(x)

    module, names = Gated(), ("other.weight", "other.bias")
    inputs, labels = torch.ones(4, 2), torch.tensor([0, 1, 2, 1])
    given = module, get_state(module), names
    assert mean_gradient(*given, inputs, labels, CrossEntropy()).any()
    assert not mean_gradient(*given, -inputs, labels, CrossEntropy()).any()
    vector = torch.arange(9.0)  # equal changes of all classes would leave the loss as it is
    assert gauss_newton(*given, inputs, CrossEntropy())(vector).any()
    assert not gauss_newton(*given, -inputs, CrossEntropy())(vector).any()
