"""DeltaGrad: retrain by differences, with a quasi-Newton Hessian in place of most gradients.

Wu, Dobriban and Davidson 2020, DeltaGrad: Rapid Retraining of Machine Learning Models. With D the
difference of the parameters without and with the forget set, w_t the parameters of training, g_F
and g_R the mean gradients of the k forgotten and the n - k retained examples there, gradient
descent without the forget set takes D through

    D <- D - eta [g_R(w_t + D) - g_R(w_t) + lambda D - (k/n) (g_F(w_t) - g_R(w_t))].

Most of the time the difference of the first two gradients is taken as B D, where B is the L-BFGS
Hessian of pairs (D, g_R(w_t + D) - g_R(w_t)) seen before; explicitly in the first steps and in each
``period``-th one, which also give new pairs (their algorithm 1, with T_0 = ``period`` and j_0 =
``burn_in``; they keep the gradient over all n examples and subtract the forgotten part, which is
the same sum).

How it deviates, since training keeps checkpoints and not every step: w_t lies on the straight line
between two checkpoints; the last bracket is computed in the explicit steps and held in between,
where they have the gradients of every step on disk and compute those of the forgotten examples in
each; and gradients are over samples of the stage's slices, not batch by batch. There is momentum,
as in training. Their guarantee, for strongly convex objectives, does not carry over: a pair is left
out where the curvature that it tells is not positive (as they do for networks), or would let the
recursion diverge.
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
from unlearnkit.approximate.segments import Segment
from unlearnkit.approximate.stored_states import Size, untrained
from unlearnkit.models.vector import flatten, trainable_names, unflatten
from unlearnkit.training.plan import Plan
from unlearnkit.training.spec import TrainSpec

Vector = Float[Tensor, " parameter"]


@dataclass(frozen=True)
class DeltaGrad:
    """The difference along a segment, step by step.

    Attributes:
        period: of explicit steps.
        burn_in: explicit steps at the start of each segment.
        pairs: kept for the Hessian.
        examples: retained ones for their gradients, at most.
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
        first = untrained(given) if segment.start is None else segment.start
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

        found, count = follow(explicit, before, segment.steps, spec, self._is_explicit, self.pairs)
        return found, count * (len(forget) + 2 * len(retain))

    def cost(self, plan: Plan, size: Size) -> tuple[int, int]:
        """The explicit steps."""
        steps = size.epochs * size.steps
        count = sum(self._is_explicit(step) for step in range(steps))
        return 3 * count, count * (size.forget + 2 * min(self.examples, size.retain))

    def _is_explicit(self, step: int) -> bool:
        return step < max(1, self.burn_in) or step % self.period == 0

    def unsuitable(self, plan: Plan) -> str:
        """Refuse other optimizers than SGD."""
        return only_sgd("DeltaGrad", plan)


def follow(
    explicit: Callable[[int, Vector], tuple[Vector, Vector]],
    difference: Vector,
    steps: int,
    spec: TrainSpec,
    is_explicit: Callable[[int], bool],
    pairs: int,
) -> tuple[Vector, int]:
    """Take the difference through so many steps of SGD, from no momentum.

    Args:
        explicit: from a step and D, the forcing (k/n)(g_F - g_R) and the change of the retained
            gradient by D.
        difference: D at the start.
        steps: of the optimizer.
        spec: learning rate, momentum and weight decay.
        is_explicit: whether to call ``explicit`` at this step; true of the first.
        pairs: kept for the Hessian.

    Returns:
        D at the end, and how often ``explicit`` was called.
    """
    # Beyond a curvature of 2 (1 + b) / lr the recursion diverges (Polyak 1964).
    stable = 2 * (1 + spec.momentum) / spec.learning_rate
    hessian = QuasiHessian(pairs, stable / (pairs + 1))
    forcing = buffer = torch.zeros_like(difference)
    count = 0
    for step in range(steps):
        if is_explicit(step):
            forcing, change = explicit(step, difference)
            hessian.see(difference, change)
            count += 1
        else:
            change = hessian.times(difference)
        slope = change + spec.weight_decay * difference - forcing
        buffer = spec.momentum * buffer + slope
        difference = difference - spec.learning_rate * buffer
    return difference, count


@dataclass
class QuasiHessian:
    """The BFGS matrix of the last few pairs (s, y), y being the Hessian times s.

    From B = (s.y / s.s) I of the last pair each pair in turn gives
    B - (B s)(B s)^T / s.B s + y y^T / s.y (Nocedal and Wright 2006, equation 6.19). Pairs along
    which the curvature is not positive are left out, and those with y.y / s.y beyond a limit. No
    eigenvalue of B then exceeds (count + 1) times the limit.

    Attributes:
        count: pairs kept.
        limit: of y.y / s.y.
    """

    count: int
    limit: float = math.inf
    pairs: list[tuple[Vector, Vector]] = field(default_factory=list)
    terms: list[tuple[Vector, Vector, float, float]] = field(default_factory=list)
    scale: float = 0.0

    def see(self, s: Vector, y: Vector) -> None:
        """Take a pair in, and let go of the oldest beyond the number kept."""
        inner = float(s @ y)
        if not (inner > 1e-8 * float(s @ s) and float(y @ y) <= self.limit * inner):
            return
        self.pairs = [*self.pairs, (s, y)][-self.count :]
        self.scale, self.terms = inner / float(s @ s), []
        for each, image in self.pairs:
            curved = self.times(each)
            self.terms.append((curved, image, float(each @ curved), float(each @ image)))

    def times(self, v: Vector) -> Vector:
        """B v; 0 before any pair."""
        result = self.scale * v
        for curved, image, before, after in self.terms:
            result = result - curved * (curved @ v / before) + image * (image @ v / after)
        return result
