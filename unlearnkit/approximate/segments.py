"""The segments of a shard's training: the parts between two optimizer resets.

A segment is a stage, or a part of stage R up to one of its tails. Suppose that training follows the
mean gradient g over the pool of n examples for the effective time h. It then moves the parameters
by

    w_end - w_start = -h (g + lambda w),

with g and w averaged over the segment. The mean gradient over the pool therefore follows from two
checkpoints, without visiting any example. With k examples to forget, g = (k g_F + (n - k) g_R)/n,
and the forcing term of the difference equation is

    c = (k/n)(g_F - g_R) = k/(n - k) (g_F - g),

where g_F is the mean of its values at both ends of the segment (the trapezoidal rule for its
average over the segment). This formula was derived for unlearnkit.

Starting from the initial weights, gradients fall so steeply that the values at both ends do not
determine their average. In that first segment, g_F is taken at the end of the segment, and g is the
mean gradient over the next segment, computed from the checkpoints at its ends.

The stages 1..K can be taken as one segment (:func:`merged`), which costs one step instead of K.
Its effective time is h = sum_i h_i, and the forcing terms of its stages are averaged over it:

    c = sum_i (h_i/h) c_i = sum_x w_s(x) grad(x) - r g,
    w_s = sum_(i >= s) (h_i/h) / (n_i - k_i),        r = sum_i (h_i/h) k_i/(n_i - k_i).

An example x of slice s takes part from stage s on, so its gradient is weighted by the effective
time that it took part in. All gradients are taken at the end of stage K. Of the correction there,
the share that its forcing had reached by then, sum_(j <= i) h_j r_j / (h r), corrects the
checkpoint of an earlier stage i. This was derived for unlearnkit.

tests/benchmarks/defaults.md compares these choices with gradients of retained examples.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from unlearnkit.approximate.curvature import effective_time
from unlearnkit.approximate.protocol import ShardRound
from unlearnkit.store import Checkpoint
from unlearnkit.store.checkpoint import State
from unlearnkit.training.plan import Plan, Stage


class Path(NamedTuple):
    """Two states, with the effective time of the training from ``begin`` to ``after``."""

    begin: State
    after: State
    time: float


class Part(NamedTuple):
    """A stage that is a part of a segment and ends before it.

    Attributes:
        name: name of its checkpoint.
        stage: 1-based stage.
        end: state at its end.
        share: share of the segment's correction that belongs to this state.
    """

    name: str
    stage: int
    end: State
    share: float


@dataclass(frozen=True, eq=False)
class Segment:
    """A segment of training in which examples of the forget set took part.

    Attributes:
        name: name of the checkpoint at its end, for display.
        stage: 1-based stage.
        tail: q if the segment ends at the tail q epochs before the end of stage R; 0 if it ends
            with stage R; None if it ends with an earlier stage.
        start: state at its start; None for the initial weights.
        end: state at its end.
        time: effective time h without the forget set; 0 if no example is left to train on.
        path: states from which the mean gradient over the pool is computed: its start and end, or,
            if it starts from the initial weights, its end and that of the next segment.
        path_time: effective time of the original training from start to end.
        steps: optimizer steps without the forget set.
        num_forget: k.
        num_retain: n - k.
        parts: stages that are a part of it and end before it, in order.
        weights: w_s of the slices 1..K if it has parts; otherwise empty, as all are 1/(n - k).
        mean_ratio: r if it has parts.
    """

    name: str
    stage: int
    tail: int | None
    start: State | None
    end: State
    time: float
    path: Path
    path_time: float
    steps: int
    num_forget: int
    num_retain: int
    parts: tuple[Part, ...] = ()
    weights: tuple[float, ...] = ()
    mean_ratio: float = 0.0

    @property
    def forget_ratio(self) -> float:
        """k/(n - k), or its mean over the stages of a merged segment."""
        if self.parts:
            return self.mean_ratio
        return self.num_forget / max(1, self.num_retain)

    @property
    def points(self) -> tuple[State, ...]:
        """The states at which the gradient over the forget set is taken."""
        return (self.end,) if self.start is None else (self.start, self.end)

    def pool(
        self,
        begin: Float[Tensor, " parameter"],
        after: Float[Tensor, " parameter"],
        weight_decay: float,
    ) -> Float[Tensor, " parameter"]:
        """Return the mean gradient g over the pool, computed from the two states of the path.

        Args:
            begin: parameters of the path's first state.
            after: parameters of the path's second state.
            weight_decay: lambda.
        """
        return (begin - after) / self.path.time - weight_decay * (begin + after) / 2

    def interpolate(self, share: float) -> State:
        """Interpolate linearly between the states at the start (0) and the end (1).

        A segment that starts from the initial weights returns its end for every share.
        """
        if self.start is None or share == 1:
            return self.end
        start = self.start
        return {
            name: start[name].lerp(value, share) if value.is_floating_point() else value
            for name, value in self.end.items()
        }


def training_time(plan: Plan, shard: int) -> float:
    """Return the total effective time H of a shard's training, before anything was revoked."""
    return sum(_stage_time(plan, stage, stage.epochs) for stage in plan.chains[shard])


def _stage_time(plan: Plan, stage: Stage, epochs: int) -> float:
    """Return the effective time of some epochs of a stage, before anything was revoked."""
    spec = plan.spec
    batches = -(-len(plan.pool(stage.shard, stage.index)) // spec.batch_size)
    return effective_time(spec.learning_rate, spec.momentum, epochs * batches)


def segments_of(given: ShardRound, *, merge: int = 1, to_end: bool = False) -> list[Segment]:
    """Return the segments from the first affected stage on, in order.

    Args:
        given: the round.
        merge: number of stages before the last that are taken as one segment if the first of them
            is affected; 1 takes each by itself.
        to_end: include the segment from the last tail to the end, which an amend may replay.
    """
    plan, chain = given.state.plan, given.state.chain
    spec, last, first = plan.spec, len(chain), int(given.forget.slices.min())
    found: list[Segment] = []

    def add(stage: int, tail: int | None, epochs: int, start: State | None) -> None:
        forget, retain = (len(m.until(stage)) for m in (given.forget, given.retain))
        checkpoint, planned = given.state.checkpoints[stage], chain[stage - 1]
        steps = epochs * (planned.steps // planned.epochs)
        trained = _stage_time(plan, planned, epochs)
        name = f"stage {stage}, {tail} epochs before its end" if tail else f"stage {stage}"
        end = checkpoint.tails[tail] if tail else checkpoint.state
        left = effective_time(spec.learning_rate, spec.momentum, steps)
        time = left if retain and trained > 0 else 0.0
        path = Path(end if start is None else start, end, trained)
        found.append(
            Segment(name, stage, tail, start, end, time, path, trained, steps, forget, retain)
        )

    start = given.state.checkpoints[first - 1].state if first > 1 else None
    for stage in range(first, last):
        add(stage, None, chain[stage - 1].epochs, start)
        start = found[-1].end
    if first == 1 and min(merge, last - 1) > 1:
        found[:merge] = [merged(found[:merge])]
    done, epochs = 0, chain[-1].epochs
    for tail in sorted(given.state.checkpoints[last].tails, reverse=True):
        add(last, tail, epochs - tail - done, start)
        start, done = found[-1].end, epochs - tail
    add(last, 0, epochs - done, start)
    if found[0].start is None:
        after = next((each.path for each in found[1:] if each.path_time), found[0].path)
        found[0] = replace(found[0], path=after)
    return found if to_end else found[:-1]


def merged(segments: Sequence[Segment]) -> Segment:
    """Return the stages 1..K, each of them a segment, as one segment from the initial weights."""
    last, time = segments[-1], sum(each.time for each in segments)
    if not time:
        return last if len(segments) == 1 else replace(last, parts=_parts(segments, 0.0))
    shares = [each.time / time for each in segments]
    weights = [p / max(1, each.num_retain) for p, each in zip(shares, segments, strict=True)]
    ratio = sum(w * each.num_forget for w, each in zip(weights, segments, strict=True))
    return replace(
        last,
        name=f"stages {segments[0].stage} to {last.stage}",
        start=None,
        time=time,
        path=Path(last.end, last.end, sum(each.path_time for each in segments)),
        path_time=sum(each.path_time for each in segments),
        steps=sum(each.steps for each in segments),
        parts=_parts(segments, time * ratio),
        weights=tuple(sum(weights[s:]) for s in range(len(weights))),
        mean_ratio=ratio,
    )


def _parts(segments: Sequence[Segment], whole: float) -> tuple[Part, ...]:
    reached = accumulate(each.time * each.forget_ratio for each in segments[:-1])
    return tuple(
        Part(each.name, each.stage, each.end, forced / whole if whole else 0.0)
        for each, forced in zip(segments[:-1], reached, strict=True)
    )


def names_in_order(segments: Iterable[Segment]) -> list[str]:
    """Return the names of the segments of several shards, in the order of training."""
    places = {each.name: (each.stage, -(each.tail or 0), not each.parts) for each in segments}
    return sorted(places, key=places.__getitem__)


def corrected_checkpoints(
    given: ShardRound, segments: Iterable[Segment], states: dict[str, State], end: State
) -> dict[int, Checkpoint]:
    """Return checkpoints of the corrected states, by stage.

    Args:
        given: the round.
        segments: segments of the round.
        states: corrected states at the ends of the segments, by name.
        end: corrected state at the end of the last stage.
    """
    chain, shard = given.state.chain, given.state.shard
    tails, corrected = dict[int, State](), dict[int, Checkpoint]()
    for each in segments:
        if each.tail:
            tails[each.tail] = states[each.name]
            continue
        for name, stage in (*((p.name, p.stage) for p in each.parts), (each.name, each.stage)):
            corrected[stage] = Checkpoint(chain[stage - 1].key, shard, stage, states[name], {})
    last = len(chain)
    corrected[last] = Checkpoint(chain[-1].key, shard, last, end, tails)
    return corrected
