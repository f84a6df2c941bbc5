"""Gradients, Gauss-Newton products and the linear solve behind an influence step.

The influence step moves trained parameters w, to first order, to the result of training without the
forget set. Let w minimise (1/n) sum_i loss_i(w) + (lambda/2) |w|^2 over n examples, k of which are
forgotten, with g_F and g_R the mean gradients of the forgotten and the retained examples.
At the optimum ((n - k) g_R + k g_F) / n + lambda w = 0. The retained objective, a mean over n - k
examples with the same weight decay lambda, therefore has at w the gradient

    g_R + lambda w = -(k/n) (g_F - g_R),

and its Newton step D solves, with G the Gauss-Newton matrix on the retained examples,

    (G + lambda I) D = (k/n) (g_F - g_R).

On a quadratic loss G is the Hessian and w + D is the leave-out optimum itself. (Koh and Liang
2017, section 2, keep the weight 1/n of every example, so that no g_R appears, and take the Hessian
on all n; that is exact for an infinitesimal weight only.) Training that stops after the effective
time h (`effective_time`) adds I/h on the left, which damps the directions it had no time to learn.

All functions take parameters as a state (a dict as from `module.state_dict()`) or as one flat
vector over chosen names. They run the module in eval mode, so that BatchNorm uses the running
statistics of the state and dropout is off, and leave the module's weights, its training flags, the
state and the global random generator unchanged. Threads that share a module must take turns.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Integer, Shaped
from torch import Tensor, nn
from torch.func import functional_call

from unlearnkit.approximate.decompositions import Differentiable, TwiceDifferentiable
from unlearnkit.interrupts import check
from unlearnkit.models.losses import Loss
from unlearnkit.models.vector import flatten, unflatten
from unlearnkit.store.checkpoint import State

Product = Callable[[Tensor], Tensor]
"""v -> A v for a symmetric matrix A; vector in, vector out."""


def mean_gradient(
    module: nn.Module,
    state: State,
    names: Sequence[str],
    inputs: Shaped[Tensor, "batch ..."],
    targets: Integer[Tensor, " batch"] | Float[Tensor, "batch class"],
    loss: Loss,
    *,
    chunk: int = 4096,
) -> Float[Tensor, " parameter"]:
    """Return the gradient of the mean loss at the state, with respect to the named parameters.

    Weight decay is not included. `chunk` rows are processed at a time to bound memory; the chunk
    size changes the result by rounding only. Without rows the result is zero, and so it is if the
    outputs do not depend on the named parameters.

    Raises:
        KeyError: a name is not in the state.
        ValueError: no name was given, the chunk is below 1, or inputs and targets differ in length.
    """
    if chunk < 1:
        raise ValueError(f"chunk={chunk} is out of range; process 1 row or more at a time.")
    if len(inputs) != len(targets):
        raise ValueError(f"{len(inputs)} inputs came with {len(targets)} targets; give one each.")
    parameters = flatten(state, names).requires_grad_(True)
    total = torch.zeros_like(parameters, requires_grad=False)
    with _evaluating(module), torch.enable_grad(), Differentiable():
        for first in range(0, len(inputs), chunk):
            rows = slice(first, first + chunk)
            outputs = _outputs(module, state, names, parameters, inputs[rows])
            weights = loss.output_gradient(outputs.detach(), targets[rows])
            if outputs.requires_grad:  # a batch may not reach these parameters
                total += torch.autograd.grad(outputs, parameters, weights)[0]
    return total / max(len(inputs), 1)


def gauss_newton(
    module: nn.Module,
    state: State,
    names: Sequence[str],
    inputs: Shaped[Tensor, "batch ..."],
    loss: Loss,
    weights: Float[Tensor, " batch"] | None = None,
) -> Product:
    """Return the product v -> J^T H J v / n with the (generalised) Gauss-Newton matrix.

    J is the Jacobian of the outputs with respect to the named parameters, H the loss's Hessian at
    the outputs, both at the state (Schraudolph 2002). Weight decay is not included. ``weights``,
    one for each row, replace 1 / n. The matrix is positive semidefinite for any network if the
    weights are not negative.

    The network is linearised once. J^T u is linear in u, so differentiating it with respect to u
    gives J v (the double-backward trick, Townsend 2017), and a product costs about two backward
    passes and no forward pass. The graph of all rows stays in memory as long as the returned
    function. The result is bit-identical for the same rows and vector. Without rows, or if the
    outputs do not depend on the named parameters, it is zero.

    Raises:
        KeyError: a name is not in the state.
        ValueError: no name was given.
    """
    if len(inputs) == 0:
        return torch.zeros_like
    parameters, outputs, dual, pulled = _linearise(module, state, names, inputs)
    if not outputs.requires_grad:
        return torch.zeros_like
    at = outputs.detach()

    def product(vector: Float[Tensor, " parameter"]) -> Float[Tensor, " parameter"]:
        (pushed,) = torch.autograd.grad(pulled, dual, vector, retain_graph=True)
        curved = loss.output_hessian_product(at, pushed)
        if weights is not None:
            curved = curved * weights.unsqueeze(1)
        (pulled_back,) = torch.autograd.grad(outputs, parameters, curved, retain_graph=True)
        return pulled_back / len(at) if weights is None else pulled_back

    return product


def adjoint_error(
    module: nn.Module,
    state: State,
    names: Sequence[str],
    inputs: Shaped[Tensor, "batch ..."],
    generator: torch.Generator,
    *,
    trials: int = 3,
) -> float:
    """Return how far the two products with the Jacobian are from being adjoint.

    For random u and v, u . (J v) and (J^T u) . v are equal except for rounding. They differ if the
    module has an operation whose backward pass is itself differentiated wrongly, of which torch
    says nothing. The difference is relative to |u| |J v|, unless that is 0; the largest of all
    trials is returned, or nan if one of them is.
    """
    parameters, outputs, dual, pulled = _linearise(module, state, names, inputs)
    errors = []
    for _ in range(trials):
        u = torch.randn(outputs.shape, generator=generator).to(outputs)
        v = torch.randn(parameters.shape, generator=generator).to(parameters)
        (pushed,) = torch.autograd.grad(pulled, dual, v, retain_graph=True)
        (back,) = torch.autograd.grad(outputs, parameters, u, retain_graph=True)
        difference = ((u * pushed).sum() - (back * v).sum()).abs()
        scale = u.norm() * pushed.norm()
        errors.append(difference / scale if scale else difference)
    return float(torch.stack(errors).max())


def _linearise(
    module: nn.Module, state: State, names: Sequence[str], inputs: Shaped[Tensor, "batch ..."]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the parameters, the outputs, a dual vector u, and J^T u as a function of u."""
    parameters = flatten(state, names).requires_grad_(True)
    with _evaluating(module), torch.enable_grad(), TwiceDifferentiable():
        outputs = _outputs(module, state, names, parameters, inputs)
        dual = torch.zeros_like(outputs, requires_grad=True)
        if not outputs.requires_grad:
            return parameters, outputs, dual, torch.zeros_like(parameters)
        (pulled,) = torch.autograd.grad(outputs, parameters, dual, create_graph=True)
    return parameters, outputs, dual, pulled


@dataclass(frozen=True, eq=False)
class Solution:
    """Result of conjugate gradients.

    Attributes:
        x: the solution.
        iterations: products computed in the iteration (a start vector costs one more).
        residual: |right - A x| / |right| by the recursion; in floating point the true residual may
            be larger.
        converged: whether the residual is at or below the tolerance.
    """

    x: Float[Tensor, " parameter"]
    iterations: int
    residual: float
    converged: bool

    def __repr__(self) -> str:
        """Show everything but the vector."""
        return (
            f"Solution(iterations={self.iterations}, residual={self.residual:.1e}, "
            f"converged={self.converged})"
        )


def conjugate_gradients(
    product: Product,
    right: Float[Tensor, " parameter"],
    *,
    iterations: int,
    tolerance: float,
    start: Float[Tensor, " parameter"] | None = None,
) -> Solution:
    """Solve A x = right for a symmetric positive definite A that is given by its products.

    The algorithm is that of Hestenes and Stiefel 1952, section 3. It stops at the relative residual
    `tolerance`, after `iterations` products, or at a direction of non-positive curvature, where it
    returns the best point so far as not converged. Directions of large curvature are solved first,
    so stopping early acts as damping. If `right` is zero, so is the solution.

    >>> diagonal = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    >>> right = torch.ones(3, dtype=torch.float64)
    >>> solution = conjugate_gradients(diagonal.mul, right, iterations=3, tolerance=1e-12)
    >>> solution.x
    tensor([1.0000, 0.5000, 0.2500], dtype=torch.float64)
    >>> solution.iterations, solution.converged
    (3, True)

    Raises:
        ValueError: the number of iterations or the tolerance is negative.
    """
    if iterations < 0 or not tolerance >= 0:
        raise ValueError(f"iterations={iterations}, tolerance={tolerance}: both must be 0 or more.")
    x = torch.zeros_like(right)
    scale = float(right.norm())
    if scale == 0:
        return Solution(x, 0, 0.0, True)
    residual = right.clone()
    if start is not None:
        x, residual = start.clone(), right - product(start)
    direction, squared, done = residual.clone(), float(residual.dot(residual)), 0
    while done < iterations and squared**0.5 > tolerance * scale:
        check()
        image = product(direction)
        curvature = float(direction.dot(image))
        done += 1
        if not curvature > 0:  # NaN compares false too
            break
        step = squared / curvature
        x = x.add(direction, alpha=step)
        residual = residual.sub(image, alpha=step)
        before, squared = squared, float(residual.dot(residual))
        direction = residual.add(direction, alpha=squared / before)
    relative = squared**0.5 / scale
    return Solution(x, done, relative, relative <= tolerance)


def effective_time(learning_rate: float, momentum: float, steps: int) -> float:
    """Return the distance that `steps` heavy-ball steps cover under a constant unit gradient.

    The momentum buffer starts at zero. With momentum b, the buffer after step t is
    v_t = b v_(t-1) + 1 = (1 - b^t) / (1 - b) (the form of `torch.optim.SGD`, without dampening).
    The parameters move by lr v_t in each step, so

        h = lr sum_(t=1..T) (1 - b^t) / (1 - b) = lr [T - b (1 - b^T) / (1 - b)] / (1 - b).

    The simpler form lr T / (1 - b) assumes a buffer in equilibrium and is too large for short
    stages. Training for time h learns a direction of curvature g to the share 1 - exp(-g h);
    damping by I/h is the implicit Euler approximation of this.

    >>> effective_time(0.5, 0.0, 8)         # no momentum: lr T
    4.0
    >>> effective_time(1.0, 0.5, 2)         # 1 and then 1.5
    2.5

    Raises:
        ValueError: the learning rate or the number of steps is negative, or the momentum is outside
            0 <= b < 1.
    """
    if not (learning_rate >= 0 and 0 <= momentum < 1 and steps >= 0):
        raise ValueError(
            f"learning_rate={learning_rate}, momentum={momentum}, steps={steps}: expected a "
            "learning rate and steps of 0 or more and a momentum in 0 <= b < 1."
        )
    lag = momentum * (1 - momentum**steps) / (1 - momentum)
    return learning_rate * (steps - lag) / (1 - momentum)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Switch to eval mode, and restore every submodule's mode afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _outputs(
    module: nn.Module,
    state: State,
    names: Sequence[str],
    parameters: Tensor,
    inputs: Tensor,
) -> Tensor:
    """Return the module's outputs at the state, differentiable in the flat parameters."""
    # Tied weights have several names in a state_dict, but functional_call accepts only one.
    own = [name for name, _ in (*module.named_parameters(), *module.named_buffers())]
    # The values are copied, because a module may write to its buffers in eval mode too.
    values = {name: state[name].detach().clone() for name in own if name in state}
    values |= unflatten(parameters, state, names)
    outputs: Tensor = functional_call(module, values, (inputs,))
    return outputs
