"""Running statistics of BatchNorm layers after a correction.

A running statistic is a moving average over the batches of training. It starts from (0, 1), lags
behind the weights and, in a short training, has not converged. Statistics that were measured from
nothing at the corrected weights would therefore differ from those of retraining even without a
forget set. Instead the difference that the forget set makes is added to what training left. Let
s(w, X) be the batch statistics of the examples X at the weights w. Under n steps with constant
batch statistics s, a moving average of momentum m goes from b to

    E(n, b, s) = (1 - m)^n b + (1 - (1 - m)^n) s.

Over a segment of training, from the statistics b at its start to b_end at its end,

    b'_end = b_end + E(n', b', s(w', retained)) - E(n, b, s(w, all)),

with a prime on what belongs to the retained examples alone: the corrected weights at the segment's
end, the corrected statistics at its start, and the number of steps. If the segment begins with the
training and no batch loses all its examples, this is

    b'_end = b_end + (1 - (1 - m)^n) (s(w', retained) - s(w, all)).

With ``momentum=None`` a running statistic is the plain mean over all steps so far. After c steps

    E(n, b, s) = (c b + n s) / (c + n),

with s the mean of the batch statistics at both ends of the segment, because all its steps count
alike. Both forms were derived for unlearnkit. The revoked examples are read, as for their
gradients; the difference removes their share to first order, and nothing of them is stored.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unlearnkit.approximate.protocol import Members, ShardRound
from unlearnkit.approximate.segments import Segment, segments_of
from unlearnkit.interrupts import check
from unlearnkit.models.state import batch_statistics_layers
from unlearnkit.seeding import numpy_generator
from unlearnkit.store.checkpoint import State
from unlearnkit.training.schedule import END, TAIL, make_job

CHUNK = 256  # examples of a batch in which statistics are measured
FEWEST = 32  # retained examples that such a batch should keep
MEAN, VARIANCE, COUNT = "running_mean", "running_var", "num_batches_tracked"


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer with running statistics.

    Attributes:
        name: its name in the module.
        momentum: m; None for the plain mean over all steps.
    """

    name: str
    momentum: float | None

    def count(self, state: State) -> int:
        """Return the number of batches that a state's statistics have seen."""
        return int(state[self.buffer(COUNT)])

    def buffer(self, kind: str) -> str:
        """Return the name of a buffer of this layer in a state."""
        return f"{self.name}.{kind}" if self.name else kind

    def average(
        self,
        count: int,
        steps: int,
        before: Float[Tensor, " channel"],
        batches: Float[Tensor, " channel"],
    ) -> Float[Tensor, " channel"]:
        """Return E(n, b, s), the running statistics after steps with constant batch statistics.

        Args:
            count: c, the number of steps before.
            steps: n.
            before: b.
            batches: s.

        >>> zero, one = torch.zeros(1), torch.ones(1)
        >>> Layer("norm", 0.5).average(7, 2, zero, one)
        tensor([0.7500])
        >>> Layer("norm", None).average(1, 3, zero, one)
        tensor([0.7500])
        """
        if self.momentum is None:
            return (count * before + steps * batches) / max(1, count + steps)
        kept = (1 - self.momentum) ** steps
        return kept * before + (1 - kept) * batches


class RunningStatistics:
    """Corrects the running statistics of one shard's stored states, in order of training.

    Attributes:
        given: the round.
        start: corrected state at the start of the next segment.
    """

    def __init__(self, given: ShardRound, start: State | None = None) -> None:
        """Prepare a round.

        Args:
            given: the round.
            start: corrected state at the start of the first segment that is asked for; by default
                the state before the first affected stage.
        """
        self.given, self._start = given, start

    def correct(self, name: str, state: State) -> State:
        """Return a corrected state with the running statistics that belong to its parameters.

        A model without BatchNorm is returned as it is.

        Args:
            name: name of the segment that ends with this state.
            state: corrected parameters. The running statistics that it holds are replaced.
        """
        if not self._layers:
            return state
        segment = self._segments[name]
        state = self._corrected(segment, state)
        self._start = state
        return state

    @property
    def start(self) -> State:
        """The corrected state at the start of the next segment."""
        if self._start is None:
            self._start = self._first
        return self._start

    @cached_property
    def _layers(self) -> list[Layer]:
        if not self.given.state.plan.architecture.has_batch_statistics:
            return []
        return [Layer(name, layer.momentum) for name, layer in _layers_of(self._module)]

    @cached_property
    def _module(self) -> nn.Module:
        return self.given.state.plan.architecture.module()

    @cached_property
    def _segments(self) -> dict[str, Segment]:
        return {each.name: each for each in segments_of(self.given, to_end=True)}

    @cached_property
    def _first(self) -> State:
        """The state before the first affected stage."""
        state, first = self.given.state, int(self.given.forget.slices.min())
        if first > 1:
            return state.checkpoints[first - 1].state
        return state.plan.architecture.initial(state.plan.spec.seed, state.shard)

    @cached_property
    def _steps(self) -> dict[str, tuple[int, int]]:
        """Steps of each segment that count for batch statistics, with and without the forget set.

        A batch with a single example has no statistics.
        """
        plan = self.given.state.plan
        chain = self.given.state.chain[int(self.given.forget.slices.min()) - 1 :]
        retained = plan.retained.copy()
        retained[self.given.forget.rows] = True
        counts = []
        for each in (replace(plan, retained=retained), plan):
            job = make_job(each, chain, {})
            done = np.concatenate([[0], np.cumsum((job.rows >= 0).sum(1) > 1)])
            ends = [mark.step for mark in job.marks if mark.kind in (TAIL, END)]
            counts.append(np.diff(done[ends], prepend=0).tolist())
        return dict(zip(self._segments, zip(*counts, strict=True), strict=True))

    def _corrected(self, segment: Segment, state: State) -> State:
        old = self._first if segment.start is None else segment.start
        with_all, without = self._steps[segment.name]
        share = without / with_all if with_all else 1.0
        steps = {each: each.count(segment.end) - each.count(old) for each in self._layers}
        trained = [each for each in self._layers if steps[each] > 0]  # the others are frozen
        chunks = self._chunks(segment.stage)
        batches = self._batch_statistics(old, segment.end, trained, chunks, kept=False)
        retained = self._batch_statistics(self.start, state, trained, chunks, kept=True)
        values: State = {}
        for each in self._layers:
            n, left = steps[each], round(steps[each] * share)
            values[each.buffer(COUNT)] = self.start[each.buffer(COUNT)] + left
            for name in (each.buffer(MEAN), each.buffer(VARIANCE)):
                end, begun, begun_new = segment.end[name], old[name], self.start[name]
                if each not in trained:
                    values[name] = end + (begun_new - begun)
                elif not left:
                    values[name] = begun_new
                else:
                    before = each.average(each.count(old), n, begun, batches[name])
                    after = each.average(each.count(self.start), left, begun_new, retained[name])
                    values[name] = end + (after - before)
                    if name.endswith(VARIANCE):
                        values[name] = _positive(values[name], end, after, before)
        return self.given.state.plan.architecture.moved(state, values)

    def _batch_statistics(
        self,
        start: State,
        end: State,
        layers: list[Layer],
        chunks: list[tuple[Members, Members]],
        *,
        kept: bool,
    ) -> State:
        """Return s of some layers over a segment between two states, by name of the buffer."""
        found = self._measured(end, layers, chunks, kept)
        plain = [each for each in layers if each.momentum is None]
        if plain:
            begun = self._measured(start, layers, chunks, kept)
            for each in plain:
                for name in (each.buffer(MEAN), each.buffer(VARIANCE)):
                    found[name] = (begun[name] + found[name]) / 2
        return found

    def _chunks(self, stage: int) -> list[tuple[Members, Members]]:
        """Divide the examples of a stage into batches: all of each batch, and its retained ones.

        The batches are random, so that the order of the rows has no influence, and the retained
        examples keep their batches, so that the noise of the division cancels in the difference.
        """
        forget, retain = self.given.forget.until(stage), self.given.retain.until(stage)
        spec, shard = self.given.state.plan.spec, self.given.state.shard
        rows = np.concatenate([forget.rows, retain.rows])
        slices = np.concatenate([forget.slices, retain.slices])
        generator = numpy_generator(spec.seed, "batch-statistics", shard, stage)
        turns = generator.permuted(np.argsort(rows))
        number = max(1, min(-(-len(rows) // CHUNK), len(retain) // FEWEST))
        found = []
        for some in np.array_split(turns, number):
            some = np.sort(some)
            kept = some[some >= len(forget)]
            found.append((Members(rows[some], slices[some]), Members(rows[kept], slices[kept])))
        return found

    def _measured(
        self,
        state: State,
        layers: list[Layer],
        chunks: list[tuple[Members, Members]],
        kept: bool,
    ) -> State:
        """Return the mean batch statistics of some layers, by name.

        The layers normalise by the statistics of each batch, as in training; all others are in
        evaluation mode.

        Args:
            state: the parameters, and the running statistics of the other layers.
            layers: the layers that are measured.
            chunks: the batches.
            kept: whether to leave out the forget set.
        """
        module = self._module
        module.load_state_dict(state)
        names = {each.name for each in layers}
        measured = [(name, layer) for name, layer in _layers_of(module) if name in names]
        try:
            for _, layer in measured:
                layer.reset_running_stats()
                layer.momentum = None  # the plain mean over all batches
                layer.train()
            with torch.no_grad():
                for members in chunks:
                    check()
                    if len(members[kept]) > 1:
                        module(self.given.state.data(members[kept])[0])
            return {
                each.buffer(kind): getattr(layer, kind).clone()
                for each, (_, layer) in zip(layers, measured, strict=True)
                for kind in (MEAN, VARIANCE)
            }
        finally:
            for each, (_, layer) in zip(layers, measured, strict=True):
                layer.momentum = each.momentum
            module.eval()


def _layers_of(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the layers with running statistics that count their batches, by name."""
    normalising = set(batch_statistics_layers(module))
    for name, layer in module.named_modules():
        if layer in normalising and isinstance(getattr(layer, COUNT), Tensor):
            yield name, layer


def _positive(
    shifted: Float[Tensor, " channel"],
    end: Float[Tensor, " channel"],
    new: Float[Tensor, " channel"],
    old: Float[Tensor, " channel"],
) -> Float[Tensor, " channel"]:
    """Return shifted variances, scaled instead where the shift takes too much of them.

    ``end * new / old`` equals ``end + new - old`` to first order and is never negative.

    Args:
        shifted: ``end + new - old``.
        end: variances that training left.
        new: expected variances without the forget set.
        old: expected variances with it.

    >>> _positive(torch.tensor([0.9, -0.3]), torch.ones(2), torch.tensor([1.1, 0.1]),
    ...     torch.tensor([1.2, 1.4]))
    tensor([0.9000, 0.0714])
    """
    scaled = end * new / old.clamp(min=torch.finfo(old.dtype).tiny)
    return torch.where(2 * shifted < scaled, scaled, shifted)
