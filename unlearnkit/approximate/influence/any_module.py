"""The difference of one shard's two trainings, carried from segment to segment by any module.

The equation is that of :mod:`unlearnkit.approximate.influence.staged`, solved by automatic
differentiation.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unlearnkit.approximate.buffers import recompute_buffers
from unlearnkit.approximate.curvature import (
    Product,
    conjugate_gradients,
    gauss_newton,
    mean_gradient,
)
from unlearnkit.approximate.influence.samples import Candidates
from unlearnkit.approximate.influence.settings import InfluenceSettings
from unlearnkit.approximate.protocol import Members, Modified, ShardRound
from unlearnkit.approximate.segments import Segment, corrected_checkpoints
from unlearnkit.models.state import get_state
from unlearnkit.models.vector import flatten, unflatten
from unlearnkit.store.checkpoint import State

CAUTION = 4.0  # see Difference._referred


class Difference:
    """The running correction D of one round, and what it took.

    Beside it the sum of the forgotten examples' gradients where the last segment ended, which is
    where the next one starts: there only examples that join in it are read.

    Attributes:
        method: whose settings are followed.
        given: the round.
        correction: D, flat over the names; as far as the segments have led it.
        visits: large-batch example gradients so far.
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
        self.correction = torch.zeros(sum(get_state(module)[n].numel() for n in names))
        self.sum, self.summed = torch.zeros_like(self.correction), 0  # of the stages up to this
        self.references = method.references_of(given)
        self.ended: list[Float[Tensor, " parameter"]] = []  # their sums at the last segment's end

    def advance(self, segment: Segment) -> None:
        """One segment, in substeps of implicit Euler."""
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
                iterations=method.iterations,
                tolerance=method.tolerance,
            )
            self.visits += len(sample) * (1 + products)

    def forcing(self, segment: Segment) -> Float[Tensor, " parameter"]:
        """The c of a segment: see :mod:`unlearnkit.approximate.segments`."""
        forget, total = self.forget.until(segment.stage), self.sum
        if segment.start is not None:
            total = total + self.gradients(segment.start, forget.since(self.summed))
        self.sum, self.summed = self.gradients(segment.end, forget), segment.stage
        mean = (total + self.sum) / (len(segment.points) * len(forget))
        begin, after = (flatten(at, self.names) for at in segment.path[:2])
        pool = segment.pool(begin, after, self.state.plan.spec.weight_decay)
        if self.references is not None and segment.start is not None:
            pool += self._referred(segment, self.references, mean, pool)
        return segment.forget_ratio * (mean - pool)

    def _referred(
        self,
        segment: Segment,
        references: tuple[Members, Members],
        forget: Float[Tensor, " parameter"],
        pool: Float[Tensor, " parameter"],
    ) -> Float[Tensor, " parameter"]:
        """What the pool's gradient differs by where the forgotten examples' gradients are taken.

        The mean gradient of retained examples at the same points, less what the path says of it,
        shrunk by the sampling noise in it as by James and Stein (1961): to the part
        1 - ``CAUTION`` noise / square, or 0. The noise is told by the difference of two halves. It
        weighs ``CAUTION`` times, since it is as large in directions of little curvature, which keep
        a correction for long. (The factor is ours; between 1 and 8 it changes little of what
        ``StagedInfluence.references`` has measured.)
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
        return (1 - share) * max(0.0, 1 - CAUTION * noise / max(square, 1e-30)) * offset

    def gradients(self, at: State, members: Members) -> Float[Tensor, " parameter"]:
        """The sum of some examples' gradients at a state."""
        self.visits += len(members)
        if not len(members):
            return torch.zeros_like(self.correction)
        loss, data = self.state.plan.spec.loss, self.state.data(members)
        return len(members) * mean_gradient(self.module, at, self.names, *data, loss)

    def apply(self, at: State, stage: int) -> State:
        """The state with the correction added; batch statistics are measured anew."""
        moved = flatten(at, self.names) + self.correction
        parts = unflatten(moved, at, self.names)
        state = {name: parts.get(name, tensor).clone() for name, tensor in at.items()}
        if not self.state.plan.architecture.has_batch_statistics:
            return state
        return recompute_buffers(self.module, state, self.state.data(self.retain.until(stage))[0])

    def finish(self, segments: Iterable[Segment], states: dict[str, State]) -> Modified:
        """The result; the last tail's correction is carried to the end: an amend replays from it.

        Args:
            segments: of the round, all led through.
            states: corrected, at their ends, by name.
        """
        last = len(self.state.chain)
        end = self.apply(self.state.checkpoints[last].state, last)
        checkpoints = corrected_checkpoints(self.given, segments, states, end)
        return Modified(checkpoints, float(self.correction.norm()), self.visits)


def implicit_euler(
    gauss_newton_product: Product,
    difference: Float[Tensor, " parameter"],
    before: Float[Tensor, " parameter"],
    h: float,
    weight_decay: float,
    *,
    iterations: int,
    tolerance: float,
) -> tuple[Float[Tensor, " parameter"], int]:
    """Solve (I/h + G + lambda I) D = c + D_before / h by conjugate gradients.

    Args:
        gauss_newton_product: v -> G v.
        difference: c.
        before: D at the start of the segment.
        h: effective time of the segment; infinity drops the I/h terms.
        weight_decay: lambda.
        iterations: at most.
        tolerance: relative residual.

    Returns:
        D at the end of the segment, and the number of products computed.
    """
    damping = 1 / h + weight_decay
    solution = conjugate_gradients(
        lambda v: gauss_newton_product(v) + damping * v,
        difference + before / h,
        iterations=iterations,
        tolerance=tolerance,
    )
    return solution.x, solution.iterations
