"""Repays debt by retraining exactly the shards that removed examples only approximately."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from unlearnkit.display import plural
from unlearnkit.progress import Progress, running
from unlearnkit.store import Store
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.clock import Clock
from unlearnkit.training.kernels.cpu_time import cpu_clock
from unlearnkit.training.plan import Plan
from unlearnkit.training.shard_model import ShardModel
from unlearnkit.training.train import train_missing, work_of
from unlearnkit.unlearning.boundary.protocol import EXACT, Decision, Route
from unlearnkit.unlearning.debt import debt_sizes, debts_of, total_debt
from unlearnkit.unlearning.inspection import Check, Probe
from unlearnkit.unlearning.unlearn import REPAY, Unlearned, settle
from unlearnkit.unlearning.workload import estimate


@own_settings()
def repay(
    plan: Plan,
    store: Store,
    shards: Iterable[int] | None = None,
    *,
    seconds: float | None = None,
    clock: Clock = Clock(),
    on_progress: Progress = None,
    cancel: threading.Event | None = None,
    parallel: int | None = None,
    threads: int | None = None,
    probe: Probe | None = None,
    commit: Callable[[Decision, int], None] | None = None,
) -> Unlearned:
    """Clear the debt of some shards, or of all shards with debt, by retraining them exactly.

    Args:
        plan: plan whose ensemble is in the store.
        store: changed only by additions until ``commit`` has returned.
        shards: shards to repay; all shards with debt by default.
        seconds: repay only shards that are predicted to fit into this wall time, those with the
            fewest visits per owed id first.
        clock: predicts seconds.
        on_progress: gets events; True shows a progress bar, False none
            (:mod:`unlearnkit.progress`).
        cancel: stops the run when set.
        parallel: number of workers, as in :func:`~unlearnkit.training.train.train`.
        threads: upper limit of the number of threads, as there.
        probe: examples on which approximations are compared with the exact models that replace
            them; None if they are not compared.
        commit: called with the decision and the number of ids owed before, when everything is in
            the store and before anything is destroyed. Once it has returned, the debt is repaid.

    Raises:
        LookupError: ``seconds`` is given, and no training has been timed yet.
        Cancelled: the run was stopped; finished shards are repaid, and the others keep their
            debt.
    """
    begun = time.perf_counter()
    now = cpu_clock(plan)
    paused = now()
    debts = debts_of(plan, store)
    chosen = sorted(debts if shards is None else set(shards) & set(debts))
    sizes = debt_sizes(debts)
    if seconds is not None:
        chosen = _affordable(plan, store, chosen, sizes, seconds, clock, threads)
    nothing = np.empty(0, np.int64)
    workload = estimate(plan, store, nothing, sizes, also=chosen, clock=clock, threads=threads)
    routes = tuple(
        Route(
            work.shard,
            EXACT,
            work.visits,
            workload.share_of(work.visits),
            work.seconds,
            f"its debt of {plural(work.debt, 'example')} is repaid",
        )
        for work in workload.shards
    )
    decision = Decision(routes, REPAY, workload.seconds, workload.interval)
    if parallel is not None:
        decision = replace(decision, seconds=None, interval=None)
    try:
        with running(on_progress, cancel, parallel=parallel, threads=threads) as run:
            beside = now() - paused
            report = train_missing(plan, store, run, shards=chosen)
            paused = now()
        decision = replace(decision, repeated=report.repeated)
        if routes and probe is not None:
            decision = replace(decision, checks=_errors(plan, store, chosen, probe))
    except BaseException:
        settle_repaid(plan, store, chosen, commit)
        raise
    if routes and commit is not None:
        commit(decision, total_debt(debts))
    destroyed = settle(plan, store)
    debt_after, seconds = total_debt(debts_of(plan, store)), time.perf_counter() - begun
    beside += now() - paused
    clock, cpu_seconds = clock.observe(report.timed, report.tick), None
    if report.cpu_seconds is not None:
        cpu_seconds = beside + report.cpu_seconds
        clock = clock.observe_pace(cpu_seconds, seconds)
    return Unlearned(
        ids=nothing,
        plan=plan,
        workload=workload,
        decision=decision,
        visits=report.visits,
        approximate_visits=0,
        predicted_seconds=decision.seconds,
        seconds=seconds,
        debt_before=total_debt(debts),
        debt_after=debt_after,
        destroyed=destroyed,
        clock=clock,
        cpu_seconds=cpu_seconds,
    )


def _errors(plan: Plan, store: Store, shards: Iterable[int], probe: Probe) -> tuple[Check, ...]:
    """Measure how far approximations are from the exact models that will replace them."""
    last, pairs = plan.spec.num_slices, {}
    for shard in shards:
        model = ShardModel(plan, store, shard)
        if model.approximation is not None:
            replaced = model.approximation.checkpoints[last]
            pairs[shard] = store.get(model.key).state, replaced.state
    exact, approximate = ([pair[i] for pair in pairs.values()] for i in (0, 1))
    return probe.errors(list(pairs), exact, approximate)


def _affordable(
    plan: Plan,
    store: Store,
    shards: Iterable[int],
    sizes: dict[int, int],
    seconds: float,
    clock: Clock,
    threads: int | None,
) -> list[int]:
    """Choose shards that can be repaid within a time, by the fewest visits per owed id."""
    if not clock.calibrated:
        raise LookupError(
            f"nothing has been timed yet, so seconds={seconds} cannot be planned for; repay once "
            "without seconds= and without parallel=, which times the training"
        )
    stages = {s: plan.missing(store, [s]) for s in shards}
    prices = {s: sum(stage.visits for stage in stages[s]) / sizes[s] for s in stages}
    chosen: list[int] = []
    budget = seconds / clock.pace  # in CPU seconds
    for shard in sorted(stages, key=lambda s: (prices[s], s)):
        trial = [*chosen, shard]
        retrained = [st for s in trial for st in stages[s]]
        training = clock.exact_seconds(work_of(plan, retrained, threads))
        overhead = clock.request_seconds(len(trial))
        if training is not None and overhead is not None and training + overhead <= budget:
            chosen = trial
    return sorted(chosen)


def settle_repaid(
    plan: Plan, store: Store, shards: Iterable[int], commit: Callable[[Decision, int], None] | None
) -> None:
    """Commit the shards that an interrupted repayment finished, then destroy what they replace.

    Args:
        plan: plan whose ensemble is in the store.
        store: may hold both the approximation and the exact model of a shard.
        shards: shards that were not committed as repaid.
        commit: as in :func:`repay`.
    """
    routes, before = [], total_debt(debts_of(plan, store))
    for shard in sorted(shards):
        model = ShardModel(plan, store, shard)
        approximation = model.approximation if model.is_exact else None
        if approximation is not None:
            first = min(approximation.checkpoints)  # training began at this stage
            visits = sum(stage.visits for stage in plan.chains[shard] if stage.index >= first)
            count = len(approximation.debt)
            before += count
            owed = plural(count, "example")
            reason = f"its debt of {owed} is repaid, by a run that was then interrupted"
            share = visits / plan.total_visits
            routes.append(Route(shard, EXACT, visits, share, None, reason))
    if routes:
        if commit is not None:
            commit(Decision(tuple(routes), REPAY, None), before)
        settle(plan, store)
