"""The approximate part of a request: modify the parameters of some shards, then amend them.

Nothing is stored here; what comes out is for :func:`~unlearnkit.unlearning.unlearn` to store.
"""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from unlearnkit.approximate import Amend, Members, Method, OnStep, ShardRound, ShardState
from unlearnkit.boundary import Decision
from unlearnkit.clock import Batches, Work
from unlearnkit.kernels.loop import compute_threads
from unlearnkit.plan import Plan
from unlearnkit.progress import OnProgress, ProgressEvent, check_cancelled
from unlearnkit.seeding import numpy_generator
from unlearnkit.store import Approximation, Checkpoint, Store
from unlearnkit.training import work_of

Debts = dict[int, Int[np.ndarray, " debt"]]


def debts_of(plan: Plan, store: Store) -> Debts:
    """For each shard with debt, the ids that were removed approximately only."""
    debts = {}
    for shard in range(plan.num_shards):
        key = plan.final_key(shard)
        approximation = store.approximation(key)
        if approximation is not None and key not in store and plan.alive(shard):
            debts[shard] = approximation.debt
    return debts


def replayed(plan: Plan, shards: Iterable[int], amend: Amend) -> Work:
    """What an amend runs of the last stages."""
    epochs = amend.epochs(plan)
    ends = [plan.chains[shard][-1] for shard in shards] if epochs else []
    return work_of(
        plan,
        [
            replace(
                stage,
                epochs=epochs,
                steps=stage.steps // stage.epochs * epochs,
                visits=stage.visits // stage.epochs * epochs,
                index=0,  # a first stage would be charged for new weights
            )
            for stage in ends
        ],
    )


@dataclass(frozen=True, eq=False)
class Modification:
    """What a round gave, and what it took.

    Attributes:
        approximations: to be stored.
        planned: the work in large batches, as the clock counts it.
        visits: large-batch and replayed.
        seconds: of the modification alone.
        whole: of the amend too.
    """

    approximations: list[Approximation]
    planned: Batches
    visits: int
    seconds: float
    whole: float


def modify_shards(
    before: Plan,
    plan: Plan,
    store: Store,
    decision: Decision,
    debts: Debts,
    method: Method,
    amend: Amend,
    on_progress: OnProgress,
    cancel: threading.Event | None,
) -> Modification:
    """One approximate round on some shards: modify and amend them together."""
    begun = time.perf_counter()
    rounds = [_round(before, plan, store, shard, debts) for shard in decision.approximate]
    forget = {each.state.shard: each.forget for each in rounds}
    planned = method.batches(plan, forget)
    large, replay = planned.visits, replayed(plan, forget, amend).visits

    def step(begin: int, visits: int) -> OnStep:
        def on_step(sentence: str, share: float) -> None:
            check_cancelled(cancel)
            done = begin + int(share * visits)
            on_progress(ProgressEvent("modify", None, None, done, large + replay))

        return on_step

    with compute_threads(plan.spec.num_threads):
        modified = method(rounds, on_progress=step(0, large))
        seconds = time.perf_counter() - begun
        amended = amend(rounds, modified, on_progress=step(large, replay))
    approximations = []
    for each, new, end in zip(rounds, modified, amended, strict=True):
        shard, last = each.state.shard, plan.spec.num_slices
        old = store.approximation(before.final_key(shard)) if shard in debts else None
        checkpoints = {**(old.checkpoints if old else {}), **new.checkpoints, last: end.checkpoint}
        owed = debts.get(shard, np.empty(0, np.int64))
        debt = np.union1d(owed, plan.partition.ids[each.forget.rows])
        kept = {
            # They were trained with the examples of the debt, and are not free of them.
            r: replace(checkpoint, lineage=plan.lineage(shard, r, debt))
            for r, checkpoint in checkpoints.items()
        }
        approximations.append(
            Approximation(
                shard,
                plan.final_key(shard),
                debt,
                kept,
                f"{method!r}, then {amend!r}",
            )
        )
    visits = sum(m.visits for m in modified) + sum(a.visits for a in amended)
    return Modification(approximations, planned, visits, seconds, time.perf_counter() - begun)


def _round(before: Plan, plan: Plan, store: Store, shard: int, debts: Debts) -> ShardRound:
    """What a method gets for one shard."""
    forget, retain = members_of(before, plan, shard)
    state = ShardState(plan, shard, _checkpoints(before, store, shard))
    owed = len(debts.get(shard, ()))
    generator = numpy_generator(plan.spec.seed, "approximate", shard, owed)
    return ShardRound(state, forget, retain, generator)


def _checkpoints(plan: Plan, store: Store, shard: int) -> dict[int, Checkpoint]:
    """Checkpoints of a shard as stored: clean where present, else those of its approximation."""
    approximation = store.approximation(plan.final_key(shard))
    corrected = approximation.checkpoints if approximation else {}
    return {
        stage.index: store.get(stage.key) if stage.key in store else corrected[stage.index]
        for stage in plan.chains[shard]
    }


def incomplete(plan: Plan, store: Store, shard: int) -> str:
    """Why a shard cannot be modified as it is stored, in a sentence; empty if it can."""
    approximation = store.approximation(plan.final_key(shard))
    corrected = approximation.checkpoints if approximation else {}
    stages = plan.chains[shard]
    if all(stage.key in store or stage.index in corrected for stage in stages):
        return ""
    return "a checkpoint of this shard is missing from the store, so it is retrained exactly"


def members_of(before: Plan, plan: Plan, shard: int) -> tuple[Members, Members]:
    """What a shard forgets in going from one plan to the next, and what it keeps."""
    rows = plan.partition.shard_rows(shard)
    slices = plan.partition.slice_[rows]
    kept = plan.retained[rows]
    gone = before.retained[rows] & ~kept
    return Members(rows[gone], slices[gone]), Members(rows[kept], slices[kept])
