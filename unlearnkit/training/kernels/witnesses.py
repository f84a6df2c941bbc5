"""Witnesses: whether a foreign module still computes what made the kept checkpoints."""

from collections.abc import Sequence

from unlearnkit.progress import Run
from unlearnkit.store import Store
from unlearnkit.torch_settings import compute_threads, deterministic
from unlearnkit.training.kernels.loop import first_step
from unlearnkit.training.kernels.repeats import ChangedModelError, Repeats, witness_of
from unlearnkit.training.plan import Plan, Stage
from unlearnkit.training.schedule import make_job, starting_state


def check_witnesses(
    plan: Plan, store: Store, pieces: Sequence[Sequence[Stage]], repeats: Repeats, run: Run
) -> None:
    """Compute the first steps of kept stages again, before training continues from them.

    Every stage from which a piece continues is checked. If none is kept in these shards, a stage of
    another shard is checked, because its model stays in the ensemble. Stages without a witness,
    which earlier versions stored, are not checked.

    Args:
        plan: plan of the retain set.
        store: holds the kept checkpoints; it is only read.
        pieces: consecutive stages of one shard in each piece, which are to be trained.
        repeats: counts the checked stages.
        run: can cancel the checks.

    Raises:
        ChangedModelError: a step gives other bits.
        Cancelled: the run was cancelled.
    """
    before = [
        plan.chains[piece[0].shard][piece[0].index - 2] for piece in pieces if piece[0].index > 1
    ]
    busy = {piece[0].shard for piece in pieces}
    others = [chain[0] for s, chain in enumerate(plan.chains) if s not in busy and plan.alive(s)]
    found = 0
    for stage in before or others:
        run.check()
        if _check(plan, store, stage):
            repeats.note_kept()
            found += 1
        if found and not before:
            return


def _check(plan: Plan, store: Store, stage: Stage) -> bool:
    """Check one stage; return whether it could be checked."""
    if stage.key not in store or (stage.index > 1 and stage.parent not in store):
        return False
    witness = store.get(stage.key).witness
    if not witness:
        return False
    job = make_job(plan, [stage], starting_state(plan, stage, store))
    with compute_threads(plan.spec.num_threads), deterministic(plan.device):
        state = first_step(plan, job)
    if witness_of(state) != witness:
        raise ChangedModelError(
            f"{plan.architecture.name} computes something else than when the stored checkpoints "
            f"were made: the first training step of shard {stage.shard}, stage {stage.index} gives "
            "other bits. Its code has changed, or a value outside the module that its forward "
            "reads. Nothing was retrained. Restore the former code; or, to train with the new "
            "code, start a new session with another version='...' and another folder."
        )
    return True
