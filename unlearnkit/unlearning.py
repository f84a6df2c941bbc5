"""Unlearning: estimate, decide, run. The route of the toolkit in one paragraph of code.

plan = before.without(ids)                                  # the retain set shrinks
workload = estimate(plan, store, ids, debts)                # what exact retraining would cost
decision = boundary.decide(workload, costs, debts)          # a route per shard
train(plan, store, shards=decision.exact)                   # the same function as training
store.put_approximation(...)  for s in decision.approximate # modify, then amend
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

from unlearnkit.approximate import (
    METHODS,
    Amend,
    Members,
    Method,
    OnStep,
    Replay,
    ShardRound,
    ShardState,
)
from unlearnkit.boundary import EXACT, Boundary, Cost, Costs, Decision, Route
from unlearnkit.clock import Batches, Clock, Interval, Work
from unlearnkit.curvature import (
    conjugate_gradients,
    gauss_newton,
    head_names,
    mean_gradient,
    trainable_names,
)
from unlearnkit.kernels.linearised import Linearised, gather, solve
from unlearnkit.kernels.loop import compute_threads
from unlearnkit.plan import Plan
from unlearnkit.progress import OnProgress, ProgressEvent, check_cancelled, silent
from unlearnkit.seeding import numpy_generator
from unlearnkit.store import Approximation, Checkpoint, Store
from unlearnkit.training import train, work_of
from unlearnkit.workload import Workload, estimate

if TYPE_CHECKING:
    import pandas as pd

REPAY = "repay"  # stands for the boundary where a debt is repaid
LEAST_PROBE = 0.03  # seconds below which large batches are not timed beforehand

Debts = dict[int, Int[np.ndarray, " debt"]]


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


def debts_of(plan: Plan, store: Store) -> Debts:
    """For each shard with debt, the ids that were removed approximately only."""
    debts = {}
    for shard in range(plan.num_shards):
        key = plan.final_key(shard)
        approximation = store.approximation(key)
        if approximation is not None and key not in store and plan.alive(shard):
            debts[shard] = approximation.debt
    return debts


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
) -> tuple[Plan, Workload, Costs]:
    """Estimate a request: the plan after it, its workload, and what each way would cost.

    Nothing is changed anywhere.
    """
    plan = before.without(ids)
    debts = {shard: len(debt) for shard, debt in debts_of(before, store).items()}
    workload = estimate(plan, store, ids, debts, clock=clock)
    method, amend = method or default_method(plan), amend or Replay()
    hit = [work.shard for work in workload.shards]
    forget = {s: _members(before, plan, s)[0] for s in hit if plan.alive(s)}
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
        replay = clock.exact_seconds(_replayed(plan, chosen, amend))
        modify = clock.modify_seconds(method.batches(plan, chosen))
        beside = clock.request_seconds(0, len(hit))
        if replay is None or modify is None or beside is None:
            return None
        return replay + modify + beside * len(chosen) / max(1, len(hit))

    unsuitable = method.unsuitable(plan)
    forced = {s: unsuitable or _incomplete(before, store, s) for s in forget}
    parts = _parts([s for s in forget if not forced[s]], approximate_seconds)
    costs = [
        Cost(work.shard, work.seconds, parts.get(work.shard), forced.get(work.shard, ""))
        for work in workload.shards
    ]
    scratch = workload.total_seconds
    seconds = (exact_seconds, approximate_seconds)
    return plan, workload, Costs(tuple(costs), scratch, *seconds, clock.multiple)


def _parts(
    shards: list[int], seconds: Callable[[Iterable[int]], float | None]
) -> dict[int, float | None]:
    """Each shard's part of the seconds of all together, in proportion to those of each alone."""
    whole, alone = seconds(shards), {shard: seconds([shard]) for shard in shards}
    total = sum(taken or 0.0 for taken in alone.values())
    return {s: whole and (taken or 0.0) / total * whole for s, taken in alone.items()}


def _replayed(plan: Plan, shards: Iterable[int], amend: Amend) -> Work:
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
        commit: called with the new plan and the decision when everything is in the store and
            before anything is destroyed; once it has returned, the request is completed.

    Raises:
        Cancelled: stopped; the store holds what it held.
    """
    begun = time.perf_counter()
    method, amend = method or default_method(before), amend or Replay()
    plan, workload, costs = assess(before, store, ids, clock, method=method, amend=amend)
    debts = debts_of(before, store)
    decision = boundary.decide(workload, costs, {s: len(debt) for s, debt in debts.items()})
    if parallel is not None:
        decision = replace(decision, seconds=None, interval=None)
    try:
        report = train(
            plan,
            store,
            shards=decision.exact,
            on_progress=on_progress,
            cancel=cancel,
            parallel=parallel,
        )
        rates, clock = clock, clock.observe(report.timed, report.tick)
        check_cancelled(cancel)
        modified = _modify(before, plan, store, decision, debts, method, amend, on_progress, cancel)
        if decision.approximate:
            # What the amend took beyond its steps counts as modifying: there is one for each.
            replay = rates.exact_seconds(_replayed(plan, decision.approximate, amend)) or 0.0
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
    if decision.routes and parallel is None:
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


@dataclass(frozen=True, eq=False)
class _Modification:
    approximations: list[Approximation]
    planned: Batches
    visits: int
    seconds: float  # of the modification alone
    whole: float
    bounds: dict[int, float]


def _modify(
    before: Plan,
    plan: Plan,
    store: Store,
    decision: Decision,
    debts: Debts,
    method: Method,
    amend: Amend,
    on_progress: OnProgress,
    cancel: threading.Event | None,
) -> _Modification:
    """One approximate round on some shards: modify and amend them together."""
    begun = time.perf_counter()
    rounds = [_round(before, plan, store, shard, debts) for shard in decision.approximate]
    forget = {each.state.shard: each.forget for each in rounds}
    planned = method.batches(plan, forget)
    large, replay = planned.visits, _replayed(plan, forget, amend).visits

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
    approximations, bounds = [], {}
    for each, new, end in zip(rounds, modified, amended, strict=True):
        shard, last = each.state.shard, plan.spec.num_slices
        if new.bound is not None and end.checkpoint is new.checkpoints[last]:
            bounds[shard] = new.bound
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
    whole = time.perf_counter() - begun
    return _Modification(approximations, planned, visits, seconds, whole, bounds)


def _round(before: Plan, plan: Plan, store: Store, shard: int, debts: Debts) -> ShardRound:
    """What a method gets for one shard."""
    forget, retain = _members(before, plan, shard)
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


def _incomplete(plan: Plan, store: Store, shard: int) -> str:
    """Why a shard cannot be modified as it is stored, in a sentence; empty if it can."""
    approximation = store.approximation(plan.final_key(shard))
    corrected = approximation.checkpoints if approximation else {}
    stages = plan.chains[shard]
    if all(stage.key in store or stage.index in corrected for stage in stages):
        return ""
    return "a checkpoint of this shard is missing from the store, so it is retrained exactly"


def _members(before: Plan, plan: Plan, shard: int) -> tuple[Members, Members]:
    """What a shard forgets in going from one plan to the next, and what it keeps."""
    rows = plan.partition.shard_rows(shard)
    slices = plan.partition.slice_[rows]
    kept = plan.retained[rows]
    gone = before.retained[rows] & ~kept
    return Members(rows[gone], slices[gone]), Members(rows[kept], slices[kept])


def _total(debts: Debts) -> int:
    return sum(len(debt) for debt in debts.values())
