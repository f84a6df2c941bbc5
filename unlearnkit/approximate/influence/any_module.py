"""Staged influence on one shard of any module, by automatic differentiation.

The difference of training with and without the forget set is carried from segment to segment by the
equation of :mod:`unlearnkit.approximate.influence.staged`.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unlearnkit.approximate.buffers import RunningStatistics
from unlearnkit.approximate.curvature import (
    Product,
    conjugate_gradients,
    gauss_newton,
    mean_gradient,
)
from unlearnkit.approximate.influence.samples import Candidates
from unlearnkit.approximate.influence.settings import InfluenceSettings
from unlearnkit.approximate.protocol import Members, Modified, ShardRound
from unlearnkit.approximate.segments import Segment, corrected_checkpoints, segments_of
from unlearnkit.models.state import get_state
from unlearnkit.models.vector import flatten, unflatten
from unlearnkit.store.checkpoint import State

NOISE_WEIGHT = 4.0  # weight of the sampling noise in Difference._pool_error


class Difference:
    """The running correction D of one round.

    It also keeps the sum of the forgotten examples' gradients at the end of the last segment. The
    next segment starts there, so it reads only the examples that join in it.

    Attributes:
        method: the settings.
        given: the round.
        correction: D at the end of the last segment, as a flat vector over the names.
        visits: large-batch example gradients computed so far.
    """

    def __init__(
        self,
        method: InfluenceSettings,
        given: ShardRound,
        module: nn.Module,
        names: tuple[str, ...],
        candidates: Candidates,
    ) -> None:
        self.method, self.given, self.module, self.names = method, given, module, names
        self.state, self.forget, self.retain = given.state, given.forget, given.retain
        self.candidates, self.visits = candidates, len(candidates.known)
        self.statistics = RunningStatistics(given)
        self.correction = torch.zeros(sum(get_state(module)[n].numel() for n in names))
        # Gradient sum at the last segment's end, over examples of the stages up to `summed`.
        self.sum, self.summed = torch.zeros_like(self.correction), 0
        self.references, self.damping = method.references_of(given), method.damping_of(given)
        # Gradient sums of both halves of the references at the last segment's end.
        self.ended: list[Float[Tensor, " parameter"]] = []

    def advance(self, segment: Segment) -> None:
        """Carry the correction through one segment, in implicit Euler substeps."""
        if not segment.time:
            return
        spec, method = self.state.plan.spec, self.method
        forcing = self.forcing(segment)
        samples = method.draw(self.given, segment, self.candidates)
        for substep, sample in enumerate(samples, 1):
            inputs, _ = self.state.data(sample.members)
            at = segment.interpolate(substep / len(samples))
            self.correction, products = implicit_euler(
                gauss_newton(self.module, at, self.names, inputs, spec.loss, sample.weights),
                forcing,
                self.correction,
                segment.time / len(samples),
                spec.weight_decay,
                self.damping,
                iterations=method.iterations,
                tolerance=method.tolerance,
            )
            self.visits += len(sample) * (1 + products)

    def forcing(self, segment: Segment) -> Float[Tensor, " parameter"]:
        """Return the forcing term c of a segment (see :mod:`unlearnkit.approximate.segments`)."""
        if segment.parts:
            return self._merged_forcing(segment)
        forget, total = self.forget.until(segment.stage), self.sum
        if segment.start is not None:
            total = total + self.gradients(segment.start, forget.since(self.summed))
        self.sum, self.summed = self.gradients(segment.end, forget), segment.stage
        mean = (total + self.sum) / (len(segment.points) * len(forget))
        begin, after = (flatten(at, self.names) for at in segment.path[:2])
        pool = segment.pool(begin, after, self.state.plan.spec.weight_decay)
        if self.references is not None and segment.start is not None:
            pool += self._pool_error(segment, self.references, mean, pool)
        return segment.forget_ratio * (mean - pool)

    def _merged_forcing(self, segment: Segment) -> Float[Tensor, " parameter"]:
        forced = torch.zeros_like(self.sum)
        for slice_, weight in enumerate(segment.weights, 1):
            own = self.forget.until(slice_).since(slice_ - 1)
            total = self.gradients(segment.end, own)
            self.sum, forced = self.sum + total, forced + weight * total
        self.summed = segment.stage
        begin, after = (flatten(at, self.names) for at in segment.path[:2])
        pool = segment.pool(begin, after, self.state.plan.spec.weight_decay)
        return forced - segment.forget_ratio * pool

    def _pool_error(
        self,
        segment: Segment,
        references: tuple[Members, Members],
        forget: Float[Tensor, " parameter"],
        pool: Float[Tensor, " parameter"],
    ) -> Float[Tensor, " parameter"]:
        """Estimate the error of the pool's gradient at the points where g_F is computed.

        The estimate is the mean gradient of the reference examples at the same points minus the
        mean retained gradient computed from the path. It is shrunk for its sampling noise as in
        James and Stein (1961), by the factor max(0, 1 - ``NOISE_WEIGHT`` noise /
        |estimate|^2). The noise is estimated from the difference between the two halves of the
        references. It is weighted by ``NOISE_WEIGHT``, because it is equally large in directions of
        small curvature, in which a correction persists. The weight was chosen for unlearnkit.
        """
        assert segment.start is not None
        begun = self.ended or [self.gradients(segment.start, half) for half in references]
        self.ended = [self.gradients(segment.end, half) for half in references]
        sums = [(a + b) / 2 for a, b in zip(begun, self.ended, strict=True)]
        sizes = [len(half) for half in references]
        share = segment.num_forget / (segment.num_forget + segment.num_retain)
        retained = (pool - share * forget) / (1 - share)
        offset = (sums[0] + sums[1]) / sum(sizes) - retained
        apart = sums[0] / sizes[0] - sums[1] / sizes[1]
        unread = 1 - sum(sizes) / segment.num_retain  # drawn without replacement
        noise = unread * float(apart.square().sum()) / 4
        square = float(offset.square().sum())
        return (1 - share) * max(0.0, 1 - NOISE_WEIGHT * noise / max(square, 1e-30)) * offset

    def gradients(self, at: State, members: Members) -> Float[Tensor, " parameter"]:
        """Return the sum of these examples' gradients at a state, and count the visits."""
        self.visits += len(members)
        if not len(members):
            return torch.zeros_like(self.correction)
        loss, data = self.state.plan.spec.loss, self.state.data(members)
        return len(members) * mean_gradient(self.module, at, self.names, *data, loss)

    def states_of(self, segment: Segment) -> dict[str, State]:
        """Return the corrected states of a segment by name: at its end, and at those of its parts.

        It must be called in the order of training, after :meth:`advance`.
        """
        states = {each.name: self.apply(each.name, each.end, each.share) for each in segment.parts}
        name = f"stage {segment.stage}" if segment.parts else segment.name
        return states | {segment.name: self.apply(name, segment.end)}

    def apply(self, name: str, at: State, share: float = 1.0) -> State:
        """Return the state with the correction added and its running statistics corrected.

        Args:
            name: name of the checkpoint or tail that holds this state.
            at: the state.
            share: share of the correction to add.
        """
        moved = flatten(at, self.names) + share * self.correction
        architecture = self.state.plan.architecture
        state = architecture.moved(at, unflatten(moved, at, self.names))
        return self.statistics.correct(name, state)

    def finish(self, segments: Iterable[Segment], states: dict[str, State]) -> Modified:
        """Return the result; the correction at the last tail is applied to the final state.

        Args:
            segments: segments of the round, after each was passed to :meth:`advance`.
            states: corrected states at the ends of the segments, by name.
        """
        last = segments_of(self.given, to_end=True)[-1]
        end = self.apply(last.name, last.end)
        checkpoints = corrected_checkpoints(self.given, segments, states, end)
        return Modified(checkpoints, float(self.correction.norm()), self.visits)


def implicit_euler(
    gauss_newton_product: Product,
    difference: Float[Tensor, " parameter"],
    before: Float[Tensor, " parameter"],
    h: float,
    weight_decay: float,
    damping: float = 0.0,
    *,
    iterations: int,
    tolerance: float,
) -> tuple[Float[Tensor, " parameter"], int]:
    """Solve (I/h + G + (lambda + d) I) D = c + D_before / h by conjugate gradients.

    Args:
        gauss_newton_product: v -> G v.
        difference: the forcing term c.
        before: D_before, the difference at the start of the segment.
        h: effective time of the segment, above 0; infinity drops the terms with 1/h.
        weight_decay: lambda.
        damping: d, the damping beyond 1/h.
        iterations: upper limit of iterations.
        tolerance: relative residual at which the iteration stops.

    Returns:
        D at the end of the segment, and the number of products computed.
    """
    total = 1 / h + weight_decay + damping
    solution = conjugate_gradients(
        lambda v: gauss_newton_product(v) + total * v,
        difference + before / h,
        iterations=iterations,
        tolerance=tolerance,
    )
    return solution.x, solution.iterations
