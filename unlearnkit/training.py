"""Training: the one schedule, and the one function that runs what a store lacks.

``train(plan, store)`` serves all three purposes. With an empty store it trains from scratch; with
the store of an earlier run and a smaller retain set it unlearns exactly.
"""

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearnkit.kernels.loop import Batch, Epoch, Lane, compute_threads
from unlearnkit.models import State, get_state
from unlearnkit.plan import Plan, Stage, environment
from unlearnkit.progress import OnProgress, ProgressEvent, check_cancelled, silent
from unlearnkit.seeding import numpy_generator
from unlearnkit.store import Checkpoint, Store


@dataclass(frozen=True)
class StageRun:
    """What running a stage took.

    Attributes:
        shard: 0-based.
        stage: 1-based.
        epochs: run.
        visits: example gradients computed.
        steps: optimizer steps done.
        seconds: wall time, storing included.
        loss: mean training loss of the last epoch.
    """

    shard: int
    stage: int
    epochs: int
    visits: int
    steps: int
    seconds: float
    loss: float


@dataclass(frozen=True)
class TrainReport:
    """What a call of :func:`train` did, stage by stage."""

    runs: tuple[StageRun, ...]

    @property
    def visits(self) -> int:
        """Example gradients computed."""
        return sum(run.visits for run in self.runs)

    @property
    def seconds(self) -> float:
        """Wall time of all stages."""
        return sum(run.seconds for run in self.runs)

    def __repr__(self) -> str:
        return f"TrainReport({len(self.runs)} stages, {self.visits:,} visits, {self.seconds:.2f} s)"

    def to_frame(self) -> pd.DataFrame:
        """One row a stage."""
        return pd.DataFrame(
            [vars(run) for run in self.runs], columns=list(StageRun.__annotations__)
        )


def schedule(plan: Plan, shard: int, stage: int, first: int = 0) -> Iterator[Epoch]:
    """The epochs of a stage from number ``first`` on, in the slot-stable order.

    An epoch's order is a permutation of the pool's original members, revoked or not, keyed by
    (seed, shard, stage, epoch) and cut into batches. A revoked example leaves its slot empty;
    nobody else moves. Rows count the shard's retained examples in order of their ids.
    """
    spec = plan.spec
    rows = plan.partition.shard_rows(shard)
    retained = plan.retained[rows]
    local = np.cumsum(retained) - 1  # where a retained row of the shard is in the lane's data
    members = np.flatnonzero(plan.partition.slice_[rows] <= stage)
    size, count = spec.batch_size, len(members)
    for epoch in range(first, spec.stage_epochs()[stage - 1]):
        generator = numpy_generator(spec.seed, "order", shard, stage, epoch)
        order = members[generator.permutation(count)]
        batches = []
        for step, start in enumerate(range(0, count, size)):
            slice_ = order[start : start + size]
            slots = np.flatnonzero(retained[slice_])
            batches.append(Batch(local[slice_[slots]], slots, len(slice_), step))
        yield Epoch(stage, epoch, tuple(batches))


def train(
    plan: Plan,
    store: Store,
    *,
    shards: Iterable[int] | None = None,
    on_progress: OnProgress = silent,
    cancel: threading.Event | None = None,
    phase: str = "train",
) -> TrainReport:
    """Run the stages that the store lacks, and put their checkpoints there.

    Args:
        plan: what the parameters are to be.
        store: what there is; finished stages are added one by one.
        shards: only these; all by default.
        on_progress: gets an event after every epoch.
        cancel: stops the run when set.
        phase: named in the events.

    Returns:
        What was run. Its visits equal those of ``plan.missing(store, shards)`` before the call.

    Raises:
        ValueError: a setting that bits depend on has changed since the plan was made.
        Cancelled: stopped by ``cancel``; finished stages are in the store.
    """
    now = environment(plan.spec)
    if now != plan.environment:
        raise ValueError(
            f"the plan was made in {plan.environment}, and this is {now}; bits would differ. Put "
            "the setting back, or make the plan (or session) again."
        )
    missing = plan.missing(store, shards)
    total, done = sum(stage.visits for stage in missing), 0
    runs: list[StageRun] = []
    with compute_threads(plan.spec.num_threads):
        for shard in dict.fromkeys(stage.shard for stage in missing):
            lane = open_lane(plan, shard)
            for stage in (s for s in missing if s.shard == shard):
                check_cancelled(cancel)
                run = _run_stage(plan, stage, lane, store, on_progress, cancel, phase, done, total)
                done += run.visits
                runs.append(run)
    return TrainReport(tuple(runs))


def open_lane(plan: Plan, shard: int) -> Lane:
    """A module for this shard with the shard's retained examples; revoked ones are not read."""
    rows = plan.partition.shard_rows(shard)
    kept = rows[plan.retained[rows]]
    inputs, targets = plan.examples[plan.partition.ids[kept]]
    module = plan.architecture.module()
    return Lane(module, inputs, targets, plan.spec, (plan.spec.seed, "mask", shard))


def starting_state(plan: Plan, stage: Stage, store: Store) -> State:
    """The state that a stage starts from: the stage before it, or the initial weights."""
    if stage.index == 1:
        return plan.architecture.initial(plan.spec.seed, stage.shard)
    return store.get(stage.parent).state


def _run_stage(
    plan: Plan,
    stage: Stage,
    lane: Lane,
    store: Store,
    on_progress: OnProgress,
    cancel: threading.Event | None,
    phase: str,
    done: int,
    total: int,
) -> StageRun:
    begun = time.perf_counter()
    lane.module.load_state_dict(starting_state(plan, stage, store))
    tails, visits, steps, loss = {}, 0, 0, 0.0
    for epoch, at_tail in stage_epochs(plan, stage, lane):
        if at_tail:
            tails[at_tail] = get_state(lane.module)
        loss = lane.run(epoch, cancel)
        visits += sum(len(batch.rows) for batch in epoch.batches)
        steps += sum(1 for batch in epoch.batches if len(batch.rows))
        on_progress(
            ProgressEvent(
                phase,
                stage.shard,
                stage.index,
                done + visits,
                total,
                loss,
                epoch.index + 1,
                stage.epochs,
            )
        )
    state = get_state(lane.module)
    store.put(Checkpoint(stage.key, stage.shard, stage.index, state, tails))
    seconds = time.perf_counter() - begun
    return StageRun(stage.shard, stage.index, stage.epochs, visits, steps, seconds, loss)


def stage_epochs(
    plan: Plan, stage: Stage, lane: Lane, first: int = 0
) -> Iterator[tuple[Epoch, int]]:
    """Epochs of a stage with the optimizer reset where the definition says.

    The optimizer starts without state at the start of a stage and, in stage R, at its tails: q
    epochs before the end, for every q of ``spec.tail_epochs()``. Replaying from a tail is then the
    same computation as training from there.

    Yields:
        The epoch to run next and, where a tail lies just before it, that tail's q (else 0).
    """
    last = stage.index == plan.spec.num_slices
    resets = {stage.epochs - q: q for q in plan.spec.tail_epochs()} if last else {}
    lane.module.train()
    for epoch in schedule(plan, stage.shard, stage.index, first):
        if epoch.index == first or epoch.index in resets:
            lane.reset()
        yield epoch, resets.get(epoch.index, 0)
