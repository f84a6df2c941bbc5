"""Training: runs the stages of a plan that a store lacks.

With an empty store, ``train(plan, store)`` trains from scratch. With the store of an interrupted
run it resumes, and with the store of an earlier run and a smaller retain set it unlearns exactly.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from unlearnkit.display import as_html
from unlearnkit.models.frozen.features import features_of
from unlearnkit.progress import FEATURES, OnProgress, Progress, ProgressEvent, Run, running
from unlearnkit.store import Checkpoint, Store
from unlearnkit.store.checkpoint import State
from unlearnkit.store.footprint import return_freed_memory
from unlearnkit.threads import deal
from unlearnkit.training.clock import Work, time_tick
from unlearnkit.training.door import check_surroundings, try_module
from unlearnkit.training.kernels import run_jobs
from unlearnkit.training.kernels.cpu_time import cpu_clock
from unlearnkit.training.kernels.dealing import group_sizes, grouped, threads_used
from unlearnkit.training.kernels.repeats import NOTHING_REPEATED, Repeated, Repeats, repeats_of
from unlearnkit.training.kernels.stacked import NUM_BUFFERS, lanes_together
from unlearnkit.training.kernels.witnesses import check_witnesses
from unlearnkit.training.plan import Plan, Stage
from unlearnkit.training.schedule import Job, Mark, make_job, starting_state
from unlearnkit.training.stopwatch import Stopwatch
from unlearnkit.training.workers import TaskResult, check_parallel, train_in_workers

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class StageRun:
    """The work and the cost of running a stage.

    Attributes:
        shard: 0-based shard.
        stage: 1-based stage.
        epochs: epochs run.
        visits: example gradients computed.
        steps: optimizer steps taken.
        seconds: wall time, including storing: the time of the whole call in proportion to visits.
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
    """The stages that a call of :func:`train` ran.

    Attributes:
        runs: the stages, ordered by shard and stage.
        seconds: wall time of the whole call.
        timed: pieces of work with their CPU seconds, for the clock: one for each stage, or one for
            each kind of work if shards ran in lockstep.
        tick: CPU seconds of a small torch operation, for the clock; None if nothing was run.
        probe_seconds: CPU seconds that were spent on a measurement for the clock.
        paused: whether the call ended early, with stages still missing.
        repeated: how many steps of a foreign module were repeated with the same bits.
        cpu_seconds: CPU seconds of the threads that did the work; None if workers trained.
        beside: those of them that were spent before and after training, on checks and planning.
    """

    runs: tuple[StageRun, ...]
    seconds: float
    timed: tuple[tuple[Work, float], ...] = ()
    tick: float | None = None
    probe_seconds: float = 0.0
    paused: bool = False
    repeated: Repeated = NOTHING_REPEATED
    cpu_seconds: float | None = None
    beside: float = 0.0

    @property
    def visits(self) -> int:
        """Example gradients computed."""
        return sum(run.visits for run in self.runs)

    def __repr__(self) -> str:
        return f"TrainReport({len(self.runs)} stages, {self.visits:,} visits, {self.seconds:.2f} s)"

    def to_frame(self) -> "pd.DataFrame":
        """Return a table with one row per stage."""
        import pandas as pd

        return pd.DataFrame(
            [vars(run) for run in self.runs], columns=list(StageRun.__annotations__)
        )

    def _repr_html_(self) -> str:
        return as_html(self)


def train(
    plan: Plan,
    store: Store,
    *,
    shards: Iterable[int] | None = None,
    on_progress: Progress = None,
    cancel: threading.Event | None = None,
    pause: threading.Event | None = None,
    phase: str = "train",
    probe: bool = False,
    parallel: int | None = None,
    threads: int | None = None,
) -> TrainReport:
    """Run the stages that the store lacks, and store their checkpoints.

    Args:
        plan: the stages to have in the store.
        store: the checkpoints so far; each finished stage is added.
        shards: shards to train; all by default.
        on_progress: called with an event after every epoch of a shard; True shows a progress bar,
            False none (:mod:`unlearnkit.progress`).
        cancel: setting this event stops the run.
        pause: setting this event ends the run as soon as every shard in training has reached the
            end of a stage, so that no work is lost. Training again continues from there and gives
            the same bits.
        phase: name of the phase in progress events.
        probe: whether to time a few steps of one lane alone. The clock cannot separate the
            cost of a step of few lanes from steps of all lanes.
        parallel: number of workers that train shards in parallel, with the same bits; -1 for all
            that are available. Workers are processes of this machine, or those that the active
            ``joblib.parallel_config`` selects, such as ``"dask"``. Checkpoints arrive shard by
            shard. The clock predicts a single process, so nothing is timed for it, except that with
            ``probe`` two stages are trained in this process first.
        threads: upper limit of the number of threads of this process that train shards at the same
            time, with the same bits; None uses one for each core. Fewer are used for models so
            small that threads would wait for each other, for a foreign module or loss whose code
            uses what threads share, and with several compute threads each. Worker processes train
            in one thread.

    Returns:
        The stages run. Their visits equal those of ``plan.missing(store, shards)`` before the call.

    Raises:
        TypeError: ``parallel`` or ``threads`` is not an integer.
        ValueError: a setting on which bits depend has changed since the plan was made, or differs
            in a worker; ``parallel`` is 0; or ``threads`` is below 1.
        NotReproducibleError: a repeated step of a foreign module gave other bits.
        ChangedModelError: a foreign module computes something else than when the checkpoints in
            the store were made.
        Cancelled: ``cancel`` was set; finished stages are in the store.
        NotFiniteError: the training of a shard diverged; finished stages are in the store.
        Exception: an exception of a worker, with a note that names the shard.
    """
    with running(on_progress, cancel, pause=pause, parallel=parallel, threads=threads) as run:
        return train_missing(plan, store, run, shards=shards, phase=phase, probe=probe)


def train_missing(
    plan: Plan,
    store: Store,
    run: Run,
    *,
    shards: Iterable[int] | None = None,
    phase: str = "train",
    probe: bool = False,
) -> TrainReport:
    """Train within a run that has begun; the other arguments are those of :func:`train`."""
    now, begun = cpu_clock(plan), time.perf_counter()
    cpu_begun = now()
    check_parallel(run.parallel)
    plan.check_environment()
    run.check()
    pieces = _consecutive(plan.missing(store, shards))
    if pieces:
        compute_features(plan, {piece[0].shard for piece in pieces}, run)
        try_module(plan)
    repeats = repeats_of(plan)
    if pieces:
        check_surroundings(plan)
    if pieces and repeats is not None:
        check_witnesses(plan, store, pieces, repeats, run)
    recorder = _Recorder(plan, pieces, run.on_progress, phase)
    here = pieces
    if run.parallel is not None:  # the clock predicts one process, so a probe trains in this one
        here = [piece[:1] for piece in pieces[:2]] if probe else []
    beside = now() - cpu_begun
    timings = _train_here(plan, here, store, recorder, run, probe, repeats)
    resumed, working = now(), sum(timing.cpu_seconds for timing in timings)
    if plan.stacked and run.pausing:
        timed: tuple[tuple[Work, float], ...] = ()  # the stopwatch needs complete runs
    else:
        timed = tuple(piece for timing in timings for piece in timing.timed())
    covered = Repeated()
    if run.parallel is not None:
        rest = _consecutive(plan.missing(store, shards))
        covered = _train_elsewhere(plan, rest, store, recorder, run)
    seconds = time.perf_counter() - begun
    tick = time_tick(now) if here else None
    paused = run.pausing and bool(plan.missing(store, shards))
    if pieces:
        check_surroundings(plan)
    if repeats is not None:
        covered = covered + repeats.repeated
    probing = sum(timing.watch.probing for timing in timings)
    beside += now() - resumed
    return TrainReport(
        recorder.result(seconds),
        seconds,
        timed,
        tick,
        probing,
        paused,
        covered,
        None if run.parallel is not None else working + beside,
        beside,
    )


def compute_features(plan: Plan, shards: Iterable[int], run: Run) -> None:
    """Let a frozen backbone compute what shards lack of the features of retained examples.

    Args:
        plan: plan of the retain set.
        shards: the shards that are going to be trained.
        run: gets an event after every batch, and can cancel.

    Raises:
        ChangedBackboneError: the backbone is not the one that was given.
        ValueError: a feature is not finite, or the backbone is not exact.
        Cancelled: the run was cancelled; the features computed by then are kept.
    """
    features = features_of(plan.examples)
    if features is None:
        return

    def on_rows(done: int, total: int) -> None:
        run.check()
        run.on_progress(ProgressEvent(FEATURES, None, None, done, total))

    chosen = plan.retained & np.isin(plan.partition.shard, sorted(shards))
    features.compute(plan.partition.ids[chosen], on_rows)


def _train_here(
    plan: Plan,
    pieces: Sequence[Sequence[Stage]],
    store: Store,
    recorder: "_Recorder",
    run: Run,
    probe: bool,
    repeats: Repeats | None,
) -> list["_Timing"]:
    """Train in threads of this process, and return what each of them timed."""
    threads = threads_used(plan, len(pieces), run.threads)
    parts: list[Sequence[Sequence[Stage]]] = [pieces] if pieces else []
    if threads > 1:  # the longest first, so that the threads end at about the same time
        ordered = sorted(pieces, key=lambda p: (-sum(stage.steps for stage in p), p[0].shard))
        parts = grouped(ordered, group_sizes(plan, len(pieces), threads))
    if repeats is not None and threads > 1:  # a single thread chooses among the jobs it trains
        repeats.begin([make_job(plan, piece, dict) for piece in pieces])
    timings: list[_Timing] = []
    probes = iter([probe])  # the first thread to begin takes it

    def work(dealt: Iterator[Sequence[Sequence[Stage]]]) -> None:
        timing = _Timing(plan, store, recorder, threads)
        timings.append(timing)
        mine = None if repeats is None else repeats.for_thread()
        for part in dealt:
            timing.train(part, run, next(probes, False), mine)
        timing.cpu_seconds = timing.now() - timing.begun
        if repeats is not None and mine is not None:
            with recorder.lock:
                repeats.repeated += mine.repeated

    deal(parts, work, threads)
    return timings


class _Timing:
    """Training in one thread, which times its work.

    Attributes:
        watch: times lanes that run in lockstep.
        now: returns CPU seconds.
        begun: when the thread began, in CPU seconds.
        finished: the stages that ended in this thread, and when in CPU seconds.
        cpu_seconds: CPU seconds of the whole thread, once it has ended.
    """

    def __init__(self, plan: Plan, store: Store, recorder: "_Recorder", threads: int) -> None:
        self.plan, self.store, self.recorder = plan, store, recorder
        self.now = cpu_clock(plan, threads)
        self.watch, self.begun, self.cpu_seconds = Stopwatch(self.now), self.now(), 0.0
        self.finished: list[tuple[Stage, float]] = []

    def train(
        self,
        pieces: Sequence[Sequence[Stage]],
        run: Run,
        probe: bool,
        repeats: Repeats | None,
    ) -> None:
        """Train some pieces; what other threads must not do at the same time is done in turn."""
        plan, watch, recorder = self.plan, self.watch, self.recorder
        starts: list[State | Callable[[], State]] = [
            partial(self._start_late, piece[0]) for piece in pieces
        ]
        if plan.stacked and lanes_together(plan) > 1:  # small models, which are timed together
            with recorder.lock:
                starts = [starting_state(plan, piece[0], self.store) for piece in pieces]
        watch.started(sum(piece[0].index == 1 for piece in pieces))
        jobs = []
        for piece, start in zip(pieces, starts, strict=True):
            jobs.append(make_job(plan, piece, start))
            recorder.steps.update(jobs[-1].stage_steps)
            watch.laid_out()
        run_jobs(
            plan,
            jobs,
            keep=self._keep,
            on_epoch=self._epoch,
            run=run,
            on_each=watch.mark,
            on_probe=watch.probe if probe else None,
            repeats=repeats,
        )

    def timed(self) -> tuple[tuple[Work, float], ...]:
        """Return the timed work of this thread."""
        if self.plan.stacked:
            return self.watch.timed() if self.finished else ()
        timed, before, parent = list[tuple[Work, float]](), self.begun, ""
        for stage, at in self.finished:
            # Only the first stage of a piece makes a module and an optimizer.
            groups = int(stage.parent != parent)
            timed.append((replace(work_of(self.plan, [stage]), groups=groups), at - before))
            before, parent = at, stage.key
        return tuple(timed)

    def _keep(self, checkpoint: Checkpoint) -> None:
        with self.recorder.lock:
            self.store.put(checkpoint)
            stage = self.recorder.finish(checkpoint)
        return_freed_memory(self.plan.architecture.state_bytes)
        self.finished.append((stage, self.now()))
        self.watch.stored()

    def _epoch(self, job: Job, mark: Mark, loss: float | None) -> None:
        with self.recorder.lock:
            self.recorder.epoch(mark, loss)

    def _start_late(self, stage: Stage) -> State:
        """Return the state that a stage starts from, at the time when its training begins."""
        begun = self.now()
        with self.recorder.lock:
            state = starting_state(self.plan, stage, self.store)
        self.watch.started_late(self.now() - begun)
        return state


def _train_elsewhere(
    plan: Plan,
    pieces: Sequence[Sequence[Stage]],
    store: Store,
    recorder: "_Recorder",
    run: Run,
) -> Repeated:
    """Train in workers; only this process writes to the store."""
    covered = [Repeated()]

    def take(done: TaskResult) -> None:
        covered.append(done.repeated)
        recorder.steps.update(done.steps)
        for checkpoint in done.checkpoints:
            store.put(checkpoint)
            recorder.finish(checkpoint)
        for mark, loss in done.epochs:
            recorder.epoch(mark, loss)

    starts = [starting_state(plan, piece[0], store) for piece in pieces]
    train_in_workers(plan, pieces, starts, take, run)
    return sum(covered, start=Repeated())


def work_of(plan: Plan, stages: Iterable[Stage], threads: int | None = None) -> Work:
    """Return the amount of training of these stages.

    Batches that lost all their examples count as steps.

    Args:
        plan: plan of the retain set.
        stages: the stages to train.
        threads: upper limit of the number of threads; None uses one for each core.
    """
    chosen = [stage for stage in stages if stage.visits]
    lanes: dict[int, int] = {}
    for stage in chosen:
        lanes[stage.shard] = lanes.get(stage.shard, 0) + stage.steps
    lengths = sorted(lanes.values(), reverse=True)
    used = threads_used(plan, len(lanes), threads)
    groups = grouped(lengths, group_sizes(plan, len(lengths), used))
    return Work(
        len(chosen),
        sum(stage.epochs for stage in chosen),
        sum(group[0] for group in groups),  # the longest lane of every group
        sum(lengths),
        sum(stage.visits for stage in chosen),
        sum(stage.index == 1 for stage in chosen),
        len(groups),
    )


def bytes_at_work(plan: Plan, threads: int | None = None) -> int:
    """Return the bytes of the states of the shards that are trained at the same time.

    They are parameters, gradients and the optimizer's moments, and the copies that become the last
    checkpoint and its tails; in the per-lane kernel also the state to start from and the momentum.

    Args:
        plan: plan of the retain set.
        threads: upper limit of the number of threads; None uses one for each core.
    """
    lanes = plan.num_shards
    used = threads_used(plan, lanes, threads)
    together = sum(group_sizes(plan, lanes, used)[:used])
    copies = NUM_BUFFERS[plan.spec.optimizer] + 1 + len(plan.spec.tail_epochs())
    copies += 0 if plan.stacked else 2
    return together * copies * plan.architecture.state_bytes


def _consecutive(stages: Iterable[Stage]) -> list[list[Stage]]:
    """Divide stages into sequences in which each stage starts where the one before it ends."""
    pieces: list[list[Stage]] = []
    for stage in stages:
        if pieces and pieces[-1][-1].key == stage.parent:
            pieces[-1].append(stage)
        else:
            pieces.append([stage])
    return pieces


class _Recorder:
    """Counts the work that is done and reports progress."""

    def __init__(
        self, plan: Plan, pieces: Sequence[Sequence[Stage]], on_progress: OnProgress, phase: str
    ) -> None:
        self.plan, self.on_progress, self.phase = plan, on_progress, phase
        self.stages = {stage.key: stage for piece in pieces for stage in piece}
        self.steps: dict[str, int] = {}  # optimizer steps of each stage, by its key
        self.total = sum(stage.visits for stage in self.stages.values())
        self.done = 0
        self.last_loss: dict[tuple[int, int], float] = {}
        self.finished: list[Stage] = []
        self.lock = threading.RLock()  # of the store and of this object

    def epoch(self, mark: Mark, loss: float | None) -> None:
        stage = mark.stage
        self.done += stage.visits // stage.epochs  # every survivor once
        if loss is not None:
            self.last_loss[stage.shard, stage.index] = loss
        self.on_progress(
            ProgressEvent(
                self.phase,
                stage.shard,
                stage.index,
                self.done,
                self.total,
                loss,
                mark.number,
                stage.epochs,
            )
        )

    def finish(self, checkpoint: Checkpoint) -> Stage:
        stage = self.stages[checkpoint.key]
        self.finished.append(stage)
        return stage

    def result(self, seconds: float) -> tuple[StageRun, ...]:
        """Return the stages that were run, with the seconds divided in proportion to visits."""
        runs = []
        for stage in self.finished:
            share = stage.visits / self.total if self.total else 0.0
            runs.append(
                StageRun(
                    stage.shard,
                    stage.index,
                    stage.epochs,
                    stage.visits,
                    self.steps[stage.key],
                    share * seconds,
                    self.last_loss[stage.shard, stage.index],
                )
            )
        return tuple(sorted(runs, key=lambda run: (run.shard, run.stage)))
