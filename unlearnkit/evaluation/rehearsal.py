"""Rehearsals: small modifications on a copy, from which the clock predicts the first request."""

from dataclasses import replace

import numpy as np
from jaxtyping import Int

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

SHARE = 0.02  # of training from scratch that one modification may take
LEAST, MOST = 0.1, 2.0  # CPU seconds that are always granted, and that never are exceeded
QUICK = 0.03  # CPU seconds below which a first modification, which fills caches, does not count
FORGOTTEN = 0.01  # share of a shard's examples that it forgets in a rehearsal


def rehearse(
    plan: Plan,
    store: DiskStore | MemoryStore,
    clock: Clock,
    probe: Probe | None,
    threads: int | None = None,
) -> Clock:
    """Return the clock after small modifications were timed on copies of the store.

    Each modifies some shards for a few examples of their last slice, as a request does, with checks
    and storing: first one shard, then as many as fit, which tells the cost of a request from that
    of a shard. What is predicted to take longer than ``SHARE`` of training from scratch, within the
    limits ``LEAST`` and ``MOST``, is left out. Modules that are not built in are not rehearsed,
    since what they do beside is not known.

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
    scratch = clock.exact_seconds(work_of(plan, plan.stages, threads)) or 0.0
    limit = min(max(SHARE * scratch, LEAST), MOST)
    debts = debts_of(plan, store)
    able = [
        shard
        for shard in range(plan.num_shards)
        if plan.alive(shard) and shard not in debts and not incomplete(plan, store, shard)
    ]
    price = _price(plan, clock, able[:1])
    if price > limit:
        return clock
    if price < QUICK:
        _modify(plan, store, clock, able[:1], probe, threads)
    once = _modify(plan, store, clock, able[:1], probe, threads)
    if once is clock:
        return clock
    while len(able) > 1 and _price(plan, once, able) > limit:
        able = able[: len(able) // 2]
    return _modify(plan, store, once, able, probe, threads) if len(able) > 1 else once


def _price(plan: Plan, clock: Clock, shards: list[int]) -> float:
    """Predict the CPU seconds of a rehearsal with these shards; infinite if there can be none."""
    using, ids = Approximator.of(plan), _few(plan, shards)
    if not len(ids) or len(ids) >= int(plan.retained.sum()) // 2:
        return float("inf")
    after = plan.without(ids)
    hit = np.unique(plan.partition.shard[plan.partition.rows(ids)]).tolist()
    forget = {shard: members_of(plan, after, shard)[0] for shard in hit}
    large = clock.modify_seconds(batches_of(using.method, after, forget)) or 0.0
    return large + (clock.exact_seconds(replayed(after, forget, using.amend)) or 0.0)


def _modify(
    plan: Plan,
    store: DiskStore | MemoryStore,
    clock: Clock,
    shards: list[int],
    probe: Probe | None,
    threads: int | None,
) -> Clock:
    """Return the clock after some shards were modified on a copy of the store."""
    done = unlearn(
        plan,
        store.fork(),
        np.sort(_few(plan, shards)),
        FixedBoundary(0.0),
        clock=clock,
        on_progress=False,
        threads=threads,
        probe=probe,
    ).clock
    if len(done.modify) == len(clock.modify):
        return clock
    request = done.request if len(done.request) > len(clock.request) else clock.request
    return replace(clock, modify=done.modify, request=request)


def _few(plan: Plan, shards: list[int]) -> Int[np.ndarray, " id"]:
    """Return ids of the last slice of each shard that would leave some examples there."""
    chosen = [np.empty(0, np.int64)]
    for shard in shards:
        rows = plan.partition.shard_rows(shard)
        rows = rows[plan.retained[rows]]
        last = rows[plan.partition.slice_[rows] == plan.partition.slice_[rows].max()]
        count = max(1, round(FORGOTTEN * len(rows)))
        if len(last) > count:
            chosen.append(plan.partition.ids[last[:count]])
    return np.concatenate(chosen)
