"""Workers: training in other processes, on this machine or on others.

Shards are independent, so each can be trained anywhere with bit-identical results. joblib is the
only interface: the number of workers is an argument, and the active ``joblib.parallel_config``
selects their kind (loky processes by default, or a Dask or Ray cluster). A worker receives the
examples and states of its shards and returns checkpoints; it does not access the store.
"""

import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import takewhile

from unlearnkit.progress import Run
from unlearnkit.store import Checkpoint
from unlearnkit.store.checkpoint import State
from unlearnkit.training.kernels import run_jobs
from unlearnkit.training.kernels.repeats import NOTHING_REPEATED, Repeated, repeats_of
from unlearnkit.training.kernels.stacked import lanes_together
from unlearnkit.training.plan import Plan, Stage
from unlearnkit.training.schedule import Mark, make_job


class WorkerDiedError(RuntimeError):
    """A worker process ended before it had returned its result."""


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """Training for one worker, with all data that it needs.

    The class has slots, so that no weak reference to it is possible. joblib's Dask backend places
    objects that support weak references on one worker in advance, where they are lost if that
    worker dies; objects without weak references stay in the task.

    Attributes:
        plan: plan reduced to the shards of this worker.
        pieces: consecutive stages of one shard in each piece.
        starts: states from which the pieces start. Initial states are included, because creating
            one makes torch import its compiler, which takes a new worker about a second.
        losses: whether the loss of every epoch is measured.
    """

    plan: Plan
    pieces: tuple[tuple[Stage, ...], ...]
    starts: tuple[State, ...]
    losses: bool


@dataclass(frozen=True)
class TaskResult:
    """The result of a worker's training.

    Attributes:
        checkpoints: checkpoint of every stage.
        steps: optimizer steps done, by the key of the stage.
        epochs: the mark at the end of every epoch, with the epoch's mean loss if it was measured.
        repeated: how many steps of a foreign module were repeated with the same bits.
    """

    checkpoints: tuple[Checkpoint, ...]
    steps: dict[str, int]
    epochs: tuple[tuple[Mark, float | None], ...]
    repeated: Repeated = NOTHING_REPEATED


def check_parallel(parallel: int | None) -> None:
    """Check a number of workers; None means training in this process.

    Raises:
        TypeError: the number is not an integer.
        ValueError: the number is 0.
    """
    if parallel is None:
        return
    if isinstance(parallel, bool) or not isinstance(parallel, int):
        raise TypeError(
            f"parallel={parallel!r} is a {type(parallel).__name__}; give a number of workers such "
            "as 2, or -1 for all that are available. To choose the kind of workers, use "
            "joblib.parallel_config(...)."
        )
    if parallel == 0:
        raise ValueError(
            "parallel=0 leaves no worker to train; give a number of workers such as 2, -1 for all "
            "that are available, or None to train in this process"
        )


def train_in_workers(
    plan: Plan,
    pieces: Sequence[Sequence[Stage]],
    starts: Sequence[State],
    take: Callable[[TaskResult], None],
    run: Run,
) -> None:
    """Train pieces in workers.

    Args:
        plan: plan of the retain set.
        pieces: consecutive stages of one shard in each piece.
        starts: states from which the pieces start.
        take: called in this process with each result as it arrives.
        run: gives the number of workers (-1 for all that are available). It can cancel the
            training after any result. Once it pauses, no further work is sent, and results of work
            sent before still arrive.

    Raises:
        Cancelled: the run was cancelled; results passed to ``take`` before remain valid.
        WorkerDiedError: a worker was killed or crashed; the same holds for results before.
        Exception: an exception of a worker, with a note that names the shards.
    """
    if not pieces:
        return
    import joblib

    workers = joblib.effective_n_jobs(run.parallel)
    tasks = _make_tasks(plan, pieces, starts, workers, run.losses)
    tasks = takewhile(lambda task: not run.pausing, tasks)
    # A batch size of 1 returns each result as soon as it is ready. Memory maps are off, because
    # they would write examples to files that are not destroyed when an example is revoked.
    pool = joblib.Parallel(
        run.parallel, return_as="generator_unordered", batch_size=1, max_nbytes=None
    )
    calls = (joblib.delayed(run_task)(task) for task in tasks)
    with _reporting_death(), closing(pool(calls)) as results:
        for done in results:
            take(done)
            run.check()


@contextmanager
def _reporting_death() -> Iterator[None]:
    """Turn the errors by which pools and clusters report that a worker died into one of ours."""
    try:
        yield
    except Exception as error:
        dask = sys.modules.get("distributed")
        if not isinstance(error, (BrokenExecutor, *((dask.KilledWorker,) if dask else ()))):
            raise
        raise WorkerDiedError(
            "a worker process ended in the middle of a shard; it was killed, perhaps because the "
            "memory did not suffice, or it crashed. Finished stages are kept and nothing else was "
            "changed: repeat the call to go on from them, with fewer workers if memory is short"
        ) from error


def _make_tasks(
    plan: Plan,
    pieces: Sequence[Sequence[Stage]],
    starts: Sequence[State],
    workers: int,
    losses: bool,
) -> Iterator[WorkerTask]:
    """Divide the pieces among workers, the longest first.

    Pieces are grouped for fast lockstep training, but so that every worker gets a group.
    """
    together = lanes_together(plan) if plan.stacked else 1
    size = min(together, -(-len(pieces) // workers))
    lengths = [sum(stage.steps for stage in piece) for piece in pieces]
    order = sorted(range(len(pieces)), key=lambda i: (-lengths[i], pieces[i][0].shard))
    for begin in range(0, len(order), size):
        chosen = order[begin : begin + size]
        some = tuple(tuple(pieces[i]) for i in chosen)
        cut = plan.only(piece[0].shard for piece in some)
        yield WorkerTask(cut, some, tuple(starts[i] for i in chosen), losses)


def run_task(task: WorkerTask) -> TaskResult:
    """Train the stages of a task; called in a worker.

    Raises:
        Exception: any exception of the training, with a note that names the shards.
    """
    plan, checkpoints = task.plan, list[Checkpoint]()
    epochs: list[tuple[Mark, float | None]] = []
    repeats = repeats_of(plan)
    try:
        plan.check_environment()
        jobs = [
            make_job(plan, piece, start)
            for piece, start in zip(task.pieces, task.starts, strict=True)
        ]
        run_jobs(
            plan,
            jobs,
            keep=checkpoints.append,
            on_epoch=lambda job, mark, loss: epochs.append((mark, loss)),
            run=Run(losses=task.losses),
            repeats=repeats,
        )
    except Exception as error:
        shards = ", ".join(str(piece[0].shard) for piece in task.pieces)
        error.add_note(
            f"raised by a worker (process {os.getpid()} on {platform.node()}) that trained shard "
            f"{shards}"
        )
        raise
    steps = {key: count for job in jobs for key, count in job.stage_steps.items()}
    repeated = Repeated() if repeats is None else repeats.repeated
    return TaskResult(tuple(checkpoints), steps, tuple(epochs), repeated)
