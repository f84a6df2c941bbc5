"""Newton's method on the retained objective of a linear model, with a certificate.

With one linear layer, a convex loss and an L2 penalty, training minimises

    F(w) = (1/n) sum_i loss_i(w) + (lambda/2) |w|^2        over the n retained examples,

which is lambda-strongly convex and therefore has a unique minimiser w*. Newton's equations are
solved by conjugate gradients to a residual of min(1/2, sqrt|g|) |g|, with a backtracking line
search on F (Nocedal and Wright 2006, Numerical Optimization, algorithm 7.1), in double precision.

The certificate. The gradient of a strongly convex function is strongly monotone (Nesterov 2004,
Introductory Lectures on Convex Optimization, section 2.1.3), so

    lambda |w - w*|^2 <= (grad F(w) - grad F(w*)) . (w - w*) <= |grad F(w)| |w - w*|,

and hence |w - w*| <= |grad F(w)| / lambda. The bound is computed at the end, at the parameters as
they are stored in single precision, from the retained examples alone.

Guo et al. 2020, Certified Data Removal from Machine Learning Models, take one Newton step, bound
the remaining gradient, and mask it by noise that is added to the training objective. Their removal
is indistinguishable from retraining in the sense of differential privacy. Here there are several
steps and no noise. The certificate bounds the distance to the minimiser, not the information that
the parameters reveal, for which :mod:`.noisy_newton` adds noise. Training that stops early ends
elsewhere, with or without the forget set, and the certificate does not cover that distance. The
bound is loose by the ratio of the curvature along w - w* to lambda, because it knows no curvature
but that of the penalty.

Deviation from the source, because of the chain of checkpoints: every stored state of a stage, tails
included, becomes the minimiser on the slices up to that stage. This is the retrained model only if
training converges, which it does not at the default spec, so Newton is never a default
(tests/benchmarks/defaults.md has the measurements). An amend moves the final state away from the
minimiser and voids the certificate: use the method with ``amend="none"``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from unlearnkit.approximate.curvature import conjugate_gradients
from unlearnkit.approximate.protocol import Members, Modified, OnStep, ShardRound, progress_within
from unlearnkit.approximate.stored_states import (
    StoredState,
    initial_state,
    modified,
    sizes_of,
    stored_states_of,
)
from unlearnkit.models.losses import CrossEntropy, Loss, SquaredError
from unlearnkit.store.checkpoint import State
from unlearnkit.training.clock import Batches
from unlearnkit.training.plan import Plan

# Expected passes over the examples of a stage, for gradients and products.
EXPECTED_PASSES = 130


@dataclass(frozen=True)
class Newton:
    """Solve for the minimiser of the retained objective.

    Attributes:
        tolerance: L2 distance to the minimiser that the certificate should guarantee, above 0.
            After rounding to single precision the certified bound may be slightly larger.
        steps: upper limit of Newton steps.
        products: upper limit of Hessian products in each step.
    """

    tolerance: float = 1e-3
    steps: int = 50
    products: int = 1000

    def __call__(self, rounds: Sequence[ShardRound], *, on_progress: OnStep) -> list[Modified]:
        """See :class:`~unlearnkit.approximate.protocol.Method`."""
        return [
            self._modify(each, progress_within(on_progress, number, len(rounds)))
            for number, each in enumerate(rounds)
        ]

    def visits(self, plan: Plan, shard: int, forget: Members) -> int:
        """Count all products, and one gradient for each step."""
        sizes = {size.stage: size.retain for size in sizes_of(plan, shard, forget)}
        return sum(sizes.values()) * self.steps * (1 + self.products)

    def batches(self, plan: Plan, forget: Mapping[int, Members]) -> Batches:
        """Count the expected passes for a start at the trained parameters."""
        counts = visits = 0
        for shard, members in forget.items():
            sizes = {size.stage: size.retain for size in sizes_of(plan, shard, members)}
            counts, visits = counts + len(sizes), visits + sum(sizes.values())
        return Batches(len(forget), EXPECTED_PASSES * counts, EXPECTED_PASSES * visits)

    def unsuitable(self, plan: Plan) -> str:
        """Refuse models and specs whose objective is not strongly convex."""
        spec, stack = plan.spec, plan.architecture.stack
        if stack is None or len(stack.linears) > 1:
            return "the certificate needs a convex model, logistic regression, so it is retrained"
        if type(spec.loss) not in (CrossEntropy, SquaredError):  # a subclass may not be convex
            return f"the loss {spec.loss!r} is not known to be convex, so it is retrained"
        if not spec.weight_decay or spec.optimizer == "adamw":
            return "without an L2 penalty (weight_decay of sgd or adam) no minimiser is certified"
        return ""

    def _modify(self, given: ShardRound, on_progress: OnStep) -> Modified:
        stored_states, found, visits = stored_states_of(given), dict[int, tuple[State, float]](), 0
        for number, stored in enumerate(stored_states):
            if stored.stage not in found:
                on_progress(
                    f"shard {given.state.shard}: {stored.name}", number / len(stored_states)
                )
                state, bound, spent = self.minimise(given, stored)
                found[stored.stage] = state, bound
                visits += spent
        states = {stored.name: found[stored.stage][0] for stored in stored_states}
        return modified(given, stored_states, states, visits, found[stored_states[-1].stage][1])

    def minimise(self, given: ShardRound, stored: StoredState) -> tuple[State, float, int]:
        """Return the minimiser of a stored state's objective, the certified bound, and the visits.

        Without retained examples it is the initial state.
        """
        if not len(stored.retain):
            return initial_state(given), 0.0, 0
        solution, objective = self.solve(given, stored)
        rounded = solution.float()
        bound = objective.distance_bound(rounded)
        return state_of(given.state.plan, rounded), bound, objective.visits

    def solve(
        self, given: ShardRound, stored: StoredState
    ) -> tuple[Float[Tensor, "class in1"], "Objective"]:
        """Return the solution in double precision, and the objective on the retained examples."""
        spec = given.state.plan.spec
        inputs, targets = given.state.data(stored.retain)
        objective = Objective(inputs.flatten(1), targets, spec.loss, spec.weight_decay)
        weight, bias = (stored.state[name] for name in names_of(given.state.plan))
        start = torch.cat([weight, bias[:, None]], 1).double()
        goal = self.tolerance * spec.weight_decay
        return newton(objective, start, goal, self.steps, self.products), objective


def names_of(plan: Plan) -> tuple[str, str]:
    """Return the names of the weights and the biases of a linear model."""
    stack = plan.architecture.stack
    assert stack is not None  # else it is unsuitable
    return f"{stack.linears[0]}.weight", f"{stack.linears[0]}.bias"


def state_of(plan: Plan, w: Float[Tensor, "class in1"]) -> State:
    """Return the state with these weights, whose last column is the bias."""
    weight, bias = names_of(plan)
    return {weight: w[:, :-1].clone(), bias: w[:, -1].clone()}


@dataclass(eq=False)
class Objective:
    """The objective F of a linear model with weights (class, input and bias), in double precision.

    Attributes:
        inputs: inputs of the retained examples, with a last entry 1 for the bias.
        targets: targets of the retained examples.
        loss: a convex loss.
        weight_decay: lambda, above 0.
        passes: passes over all examples so far, for gradients and Hessian products.
    """

    inputs: Float[Tensor, "row in"]
    targets: Tensor
    loss: Loss
    weight_decay: float
    passes: int = 0

    def __post_init__(self) -> None:
        """Append a 1 to every input for the bias."""
        self.inputs = torch.nn.functional.pad(self.inputs.double(), (0, 1), value=1.0)

    @property
    def visits(self) -> int:
        """Example gradients so far."""
        return self.passes * len(self.inputs)

    def value(self, w: Float[Tensor, "class in1"]) -> float:
        """Return F(w)."""
        mean = self.loss.value(self.inputs @ w.T, self.targets).mean()
        return float(mean + self.weight_decay / 2 * w.square().sum())

    def gradient(self, w: Float[Tensor, "class in1"]) -> Float[Tensor, "class in1"]:
        """Return grad F(w)."""
        self.passes += 1
        slopes = self.loss.output_gradient(self.inputs @ w.T, self.targets)
        return slopes.T @ self.inputs / len(self.inputs) + self.weight_decay * w

    def hessian_product(
        self, outputs: Float[Tensor, "row class"], v: Float[Tensor, "class in1"]
    ) -> Float[Tensor, "class in1"]:
        """Return the Hessian of F, at weights that give these outputs, times v."""
        self.passes += 1
        curved = self.loss.output_hessian_product(outputs, self.inputs @ v.T)
        return curved.T @ self.inputs / len(self.inputs) + self.weight_decay * v

    def distance_bound(self, w: Float[Tensor, "class in1"]) -> float:
        """Return the certificate |grad F(w)| / lambda, an upper bound on |w - w*|."""
        return float(self.gradient(w.double()).norm()) / self.weight_decay


def newton(
    objective: Objective,
    start: Float[Tensor, "class in1"],
    goal: float,
    steps: int,
    products: int,
) -> Float[Tensor, "class in1"]:
    """Minimise until the gradient's norm is at most ``goal``.

    Args:
        objective: the function to minimise.
        start: initial weights in double precision.
        goal: norm of the gradient at which to stop.
        steps: upper limit of Newton steps.
        products: upper limit of Hessian products in each step.

    Returns:
        The weights reached.
    """
    w = start
    for _ in range(steps):
        gradient = objective.gradient(w)
        norm = float(gradient.norm())
        if norm <= goal:
            break
        outputs = objective.inputs @ w.T

        def product(v: Tensor, outputs: Tensor = outputs) -> Tensor:
            return objective.hessian_product(outputs, v.view_as(start)).flatten()

        tolerance = min(0.5, norm**0.5)
        solved = conjugate_gradients(
            product, -gradient.flatten(), iterations=products, tolerance=tolerance
        )
        direction = solved.x.view_as(start)
        slope, value, length = float((gradient * direction).sum()), objective.value(w), 1.0
        slack = 1e-15 * (1 + abs(value))  # near the minimiser, differences of F are below rounding
        while length > 1e-6 and (  # Armijo's condition
            objective.value(w + length * direction) > value + 1e-4 * length * slope + slack
        ):
            length /= 2
        w = w + length * direction
    return w
