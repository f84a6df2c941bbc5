"""Staged influence of the last layer on several shards together.

If a module returns the outputs of its last linear layer, that layer is a linear model of the
*features* that the body computes. One pass through the body is needed for each state at which
gradients or curvature are evaluated. The equation of
:mod:`unlearnkit.approximate.influence.staged` is then solved as for logistic regression
(:mod:`unlearnkit.approximate.linearised`), for all shards together.

Except for rounding, the result of a shard does not depend on the shards that it is corrected with.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from unlearnkit.approximate.influence.any_module import Difference
from unlearnkit.approximate.influence.settings import InfluenceSettings
from unlearnkit.approximate.linearised import (
    Linearised,
    Pieces,
    clear_padding,
    solve,
    stack_parameters,
)
from unlearnkit.approximate.protocol import Members, Modified, OnStep, ShardRound
from unlearnkit.approximate.segments import names_in_order, segments_of
from unlearnkit.models.architecture import Architecture
from unlearnkit.models.chunks import chunks
from unlearnkit.models.stack import Stack
from unlearnkit.models.vector import flatten, head_names, unflatten
from unlearnkit.store.checkpoint import State

CHUNK = 1024  # the most examples that pass through the body at a time
GROUP_BYTES = 32 << 20  # upper limit of bytes of curvature features of all lanes together


class Body:
    """The body of a module: computes the features that its last layer receives.

    Attributes:
        architecture: architecture of the module.
        module: the module; it must not be used elsewhere, as states are loaded into it.
        stack: the last layer alone.
    """

    def __init__(self, architecture: Architecture, module: nn.Module, stack: Stack) -> None:
        """Register a hook on the last layer."""
        self.architecture, self.module, self.stack = architecture, module, stack
        self._recorded: list[Tensor] | None = None  # a list while features are computed
        module.get_submodule(stack.linears[0]).register_forward_pre_hook(self._record_input)

    def _record_input(self, layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        if self._recorded is not None:
            self._recorded.append(given[0])

    @torch.no_grad()
    def features(
        self, state: State, inputs: Num[Tensor, "row ..."]
    ) -> Float[Tensor, "row feature"]:
        """Return the last layer's inputs at a state, in eval mode."""
        self.module.load_state_dict(state)
        parts = chunks(self.architecture, inputs, CHUNK)
        seen: list[Tensor] = []
        self._recorded = seen
        for part in parts:
            self.module(part)
        self._recorded = None
        return torch.cat(seen)


def modify_last_layers(
    method: InfluenceSettings, stack: Stack, rounds: Sequence[ShardRound], on_progress: OnStep
) -> list[Modified]:
    """Correct the last layer of several shards.

    Args:
        method: the settings.
        stack: the last layer of the model.
        rounds: rounds of different shards of one plan.
        on_progress: called before each segment.

    Returns:
        The corrected shards, in the order of the rounds.
    """
    architecture = rounds[0].state.plan.architecture
    body = Body(architecture, architecture.module(), stack)
    sizes = [len(each.forget) + len(each.retain) for each in rounds]
    size = last_layers_together(stack, max(method.sample_size(size, size) for size in sizes))
    done: list[Modified] = []
    for begin in range(0, len(rounds), size):
        lanes = [_Lane(method, each, body) for each in rounds[begin : begin + size]]
        names = names_in_order(each for lane in lanes for each in lane.segments.values())
        for number, name in enumerate(names):
            share = (begin + number / len(names) * len(lanes)) / len(rounds)
            shards = ", ".join(str(lane.given.state.shard) for lane in lanes)
            on_progress(f"shards {shards}: correcting {name}", share)
            concerned = [lane for lane in lanes if name in lane.segments]
            _advance(name, [lane for lane in concerned if lane.segments[name].time])
            for lane in concerned:
                lane.states |= lane.states_of(lane.segments[name])
        done += [lane.finish(lane.segments.values(), lane.states) for lane in lanes]
    return done


def last_layers_together(stack: Stack, curvature: int) -> int:
    """Return how many shards to correct together: as many as the memory for features allows.

    >>> last_layers_together(Stack(("head",), (512, 10), (), ()), curvature=512)
    32
    """
    return max(1, GROUP_BYTES // (4 * curvature * stack.widths[0]))


class _Lane(Difference):
    """One shard's correction, its segments and the states corrected so far."""

    def __init__(self, method: InfluenceSettings, given: ShardRound, body: Body) -> None:
        segments = segments_of(given, merge=method.merge)
        names, candidates = head_names(body.module), method.candidates_of(given, segments)
        super().__init__(method, given, body.module, names, candidates)
        self.body, self.segments = body, {each.name: each for each in segments}
        self.states: dict[str, State] = {}

    def gradients(self, at: State, members: Members) -> Float[Tensor, " parameter"]:
        self.visits += len(members)
        if not len(members):
            return torch.zeros_like(self.correction)
        stack, loss = self.body.stack, self.state.plan.spec.loss
        inputs, targets = self.state.data(members)
        parameters, total = stack_parameters(stack, [at], loss), None
        for part, some in zip(inputs.split(CHUNK), targets.split(CHUNK), strict=True):
            features = self.body.features(at, part).unsqueeze(0)
            model = Linearised(stack, loss, parameters, features)
            total = model.gradient(some.unsqueeze(0), torch.ones(1, len(some)), total)
        assert total is not None
        return _flat(stack, total, 0)


def _advance(name: str, lanes: list[_Lane]) -> None:
    """Advance every lane by the substeps of the segment with this name."""
    if not lanes:
        return
    method, stack, spec = lanes[0].method, lanes[0].body.stack, lanes[0].state.plan.spec
    segments = [lane.segments[name] for lane in lanes]
    forcing = [lane.forcing(each) for lane, each in zip(lanes, segments, strict=True)]
    samples = [
        method.draw(lane.given, each, lane.candidates)
        for lane, each in zip(lanes, segments, strict=True)
    ]
    substeps = len(samples[0])
    time = torch.tensor([each.time for each in segments]) / substeps
    damping = 1 / time + torch.tensor([spec.weight_decay + lane.damping for lane in lanes])
    for substep in range(substeps):
        drawn = [some[substep] for some in samples]
        at = [each.interpolate((substep + 1) / substeps) for each in segments]
        inputs = torch.zeros(len(lanes), max(map(len, drawn)), stack.widths[0])
        weights = torch.zeros(inputs.shape[:2])
        for i, (lane, there, sample) in enumerate(zip(lanes, at, drawn, strict=True)):
            examples, _ = lane.state.data(sample.members)
            inputs[i, : len(sample)] = lane.body.features(there, examples)
            weights[i, : len(sample)] = sample.weights
        right = [c + lane.correction / h for c, lane, h in zip(forcing, lanes, time, strict=True)]
        solutions = solve(
            Linearised(stack, spec.loss, stack_parameters(stack, at, spec.loss), inputs),
            weights,
            damping,
            _pieces(lanes, right),
            iterations=method.iterations,
            tolerance=method.tolerance,
        )
        for i, (lane, sample) in enumerate(zip(lanes, drawn, strict=True)):
            lane.correction = _flat(stack, solutions.pieces, i)
            lane.visits += len(sample) * (1 + int(solutions.iterations[i]))


def _pieces(lanes: list[_Lane], vectors: list[Float[Tensor, " parameter"]]) -> Pieces:
    """Stack flat vectors as tensors that are shaped and padded like parameters."""
    stack, loss = lanes[0].body.stack, lanes[0].state.plan.spec.loss
    parts = [
        unflatten(vector, lane.given.state.checkpoints[len(lane.state.chain)].state, lane.names)
        for lane, vector in zip(lanes, vectors, strict=True)
    ]
    pieces = stack_parameters(stack, parts, loss)
    clear_padding(stack, pieces)
    return pieces


def _flat(stack: Stack, pieces: Pieces, lane: int) -> Float[Tensor, " parameter"]:
    """Return one lane of stacked tensors as a flat vector without padding."""
    outer, name = stack.widths[-1], stack.linears[0]
    parts = {f"{name}.weight": pieces[0][lane, :outer], f"{name}.bias": pieces[1][lane, 0, :outer]}
    return flatten(parts, tuple(parts))
