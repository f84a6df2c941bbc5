"""Training: the one function that runs what a store lacks.

``train(plan, store)`` serves all three purposes. With an empty store it trains from scratch; with
the store of an earlier run and a smaller retain set it unlearns exactly.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from unlearnkit.clock import Work
from unlearnkit.kernels.loop import compute_threads, run_loop
from unlearnkit.kernels.stacked import run_stacked
from unlearnkit.models import State
from unlearnkit.plan import Plan, Stage, environment
from unlearnkit.progress import OnProgress, ProgressEvent, check_cancelled, silent
from unlearnkit.schedule import END, EPOCH, TAIL, Job, Mark, make_job
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
        seconds: wall time, storing included; of stages that ran together, by their visits.
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
    """What a call of :func:`train` did, stage by stage.

    Attributes:
        runs: what was run, by shard and stage.
        seconds: wall time of the whole call.
        timed: for the clock, work that ran by itself and the seconds it took: stage by stage, or
            all of it where shards ran in lockstep.
    """

    runs: tuple[StageRun, ...]
    seconds: float
    timed: tuple[tuple[Work, float], ...] = ()

    @property
    def visits(self) -> int:
        """Example gradients computed."""
        return sum(run.visits for run in self.runs)

    def __repr__(self) -> str:
        return f"TrainReport({len(self.runs)} stages, {self.visits:,} visits, {self.seconds:.2f} s)"

    def to_frame(self) -> pd.DataFrame:
        """One row a stage."""
        return pd.DataFrame(
            [vars(run) for run in self.runs], columns=list(StageRun.__annotations__)
        )


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
        on_progress: gets an event after every epoch of a shard.
        cancel: stops the run when set.
        phase: named in the events.

    Returns:
        What was run. Its visits equal those of ``plan.missing(store, shards)`` before the call.

    Raises:
        ValueError: a setting that bits depend on has changed since the plan was made.
        Cancelled: stopped by ``cancel``; finished stages are in the store.
    """
    begun = time.perf_counter()
    now = environment(plan.spec, plan.architecture)
    if now != plan.environment:
        raise ValueError(
            f"the plan was made in {plan.environment}, and this is {now}; bits would differ. Put "
            "the setting back, or make the plan (or session) again."
        )
    check_cancelled(cancel)
    pieces = _consecutive(plan.missing(store, shards))
    jobs = [make_job(plan, piece, starting_state(plan, piece[0], store)) for piece in pieces]
    runs = _Recorder(plan, jobs, on_progress, phase)

    def keep(checkpoint: Checkpoint) -> None:
        store.put(checkpoint)
        runs.finish(checkpoint)

    run_jobs(plan, jobs, keep=keep, on_epoch=runs.epoch, losses=runs.losses, cancel=cancel)
    store.flush()
    seconds = time.perf_counter() - begun
    return TrainReport(runs.result(seconds), seconds, runs.timed(begun, seconds))


def work_of(plan: Plan, stages: Iterable[Stage]) -> Work:
    """How much training some stages are; batches that lost all examples are counted as steps."""
    chosen = [stage for stage in stages if stage.visits]
    lanes: dict[int, int] = {}
    for stage in chosen:
        lanes[stage.shard] = lanes.get(stage.shard, 0) + stage.steps
    steps = sum(lanes.values())
    return Work(
        len(chosen),
        sum(stage.epochs for stage in chosen),
        max(lanes.values(), default=0) if plan.stacked else steps,
        steps,
        sum(stage.visits for stage in chosen),
    )


def run_jobs(
    plan: Plan,
    jobs: Sequence[Job],
    *,
    keep: Callable[[Checkpoint], None] | None = None,
    on_epoch: Callable[[Job, Mark, float | None], None] = lambda job, mark, loss: None,
    losses: bool = False,
    cancel: threading.Event | None = None,
) -> list[Checkpoint]:
    """Train jobs by the plan's kernel.

    Args:
        plan: of the retain set.
        jobs: what to train.
        keep: gets the checkpoint of every stage as soon as it is done.
        on_epoch: called after every epoch of a job.
        losses: measure the training loss of every epoch; else of the last of each stage only.
        cancel: stops the run when set.

    Returns:
        The checkpoints, if ``keep`` was not given.
    """
    done: list[Checkpoint] = []
    kept = keep or done.append
    tails: dict[str, dict[int, State]] = {}

    def on_mark(job: Job, mark: Mark, state: State | None, loss: float | None) -> None:
        if mark.kind == EPOCH:
            on_epoch(job, mark, loss)
        elif mark.kind == TAIL and state is not None:
            tails.setdefault(mark.stage.key, {})[mark.number] = state
        elif mark.kind == END and state is not None:
            stage, end_tails = mark.stage, tails.pop(mark.stage.key, {})
            lineage = plan.lineage(job.shard, stage.index)
            kept(Checkpoint(stage.key, job.shard, stage.index, state, end_tails, lineage))

    run = run_stacked if plan.stacked else run_loop
    with compute_threads(plan.spec.num_threads):
        run(plan, jobs, on_mark, losses=losses, cancel=cancel)
    return done


def time_lanes(plan: Plan, steps: int = 12) -> tuple[tuple[Work, float], ...]:
    """Time a few steps of one lane and of all, which tells the cost of a step from a lane's.

    Nothing is kept. Without lockstep there is nothing to tell apart.
    """
    if not plan.stacked:
        return ()
    jobs = []
    for shard in (s for s in range(plan.num_shards) if plan.alive(s)):
        stage = next(stage for stage in plan.chains[shard] if stage.visits)
        job = make_job(plan, [stage], plan.architecture.initial(plan.spec.seed, shard))
        marks = (Mark(min(steps, len(job)), END, stage),)
        short = (job.rows[:steps], job.num_slots[:steps], job.keys[:steps])
        jobs.append(Job(shard, job.start, *short, marks))
    timed = []
    for some in (jobs[:1], jobs[:1], jobs):  # the first is a warm-up
        begun = time.perf_counter()
        run_jobs(plan, some)
        lengths = [len(job) for job in some]
        visits = sum(int((job.rows >= 0).sum()) for job in some)
        work = Work(0, 0, max(lengths), sum(lengths), visits)
        timed.append((work, time.perf_counter() - begun))
    return tuple(timed[1:])


def starting_state(plan: Plan, stage: Stage, store: Store) -> State:
    """The state that a stage starts from: the stage before it, or the initial weights."""
    if stage.index == 1:
        return plan.architecture.initial(plan.spec.seed, stage.shard)
    return store.get(stage.parent).state


def _consecutive(stages: Iterable[Stage]) -> list[list[Stage]]:
    """Cut stages into runs that follow on each other."""
    pieces: list[list[Stage]] = []
    for stage in stages:
        if pieces and pieces[-1][-1].key == stage.parent:
            pieces[-1].append(stage)
        else:
            pieces.append([stage])
    return pieces


class _Recorder:
    """Counts what is done, and tells about it."""

    def __init__(
        self, plan: Plan, jobs: Sequence[Job], on_progress: OnProgress, phase: str
    ) -> None:
        self.plan, self.on_progress, self.phase = plan, on_progress, phase
        self.losses = on_progress is not silent
        self.counts: dict[str, tuple[Stage, int, int]] = {}
        self.epochs: dict[tuple[int, int], list[int]] = {}
        for job in jobs:
            survivors = (job.rows >= 0).sum(1)
            stage_of, begin = job.keys[:, 0], 0
            for mark in (m for m in job.marks if m.kind == EPOCH):
                visits = int(survivors[begin : mark.step].sum())
                self.epochs.setdefault((job.shard, mark.stage.index), []).append(visits)
                begin = mark.step
            for mark in (m for m in job.marks if m.kind == END):
                own = stage_of == mark.stage.index
                self.counts[mark.stage.key] = (
                    mark.stage,
                    int(survivors[own].sum()),
                    int(own.sum()),
                )
        self.total = sum(visits for _, visits, _ in self.counts.values())
        self.done = 0
        self.last_loss: dict[tuple[int, int], float] = {}
        self.finished: list[tuple[Stage, float]] = []

    def epoch(self, job: Job, mark: Mark, loss: float | None) -> None:
        place = (job.shard, mark.stage.index)
        self.done += self.epochs[place].pop(0)
        if loss is not None:
            self.last_loss[place] = loss
        if not self.losses:
            return
        stage = mark.stage
        self.on_progress(
            ProgressEvent(
                self.phase,
                job.shard,
                stage.index,
                self.done,
                self.total,
                loss,
                mark.number,
                stage.epochs,
            )
        )

    def finish(self, checkpoint: Checkpoint) -> None:
        self.finished.append((self.counts[checkpoint.key][0], time.perf_counter()))

    def timed(self, begun: float, seconds: float) -> tuple[tuple[Work, float], ...]:
        """Work and seconds: by stage where stages ran one by one, else of all together."""
        if self.plan.stacked:
            return ((work_of(self.plan, [stage for stage, _ in self.finished]), seconds),)
        bounds = [begun, *(at for _, at in self.finished)]
        return tuple(
            (work_of(self.plan, [stage]), at - before)
            for (stage, at), before in zip(self.finished, bounds[:-1], strict=True)
        )

    def result(self, seconds: float) -> tuple[StageRun, ...]:
        """The stages that were run; the seconds are dealt out by visits."""
        runs = []
        for stage, _ in self.finished:
            _, visits, steps = self.counts[stage.key]
            share = visits / self.total if self.total else 0.0
            loss = self.last_loss[stage.shard, stage.index]
            runs.append(
                StageRun(
                    stage.shard, stage.index, stage.epochs, visits, steps, share * seconds, loss
                )
            )
        return tuple(sorted(runs, key=lambda run: (run.shard, run.stage)))
