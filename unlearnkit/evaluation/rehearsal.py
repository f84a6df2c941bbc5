"""Rehearsals: small modifications on a copy, from which the clock predicts the first request."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from unlearnkit.approximate import AMENDS
from unlearnkit.approximate.timing import time_large_batches
from unlearnkit.store import DiskStore, MemoryStore, footprint
from unlearnkit.training.clock import Clock
from unlearnkit.training.plan import Plan
from unlearnkit.training.train import work_of
from unlearnkit.unlearning.approximator import Approximator
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.debt import debts_of
from unlearnkit.unlearning.inspection import Probe, evenly_spaced
from unlearnkit.unlearning.modify import batches_of, checks_of, incomplete, members_of
from unlearnkit.unlearning.unlearn import unlearn

SHARE = 0.05  # of training from scratch that a rehearsal may take
LEAST, MOST = 0.3, 2.0  # CPU seconds that are always granted, and that never are exceeded
ALL, LAST = "all slices", "last slice"  # of which the forgotten examples are
FORGOTTEN = 0.01  # share of a shard's examples that it forgets in a rehearsal
NO_AMEND = AMENDS["none"]  # training has been timed, so nothing is replayed


def rehearse(
    plan: Plan,
    store: DiskStore | MemoryStore,
    clock: Clock,
    probe: Probe | None,
    threads: int | None = None,
) -> Clock:
    """Return the clock after small modifications were timed on copies of the store.

    Each modifies some shards for a few examples, as a request does, with checks and storing but
    without a replay. The first is not counted, because it also fills caches; it forgets examples of
    the last slice only, which is quick. Then one shard forgets examples of all slices, and after it
    as many shards as the time allows, which tells the cost of a request from that of a shard. The
    whole rehearsal may take ``SHARE`` of training from scratch, within the limits ``LEAST`` and
    ``MOST``. If all slices are predicted to take longer, the examples are of the last slice; if
    these are too, nothing is rehearsed.

    Args:
        plan: plan whose ensemble is in the store.
        store: not changed.
        clock: has timed training.
        probe: examples on which approximations are checked.
        threads: upper limit of the number of threads.
    """
    using = Approximator.of(plan, amend=NO_AMEND, probe=probe)
    if using.method.unsuitable(plan):
        return clock
    scratch = clock.exact_seconds(work_of(plan, plan.stages, threads)) or 0.0
    limit = min(max(SHARE * scratch, LEAST), MOST)
    debts = debts_of(plan, store)
    able = [
        shard
        for shard in range(plan.num_shards)
        if plan.alive(shard) and shard not in debts and not incomplete(plan, store, shard)
    ]
    stage = _Stage(plan, store, using, threads)
    warming, first = (stage.price(clock, able[:1], slices) for slices in (LAST, ALL))
    slices = ALL if warming + first <= limit else LAST
    if 2 * warming > limit:
        return clock
    _, spent = stage.play(clock, able[:1], LAST)
    if not clock.modify:
        for timed in time_large_batches(plan, store, limit / 4):
            clock = clock.observe_probe(*timed)
    once, more = stage.play(clock, able[:1], slices)
    spent = min(spent, more) + more  # the first time may have imported modules
    states = plan.spec.num_slices + len(plan.spec.tail_epochs())
    fit = footprint.CACHE_BYTES // (states * plan.architecture.state_bytes)
    able = able[: max(1, fit)]  # the copy keeps its approximations in memory
    while len(able) > 1 and spent + stage.price(once, able, slices) > limit:
        able = able[: len(able) // 2]
    return stage.play(once, able, slices)[0] if len(able) > 1 else once


@dataclass(frozen=True, eq=False)
class _Stage:
    """What all modifications of a rehearsal share."""

    plan: Plan
    store: DiskStore | MemoryStore
    using: Approximator
    threads: int | None

    def price(self, clock: Clock, shards: list[int], slices: str) -> float:
        """Predict the CPU seconds of modifying these shards; infinite if it is not possible.

        Modifying is assumed to take at most as long as retraining.
        """
        plan, using, ids = self.plan, self.using, self._few(shards, slices)
        if not len(ids) or len(ids) >= int(plan.retained.sum()) // 2:
            return float("inf")
        after = plan.without(ids)
        hit = np.unique(plan.partition.shard[plan.partition.rows(ids)]).tolist()
        forget = {shard: members_of(plan, after, shard)[0] for shard in hit}
        large = clock.modify_seconds(batches_of(using.method, after, forget)) or 0.0
        checks = clock.check_seconds(checks_of(after, forget, using.amend, using.probe)) or 0.0
        stages = [stage for shard in hit for stage in after.chains[shard]]
        if slices == LAST:
            stages = [stage for stage in stages if stage.index == plan.spec.num_slices]
        # A first timing of large batches may be far off, and only a rehearsal would show that.
        retraining = clock.exact_seconds(work_of(after, stages, self.threads)) or 0.0
        return min(large + checks, retraining)

    def play(self, clock: Clock, shards: list[int], slices: str) -> tuple[Clock, float]:
        """Return the clock after these shards were modified, and the CPU seconds of that."""
        done = unlearn(
            self.plan,
            self.store.fork(),
            self._few(shards, slices),
            FixedBoundary(0.0),
            clock=clock,
            amend=self.using.amend,
            on_progress=False,
            threads=self.threads,
            probe=self.using.probe,
        )
        if len(done.clock.request) == len(clock.request):
            return clock, float("inf")  # something was refused
        timed = {name: getattr(done.clock, name) for name in ("modify", "checks", "request")}
        return replace(clock, **timed), done.cpu_seconds or 0.0

    def _few(self, shards: list[int], slices: str) -> Int[np.ndarray, " id"]:
        """Return ascending ids of each shard that would leave some examples of their slices."""
        plan, chosen = self.plan, [np.empty(0, np.int64)]
        for shard in shards:
            rows = plan.partition.shard_rows(shard)
            rows = rows[plan.retained[rows]]
            count = max(1, round(FORGOTTEN * len(rows)))
            order = plan.partition.slice_[rows]
            rows = rows[np.argsort(order, kind="stable")]
            if slices == LAST:
                rows = rows[plan.partition.slice_[rows] == order.max()]
            if len(rows) > count:
                chosen.append(plan.partition.ids[rows[evenly_spaced(len(rows), count)]])
        return np.sort(np.concatenate(chosen))
