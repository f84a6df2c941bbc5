"""The schedule: which example is in which slot of which step, for every kernel.

The order is slot-stable. The order of an epoch is a permutation of the pool's *original* members,
revoked or not, keyed by (seed, shard, stage) and the number of epochs that follow in the stage. It
is divided into batches. A revoked example leaves its slot empty, and no other example moves. A
batch without survivors is skipped and does not count as a step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from unlearnkit.seeding import numpy_generator
from unlearnkit.store import Store
from unlearnkit.store.checkpoint import State
from unlearnkit.training.plan import Plan, Stage

RESET, TAIL, EPOCH, END = "reset", "tail", "epoch", "end"


@dataclass(frozen=True)
class Mark:
    """An action between two steps of a job.

    Attributes:
        step: number of steps of the job before it.
        kind: ``"reset"``: reset the optimizer; ``"tail"``: keep the weights as a tail; ``"epoch"``:
            an epoch has ended; ``"end"``: the stage has ended.
        stage: stage of the action.
        number: for a tail, how many epochs remain to the end of the stage; for the end of an
            epoch, how many epochs are done; for a reset, how many were done before.
    """

    step: int
    kind: str
    stage: Stage
    number: int = 0

    @property
    def begins_stage(self) -> bool:
        """Whether this is the reset at the start of a stage."""
        return self.kind == RESET and self.number == 0

    @property
    def is_last_epoch(self) -> bool:
        """Whether this is the end of the last epoch of a stage."""
        return self.kind == EPOCH and self.number == self.stage.epochs


@dataclass(frozen=True, eq=False)
class Job:
    """Consecutive stages of one shard, laid out as a sequence of steps.

    Attributes:
        shard: 0-based shard.
        origin: state to start from, or a function that returns it, so that the states of jobs that
            wait take no memory.
        rows: row of the partition for every step and slot; -1 for an empty slot.
        num_slots: number of slots of every step; the last batch of an epoch may have fewer.
        keys: (stage, epoch, batch) of every step, which key its dropout masks; the number of the
            batch within the epoch counts batches without survivors too.
        marks: actions between the steps, in order.
    """

    shard: int
    origin: State | Callable[[], State]
    rows: Int[np.ndarray, "step slot"]
    num_slots: Int[np.ndarray, " step"]
    keys: Int[np.ndarray, "step 3"]
    marks: tuple[Mark, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def start(self) -> State:
        """The state to start from."""
        return self.origin() if callable(self.origin) else self.origin

    @property
    def key(self) -> str:
        """The key of the first stage, which no other job of a training has."""
        return self.marks[0].stage.key

    @property
    def stage_steps(self) -> dict[str, int]:
        """Optimizer steps of every stage, by the stage's key."""
        steps, begin = {}, 0
        for mark in self.marks:
            if mark.kind == END:
                steps[mark.stage.key], begin = mark.step - begin, mark.step
        return steps


def make_job(
    plan: Plan,
    stages: Sequence[Stage],
    start: State | Callable[[], State],
    first_epoch: int = 0,
) -> Job:
    """Lay out the steps of consecutive stages.

    The optimizer is reset at the start of each stage and, in stage R, at its tails: q epochs before
    the end, for every q of ``spec.tail_epochs()``. Replaying from a tail is therefore the same
    computation as training from there.

    Args:
        plan: plan of the retain set.
        stages: consecutive stages of one shard.
        start: state to start from, or a function that returns it when the job begins.
        first_epoch: 0-based epoch of the first stage at which to start.
    """
    tables: list[np.ndarray] = []
    slots: list[np.ndarray] = []
    keys: list[np.ndarray] = []
    marks: list[Mark] = []
    at, first = 0, first_epoch
    for stage in stages:
        last = stage.index == plan.spec.num_slices
        tails = {stage.epochs - q: q for q in plan.spec.tail_epochs()} if last else {}
        table, num_slots, key = _stage_steps(plan, stage, first)
        bounds = at + np.searchsorted(key[:, 1], np.arange(first, stage.epochs + 1))
        for epoch in range(first, stage.epochs):
            begin, end = int(bounds[epoch - first]), int(bounds[epoch - first + 1])
            if epoch in tails:
                marks.append(Mark(begin, TAIL, stage, tails[epoch]))
            if epoch == first or epoch in tails:
                marks.append(Mark(begin, RESET, stage, epoch))
            marks.append(Mark(end, EPOCH, stage, epoch + 1))
        at += len(table)
        marks.append(Mark(at, END, stage))
        tables.append(table)
        slots.append(num_slots)
        keys.append(key)
        first = 0
    return Job(
        stages[0].shard,
        start,
        np.concatenate(tables),
        np.concatenate(slots),
        np.concatenate(keys),
        tuple(marks),
    )


def starting_state(plan: Plan, stage: Stage, store: Store) -> State:
    """Return the state that a stage starts from: the stage before it, or the initial weights."""
    if stage.index == 1:
        return plan.architecture.initial(plan.spec.seed, stage.shard)
    return store.get(stage.parent).state


def _stage_steps(plan: Plan, stage: Stage, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows, numbers of slots and keys of a stage's steps from epoch ``first`` on."""
    spec, epochs = plan.spec, stage.epochs - first
    members = plan.pool(stage.shard, stage.index).astype(np.int32)
    count, size = len(members), spec.batch_size
    generator = numpy_generator(spec.seed, "order", stage.shard, stage.index)
    # The last epoch is drawn first, so a replay of the last epochs draws the same orders.
    order = generator.permuted(members[None].repeat(epochs, 0), axis=1)[::-1]
    steps = -(-count // size)
    table = np.full((epochs, steps * size), -1, np.int32)
    table[:, :count] = order
    table.shape = (epochs * steps, size)
    slots = np.full((epochs, steps), size, np.int32)
    slots[:, -1] = count - size * (steps - 1)
    keys = np.empty((epochs, steps, 3), np.int32)
    keys[..., 0] = stage.index
    keys[..., 1] = np.arange(first, stage.epochs)[:, None]
    keys[..., 2] = np.arange(steps)
    slots.shape, keys.shape = (-1,), (-1, 3)
    if plan.retained[members].all():
        return table, slots, keys
    table[(table >= 0) & ~plan.retained[table]] = -1
    kept = (table >= 0).any(1)
    return table[kept], slots[kept], keys[kept]
