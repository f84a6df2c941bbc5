"""Gradients and Gauss-Newton solves of stacks of linear layers, batched over several lanes.

A *lane* is one constituent at one of its checkpoints, with its own sample of examples. For logistic
regression and multi-layer perceptrons, this module writes out as batched products over lanes what
:mod:`unlearnkit.approximate.curvature` computes for any module by automatic differentiation.

The solvers do not form vectors of parameters. Conjugate gradients on A = d I + J^T H J, started
from the right-hand side b, stay in the span of b and the rows of J, so each of their vectors is
v = a b + J^T u with a number a and one entry of u for each example and output. A product with A
then needs J v only, and J J^T u is computed by a backward and a forward pass,

    backward   s_i = act'(z_i) * (s_(i+1) W_(i+1)),                           s_last = u,
    forward    t_i = (X_i X_i^T + 1) s_i + (act'(z_(i-1)) * t_(i-1)) W_i^T,

where the matrices X_i X_i^T of inner products between a layer's inputs are computed once. The
iterates are those of conjugate gradients on the parameters, but a product costs m^2 instead of
2 m * inputs multiplications for each unit, and vectors have m * classes entries instead of one for
each parameter. This is the kernel trick applied to the neural tangent kernel (Jacot et al. 2018);
the solver was derived for unlearnkit.

Except for rounding, the result of a lane does not depend on the other lanes.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unlearnkit.interrupts import check
from unlearnkit.models.losses import CrossEntropy, Loss
from unlearnkit.models.stack import Stack
from unlearnkit.store.checkpoint import State
from unlearnkit.training.kernels.activations import BACKWARD, FORWARD
from unlearnkit.training.kernels.layout import NARROW, padded

BLOCK = 128  # rows of inner products computed at a time
PADDED_BIAS = -1e30  # bias of a padded class, which makes its probability exactly 0

PARTS = ("weight", "bias")

Pieces = list[Tensor]
"""Weights (lane, out, in) and biases (lane, 1, out) of each layer, or tensors of these shapes."""

Curve = Callable[[Tensor, Tensor], Tensor]


def stack_parameters(stack: Stack, states: Sequence[State], loss: Loss) -> Pieces:
    """Stack the parameters of several states.

    For cross-entropy the classes are padded to a multiple of 16, because torch is much slower on 10
    columns than on 16. Padded classes have probability 0 and do not affect the results.
    """
    classes = stack.widths[-1]
    extra = 0
    if type(loss) is CrossEntropy:
        extra = (NARROW if classes <= NARROW else padded(classes)) - classes
    pieces = []
    for name in stack.linears:
        weights, biases = ([state[f"{name}.{part}"] for state in states] for part in PARTS)
        pieces.append(torch.stack(weights) if len(states) > 1 else weights[0].unsqueeze(0))
        pieces.append(torch.stack(biases).unsqueeze(1))
    if extra:
        pieces[-2] = torch.nn.functional.pad(pieces[-2], (0, 0, 0, extra))
        pieces[-1] = torch.nn.functional.pad(pieces[-1], (0, extra), value=PADDED_BIAS)
    return pieces


def clear_padding(stack: Stack, pieces: Pieces) -> None:
    """Set the biases of padded classes to zero, for tensors that are not parameters."""
    pieces[-1][..., stack.widths[-1] :] = 0


def add_correction(stack: Stack, state: State, by: Pieces, lane: int) -> State:
    """Return the state with a lane's correction added, without padding."""
    result = {}
    for i, name in enumerate(stack.linears):
        outer = stack.widths[i + 1]
        weight, bias = by[2 * i][lane, :outer], by[2 * i + 1][lane, 0, :outer]
        result[f"{name}.weight"] = state[f"{name}.weight"] + weight
        result[f"{name}.bias"] = state[f"{name}.bias"] + bias
    return result


def squared_norms(pieces: Pieces) -> Float[Tensor, " lane"]:
    """Return the squared L2 norm of each lane."""
    return sum(
        (torch.linalg.vector_norm(piece, dim=(1, 2)).square() for piece in pieces),
        start=torch.zeros(()),
    )


class Linearised:
    """Several lanes linearised at their parameters: keeps the activations of a pass in eval mode.

    Attributes:
        inputs: inputs of each linear layer.
        slopes: for each activation, the tensor from which its derivative is computed.
        outputs: outputs of the last layer, padded classes included.
    """

    def __init__(
        self, stack: Stack, loss: Loss, parameters: Pieces, inputs: Float[Tensor, "lane row in"]
    ) -> None:
        """Run the forward pass."""
        self.stack, self.loss = stack, loss
        self.weights = parameters[::2]
        self.inputs, self.slopes = [inputs], list[Tensor]()
        for i, kind in enumerate(stack.activations):
            z = torch.baddbmm(parameters[2 * i + 1], self.inputs[i], self.weights[i].mT)
            h = torch.empty_like(z) if kind == "gelu" else z
            FORWARD[kind](z, h)
            self.slopes.append(z)
            self.inputs.append(h)
        self.outputs = torch.baddbmm(parameters[-1], self.inputs[-1], self.weights[-1].mT)

    def lanes(self, begin: int, end: int) -> "Linearised":
        """Return the lanes from ``begin`` to ``end``; computed tensors are shared."""
        part = copy(self)
        part.weights, part.inputs, part.slopes, [part.outputs] = (
            [each[begin:end] for each in some]
            for some in (self.weights, self.inputs, self.slopes, [self.outputs])
        )
        part._products = [None if each is None else each[begin:end] for each in self._products]
        return part

    def gradient(
        self, targets: Tensor, weights: Float[Tensor, "lane row"], into: Pieces | None = None
    ) -> Pieces:
        """Return the weighted sum of all examples' gradients, added to ``into`` if it is given."""
        slopes = self.loss.output_gradient(self.outputs, targets)
        return self.vjp(slopes * weights.unsqueeze(2), into)

    def curvature(self, weights: Float[Tensor, "lane row"]) -> Curve:
        """Return a function of v and out that writes H v to out; the two must not overlap.

        Args:
            weights: weight of each example's Hessian in H.
        """
        loss, outputs, rows = self.loss, self.outputs, weights.unsqueeze(2)
        if type(loss) is not CrossEntropy:
            return lambda v, out: torch.mul(loss.output_hessian_product(outputs, v), rows, out=out)
        p = loss.probabilities(outputs)  # computed once for all products
        weighted = p * rows

        def product(v: Tensor, out: Tensor) -> Tensor:
            torch.mul(weighted, v, out=out)
            return out.addcmul_(p, out.sum(-1, keepdim=True), value=-1)

        return product

    def backward(self, vectors: Float[Tensor, "lane row class"]) -> list[Tensor]:
        """Backpropagate vectors at the outputs to the outputs of every linear layer."""
        deltas = [vectors]
        for i in range(len(self.weights) - 1, 0, -1):
            delta = torch.bmm(deltas[0], self.weights[i])
            BACKWARD[self.stack.activations[i - 1]](delta, self.slopes[i - 1])
            deltas.insert(0, delta)
        return deltas

    def forward(self, at_each: list[Tensor]) -> Float[Tensor, "lane row class"]:
        """Propagate changes at the outputs of every linear layer forward and add them up."""
        change = at_each[0]
        for i, weight in enumerate(self.weights[1:]):
            change = change.clone()
            BACKWARD[self.stack.activations[i]](change, self.slopes[i])
            change = torch.baddbmm(at_each[i + 1], change, weight.mT)
        return change

    def vjp(self, vectors: Float[Tensor, "lane row class"], into: Pieces | None = None) -> Pieces:
        """Return J^T times vectors at the outputs, added to ``into`` if it is given."""
        pieces: Pieces = []
        for i, (h, delta) in enumerate(zip(self.inputs, self.backward(vectors), strict=True)):
            total = delta.sum(1, keepdim=True)
            if into is None:
                pieces += [torch.bmm(delta.mT, h), total]
            else:
                pieces += [into[2 * i].baddbmm_(delta.mT, h), into[2 * i + 1].add_(total)]
        return pieces

    def jvp(self, pieces: Pieces) -> Float[Tensor, "lane row class"]:
        """Return J times a vector of parameters."""
        return self.forward(
            [
                torch.baddbmm(bias, h, weight.mT)
                for h, weight, bias in zip(self.inputs, pieces[::2], pieces[1::2], strict=True)
            ]
        )

    @cached_property
    def _products(self) -> list[Tensor | None]:
        """X X^T + 1 of every layer's inputs; None where 2 inputs <= rows, since it does not pay."""
        return [
            inner_products(h) if _uses_inner_products(h.shape[2], h.shape[1]) else None
            for h in self.inputs
        ]

    def jacobian_gram(
        self, vectors: Float[Tensor, "lane row class"]
    ) -> Float[Tensor, "lane row class"]:
        """Return J J^T times vectors at the outputs."""
        at_each = []
        for h, delta, product in zip(
            self.inputs, self.backward(vectors), self._products, strict=True
        ):
            if product is None:
                total = delta.sum(1, keepdim=True)
                at_each.append(torch.baddbmm(total, h, torch.bmm(h.mT, delta)))
            else:
                at_each.append(torch.bmm(product, delta))
        return self.forward(at_each)


@dataclass(frozen=True, eq=False)
class Solutions:
    """Solutions of the linear system in every lane.

    Attributes:
        pieces: the solutions, shaped as parameters.
        iterations: curvature products computed.
    """

    pieces: Pieces
    iterations: Int[Tensor, " lane"]


def solve(
    model: Linearised,
    weights: Float[Tensor, "lane row"],
    damping: Float[Tensor, " lane"],
    right: Pieces,
    *,
    iterations: int,
    tolerance: float,
) -> Solutions:
    """Solve (d I + J^T H J) x = b in every lane by conjugate gradients on the parameters.

    The iterates are those of :func:`unlearnkit.approximate.curvature.conjugate_gradients`. A lane
    that has converged, or has met a direction of non-positive curvature, keeps its solution while
    the others continue.

    Args:
        model: lanes with the examples for J and H.
        weights: weights of the examples in H; 0 for padding. They sum to 1 for a mean.
        damping: d, above 0.
        right: b; its memory is overwritten.
        iterations: upper limit of iterations.
        tolerance: relative residual at which a lane has converged.
    """
    # The system solved is (I + J^T H J/d) (d x) = b, which has the same iterates.
    curve = model.curvature(weights / damping.unsqueeze(1))
    goal, seen = squared_norms(right).view(-1, 1, 1), model.jvp(right)  # b.b and J b
    # Coordinates (a, u) of the solution, the residual and the direction. For the last two, J v is
    # stored next to u, so that one operation updates both.
    a_x, u_x = torch.zeros_like(goal), torch.zeros_like(seen)
    a_p, residual = torch.ones_like(goal), torch.stack([u_x, seen])
    direction, image = residual.clone(), torch.empty_like(residual)
    squared, length, goal = goal, goal, tolerance**2 * goal
    spent, active = torch.zeros_like(goal, dtype=torch.int64), squared > goal
    for _ in range(iterations):
        check()
        if not bool(active.any()):
            break
        spent += active
        curved = curve(direction[1], image[0])
        slope = _inner(curved, direction[1]).add_(length)
        active = active & (slope > 0)  # NaN compares false too
        step = torch.where(active, squared / slope, 0)
        image[1] = model.jacobian_gram(curved)
        image.add_(direction)
        a_x.addcmul_(step, a_p)
        u_x.addcmul_(step, direction[0])
        residual.addcmul_(step, image, value=-1)
        # r.r with r = (1 - a_x) b + J^T u; the term with b is 0, because residuals are orthogonal.
        before, squared = squared, torch.where(active, _inner(*residual), squared)
        ratio = torch.where(active, squared / before, 0)
        a_p.mul_(ratio).add_(1 - a_x)
        direction.mul_(ratio).add_(residual)
        length = torch.addcmul(squared, ratio * ratio, length)  # by orthogonality again
        active = active & (squared > goal)
    wide = _wide(damping)
    found = model.vjp(u_x.div_(wide), [piece.mul_(a_x / wide) for piece in right])
    return Solutions(found, spent.flatten())


def solve_dual(
    model: Linearised,
    weights: Float[Tensor, "lane row"],
    damping: Float[Tensor, " lane"],
    right: Pieces,
    *,
    iterations: int,
    tolerance: float,
) -> Solutions:
    """Solve (d I + J^T H J) x = b in every lane in output space (dual solve).

    The unknown is y = J x, the change of the outputs:

        (I + K H/d) y = J b/d,        K = J J^T,        and then x = (b - J^T H y)/d.

    I + K H/d is self-adjoint in the inner product (u, v) = u^T H v, in which conjugate gradients
    run. The component of b in the null space of J, which is most of b, is divided by d exactly
    instead of being approached iteratively. This is the dual form of ridge regression (Saunders et
    al. 1998). ``StagedInfluence.by_outputs`` says when to use it.

    Args:
        model: lanes with the examples for J and H.
        weights: weights of the examples in H, as in :func:`solve`.
        damping: d, above 0.
        right: b; its memory is overwritten.
        iterations: upper limit of iterations.
        tolerance: residual relative to y, both in the norm of H. It bounds the relative error of y,
            because I + K H/d has no eigenvalue below 1.
    """
    wide = _wide(damping)
    curve, seen = model.curvature(weights / damping.unsqueeze(1)), model.jvp(right).div_(wide)
    # y, the direction, the residual and the product with the direction are each stored next to H/d
    # times themselves, so that one operation updates both.
    direction, solution = torch.stack([seen, seen]), torch.zeros(2, *seen.shape, dtype=seen.dtype)
    curve(seen, direction[1])
    residual, image = direction.clone(), torch.empty_like(direction)
    squared = _inner(*residual)
    spent, active = torch.zeros_like(squared, dtype=torch.int64), squared > 0
    for _ in range(iterations):
        check()
        if not bool(active.any()):
            break
        spent += active
        torch.add(direction[0], model.jacobian_gram(direction[1]), out=image[0])
        curve(image[0], image[1])
        slope = _inner(direction[1], image[0])
        active = active & (slope > 0)  # NaN compares false too
        step = torch.where(active, squared / slope, 0)
        solution.addcmul_(step, direction)
        residual.addcmul_(step, image, value=-1)
        before, squared = squared, _inner(*residual)
        direction.mul_(torch.where(active, squared / before, 0)).add_(residual)
        active = active & (squared > tolerance**2 * _inner(*solution))
    found = model.vjp(solution[1].neg_(), [piece.div_(wide) for piece in right])
    return Solutions(found, spent.flatten())


@lru_cache
def passes_of_solve(stack: Stack, rows: int, iterations: float) -> float:
    """Return the cost of a linearisation and a solve per example, in gradients of one example.

    It counts multiplications of the forward pass, of the inner products, of the backward and
    forward pass in every product, and of the final product with J^T.

    Args:
        stack: the layers.
        rows: examples for the curvature.
        iterations: products of a solve.

    >>> perceptron = Stack(("0", "2"), (784, 256, 10), ("relu",), (0.0,))
    >>> [round(passes_of_solve(perceptron, rows, 12), 1) for rows in (128, 512)]
    [2.6, 5.9]
    """
    widths = [*stack.widths[:-1], padded(stack.widths[-1])]
    layers = list(pairwise(widths))
    dense = sum(i * o for i, o in layers)
    later = dense - layers[0][0] * layers[0][1]
    inner = [_uses_inner_products(i, rows) for i, _ in layers]
    part = (rows + min(rows, BLOCK)) / 2  # entries computed per row in inner_products
    prepared = sum(part * i for (i, _), kept in zip(layers, inner, strict=True) if kept)
    product = 2 * later + sum(
        rows * o if kept else 2 * i * o for (i, o), kept in zip(layers, inner, strict=True)
    )
    return (2 * dense + later + prepared + iterations * product) / (2 * dense + later)


def inner_products(
    h: Float[Tensor, "lane row in"], block: int = BLOCK
) -> Float[Tensor, "lane row row"]:
    """Return X X^T + 1; blocks left of the diagonal are copied from those on its right."""
    lanes, rows, _ = h.shape
    products = h.new_empty(lanes, rows, rows)
    for begin in range(0, rows, block):
        end = min(begin + block, rows)
        part = torch.bmm(h[:, begin:end], h[:, begin:].mT).add_(1)
        products[:, begin:end, begin:] = part
        products[:, end:, begin:end] = part[:, :, end - begin :].mT
    return products


def _uses_inner_products(width: int, rows: int) -> bool:
    """Whether inner products of a layer's inputs make a product with J J^T cheaper."""
    return 2 * width > rows


def _inner(
    one: Float[Tensor, "lane row class"], other: Float[Tensor, "lane row class"]
) -> Float[Tensor, "lane 1 1"]:
    return (one * other).sum((1, 2), keepdim=True)


def _wide(numbers: Float[Tensor, " lane"]) -> Float[Tensor, "lane 1 1"]:
    return numbers.view(-1, 1, 1)
