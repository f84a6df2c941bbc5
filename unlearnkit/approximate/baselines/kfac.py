"""Influence with Kronecker-factored curvature.

The step is that of :mod:`unlearnkit.approximate.baselines.fixed_damping`, D = (k/n) H^-1 g_F. The
Gauss-Newton matrix is approximated as block-diagonal over layers, with a Kronecker product S (x) A
as each block. For a linear layer with inputs a (with a last entry 1 for the bias) and gradients s
at its outputs,

    A = E[a a^T],        S = E[s s^T]        (Martens and Grosse 2015, sections 2 and 3),

and for a convolution with patches a_t and gradients s_t at its locations t,

    A = E[sum_t a_t a_t^T],        S = E[mean_t s_t s_t^T]        (Grosse and Martens 2016).

In the eigenbases of both factors, H^-1 divides by (eigenvalue of S)(eigenvalue of A) + damping. The
damping of a layer is a multiple of the mean of these products, plus weight decay, as in Grosse et
al. 2023 (Studying Large Language Model Generalization with Influence Functions). They use the
multiple 0.1, which is too small far from a minimiser; the default here is 3
(tests/benchmarks/defaults.md has the measurements).

Deviations from the source: s is not sampled from the model's distribution over labels; its second
moment J^T H J under this distribution is computed exactly from a root of the loss's Hessian at the
outputs, with one backward pass for each class. The eigenvalues are those of the factors and are not
corrected on gradients as in Grosse et al. 2023. Factors are means over a sample of retained
examples, computed for each stored state separately. Parameters outside linear and plain
convolutional layers do not change.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unlearnkit.approximate.baselines.kronecker_factors import (
    factors,
    layer_parameters,
    layers_of,
    shared_layer,
)
from unlearnkit.approximate.curvature import mean_gradient
from unlearnkit.approximate.protocol import ShardRound
from unlearnkit.approximate.routes import Routes, inputs_of, refusal, tried
from unlearnkit.approximate.stored_states import Size, StoredState
from unlearnkit.models.architecture import Architecture
from unlearnkit.models.vector import trainable_names, unflatten
from unlearnkit.store.checkpoint import State
from unlearnkit.training.plan import Plan

EIGEN_COST = 4  # cost of an n x n eigendecomposition, in units of n^3 multiplications


@dataclass(frozen=True)
class KroneckerInfluence:
    """The influence step with Kronecker-factored curvature.

    Attributes:
        damping: damping in units of the mean eigenvalue of a layer's block.
        examples: upper limit of retained examples for the factors.
    """

    damping: float = 3.0
    examples: int = 512

    def __call__(self, given: ShardRound, stored: StoredState) -> tuple[State, int]:
        """See :class:`~unlearnkit.approximate.stored_states.Rule`."""
        plan = given.state.plan
        module, spec = plan.architecture.module(stored.state), plan.spec
        names = trainable_names(module)
        k, n = len(stored.forget), len(stored.forget) + len(stored.retain)
        members = given.state.data(stored.forget)
        mean = mean_gradient(module, stored.state, names, *members, spec.loss)
        forcing = unflatten(k / n * mean, stored.state, names)
        sample, _ = given.state.data(stored.retain.sample(self.examples, given.generator))
        found = factors(module, sample, spec.loss)
        state = dict(stored.state)
        for name in layers_of(module):
            if f"{name}.A" not in found:  # the forward pass did not use this layer
                continue
            a, s = found[f"{name}.A"], found[f"{name}.S"]
            both = (f"{name}.{part}".lstrip(".") for part in ("weight", "bias"))
            keys = [key for key in both if key in forcing]
            rows = [forcing[key].reshape(len(s), -1) for key in keys]
            step = solve_kronecker(a, s, torch.cat(rows, 1), self.damping, spec.weight_decay)
            parts = step.split([part.shape[1] for part in rows], 1)
            for key, part in zip(keys, parts, strict=True):
                state[key] = state[key] + part.reshape(state[key].shape)
        return state, k + len(sample) * (1 + plan.architecture.num_outputs)

    def cost(self, plan: Plan, size: Size) -> tuple[int, int, int]:
        """Count one gradient, the passes for the factors and the eigendecompositions.

        The factors take one forward pass, and one backward pass for each class.
        """
        passes, count = 1 + plan.architecture.num_outputs, min(self.examples, size.retain)
        cost = decomposition_cost(plan.architecture, inputs_of(plan, 1))
        return 1 + passes, size.forget + passes * count, cost

    def unsuitable(self, plan: Plan) -> str:
        """Refuse models whose layers have no factors.

        These are models without a linear or plain convolutional layer, models with such a layer
        that shares its weights, is used more than once or does not reach the outputs, and models
        whose gradients torch cannot compute. Losses without a Hessian are refused, too.
        """
        architecture = plan.architecture
        if not layers_of(architecture.module()):
            return "K-FAC needs a linear or convolutional layer, so it is retrained"

        def attempt(inputs: Tensor, targets: Tensor) -> str:
            module = architecture.module()
            if repeated := shared_layer(module, inputs):
                return f"the weights of its layer {repeated} are used more than once"
            if not set(layer_parameters(module)) <= set(architecture.trainable_names):
                return "the weights of one of its layers are computed from other parameters"
            found = factors(module, inputs, plan.spec.loss)
            if not all(factor.isfinite().all() for factor in found.values()):
                return "they are not finite"
            decomposition_cost(architecture, inputs[:1])
            return ""

        routes = Routes(plan)
        cause = routes.loss or routes.gradients or tried(plan, "Kronecker factors", attempt)
        return refusal("K-FAC needs the Kronecker factors of layers", cause)


def decomposition_cost(architecture: Architecture, inputs: Tensor) -> int:
    """Return the cost of one state's eigendecompositions, in gradients of one example.

    The cost is counted in multiplications. A gradient takes three for each weight at each location,
    except for the gradient at the inputs of the first layer. A decomposition of an n x n matrix
    takes EIGEN_COST n^3.

    Args:
        architecture: the architecture, which keeps the result.
        inputs: the features of one example, whose values do not matter.

    >>> from unlearnkit.models.architecture import as_architecture
    >>> from unlearnkit.models.builtin import MLP
    >>> decomposition_cost(as_architecture(MLP((256,)), (784,), 10), torch.zeros(1, 784))
    5060
    """
    known = architecture.trials.get("cost of decompositions")
    if known is None:
        known = _decomposition_cost(architecture, inputs)
        architecture.trials["cost of decompositions"] = known
    return int(known)


def _decomposition_cost(architecture: Architecture, inputs: Tensor) -> int:
    module = architecture.module()
    layers = layers_of(module)
    passes, cubes = list[int](), 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = layer.get_parameter("weight")
        passes.append(output.numel() // len(weight) * weight.numel())

    for layer in layers.values():
        layer.register_forward_hook(count)
        inner = layer.weight[0].numel() + (layer.bias is not None)
        cubes += EIGEN_COST * (inner**3 + len(layer.weight) ** 3)
    with torch.no_grad():
        module(inputs)
    return round(cubes / max(1, 3 * sum(passes) - sum(passes[:1])))


def solve_kronecker(
    a: Float[Tensor, "in1 in1"],
    s: Float[Tensor, "out out"],
    right: Float[Tensor, "out in1"],
    damping: float,
    weight_decay: float,
) -> Float[Tensor, "out in1"]:
    """Solve (S (x) A + d I) x = right in the eigenbases of S and A.

    Here d is ``damping`` times the mean eigenvalue of S (x) A, plus ``weight_decay``. Negative
    eigenvalues of the factors, which come from rounding, count as 0.
    """
    (values_a, basis_a), (values_s, basis_s) = torch.linalg.eigh(a), torch.linalg.eigh(s)
    products = values_s.clamp(min=0)[:, None] * values_a.clamp(min=0)
    d = damping * products.mean() + weight_decay
    turned = basis_s.T @ right @ basis_a / (products + d)
    solved: Tensor = basis_s @ turned @ basis_a.T
    return solved
