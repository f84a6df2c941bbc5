"""Workers: training in other processes, on this machine or on many.

Shards are independent, so each can be trained anywhere, to the same bits. joblib is the only
interface: a number of workers says how many, and the active ``joblib.parallel_config`` says of what
kind they are (loky processes by default; a Dask or Ray cluster where one is named there). A worker
gets what its shards need and gives back checkpoints; it sees no store.
"""

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import takewhile

from unlearnkit.progress import Run
from unlearnkit.store import Checkpoint
from unlearnkit.store.checkpoint import State
from unlearnkit.training.kernels import run_jobs
from unlearnkit.training.kernels.stacked import lanes_together
from unlearnkit.training.plan import Plan, Stage
from unlearnkit.training.schedule import Mark, make_job


@dataclass(frozen=True, slots=True)
class Errand:
    """Training for one worker to do, with all that it needs.

    Nothing can refer weakly to an object with slots, and so joblib's Dask backend leaves it in the
    task. What it can refer to weakly it puts on one worker beforehand, to be lost with that worker.

    Attributes:
        plan: cut down to the shards.
        pieces: consecutive stages of one shard each.
        starts: the states that these start from. Initial weights too: making them would cost a
            worker a second at first, since torch then imports its compiler.
        losses: see :func:`~unlearnkit.training.kernels.run_jobs`.
    """

    plan: Plan
    pieces: tuple[tuple[Stage, ...], ...]
    starts: tuple[State, ...]
    losses: bool


@dataclass(frozen=True)
class Done:
    """What came of an errand.

    Attributes:
        checkpoints: of every stage.
        steps: optimizer steps done, by the key of the stage.
        epochs: the end of every epoch, with its mean loss where it was measured.
    """

    checkpoints: tuple[Checkpoint, ...]
    steps: dict[str, int]
    epochs: tuple[tuple[Mark, float | None], ...]


def check_parallel(parallel: int | None) -> None:
    """Check a number of workers.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is 0.
    """
    if parallel is None:
        return
    if isinstance(parallel, bool) or not isinstance(parallel, int):
        raise TypeError(
            f"parallel={parallel!r} is a {type(parallel).__name__}; give a number of workers such "
            "as 2, or -1 for all there are. Which kind they are of is said by "
            "joblib.parallel_config(...)."
        )
    if parallel == 0:
        raise ValueError(
            "parallel=0 leaves nobody to train; give a number of workers such as 2, -1 for all "
            "there are, or None to train in this process"
        )


def train_in_workers(
    plan: Plan,
    pieces: Sequence[Sequence[Stage]],
    starts: Sequence[State],
    take: Callable[[Done], None],
    run: Run,
) -> None:
    """Have pieces of training done by workers.

    Args:
        plan: of the retain set.
        pieces: consecutive stages of one shard each.
        starts: the states that these start from.
        take: gets results one by one as they come in, in this process.
        run: says how many workers, -1 for all there are. It stops the work after a result; once it
            pauses, no more is given out, and what was given out before comes in.

    Raises:
        Cancelled: stopped; what was given to ``take`` before stands.
        Exception: what a worker raised, with a note that names the shards.
    """
    if not pieces:
        return
    import joblib

    workers = joblib.effective_n_jobs(run.parallel)
    errands = _errands(plan, pieces, starts, workers, run.losses)
    errands = takewhile(lambda errand: not run.pausing, errands)
    # One errand at a time, so that each result comes as soon as it is there. No memory maps: they
    # would put examples into files, which nobody destroys when an example is revoked.
    pool = joblib.Parallel(
        run.parallel, return_as="generator_unordered", batch_size=1, max_nbytes=None
    )
    with closing(pool(joblib.delayed(run_errand)(errand) for errand in errands)) as results:
        for done in results:
            take(done)
            run.check()


def _errands(
    plan: Plan,
    pieces: Sequence[Sequence[Stage]],
    starts: Sequence[State],
    workers: int,
    losses: bool,
) -> Iterator[Errand]:
    """The longest first; so many lanes together as are fast, but something for every worker."""
    together = lanes_together(plan, [piece[0].shard for piece in pieces]) if plan.stacked else 1
    size = min(together, -(-len(pieces) // workers))
    lengths = [sum(stage.steps for stage in piece) for piece in pieces]
    order = sorted(range(len(pieces)), key=lambda i: (-lengths[i], pieces[i][0].shard))
    for begin in range(0, len(order), size):
        chosen = order[begin : begin + size]
        some = tuple(tuple(pieces[i]) for i in chosen)
        cut = plan.only(piece[0].shard for piece in some)
        yield Errand(cut, some, tuple(starts[i] for i in chosen), losses)


def run_errand(errand: Errand) -> Done:
    """Do it; called in a worker.

    Raises:
        Exception: whatever comes up, with a note that names the shards.
    """
    plan, checkpoints = errand.plan, list[Checkpoint]()
    epochs: list[tuple[Mark, float | None]] = []
    try:
        plan.check_environment()
        jobs = [
            make_job(plan, piece, start)
            for piece, start in zip(errand.pieces, errand.starts, strict=True)
        ]
        run_jobs(
            plan,
            jobs,
            keep=checkpoints.append,
            on_epoch=lambda job, mark, loss: epochs.append((mark, loss)),
            run=Run(losses=errand.losses),
        )
    except Exception as error:
        shards = ", ".join(str(piece[0].shard) for piece in errand.pieces)
        error.add_note(
            f"raised by a worker (process {os.getpid()} on {platform.node()}) that trained shard "
            f"{shards}"
        )
        raise
    steps = {key: count for job in jobs for key, count in job.stage_steps.items()}
    return Done(tuple(checkpoints), steps, tuple(epochs))
