"""Predicts the cost of a request: its workload, and both routes' CPU seconds for each shard."""

from collections.abc import Callable
from functools import cache

import numpy as np
from jaxtyping import Int

from unlearnkit.store import Store
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.clock import Clock
from unlearnkit.training.plan import Plan
from unlearnkit.training.train import work_of
from unlearnkit.unlearning.approximator import Approximator
from unlearnkit.unlearning.assessment import Assessment
from unlearnkit.unlearning.boundary.protocol import Cost, Costs, Coverage
from unlearnkit.unlearning.debt import debt_sizes, debts_of
from unlearnkit.unlearning.modify import (
    batches_of,
    checks_of,
    incomplete,
    members_of,
    replayed,
    unchecked,
    unsuitable_amend,
)
from unlearnkit.unlearning.workload import estimate


@own_settings()
def assess(
    before: Plan,
    store: Store,
    ids: Int[np.ndarray, " request"],
    clock: Clock,
    approximator: Approximator | None = None,
    threads: int | None = None,
) -> Assessment:
    """Estimate the workload of a request and both routes' CPU seconds, without side effects.

    Args:
        before: the plan before the request.
        store: holds the ensemble of that plan.
        ids: the ids of the request.
        clock: predicts CPU seconds.
        approximator: carries out the approximate part; by default one that suits the plan.
        threads: upper limit of the number of threads that train; None uses one for each core.
    """
    plan, debts = before.without(ids), debts_of(before, store)
    workload = estimate(plan, store, ids, debt_sizes(debts), clock=clock, threads=threads)
    using = approximator or Approximator.of(plan)
    method, amend = using.method, using.amend
    hit = [work.shard for work in workload.shards]
    forget = {s: members_of(before, plan, s)[0] for s in hit if plan.alive(s)}
    stages = {work.shard: work.stages for work in workload.shards}

    @cache
    def exact_seconds(chosen: tuple[int, ...]) -> float | None:
        retrained = [st for s in chosen for st in stages[s]]
        training = clock.exact_seconds(work_of(plan, retrained, threads))
        overhead = clock.request_seconds(len(hit))
        if training is None or overhead is None:
            return None
        return training + overhead * len(chosen) / max(1, len(hit))

    @cache
    def approximate_seconds(shards: tuple[int, ...]) -> float | None:
        chosen = {shard: forget[shard] for shard in shards}
        replay = clock.exact_seconds(replayed(plan, chosen, amend))
        modify = clock.modify_seconds(batches_of(method, plan, chosen))
        checks = clock.check_seconds(checks_of(plan, chosen, amend, using.probe))
        overhead = clock.request_seconds(0, len(hit))
        if replay is None or modify is None or checks is None or overhead is None:
            return None
        return replay + modify + checks + overhead * len(chosen) / max(1, len(hit))

    unsuitable = method.unsuitable(plan) or unsuitable_amend(amend, plan) or unchecked(plan)
    forced = {s: unsuitable or incomplete(before, store, s) for s in forget}
    shared = _shared_seconds([s for s in forget if not forced[s]], approximate_seconds)
    costs = [
        Cost(
            shard=work.shard,
            exact_seconds=work.seconds,
            approximate_seconds=shared.get(work.shard),
            forced=forced.get(work.shard, ""),
            coverage=None
            if plan.architecture.is_linear
            else coverage(before, plan, work.shard, debts.get(work.shard)),
        )
        for work in workload.shards
    ]
    both = Costs(
        shards=tuple(costs),
        scratch_seconds=workload.total_seconds,
        exact_seconds=exact_seconds,
        approximate_seconds=approximate_seconds,
        multiple=clock.multiple,
        error_model=using.error_model,
        pace=clock.pace,
    )
    return Assessment(plan, workload, both, debts)


def coverage(
    before: Plan, plan: Plan, shard: int, debt: Int[np.ndarray, " debt"] | None = None
) -> Coverage | None:
    """Find the class of a shard that would lose the largest share of its examples.

    Args:
        before: the plan before the request.
        plan: the plan after it.
        shard: a shard that the request hits.
        debt: ids that the shard owes before the request.

    Returns:
        The class and its counts; None for a regression.
    """
    if plan.examples.labels.is_floating_point():
        return None
    rows = plan.partition.shard_rows(shard)
    influenced = before.retained[rows]
    if debt is not None:
        influenced = influenced | np.isin(plan.partition.ids[rows], debt)
    labels, gone = plan.examples.labels.numpy()[rows], influenced & ~plan.retained[rows]
    members = np.bincount(labels[influenced])
    counts = np.bincount(labels[gone], minlength=len(members))
    label = int((counts / np.maximum(members, 1)).argmax())
    return Coverage(label, int(counts[label]), int(members[label]))


def _shared_seconds(
    shards: list[int], seconds: Callable[[tuple[int, ...]], float | None]
) -> dict[int, float | None]:
    """Divide the seconds of all shards together in proportion to those of each shard alone."""
    whole, alone = seconds(tuple(shards)), {shard: seconds((shard,)) for shard in shards}
    total = sum(taken or 0.0 for taken in alone.values())
    return {s: whole and (taken or 0.0) / total * whole for s, taken in alone.items()}
