"""DeltaGrad: retrain by differences, with a quasi-Newton Hessian in place of most gradients.

Wu, Dobriban and Davidson 2020, DeltaGrad: Rapid Retraining of Machine Learning Models. Let D be the
difference of the parameters without and with the forget set, w_t the parameters of training, and
g_F and g_R the mean gradients of the k forgotten and the n - k retained examples. Gradient descent
without the forget set updates D by

    D <- D - eta [g_R(w_t + D) - g_R(w_t) + lambda D - (k/n) (g_F(w_t) - g_R(w_t))].

In most steps the difference of the first two gradients is approximated by B D, where B is the
L-BFGS Hessian of earlier pairs (D, g_R(w_t + D) - g_R(w_t)). It is computed explicitly in the first
steps and in every ``period``-th step, which also provide new pairs. (This is their algorithm 1 with
T_0 = ``period`` and j_0 = ``burn_in``. They store the gradient over all n examples and subtract the
part of the forgotten ones, which gives the same sum.)

Deviations from the source, because training stores checkpoints and not every step: w_t lies on the
straight line between two checkpoints; the last bracket is computed in explicit steps and held
constant in between, while they store the gradients of every step and compute those of the forgotten
examples in each; and gradients are means over samples of the stage's slices, not over single
batches. Momentum is included, as in training. Their guarantee for strongly convex objectives does
not apply. A pair is left out if its curvature is not positive (as they do for networks), or so
large that the recursion would diverge.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from unlearnkit.approximate.baselines.trajectory import only_sgd
from unlearnkit.approximate.curvature import mean_gradient
from unlearnkit.approximate.protocol import ShardRound
from unlearnkit.approximate.routes import Routes, refusal
from unlearnkit.approximate.segments import Segment
from unlearnkit.approximate.stored_states import Size, initial_state
from unlearnkit.models.vector import flatten, trainable_names, unflatten
from unlearnkit.training.plan import Plan
from unlearnkit.training.spec import TrainSpec

Vector = Float[Tensor, " parameter"]


@dataclass(frozen=True)
class DeltaGrad:
    """Carry the difference through a segment step by step.

    Attributes:
        period: every ``period``-th step is explicit.
        burn_in: number of explicit steps at the start of each segment; 0 counts as 1.
        pairs: number of pairs kept for the Hessian.
        examples: upper limit of retained examples for their gradients.
    """

    period: int = 10
    burn_in: int = 3
    pairs: int = 2
    examples: int = 512

    def __call__(self, given: ShardRound, segment: Segment, before: Vector) -> tuple[Vector, int]:
        """See :class:`~unlearnkit.approximate.baselines.trajectory.Advance`."""
        plan, spec = given.state.plan, given.state.plan.spec
        module = plan.architecture.module()
        names = trainable_names(module)
        first = initial_state(given) if segment.start is None else segment.start
        start, end = (flatten(state, names) for state in (first, segment.end))
        forget = given.forget.until(segment.stage)
        retain = given.retain.until(segment.stage).sample(self.examples, given.generator)
        data = [given.state.data(members) for members in (forget, retain)]
        share = segment.num_forget / (segment.num_forget + segment.num_retain)

        def gradient(which: int, at: Vector) -> Vector:
            state = {**segment.end, **unflatten(at, segment.end, names)}
            return mean_gradient(module, state, names, *data[which], spec.loss)

        def explicit(step: int, difference: Vector) -> tuple[Vector, Vector]:
            at = start + (end - start) * (step / segment.steps)
            kept = gradient(1, at)
            change = gradient(1, at + difference) - kept
            return share * (gradient(0, at) - kept), change

        found, count = follow_difference(
            explicit, before, segment.steps, spec, self._is_explicit, self.pairs
        )
        return found, count * (len(forget) + 2 * len(retain))

    def cost(self, plan: Plan, size: Size) -> tuple[int, int]:
        """Count the gradients of the explicit steps."""
        steps = size.epochs * size.steps
        count = sum(self._is_explicit(step) for step in range(steps))
        return 3 * count, count * (size.forget + 2 * min(self.examples, size.retain))

    def _is_explicit(self, step: int) -> bool:
        return step < max(1, self.burn_in) or step % self.period == 0

    def unsuitable(self, plan: Plan) -> str:
        """Refuse optimizers other than SGD, and modules without gradients in all parameters."""
        needs = "DeltaGrad needs the gradient of all parameters"
        return only_sgd("DeltaGrad", plan) or refusal(needs, Routes(plan).gradients)


def follow_difference(
    explicit: Callable[[int, Vector], tuple[Vector, Vector]],
    difference: Vector,
    steps: int,
    spec: TrainSpec,
    is_explicit: Callable[[int], bool],
    pairs: int,
) -> tuple[Vector, int]:
    """Carry the difference through SGD steps, starting with zero momentum.

    Args:
        explicit: a function of a step and D that returns the forcing term (k/n)(g_F - g_R) and the
            change of the retained gradient by D.
        difference: D at the start.
        steps: number of optimizer steps.
        spec: provides the learning rate, momentum and weight decay.
        is_explicit: whether ``explicit`` is called at a step; it must be true for step 0.
        pairs: number of pairs kept for the Hessian.

    Returns:
        D at the end, and the number of calls of ``explicit``.
    """
    # Beyond a curvature of 2 (1 + b) / lr the recursion diverges (Polyak 1964).
    stable = 2 * (1 + spec.momentum) / spec.learning_rate
    hessian = QuasiHessian(pairs, stable / (pairs + 1))
    forcing = buffer = torch.zeros_like(difference)
    count = 0
    for step in range(steps):
        if is_explicit(step):
            forcing, change = explicit(step, difference)
            hessian.add_pair(difference, change)
            count += 1
        else:
            change = hessian.product(difference)
        slope = change + spec.weight_decay * difference - forcing
        buffer = spec.momentum * buffer + slope
        difference = difference - spec.learning_rate * buffer
    return difference, count


@dataclass
class QuasiHessian:
    """The BFGS approximation of a Hessian from the last pairs (s, y), with y the Hessian times s.

    B starts as (s.y / s.s) I with the last pair. Each pair in turn updates it to
    B - (B s)(B s)^T / s.B s + y y^T / s.y (Nocedal and Wright 2006, equation 6.19). Pairs whose
    curvature is not positive, or for which y.y / s.y exceeds a limit, are left out. No eigenvalue
    of B then exceeds (count + 1) times the limit.

    Attributes:
        count: number of pairs kept.
        limit: upper limit of y.y / s.y.
        pairs: the pairs kept, the oldest first.
        terms: (B s, y, s.B s, s.y) of each update.
        scale: factor of the identity in the initial B.
    """

    count: int
    limit: float = math.inf
    pairs: list[tuple[Vector, Vector]] = field(default_factory=list)
    terms: list[tuple[Vector, Vector, float, float]] = field(default_factory=list)
    scale: float = 0.0

    def add_pair(self, s: Vector, y: Vector) -> None:
        """Add a pair, unless its curvature is out of range; drop the oldest beyond ``count``."""
        inner = float(s @ y)
        if not (inner > 1e-8 * float(s @ s) and float(y @ y) <= self.limit * inner):
            return
        self.pairs = [*self.pairs, (s, y)][-self.count :]
        self.scale, self.terms = inner / float(s @ s), []
        for each, image in self.pairs:
            curved = self.product(each)
            self.terms.append((curved, image, float(each @ curved), float(each @ image)))

    def product(self, v: Vector) -> Vector:
        """Return B v; zero before any pair was added."""
        result = self.scale * v
        for curved, image, before, after in self.terms:
            result = result - curved * (curved @ v / before) + image * (image @ v / after)
        return result
