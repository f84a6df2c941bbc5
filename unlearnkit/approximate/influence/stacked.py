"""Staged influence on several shards together, for stacks of linear layers.

The solvers here integrate the equation of :mod:`unlearnkit.approximate.influence.staged`. Shards
are lanes that advance from segment to segment together, each from its own first affected stage on.
Except for rounding, the result of a shard does not depend on the shards that it is corrected with.

Each substep draws its own sample of examples for the curvature, because the errors of independent
samples average out (tests/benchmarks/defaults.md has the measurements).
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unlearnkit.approximate.influence.samples import Sample
from unlearnkit.approximate.influence.settings import InfluenceSettings
from unlearnkit.approximate.linearised import (
    Linearised,
    Pieces,
    add_correction,
    clear_padding,
    solve,
    solve_dual,
    squared_norms,
    stack_parameters,
)
from unlearnkit.approximate.protocol import Modified, OnStep, ShardRound
from unlearnkit.approximate.segments import (
    Segment,
    corrected_checkpoints,
    names_in_order,
    segments_of,
)
from unlearnkit.models.stack import Stack
from unlearnkit.store.checkpoint import State
from unlearnkit.training.kernels.stacked import lanes_together

# Upper limits of bytes: of forgotten examples that stay in memory for all segments, and of inputs
# and activations in one linearisation.
KEPT_BYTES, BATCH_BYTES = 32 << 20, 16 << 20


def modify_stacked(
    method: InfluenceSettings, stack: Stack, rounds: Sequence[ShardRound], on_progress: OnStep
) -> list[Modified]:
    """Correct all parameters of several shards.

    Args:
        method: the settings.
        stack: the layers of the model.
        rounds: rounds of different shards of one plan.
        on_progress: called before each segment.

    Returns:
        The corrected shards, in the order of the rounds.
    """
    plan = rounds[0].state.plan
    size = lanes_together(plan)
    done: list[Modified] = []
    for begin in range(0, len(rounds), size):
        group = _Group(method, stack, rounds[begin : begin + size])
        for number, name in enumerate(group.names):
            share = (begin + number / len(group.names) * len(group.lanes)) / len(rounds)
            shards = ", ".join(str(lane.shard) for lane in group.lanes)
            on_progress(f"shards {shards}: correcting {name}", share)
            group.advance(name)
        done += group.finish()
        group.close()
    return done


class _Lane:
    """One shard: its segments, their samples, the corrected states and the visits."""

    def __init__(self, method: InfluenceSettings, given: ShardRound) -> None:
        self.round, self.shard = given, given.state.shard
        self.damping = method.damping_of(given)
        self.segments = {each.name: each for each in segments_of(given, merge=method.merge)}
        candidates = method.candidates_of(given, list(self.segments.values()))
        self.samples = {
            name: method.draw(given, each, candidates)
            for name, each in self.segments.items()
            if each.time
        }
        order = np.argsort(given.forget.slices, kind="stable")
        self.forget = given.forget.take(order)
        self.states: dict[str, State] = {}
        self.summed = 0  # stage up to which forgotten examples are in the group's gradient sums
        self.visits = len(candidates.known)

    def joined(self, stage: int) -> tuple[int, int]:
        """Return the range of forgotten examples that join up to a stage since the last call."""
        slices, bounds = self.forget.slices, (self.summed, stage)
        self.summed = stage
        begin, end = np.searchsorted(slices, bounds, side="right").tolist()
        return begin, end


class _Block(NamedTuple):
    """A substep of a segment, with the lanes that take it."""

    name: str
    substep: int
    active: list[int]


def _groups(blocks: list[_Block], fit: Callable[[list[_Block]], bool]) -> Iterator[list[_Block]]:
    """Group consecutive blocks, as many as fit together; a group has at least one block."""
    together: list[_Block] = []
    for block in blocks:
        if together and not fit([*together, block]):
            yield together
            together = []
        together.append(block)
    if together:
        yield together


class _Group:
    """Lanes that are corrected together, with their running corrections D.

    The group also keeps the sums of the forgotten examples' gradients at the end of the last
    segment. The next segment starts there, so it reads only the examples that join in it.
    """

    def __init__(
        self, method: InfluenceSettings, stack: Stack, rounds: Sequence[ShardRound]
    ) -> None:
        self.method, self.stack, self.plan = method, stack, rounds[0].state.plan
        self.lanes = [_Lane(method, each) for each in rounds]
        self.names = names_in_order(s for lane in self.lanes for s in lane.segments.values())
        shapes = zip(stack.widths[1:], stack.widths[:-1], strict=True)
        empty = {
            f"{name}.{part}": torch.zeros(shape)
            for name, (outer, inner) in zip(stack.linears, shapes, strict=True)
            for part, shape in (("weight", (outer, inner)), ("bias", (outer,)))
        }
        self.corrections = stack_parameters(stack, [empty] * len(rounds), self.plan.spec.loss)
        clear_padding(stack, self.corrections)
        self.sums = [torch.zeros_like(piece) for piece in self.corrections]
        forgotten = [lane.forget.rows for lane in self.lanes]
        size = 4 * len(self.lanes) * max(map(len, forgotten)) * stack.widths[0]
        self.kept = self._read(forgotten) if size <= KEPT_BYTES else None
        self.linearised, self.forcings = self._linearise(), self._forcings()
        self.gathered: dict[tuple[int, ...], Pieces] = {}  # see _parameters

    def advance(self, name: str) -> None:
        """Take the substeps of all lanes that have this segment."""
        concerned = [i for i, lane in enumerate(self.lanes) if name in lane.segments]
        active = self._active(name)
        if active:
            before = self._take(self.corrections, active)
            found = self._solve(name, active, next(self.forcings), before)
            self.corrections = self._put(self.corrections, active, found)
        for i in concerned:
            segment, states = self.lanes[i].segments[name], self.lanes[i].states
            for part in segment.parts:
                some = [piece * part.share for piece in self.corrections]
                states[part.name] = add_correction(self.stack, part.end, some, i)
            states[name] = add_correction(self.stack, segment.end, self.corrections, i)

    def _active(self, name: str) -> list[int]:
        return [i for i, lane in enumerate(self.lanes) if name in lane.samples]

    def _take(self, pieces: Pieces, active: list[int]) -> Pieces:
        return pieces if len(active) == len(self.lanes) else [piece[active] for piece in pieces]

    def _put(self, pieces: Pieces, active: list[int], found: Pieces) -> Pieces:
        if len(active) == len(self.lanes):
            return found
        for piece, new in zip(pieces, found, strict=True):
            piece[active] = new
        return pieces

    def _linearise(self) -> Generator[tuple[Linearised, Float[Tensor, "lane row"]], None, None]:
        """Yield the linearised lanes of each substep, with the weights of their examples.

        Linearisations depend only on stored checkpoints and examples, not on earlier substeps. For
        small samples, where the overhead of a call dominates, several are computed in one batch.
        """
        blocks = [
            _Block(name, substep, active)
            for name in self.names
            if (active := self._active(name))
            for substep in range(len(self.lanes[active[0]].samples[name]))
        ]
        for together in _groups(blocks, self._fit):
            yield from self._parts(together)

    def _fit(self, blocks: list[_Block]) -> bool:
        """Whether these blocks can be linearised together."""
        counts = [[len(some) for some in self._samples(each)] for each in blocks]
        numbers = sum(map(sum, counts)) * sum(self.stack.widths)
        return max(counts[0]) == max(counts[-1]) and 4 * numbers <= BATCH_BYTES

    def _samples(self, block: _Block) -> list[Sample]:
        return [self.lanes[i].samples[block.name][block.substep] for i in block.active]

    def _parts(
        self, blocks: list[_Block]
    ) -> Iterator[tuple[Linearised, Float[Tensor, "lane row"]]]:
        spec = self.plan.spec
        samples = [sample for block in blocks for sample in self._samples(block)]
        inputs, _, weights = self._read([sample.members.rows for sample in samples])
        for row, sample in zip(weights, samples, strict=True):
            row[: len(sample)] = sample.weights
        states = [
            lane.segments[block.name].interpolate(
                (block.substep + 1) / len(lane.samples[block.name])
            )
            for block in blocks
            for lane in (self.lanes[i] for i in block.active)
        ]
        model = Linearised(
            self.stack, spec.loss, stack_parameters(self.stack, states, spec.loss), inputs
        )
        end = 0
        for block in blocks:
            begin, end = end, end + len(block.active)
            yield model.lanes(begin, end), weights[begin:end]

    def _solve(self, name: str, active: list[int], forcing: Pieces, before: Pieces) -> Pieces:
        spec, method = self.plan.spec, self.method
        lanes = [self.lanes[i] for i in active]
        substeps = len(lanes[0].samples[name])
        time = torch.tensor([lane.segments[name].time for lane in lanes]) / substeps
        damping = 1 / time + torch.tensor([spec.weight_decay + lane.damping for lane in lanes])
        for substep in range(substeps):
            model, weights = next(self.linearised)
            right = [
                torch.addcdiv(c, earlier, time.view(-1, 1, 1))
                for c, earlier in zip(forcing, before, strict=True)
            ]
            solutions = (solve_dual if method.by_outputs else solve)(
                model,
                weights,
                damping,
                right,
                iterations=method.iterations,
                tolerance=method.tolerance,
            )
            del model  # free its memory before the next linearisation
            spent = solutions.iterations.tolist()
            for lane, products in zip(lanes, spent, strict=True):
                lane.visits += len(lane.samples[name][substep]) * (1 + products)
            before = solutions.pieces
        return before

    def _forcings(self) -> Generator[Pieces, None, None]:
        """Yield each segment's forcing term c for all its lanes, computed in batches of segments.

        :mod:`unlearnkit.approximate.segments` derives the forcing term.
        """
        numbers = 6 * sum(piece[0].numel() for piece in self.sums)
        numbers += sum(self.stack.widths) * max(len(lane.forget) for lane in self.lanes)

        def fit(blocks: list[_Block]) -> bool:
            if any(map(self._merges, blocks)):
                return False
            return 4 * numbers * sum(len(each.active) for each in blocks) <= BATCH_BYTES

        blocks = [_Block(name, 0, self._active(name)) for name in self.names]
        for together in _groups([block for block in blocks if block.active], fit):
            yield from self._forcings_of(together)

    def _forcings_of(self, blocks: list[_Block]) -> Iterator[Pieces]:
        chosen = [i for block in blocks for i in block.active]
        segments = [self.lanes[i].segments[block.name] for block in blocks for i in block.active]
        # Position of each lane's gradient sum at the start of a segment: the sums of all lanes come
        # first, then those at the ends of the segments of this batch.
        latest, places, spans = list(range(len(self.lanes))), list[int](), list[tuple[int, int]]()
        for number, (i, each) in enumerate(zip(chosen, segments, strict=True)):
            places.append(latest[i])
            latest[i] = len(self.lanes) + number
            spans.append(self.lanes[i].joined(each.stage))
        if self._merges(blocks[0]):
            ends, forced = self._merged(chosen, segments)
        else:
            at, whole = [each.end for each in segments], [(0, end) for _, end in spans]
            ends = forced = self._gradients(chosen, at, whole)
        if len(blocks) == 1:
            forcing = self._take(self.sums, chosen)
            self.sums = self._put(self.sums, chosen, ends)
        else:
            sums = [torch.cat(pair) for pair in zip(self.sums, ends, strict=True)]
            forcing = [piece[places] for piece in sums]
            self.sums = [piece[latest] for piece in sums]
        joins = [
            number
            for number, (each, (begin, end)) in enumerate(zip(segments, spans, strict=True))
            if each.start is not None and end > begin
        ]
        if joins:
            starts = [segments[n].points[0] for n in joins]
            joined = self._gradients([chosen[n] for n in joins], starts, [spans[n] for n in joins])
            for piece, new in zip(forcing, joined, strict=True):
                piece.index_add_(0, torch.tensor(joins), new)
        paths = [each.path for each in segments]
        begins, afters = (
            self._parameters(states)
            for states in ([path.begin for path in paths], [path.after for path in paths])
        )
        ratio, decay = _wide([each.forget_ratio for each in segments]), self.plan.spec.weight_decay
        counts = [1 / (len(each.points) * each.num_forget) for each in segments]
        share = 1.0 if forced is not ends else ratio * _wide(counts)
        speed, half = ratio * _wide([1 / path.time for path in paths]), ratio * decay / 2
        for piece, at_end, begin, after in zip(forcing, forced, begins, afters, strict=True):
            piece.add_(at_end).mul_(share)
            piece.addcmul_(after, half + speed).addcmul_(begin, half - speed)
        clear_padding(self.stack, forcing)
        done = 0
        for block in blocks:
            some = slice(done, done + len(block.active))
            done = some.stop
            yield [piece[some] for piece in forcing]

    def _merges(self, block: _Block) -> bool:
        """Whether this is the segment that merges early stages, which all its lanes start with."""
        return bool(self.lanes[block.active[0]].segments[block.name].parts)

    def _merged(self, chosen: list[int], segments: list[Segment]) -> tuple[Pieces, Pieces]:
        """Return the gradient sums at the end of a merged segment, plain and with its weights."""
        weights = [each.weights for each in segments]
        ends = [torch.zeros_like(piece[chosen]) for piece in self.sums]
        forced = [torch.zeros_like(piece) for piece in ends]
        bounds = [
            np.searchsorted(self.lanes[i].forget.slices, range(len(w) + 1), side="right").tolist()
            for i, w in zip(chosen, weights, strict=True)
        ]
        for slice_ in range(len(weights[0])):
            spans = [(each[slice_], each[slice_ + 1]) for each in bounds]
            if all(begin == end for begin, end in spans):
                continue
            found = self._gradients(chosen, [each.end for each in segments], spans)
            factor = _wide([each[slice_] for each in weights])
            for total, weighted, piece in zip(ends, forced, found, strict=True):
                total.add_(piece)
                weighted.addcmul_(piece, factor)
        return ends, forced

    def _gradients(
        self, chosen: list[int], at: list[State], spans: list[tuple[int, int]]
    ) -> Pieces:
        """Return the summed gradients of a range of each chosen lane's forgotten examples."""
        for i, (begin, end) in zip(chosen, spans, strict=True):
            self.lanes[i].visits += end - begin
        inputs, targets, there = self._forgotten(chosen, spans)
        loss, parameters = self.plan.spec.loss, self._parameters(at)
        return Linearised(self.stack, loss, parameters, inputs).gradient(targets, there)

    def _forgotten(
        self, chosen: list[int], spans: list[tuple[int, int]]
    ) -> tuple[Float[Tensor, "lane row in"], Tensor, Float[Tensor, "lane row"]]:
        """Return a range of each chosen lane's forgotten examples, as :meth:`_read` does."""
        if self.kept is None:
            lanes = [self.lanes[i].forget.rows for i in chosen]
            return self._read([rows[slice(*span)] for rows, span in zip(lanes, spans, strict=True)])
        begins, ends = torch.tensor(spans).T.unsqueeze(2)
        rows = torch.arange(int((ends - begins).max()))
        there = (rows < ends - begins).float()
        if chosen == list(range(len(self.lanes))) and not begins.any():
            return self.kept[0][:, : len(rows)], self.kept[1][:, : len(rows)], there
        places = (
            torch.tensor(chosen).unsqueeze(1),
            (begins + rows).clamp_(max=self.kept[0].shape[1] - 1),
        )
        return self.kept[0][places], self.kept[1][places], there

    def _parameters(self, states: list[State]) -> Pieces:
        """Return stacked parameters. Segments share them, so the caller must not change them."""
        key = tuple(map(id, states))
        if key not in self.gathered:
            while len(self.gathered) > 1:
                del self.gathered[next(iter(self.gathered))]
            self.gathered[key] = stack_parameters(self.stack, states, self.plan.spec.loss)
        return self.gathered[key]

    def _read(
        self, rows: list[np.ndarray]
    ) -> tuple[Float[Tensor, "lane row in"], Tensor, Float[Tensor, "lane row"]]:
        """Return padded inputs and targets of these rows, and a mask that is 0 for padding."""
        examples, ids = self.plan.examples, self.plan.partition.ids
        lanes, most = len(rows), max(len(some) for some in rows)
        inputs = torch.empty(lanes, most, self.stack.widths[0])
        targets = examples.labels.new_empty(lanes, most, *examples.labels.shape[1:])
        there = torch.ones(lanes, most)
        if all(len(some) == most for some in rows):  # without padding, one call reads all lanes
            labels = examples.read(ids[np.concatenate(rows)], inputs.flatten(0, 1))
            return inputs, labels.view_as(targets), there
        for i, some in enumerate(rows):
            count = len(some)
            targets[i, :count] = examples.read(ids[some], inputs[i, :count])
            inputs[i, count:], targets[i, count:], there[i, count:] = 0, 0, 0
        return inputs, targets, there

    def close(self) -> None:
        """End the generators, whose reference to this object would keep its tensors in memory."""
        self.linearised.close()
        self.forcings.close()

    def finish(self) -> list[Modified]:
        """Return the results; the corrections at the last tail are applied to the final states."""
        norms = squared_norms(self.corrections).sqrt().tolist()
        results = []
        for i, (lane, norm) in enumerate(zip(self.lanes, norms, strict=True)):
            state = lane.round.state
            end = add_correction(
                self.stack, state.checkpoints[len(state.chain)].state, self.corrections, i
            )
            checkpoints = corrected_checkpoints(
                lane.round, lane.segments.values(), lane.states, end
            )
            results.append(Modified(checkpoints, norm, lane.visits))
        return results


def _wide(numbers: list[float]) -> Float[Tensor, "lane 1 1"]:
    return torch.tensor(numbers).view(-1, 1, 1)
