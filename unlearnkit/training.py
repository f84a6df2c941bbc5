"""Training: the one function that runs what a store lacks.

``train(plan, store)`` serves all three purposes. With an empty store it trains from scratch; with
the store of an earlier run and a smaller retain set it unlearns exactly.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unlearnkit.clock import Work, time_tick
from unlearnkit.kernels.loop import compute_threads, repeatable, run_loop
from unlearnkit.kernels.stacked import OnProbe, lanes_together, run_stacked
from unlearnkit.models import State
from unlearnkit.plan import Plan, Stage, environment
from unlearnkit.progress import OnProgress, ProgressEvent, check_cancelled, silent
from unlearnkit.schedule import END, EPOCH, TAIL, Job, Mark, make_job
from unlearnkit.stopwatch import Stopwatch
from unlearnkit.store import Checkpoint, Store

if TYPE_CHECKING:
    import pandas as pd


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
        timed: for the clock, work and the seconds it took: stage by stage, or cause by cause where
            shards ran in lockstep.
        tick: seconds of a small operation, for the clock; None if nothing was run.
        probe_seconds: of ``seconds``, what a measurement for the clock alone took.
    """

    runs: tuple[StageRun, ...]
    seconds: float
    timed: tuple[tuple[Work, float], ...] = ()
    tick: float | None = None
    probe_seconds: float = 0.0

    @property
    def visits(self) -> int:
        """Example gradients computed."""
        return sum(run.visits for run in self.runs)

    def __repr__(self) -> str:
        return f"TrainReport({len(self.runs)} stages, {self.visits:,} visits, {self.seconds:.2f} s)"

    def to_frame(self) -> "pd.DataFrame":
        """One row a stage."""
        import pandas as pd

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
    probe: bool = False,
) -> TrainReport:
    """Run the stages that the store lacks, and put their checkpoints there.

    Args:
        plan: what the parameters are to be.
        store: what there is; finished stages are added one by one.
        shards: only these; all by default.
        on_progress: gets an event after every epoch of a shard.
        cancel: stops the run when set.
        phase: named in the events.
        probe: also time a few steps of one lane alone, for the clock: what a step of few lanes
            costs cannot be told from steps of all.

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
    watch = Stopwatch()
    states = [starting_state(plan, piece[0], store) for piece in pieces]
    watch.started(sum(piece[0].index == 1 for piece in pieces))
    jobs = []
    for piece, state in zip(pieces, states, strict=True):
        jobs.append(make_job(plan, piece, state))
        watch.laid_out()
    runs = _Recorder(plan, jobs, on_progress, phase)

    def keep(checkpoint: Checkpoint) -> None:
        store.put(checkpoint)
        runs.finish(checkpoint)
        watch.stored()

    run_jobs(
        plan,
        jobs,
        keep=keep,
        on_epoch=runs.epoch,
        losses=runs.losses,
        cancel=cancel,
        on_each=watch.mark,
        on_probe=watch.probe if probe else None,
    )
    store.flush()
    seconds = time.perf_counter() - begun
    if not jobs:
        return TrainReport((), seconds)
    timed = watch.timed() if plan.stacked else runs.timed(begun)
    result = runs.result(seconds)
    return TrainReport(result, seconds, timed, time_tick(), watch.probing)


def work_of(plan: Plan, stages: Iterable[Stage]) -> Work:
    """How much training some stages are; batches that lost all examples are counted as steps."""
    chosen = [stage for stage in stages if stage.visits]
    lanes: dict[int, int] = {}
    for stage in chosen:
        lanes[stage.shard] = lanes.get(stage.shard, 0) + stage.steps
    lengths = sorted(lanes.values(), reverse=True)
    together = lanes_together(plan, list(lanes)) if plan.stacked else 1
    return Work(
        len(chosen),
        sum(stage.epochs for stage in chosen),
        sum(lengths[::together]),  # the longest lane of every group
        sum(lengths),
        sum(stage.visits for stage in chosen),
        sum(stage.index == 1 for stage in chosen),
    )


def run_jobs(
    plan: Plan,
    jobs: Sequence[Job],
    *,
    keep: Callable[[Checkpoint], None] | None = None,
    on_epoch: Callable[[Job, Mark, float | None], None] = lambda job, mark, loss: None,
    losses: bool = False,
    cancel: threading.Event | None = None,
    on_each: Callable[[Job, Mark], None] | None = None,
    on_probe: OnProbe | None = None,
) -> list[Checkpoint]:
    """Train jobs by the plan's kernel.

    Args:
        plan: of the retain set.
        jobs: what to train.
        keep: gets the checkpoint of every stage as soon as it is done.
        on_epoch: called after every epoch of a job.
        losses: measure the training loss of every epoch; else of the last of each stage only.
        cancel: stops the run when set.
        on_each: called at every mark, before anything else is.
        on_probe: see the stacked kernel; the per-lane kernel has no such thing to tell.

    Returns:
        The checkpoints, if ``keep`` was not given.
    """
    done: list[Checkpoint] = []
    kept = keep or done.append
    tails: dict[str, dict[int, State]] = {}

    def on_mark(job: Job, mark: Mark, state: State | None, loss: float | None) -> None:
        if on_each is not None:
            on_each(job, mark)
        if mark.kind == EPOCH:
            on_epoch(job, mark, loss)
        elif mark.kind == TAIL and state is not None:
            tails.setdefault(mark.stage.key, {})[mark.number] = state
        elif mark.kind == END and state is not None:
            stage, end_tails = mark.stage, tails.pop(mark.stage.key, {})
            lineage = plan.lineage(job.shard, stage.index)
            kept(Checkpoint(stage.key, job.shard, stage.index, state, end_tails, lineage))

    with compute_threads(plan.spec.num_threads), repeatable(plan.device):
        if plan.stacked:
            run_stacked(plan, jobs, on_mark, losses=losses, cancel=cancel, on_probe=on_probe)
        else:
            run_loop(plan, jobs, on_mark, losses=losses, cancel=cancel)
    return done


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
        for job in jobs:
            begin = 0
            for mark in (m for m in job.marks if m.kind == END):
                self.counts[mark.stage.key] = (mark.stage, mark.stage.visits, mark.step - begin)
                begin = mark.step
        self.total = sum(visits for _, visits, _ in self.counts.values())
        self.done = 0
        self.last_loss: dict[tuple[int, int], float] = {}
        self.finished: list[tuple[Stage, float]] = []

    def epoch(self, job: Job, mark: Mark, loss: float | None) -> None:
        place = (job.shard, mark.stage.index)
        self.done += mark.stage.visits // mark.stage.epochs  # every survivor once
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

    def timed(self, begun: float) -> tuple[tuple[Work, float], ...]:
        """Work and seconds of stages that ran one by one."""
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
