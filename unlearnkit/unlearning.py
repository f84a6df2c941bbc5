"""Unlearning: estimate, decide, run. The route of the toolkit in one paragraph of code.

plan = before.without(ids)                                  # the retain set shrinks
workload = estimate(plan, store, ids, debts)                # what exact retraining would cost
decision = boundary.decide(workload, costs, debts)          # a route per shard
modified = modify_shards(plan, store, decision, boundary)   # modify, look, amend, look again
decision = decision.after(modified.looks, modified.refused) # what was refused goes exact
train(plan, store, shards=decision.exact)                   # the same function as training
store.put_approximation(...)                                # what was accepted
commit(); settle(plan, store)                               # swap, then destroy what is stale
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int

from unlearnkit.approximate import METHODS, Amend, Method, Replay
from unlearnkit.boundary import EXACT, Boundary, Cost, Costs, Coverage, Decision, Route
from unlearnkit.calibration import Calibration
from unlearnkit.clock import Batches, Clock, Interval
from unlearnkit.curvature import (
    conjugate_gradients,
    gauss_newton,
    head_names,
    mean_gradient,
    trainable_names,
)
from unlearnkit.kernels.linearised import Linearised, gather, solve
from unlearnkit.kernels.loop import compute_threads
from unlearnkit.looks import Look, Probe
from unlearnkit.modification import (
    Debts,
    debts_of,
    incomplete,
    members_of,
    modify_shards,
    replayed,
)
from unlearnkit.plan import Plan
from unlearnkit.progress import OnProgress, check_cancelled, silent
from unlearnkit.store import Store
from unlearnkit.training import train, work_of
from unlearnkit.workload import Workload, estimate

if TYPE_CHECKING:
    import pandas as pd

REPAY = "repay"  # stands for the boundary where a debt is repaid
LEAST_PROBE = 0.03  # seconds below which large batches are not timed beforehand


@dataclass(frozen=True, eq=False)
class Unlearned:
    """What an unlearning did.

    Attributes:
        ids: of the request.
        plan: of the retain set afterwards.
        workload: as estimated.
        decision: a route and a reason per shard.
        visits: example gradients of the exact part, as executed.
        approximate_visits: example gradients of the approximate part: replay and large batches.
        predicted_seconds: by the clock, before the run; None if nothing had been timed.
        seconds: measured, storing and destroying included.
        debt_before: number of ids removed approximately only, before.
        debt_after: the same, afterwards.
        destroyed: stale artefacts that left the store.
        clock: refitted.
        bounds: for each shard, where the method proves one and the amend left its parameters as
            they were: their L2 distance from the minimiser of the objective on the retained
            examples is at most this.
    """

    ids: Int[np.ndarray, " request"]
    plan: Plan
    workload: Workload
    decision: Decision
    visits: int
    approximate_visits: int
    predicted_seconds: float | None
    seconds: float
    debt_before: int
    debt_after: int
    destroyed: int
    clock: Clock
    bounds: dict[int, float] = field(default_factory=dict)

    @property
    def predicted_interval(self) -> Interval | None:
        """Where the seconds were expected to lie; None if nothing had been timed."""
        return self.decision.interval

    def __repr__(self) -> str:
        if not self.decision.routes and self.decision.boundary == REPAY:
            return "Unlearned(no debt was repaid: there is none, or none fits into the time given)"
        if not self.decision.routes:
            return f"Unlearned({len(self.ids)} examples; no shard is hit, nothing was retrained)"
        interval = self.predicted_interval
        predicted = "" if interval is None else f", predicted {interval}"
        if self.bounds:
            predicted += f"; proven to lie within {max(self.bounds.values()):.1e} of the optimum"
        return (
            f"Unlearned({len(self.ids)} examples, {len(self.decision.exact)} shards exact, "
            f"{len(self.decision.approximate)} approximate, {self.seconds:.2f} s{predicted})"
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row a shard: the decision."""
        return self.decision.to_frame()

    def _repr_html_(self) -> str:
        return f"<p>{self!r}</p>{self.decision._repr_html_()}"


def default_method(plan: Plan) -> Method:
    """Staged influence; its last-layer form for convolutional networks."""
    convolutional = plan.architecture.is_convolutional
    return METHODS["last-layer-influence" if convolutional else "staged-influence"]


def time_large_batches(
    plan: Plan, store: Store, budget: float
) -> tuple[tuple[Batches, float], ...]:
    """Time a few large batches, so that the clock can predict a first modification.

    Args:
        plan: whose first shard is looked at; nothing is changed.
        store: with its checkpoints.
        budget: seconds that this may take, about.

    Returns:
        Work and its seconds; nothing where the budget is too small to tell anything.
    """
    if budget < LEAST_PROBE:
        return ()
    begun = time.perf_counter()
    shard = next(s for s in range(plan.num_shards) if plan.final_key(s) in store)
    rows = plan.partition.shard_rows(shard)
    ids = plan.partition.ids[rows[plan.retained[rows]]]
    state, module = store.get(plan.final_key(shard)).state, plan.architecture.module()
    # What the method chosen by default moves.
    names = (head_names if plan.architecture.is_convolutional else trainable_names)(module)
    loss, stack = plan.spec.loss, plan.architecture.stack
    timed: list[tuple[Batches, float]] = []
    with compute_threads(plan.spec.num_threads):
        for size in (8, 8, 64):  # the first is a warm-up
            at = time.perf_counter()
            if timed and at - begun + (1 if size == 8 else 2) * timed[-1][1] > budget:
                break
            inputs, targets = plan.examples[ids[:size]]
            if stack is not None:
                parameters = gather(stack, [state], loss)
                model = Linearised(stack, loss, parameters, inputs.flatten(1).unsqueeze(0))
                weights = torch.full((1, len(inputs)), 1 / len(inputs))
                right = model.gradient(targets.unsqueeze(0), weights)
                solve(model, weights, torch.ones(1), right, iterations=2, tolerance=0.0)
                work = Batches(0, 4, 4 * len(inputs))
            else:
                gradient = mean_gradient(module, state, names, inputs, targets, loss)
                product = gauss_newton(module, state, names, inputs, loss)
                done = conjugate_gradients(product, gradient, iterations=2, tolerance=0.0)
                work = Batches(0, 2 + done.iterations, (2 + done.iterations) * len(inputs))
            timed.append((work, time.perf_counter() - at))
    return tuple(timed[1:])


def assess(
    before: Plan,
    store: Store,
    ids: Int[np.ndarray, " request"],
    clock: Clock,
    *,
    method: Method | None = None,
    amend: Amend | None = None,
    calibration: Calibration = Calibration(),
) -> tuple[Plan, Workload, Costs]:
    """Estimate a request: the plan after it, its workload, and what each way would cost.

    Nothing is changed anywhere.
    """
    plan, debts = before.without(ids), debts_of(before, store)
    sizes = {shard: len(debt) for shard, debt in debts.items()}
    workload = estimate(plan, store, ids, sizes, clock=clock)
    method, amend = method or default_method(plan), amend or Replay()
    hit = [work.shard for work in workload.shards]
    forget = {s: members_of(before, plan, s)[0] for s in hit if plan.alive(s)}
    stages = {work.shard: work.stages for work in workload.shards}

    def exact_seconds(shards: Iterable[int]) -> float | None:
        chosen = tuple(shards)
        training = clock.exact_seconds(work_of(plan, [st for s in chosen for st in stages[s]]))
        beside = clock.request_seconds(len(hit))
        if training is None or beside is None:
            return None
        return training + beside * len(chosen) / max(1, len(hit))

    def approximate_seconds(shards: Iterable[int]) -> float | None:
        chosen = {shard: forget[shard] for shard in shards}
        replay = clock.exact_seconds(replayed(plan, chosen, amend))
        modify = clock.modify_seconds(method.batches(plan, chosen))
        beside = clock.request_seconds(0, len(hit))
        if replay is None or modify is None or beside is None:
            return None
        return replay + modify + beside * len(chosen) / max(1, len(hit))

    unsuitable = method.unsuitable(plan)
    forced = {s: unsuitable or incomplete(before, store, s) for s in forget}
    parts = _parts([s for s in forget if not forced[s]], approximate_seconds)
    costs = [
        Cost(
            work.shard,
            work.seconds,
            parts.get(work.shard),
            forced.get(work.shard, ""),
            None
            if plan.architecture.is_linear
            else coverage(before, plan, work.shard, debts.get(work.shard)),
        )
        for work in workload.shards
    ]
    scratch = workload.total_seconds
    seconds = (exact_seconds, approximate_seconds)
    return plan, workload, Costs(tuple(costs), scratch, *seconds, clock.multiple, calibration)


def coverage(
    before: Plan, plan: Plan, shard: int, debt: Int[np.ndarray, " debt"] | None = None
) -> Coverage | None:
    """The class of which the largest part of a shard's examples would have been forgotten.

    Args:
        before: the plan before the request.
        plan: the plan after it.
        shard: that the request hits.
        debt: ids that the shard removed approximately so far.

    Returns:
        None for a regression, which has no classes.
    """
    if plan.examples.labels.is_floating_point():
        return None
    rows = plan.partition.shard_rows(shard)
    shaped = before.retained[rows]
    if debt is not None:
        shaped = shaped | np.isin(plan.partition.ids[rows], debt)
    labels, gone = plan.examples.labels.numpy()[rows], shaped & ~plan.retained[rows]
    members = np.bincount(labels[shaped])
    counts = np.bincount(labels[gone], minlength=len(members))
    label = int((counts / np.maximum(members, 1)).argmax())
    return Coverage(label, int(counts[label]), int(members[label]))


def _parts(
    shards: list[int], seconds: Callable[[Iterable[int]], float | None]
) -> dict[int, float | None]:
    """Each shard's part of the seconds of all together, in proportion to those of each alone."""
    whole, alone = seconds(shards), {shard: seconds([shard]) for shard in shards}
    total = sum(taken or 0.0 for taken in alone.values())
    return {s: whole and (taken or 0.0) / total * whole for s, taken in alone.items()}


def unlearn(
    before: Plan,
    store: Store,
    ids: Int[np.ndarray, " request"],
    boundary: Boundary,
    *,
    clock: Clock = Clock(),
    method: Method | None = None,
    amend: Amend | None = None,
    on_progress: OnProgress = silent,
    cancel: threading.Event | None = None,
    parallel: int | None = None,
    probe: Probe | None = None,
    calibration: Calibration = Calibration(),
    commit: Callable[[Plan, Decision], None] = lambda plan, decision: None,
) -> Unlearned:
    """Unlearn a request: estimate, decide, run, swap, destroy.

    Args:
        before: the plan whose ensemble is in the store.
        store: changed only by additions until ``commit`` has returned.
        ids: to forget, none of them revoked in ``before``.
        boundary: chooses.
        clock: for predictions.
        method: of modification; :func:`default_method` otherwise.
        amend: after it; replay of the last epoch otherwise.
        on_progress: gets events.
        cancel: stops the run when set; the old ensemble then stands.
        parallel: workers of the exact part, as in :func:`~unlearnkit.training.train`. The clock
            predicts one process, so it neither speaks of such a run nor learns from it.
        probe: for looking at approximations; without it they are judged by their corrections alone.
        calibration: what past repayments say of errors.
        commit: called with the new plan and the decision when everything is in the store and
            before anything is destroyed; once it has returned, the request is completed.

    Raises:
        Cancelled: stopped; the store holds what it held.
    """
    begun = time.perf_counter()
    method, amend = method or default_method(before), amend or Replay()
    plan, workload, costs = assess(
        before, store, ids, clock, method=method, amend=amend, calibration=calibration
    )
    debts = debts_of(before, store)
    decision = boundary.decide(workload, costs, {s: len(debt) for s, debt in debts.items()})
    if parallel is not None:
        decision = replace(decision, seconds=None, interval=None)
    if probe is None:
        nothing = plan.examples[plan.partition.ids[:0]]
        probe = Probe(plan.architecture, plan.spec.loss, *nothing)
    try:
        modified = modify_shards(
            before,
            plan,
            store,
            decision,
            debts,
            method,
            amend,
            boundary,
            probe,
            calibration,
            on_progress,
            cancel,
        )
        decision = decision.after(modified.looks, modified.refused, costs)
        report = train(
            plan,
            store,
            shards=decision.exact,
            on_progress=on_progress,
            cancel=cancel,
            parallel=parallel,
        )
        rates, clock = clock, clock.observe(report.timed, report.tick)
        if modified.looks:
            # What the amend took beyond its steps counts as modifying: there is one for each.
            replay = rates.exact_seconds(modified.replayed) or 0.0
            took = max(modified.seconds, modified.whole - replay)
            clock = clock.observe_modify(modified.planned, took)
        for approximation in modified.approximations:
            store.put_approximation(approximation)
        check_cancelled(cancel)
        commit(plan, decision)
    except BaseException:
        settle(before, store)  # what was added for the new plan goes again
        raise
    destroyed = settle(plan, store)
    debt_after = _total(debts_of(plan, store))
    seconds = time.perf_counter() - begun
    if decision.routes and parallel is None and modified.as_planned:
        beside = seconds - report.seconds - modified.whole
        shards = (len(decision.exact), len(decision.approximate))
        clock = clock.observe_request(*shards, beside, seconds, decision.seconds)
    return Unlearned(
        ids,
        plan,
        workload,
        decision,
        report.visits,
        modified.visits,
        decision.seconds,
        seconds,
        _total(debts),
        debt_after,
        destroyed,
        clock,
        modified.bounds,
    )


def repay(
    plan: Plan,
    store: Store,
    shards: Iterable[int] | None = None,
    *,
    seconds: float | None = None,
    clock: Clock = Clock(),
    on_progress: OnProgress = silent,
    cancel: threading.Event | None = None,
    parallel: int | None = None,
    probe: Probe | None = None,
    commit: Callable[[Decision, int], None] = lambda decision, debt_before: None,
) -> Unlearned:
    """Clear debt by retraining exactly: of these shards, or of all that carry any.

    Args:
        plan: whose debts are in the store.
        store: changed only by additions until ``commit`` has returned.
        shards: to repay; all that owe by default.
        seconds: no more than is predicted to fit into this time, the cheapest first.
        clock: for predictions.
        on_progress: gets events.
        cancel: stops the run when set.
        parallel: workers, as in :func:`~unlearnkit.training.train`.
        probe: for comparing what is repaid with what replaces it.
        commit: called with the shards whose debt is repaid and the debt before, when everything is
            in the store and before anything is destroyed; once it has returned, they are repaid.

    Raises:
        LookupError: a time is given, and nothing has been timed yet.
        Cancelled: stopped; shards that were finished are repaid, the others keep their debt.
    """
    begun = time.perf_counter()
    debts = debts_of(plan, store)
    chosen = sorted(debts if shards is None else set(shards) & set(debts))
    sizes = {shard: len(debt) for shard, debt in debts.items()}
    if seconds is not None:
        chosen = _affordable(plan, store, chosen, sizes, seconds, clock)
    nothing = np.empty(0, np.int64)
    workload = estimate(plan, store, nothing, sizes, also=chosen, clock=clock)
    routes = tuple(
        Route(
            work.shard,
            EXACT,
            work.visits,
            workload.share_of(work.visits),
            work.seconds,
            f"a debt of {work.debt} examples is repaid",
        )
        for work in workload.shards
    )
    decision = Decision(routes, REPAY, workload.seconds, workload.interval)
    if parallel is not None:
        decision = replace(decision, seconds=None, interval=None)
    try:
        report = train(
            plan, store, shards=chosen, on_progress=on_progress, cancel=cancel, parallel=parallel
        )
    except BaseException:
        settle_repaid(plan, store, chosen, commit)
        raise
    if routes:
        if probe is not None:
            decision = replace(decision, looks=_errors(plan, store, chosen, probe))
        commit(decision, _total(debts))
    destroyed = settle(plan, store)
    return Unlearned(
        nothing,
        plan,
        workload,
        decision,
        report.visits,
        0,
        decision.seconds,
        time.perf_counter() - begun,
        _total(debts),
        _total(debts_of(plan, store)),
        destroyed,
        clock.observe(report.timed, report.tick),
    )


def _errors(plan: Plan, store: Store, shards: Iterable[int], probe: Probe) -> tuple[Look, ...]:
    """How far approximations are from the clean models that stand beside them."""
    last, pairs = plan.spec.num_slices, {}
    for shard in shards:
        key = plan.final_key(shard)
        approximation = store.approximation(key)
        if approximation is not None:
            pairs[shard] = store.get(key).state, approximation.checkpoints[last].state
    exact, approximate = ([pair[i] for pair in pairs.values()] for i in (0, 1))
    return probe.errors(list(pairs), exact, approximate)


def _affordable(
    plan: Plan,
    store: Store,
    shards: Iterable[int],
    sizes: dict[int, int],
    seconds: float,
    clock: Clock,
) -> list[int]:
    """Shards that can be repaid within a time, chosen by fewest visits for each id of the debt."""
    if not clock.calibrated:
        raise LookupError(
            f"nothing has been timed yet, so nobody can say what fits into seconds={seconds}; "
            "repay without seconds=, in this process, and the next time it is known"
        )
    stages = {s: plan.missing(store, [s]) for s in shards}
    prices = {s: sum(stage.visits for stage in stages[s]) / sizes[s] for s in stages}
    chosen: list[int] = []
    for shard in sorted(stages, key=lambda s: (prices[s], s)):
        trial = [*chosen, shard]
        training = clock.exact_seconds(work_of(plan, [st for s in trial for st in stages[s]]))
        beside = clock.request_seconds(len(trial))
        if training is not None and beside is not None and training + beside <= seconds:
            chosen = trial
    return sorted(chosen)


def settle_repaid(
    plan: Plan, store: Store, shards: Iterable[int], commit: Callable[[Decision, int], None]
) -> None:
    """Complete what an interrupted repayment finished: commit it, then destroy what it replaces.

    Args:
        plan: whose debts are in the store.
        store: where approximations may stand beside the clean models that replace them.
        shards: that were not committed as repaid.
        commit: as in :func:`repay`.
    """
    routes, before = [], _total(debts_of(plan, store))
    for shard in sorted(shards):
        key = plan.final_key(shard)
        approximation = store.approximation(key) if key in store else None
        if approximation is not None:
            first = min(approximation.checkpoints)  # from there on it was trained again
            visits = sum(stage.visits for stage in plan.chains[shard] if stage.index >= first)
            count = len(approximation.debt)
            before += count
            reason = f"a debt of {count} examples is repaid, by a run that was then interrupted"
            share = visits / plan.total_visits
            routes.append(Route(shard, EXACT, visits, share, None, reason))
    if routes:
        commit(Decision(tuple(routes), REPAY, None), before)
        settle(plan, store)


def settle(plan: Plan, store: Store) -> int:
    """Destroy every artefact that is not of this plan; the number destroyed.

    Clean checkpoints stay under the plan's keys, approximations only where they stand for a shard
    of the plan that has no clean model.
    """
    standing = [
        plan.final_key(s)
        for s in range(plan.num_shards)
        if plan.alive(s) and plan.final_key(s) not in store
    ]
    return store.prune(plan.keys, standing)


def _total(debts: Debts) -> int:
    return sum(len(debt) for debt in debts.values())
