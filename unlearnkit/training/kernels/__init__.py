"""Kernels: train lanes one by one or stacked; the plan's environment selects the kernel."""

from collections.abc import Callable, Sequence

from unlearnkit.progress import Run
from unlearnkit.store import Checkpoint
from unlearnkit.store.checkpoint import State
from unlearnkit.torch_settings import compute_threads, deterministic, own_settings
from unlearnkit.training.kernels.loop import run_loop
from unlearnkit.training.kernels.repeats import Repeats
from unlearnkit.training.kernels.stacked import OnProbe, run_stacked
from unlearnkit.training.plan import Plan
from unlearnkit.training.schedule import END, EPOCH, TAIL, Job, Mark


@own_settings()
def run_jobs(
    plan: Plan,
    jobs: Sequence[Job],
    *,
    keep: Callable[[Checkpoint], None] | None = None,
    on_epoch: Callable[[Job, Mark, float | None], None] = lambda job, mark, loss: None,
    run: Run = Run(),
    on_each: Callable[[Job, Mark], None] | None = None,
    on_probe: OnProbe | None = None,
    repeats: Repeats | None = None,
) -> list[Checkpoint]:
    """Train jobs by the plan's kernel.

    Args:
        plan: plan of the retain set.
        jobs: the jobs to train.
        keep: called with the checkpoint of every stage as soon as the stage has ended.
        on_epoch: called after every epoch of a job, with the loss if it was measured.
        run: stops or pauses the training, and selects whether the loss is measured in every epoch
            or in the last epoch of each stage only.
        on_each: called at every mark before the other callbacks.
        on_probe: called with a measurement of the stacked kernel
            (:func:`~unlearnkit.training.kernels.stacked.run_stacked`); the per-lane kernel does not
            call it.
        repeats: repeats and compares some steps of a foreign module; None repeats none.

    Returns:
        The checkpoints, if ``keep`` was not given.

    Raises:
        Cancelled: the run was cancelled.
        NotFiniteError: loss or parameters are not finite at the end of an epoch.
        NotReproducibleError: a repeated step differed.
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
            witness = repeats.witnesses.get(stage.key, "") if repeats is not None else ""
            kept(Checkpoint(stage.key, job.shard, stage.index, state, end_tails, lineage, witness))

    with compute_threads(plan.spec.num_threads), deterministic(plan.device):
        if plan.stacked:
            run_stacked(plan, jobs, on_mark, run, on_probe=on_probe)
        else:
            run_loop(plan, jobs, on_mark, run, repeats)
    return done
