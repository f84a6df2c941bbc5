"""Rehearsals: small modifications on a copy, from which the clock predicts the first request."""

from dataclasses import replace

import numpy as np

from unlearnkit.store import DiskStore, MemoryStore
from unlearnkit.training.clock import Clock
from unlearnkit.training.plan import Plan
from unlearnkit.training.train import work_of
from unlearnkit.unlearning.approximator import Approximator
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.debt import debts_of
from unlearnkit.unlearning.inspection import Probe
from unlearnkit.unlearning.modify import batches_of, incomplete, members_of, replayed
from unlearnkit.unlearning.unlearn import unlearn

SHARE, LEAST = 0.02, 0.1  # of training from scratch, and CPU seconds that are always granted
FORGOTTEN = 0.01  # share of a shard's examples that it forgets in a rehearsal
FEW, MANY = 1, 3  # shards that are modified together, so that costs of a call are told from theirs


def rehearse(
    plan: Plan,
    store: DiskStore | MemoryStore,
    clock: Clock,
    probe: Probe | None,
    threads: int | None = None,
) -> Clock:
    """Return the clock after small modifications were timed on copies of the store.

    Each modifies some shards for a few examples of their last slice, as a request does, with checks
    and storing. The first one fills caches and is not counted. A rehearsal is left out if it is
    predicted to take more than ``SHARE`` of training from scratch and more than ``LEAST``. Modules
    that are not built in are not rehearsed, since what they do beside is not known.

    Args:
        plan: plan whose ensemble is in the store.
        store: not changed.
        clock: has timed training.
        probe: examples on which approximations are checked.
        threads: upper limit of the number of threads.
    """
    using = Approximator.of(plan)
    if plan.architecture.described is None or using.method.unsuitable(plan):
        return clock
    scratch = clock.exact_seconds(work_of(plan, plan.stages)) or 0.0
    debts = debts_of(plan, store)
    able = [
        shard
        for shard in range(plan.num_shards)
        if plan.alive(shard) and shard not in debts and not incomplete(plan, store, shard)
    ]
    for number, count in enumerate((FEW, FEW, MANY)):
        ids = np.concatenate([_few(plan, shard) for shard in able[:count]] or [np.empty(0, int)])
        if not len(ids) or len(ids) >= int(plan.retained.sum()) // 2:
            return clock
        after = plan.without(ids)
        forget = {s: members_of(plan, after, s)[0] for s in able[:count]}
        large = clock.modify_seconds(batches_of(using.method, after, forget)) or 0.0
        replay = clock.exact_seconds(replayed(after, forget, using.amend)) or 0.0
        if large + replay > max(SHARE * scratch, LEAST):
            return clock
        done = unlearn(
            plan,
            store.fork(),
            np.sort(ids),
            FixedBoundary(0.0),
            clock=clock,
            on_progress=False,
            threads=threads,
            probe=probe,
        ).clock
        if number and len(done.modify) > len(clock.modify):
            clock = replace(clock, modify=done.modify)
            if len(done.request) > len(clock.request):
                clock = replace(clock, request=done.request)
    return clock


def _few(plan: Plan, shard: int) -> np.ndarray:
    """Return ids of a shard's last slice, none if that would leave no example there."""
    rows = plan.partition.shard_rows(shard)
    rows = rows[plan.retained[rows]]
    last = rows[plan.partition.slice_[rows] == plan.partition.slice_[rows].max()]
    count = max(1, round(FORGOTTEN * len(rows)))
    return plan.partition.ids[last[:count]] if len(last) > count else plan.partition.ids[:0]
