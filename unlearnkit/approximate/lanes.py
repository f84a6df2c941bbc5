"""Staged influence on several shards at once, for stacks of linear layers.

The same equation, solved to the same tolerance, as in :mod:`unlearnkit.approximate.staged`, which
says what it is. Shards are lanes that go from stretch to stretch together, each from its own first
affected stage on. Since all is evaluated at the checkpoints as stored, one weighted sum of
gradients gives the forcing of a stretch, with weights 1/n for the forgotten and -(k/n)/centre for
the retained examples.

The examples for the curvature are among those for the retain gradient, and are run once for both.
They are drawn anew for every stretch: errors of independent samples average out (measured on
Fashion-MNIST, gap removed with one sample for all stretches and with one each: SAMPLES).

A shard's numbers do not depend on the shards it is modified with, but for rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unlearnkit.approximate.protocol import Modified, OnStep, ShardRound
from unlearnkit.curvature import effective_time
from unlearnkit.kernels.linearised import (
    Linearised,
    Pieces,
    gather,
    moved,
    solve,
    squared_norms,
)
from unlearnkit.kernels.stacked import PART, lanes_together
from unlearnkit.models import Stack, State
from unlearnkit.store import Checkpoint

if TYPE_CHECKING:
    from unlearnkit.approximate.staged import StagedInfluence


def modify_lanes(
    method: "StagedInfluence", stack: Stack, rounds: Sequence[ShardRound], on_progress: OnStep
) -> list[Modified]:
    """Correct all parameters of several shards; results in the order given."""
    plan = rounds[0].state.plan
    order = sorted(range(len(rounds)), key=lambda i: int(rounds[i].forget.slices.min()))
    size = lanes_together(plan, [each.state.shard for each in rounds])
    done: dict[int, Modified] = {}
    for begin in range(0, len(order), size):
        some = order[begin : begin + size]
        lanes = [_Lane(method, rounds[i]) for i in some]
        group = _Group(method, stack, lanes)
        shards = ", ".join(str(lane.shard) for lane in lanes)
        stretches = plan_stretches(lanes[0])
        for number, (stage, tail, epochs) in enumerate(stretches):
            end = f"stage {stage}" if tail is None else f"stage {stage} less {tail} epochs"
            share = (begin + number / len(stretches) * len(lanes)) / len(order)
            on_progress(f"shards {shards}: correcting the ends of {end}", share)
            group.advance(stage, tail, epochs)
        done |= zip(some, group.finish(), strict=True)
    return [done[i] for i in range(len(rounds))]


def plan_stretches(lane: "_Lane") -> list[tuple[int, int | None, int]]:
    """Stage, tail and epochs of every stretch between two resets, from a first stage on."""
    chain = lane.round.state.chain
    last = len(chain)
    found: list[tuple[int, int | None, int]] = [
        (r, None, chain[r - 1].epochs) for r in range(lane.first, last)
    ]
    at, epochs = 0, chain[-1].epochs
    for tail in sorted(lane.round.state.checkpoints[last].tails, reverse=True):
        found.append((last, tail, epochs - tail - at))
        at = epochs - tail
    return found


@dataclass(frozen=True, eq=False)
class _Part:
    """The examples of one lane that a stretch reads: positions, weights, and those for G."""

    positions: Int[np.ndarray, " row"]
    weights: Float[np.ndarray, " row"]
    curvature: Int[np.ndarray, " some"]  # among the positions


class _Lane:
    """One shard: its examples by slice, the corrected states, and what it took."""

    def __init__(self, method: "StagedInfluence", given: ShardRound) -> None:
        forget, retain = given.forget, given.retain
        self.method, self.round, self.shard = method, given, given.state.shard
        self.first = int(forget.slices.min())
        slices = np.concatenate([forget.slices, retain.slices])
        order = np.argsort(slices, kind="stable")
        self.slices = slices[order]
        self.rows = np.concatenate([forget.rows, retain.rows])[order]
        self.gone = order < len(forget)
        self.states: dict[tuple[int, int | None], State] = {}
        self.visits = 0

    def at(self, stage: int, tail: int | None) -> State:
        """The state at the end of a stretch, as stored."""
        checkpoint = self.round.state.checkpoints[stage]
        return checkpoint.state if tail is None else checkpoint.tails[tail]

    def time(self, stage: int, epochs: int) -> float:
        """The effective time h of a stretch; 0 where nothing is left to train on."""
        spec, planned = self.round.state.plan.spec, self.round.state.chain[stage - 1]
        if stage < self.first or not planned.visits:
            return 0.0
        steps = planned.steps // planned.epochs * epochs
        return effective_time(spec.learning_rate, spec.momentum, steps)

    def part(self, stage: int) -> _Part:
        """The examples for a stage."""
        n = int(np.searchsorted(self.slices, stage, "right"))
        gone = self.gone[:n]
        kept = np.flatnonzero(~gone)
        ranked = self.round.generator.permutation(kept)
        centre = ranked[: self.method.centre_max]
        curvature = np.sort(ranked[: self.method._curvature_size(len(self.rows))])
        weights = np.where(gone, 1 / n, 0)
        weights[centre] = -int(gone.sum()) / n / len(centre)
        read = weights != 0
        read[curvature] = True
        positions = np.flatnonzero(read)
        self.visits += int(gone.sum()) + len(centre)
        return _Part(
            positions,
            weights[positions].astype(np.float32),
            np.searchsorted(positions, curvature),
        )

    def result(self, norm: float) -> Modified:
        """The checkpoints after the last stretch."""
        state, tails = self.round.state, dict[int, State]()
        chain, corrected = state.chain, dict[int, Checkpoint]()
        last = len(chain)
        for (stage, tail), moved_state in self.states.items():
            if tail is not None:
                tails[tail] = moved_state
            else:
                kept = tails if stage == last else {}
                key = chain[stage - 1].key
                corrected[stage] = Checkpoint(key, self.shard, stage, moved_state, kept)
        return Modified(corrected, norm, self.visits)


class _Group:
    """Lanes that are modified together, by ascending first stage; the running corrections D."""

    def __init__(self, method: "StagedInfluence", stack: Stack, lanes: list[_Lane]) -> None:
        self.method, self.stack, self.lanes = method, stack, lanes
        self.plan = lanes[0].round.state.plan
        self.inputs, self.targets = self._table()
        self.corrections: Pieces | None = None

    def _table(self) -> tuple[Float[Tensor, "lane row in"], Tensor]:
        """The examples of every lane by slice, padded with zeros."""
        lanes, most = len(self.lanes), max(len(lane.rows) for lane in self.lanes)
        inputs = torch.zeros(lanes, most, self.stack.widths[0])
        targets = torch.empty(0)
        for number, lane in enumerate(self.lanes):
            for begin in range(0, len(lane.rows), PART):
                rows = lane.rows[begin : begin + PART]
                some, labels = self.plan.examples[self.plan.partition.ids[rows]]
                if not len(targets):
                    targets = labels.new_zeros(lanes, most, *labels.shape[1:])
                inputs[number, begin : begin + len(rows)] = some.flatten(1)
                targets[number, begin : begin + len(rows)] = labels
        return inputs, targets

    def advance(self, stage: int, tail: int | None, epochs: int) -> None:
        """One implicit Euler segment of every lane that the stretch concerns."""
        times = [lane.time(stage, epochs) for lane in self.lanes]
        active = [i for i, h in enumerate(times) if h > 0]
        if active:
            self._solve(stage, tail, active, torch.tensor([times[i] for i in active]))
        for i, lane in enumerate(self.lanes):
            if stage >= lane.first:
                lane.states[stage, tail] = self._moved(i, lane.at(stage, tail))

    def _solve(
        self, stage: int, tail: int | None, active: list[int], h: Float[Tensor, " lane"]
    ) -> None:
        spec, lanes = self.plan.spec, [self.lanes[i] for i in active]
        parts = [lane.part(stage) for lane in lanes]
        inputs, targets, weights = self._read(active, parts)
        states = [lane.at(stage, tail) for lane in lanes]
        model = Linearised(self.stack, spec.loss, gather(self.stack, states, spec.loss), inputs)
        right = model.gradient(targets, weights)
        if self.corrections is not None:
            for piece, before in zip(right, self._chosen(active), strict=True):
                piece.addcdiv_(before, h.view(-1, 1, 1))
        chosen, rows = _padded([part.curvature for part in parts])
        solutions = solve(
            model.at(chosen),
            rows / rows.sum(1, keepdim=True),
            1 / h + spec.weight_decay,
            right,
            iterations=self.method.iterations,
            tolerance=self.method.tolerance,
        )
        for lane, part, spent in zip(lanes, parts, solutions.iterations.tolist(), strict=True):
            lane.visits += len(part.curvature) * (1 + spent)
        self._keep(active, solutions.pieces)

    def _read(self, active: list[int], parts: list[_Part]) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, targets and weights of a stretch: a view where whole slices are read."""
        some: slice | list[int] = slice(len(active)) if _is_prefix(active) else active
        inputs, targets = self.inputs[some], self.targets[some]
        positions, _ = _padded([part.positions for part in parts])
        weights, _ = _padded([part.weights for part in parts])
        count = positions.shape[1]
        if all(part.positions[-1] == len(part.positions) - 1 for part in parts):
            return inputs[:, :count], targets[:, :count], weights
        lane = torch.arange(len(active)).unsqueeze(1)
        return inputs[lane, positions], targets[lane, positions], weights

    def _chosen(self, active: list[int]) -> Pieces:
        assert self.corrections is not None
        some: slice | list[int] = slice(len(active)) if _is_prefix(active) else active
        return [piece[some] for piece in self.corrections]

    def _keep(self, active: list[int], pieces: Pieces) -> None:
        if len(active) == len(self.lanes):
            self.corrections = pieces
            return
        if self.corrections is None:
            shapes = [(len(self.lanes), *piece.shape[1:]) for piece in pieces]
            self.corrections = [torch.zeros(shape) for shape in shapes]
        for piece, new in zip(self.corrections, pieces, strict=True):
            piece[active] = new

    def _moved(self, lane: int, state: State) -> State:
        if self.corrections is None:
            return {name: tensor.clone() for name, tensor in state.items()}
        return moved(self.stack, state, self.corrections, lane)

    def finish(self) -> list[Modified]:
        """The results; the last tail's corrections are carried to the end as they are."""
        last = self.plan.spec.num_slices
        norms = torch.zeros(len(self.lanes))
        if self.corrections is not None:
            norms = squared_norms(self.corrections).sqrt()
        for i, lane in enumerate(self.lanes):
            lane.states[last, None] = self._moved(i, lane.at(last, None))
        return [lane.result(norm) for lane, norm in zip(self.lanes, norms.tolist(), strict=True)]


def _is_prefix(active: list[int]) -> bool:
    return active[-1] == len(active) - 1


def _padded(
    arrays: Sequence[np.ndarray],
) -> tuple[Float[Tensor, "lane most"] | Int[Tensor, "lane most"], Float[Tensor, "lane most"]]:
    """Arrays of different lengths as rows that end in zeros, and 1 where something is."""
    most = max(len(array) for array in arrays)
    rows = np.zeros((len(arrays), most), arrays[0].dtype)
    real = np.zeros((len(arrays), most), np.float32)
    for i, array in enumerate(arrays):
        rows[i, : len(array)], real[i, : len(array)] = array, 1
    return torch.from_numpy(rows), torch.from_numpy(real)
