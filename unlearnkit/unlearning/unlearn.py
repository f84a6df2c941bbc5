"""Carries out a request: assesses it, decides on routes, modifies and retrains shards.

The steps in short::

    assessment = assess(before, store, ids, clock)                # the cost of both routes
    decision = assessment.decide(boundary)                        # a route per shard
    modified = modify_shards(before, store, assessment, ...)      # check twice, store accepted
    decision = decision.after(modified.checks, modified.refused)  # refused shards become exact
    train_missing(plan, store, run, shards=decision.exact)        # as in training
    decision = decision.checked(...)  # compares a modified shard that was retrained as well
    commit(); settle(plan, store)                                 # commit, destroy stale artefacts
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from unlearnkit.approximate import AMENDS, METHODS, Amend, Method
from unlearnkit.approximate.defaults import is_usual
from unlearnkit.display import plural
from unlearnkit.progress import Progress, Run, running
from unlearnkit.store import Store
from unlearnkit.store.footprint import return_freed_memory
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.clock import Checks, Clock, Interval
from unlearnkit.training.door import try_module
from unlearnkit.training.kernels.cpu_time import cpu_clock
from unlearnkit.training.kernels.finite import NotFiniteError
from unlearnkit.training.plan import Plan
from unlearnkit.training.shard_model import ShardModel
from unlearnkit.training.train import TrainReport, train_missing
from unlearnkit.unlearning.approximator import Approximator
from unlearnkit.unlearning.assess import assess
from unlearnkit.unlearning.boundary import BOUNDARIES
from unlearnkit.unlearning.boundary.protocol import Boundary, Decision
from unlearnkit.unlearning.boundary.spot_check import SpotCheck, as_spot_check, measure
from unlearnkit.unlearning.debt import debts_of, total_debt
from unlearnkit.unlearning.error_model import ErrorModel
from unlearnkit.unlearning.inspection import Probe
from unlearnkit.unlearning.modify import Modification, members_of, modify_shards
from unlearnkit.unlearning.workload import Workload

if TYPE_CHECKING:
    import pandas as pd

REPAY = "repay"  # is recorded in place of a boundary when debt is repaid


@dataclass(frozen=True, eq=False)
class Unlearned:
    """The outcome of a request or a repayment.

    Attributes:
        ids: the ids of the request.
        plan: the plan of the retain set afterwards.
        workload: the workload estimated before the run.
        decision: a route and a reason per shard.
        visits: executed example gradients of the exact part.
        approximate_visits: executed example gradients of the approximate part, in large batches
            and replays.
        predicted_seconds: CPU seconds that the clock predicted; None if no training had been timed.
        seconds: wall seconds measured on this machine, including storing and destroying.
        debt_before: number of ids that all shards owed before.
        debt_after: number of ids that all shards owe afterwards.
        destroyed: number of stale artefacts that were removed from the store.
        clock: the clock, refitted to the measured seconds.
        bounds: upper bound on the L2 distance of a shard's parameters from the minimiser of the
            objective on its retained examples, for shards where the method proves one and the
            amend did not change the parameters.
        cpu_seconds: CPU seconds measured of the same work, which ``predicted_seconds`` predicts;
            None if workers did a part of it.
        num_groups: number of groups, such as persons, that the ids belong to; None without groups.
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
    cpu_seconds: float | None = None
    num_groups: int | None = None

    @property
    def spot_check(self) -> SpotCheck | None:
        """What modifying a shard removed, measured by retraining it too; None if none was."""
        return self.decision.spot_check

    @property
    def predicted_interval(self) -> Interval | None:
        """Interval in which the CPU seconds were expected; None if no training had been timed."""
        return self.decision.interval

    def __repr__(self) -> str:
        if not self.decision.routes and self.decision.boundary == REPAY:
            return (
                "Unlearned(no debt was repaid: there is none, or no shard fits into the given time)"
            )
        gone = plural(len(self.ids), "example")
        if self.num_groups is not None and len(self.ids):
            gone += f" of {plural(self.num_groups, 'group')}"
        if not self.decision.routes:
            return f"Unlearned({gone}; no shard is hit, nothing was retrained)"
        interval = self.predicted_interval
        predicted = ""
        if interval is not None and self.cpu_seconds is not None:
            predicted = f", {self.cpu_seconds:.2f} CPU s, predicted {interval}"
        if self.bounds:
            predicted += f"; proven to be within {max(self.bounds.values()):.1e} of the optimum"
        check = self.decision.spot_check
        seen = "" if check is None else f"; {check.result}"
        doubtful = len(self.decision.doubtful)
        doubt = f", {doubtful} of them doubtful" if doubtful else ""
        return (
            f"Unlearned({gone}, {plural(len(self.decision.exact), 'shard')} exact, "
            f"{len(self.decision.approximate)} approximate{doubt}, {self.seconds:.2f} s"
            f"{predicted}{seen})"
        )

    def to_frame(self) -> "pd.DataFrame":
        """Return the decision as a table with one row per shard."""
        return self.decision.to_frame()

    def _repr_html_(self) -> str:
        check = self.decision.spot_check
        seen = "" if check is None else f"<p>{check.sentence}</p>"
        if self.decision.doubtful:
            seen += f"<p>{self.decision.warning}</p>"
        return f"<p>{self!r}</p>{seen}{self.decision._repr_html_()}"


@own_settings()
def unlearn(
    before: Plan,
    store: Store,
    ids: Int[np.ndarray, " request"],
    boundary: str | Boundary,
    *,
    clock: Clock = Clock(),
    method: str | Method | None = None,
    amend: str | Amend | None = None,
    on_progress: Progress = None,
    cancel: threading.Event | None = None,
    parallel: int | None = None,
    threads: int | None = None,
    probe: Probe | None = None,
    error_model: ErrorModel = ErrorModel(),
    commit: Callable[[Plan, Decision], None] | None = None,
    spot_check: bool | str | None = False,
) -> Unlearned:
    """Forget the examples of a request, and destroy the checkpoints that held them.

    Args:
        before: the plan whose ensemble is in the store.
        store: changed only by additions until ``commit`` has returned.
        ids: ids to forget, none of them revoked in ``before``.
        boundary: chooses a route per shard; a name in ``BOUNDARIES`` or an object.
        clock: predicts seconds.
        method: the method of modification, a name in ``METHODS`` or an object; by default that of
            :func:`~unlearnkit.approximate.defaults.default_method`.
        amend: the amend run after the method, a name in ``AMENDS`` or an object; by default a
            replay from the last tail.
        on_progress: gets events; True shows a progress bar, False none
            (:mod:`unlearnkit.progress`).
        cancel: stops the run when set; the old ensemble then stays in place.
        parallel: number of workers of the exact part, as in
            :func:`~unlearnkit.training.train.train`. The clock models a single process, so it
            neither predicts such a run nor learns from it.
        threads: upper limit of the number of threads that train shards, as there.
        probe: examples on which approximations are checked; without it they are judged by their
            corrections alone.
        error_model: fitted to past repayments.
        commit: called with the new plan and the decision when everything is in the store and
            before anything is destroyed. Once it has returned, the request is completed.
        spot_check: whether one of the modified shards is retrained exactly as well, and keeps the
            exact model, to measure what modifying removed. ``"auto"``, for which None stands too,
            does so if it takes at most a tenth of the
            visits of retraining all hit shards, and no deadline is set. Ensembles need one
            check only, and this function does not know of earlier ones.

    Raises:
        KeyError: no boundary, method or amend has this name.
        TypeError: an object lacks a part of its protocol, the boundary is None, or a boundary,
            method or amend returned something else than its protocol says; or ``spot_check`` is
            neither a bool nor a string.
        ValueError: the boundary did not return one valid route for every hit shard, or
            ``spot_check`` is another string.
        LookupError: the boundary needs predicted seconds, and no training has been timed yet.
        NotReproducibleError: a repeated step of a foreign module gave other bits.
        ChangedModelError: a foreign module computes something else than when the checkpoints in
            the store were made.
        Cancelled: the run was stopped; the store is as before.
    """
    boundary, check = BOUNDARIES.require(boundary), as_spot_check(spot_check)
    approximator = Approximator.of(
        before,
        METHODS.choose(method),
        AMENDS.choose(amend),
        probe=probe,
        error_model=error_model,
    )
    with running(on_progress, cancel, parallel=parallel, threads=threads) as run:
        return _unlearn(before, store, ids, boundary, clock, approximator, run, commit, check)


def _unlearn(
    before: Plan,
    store: Store,
    ids: Int[np.ndarray, " request"],
    boundary: Boundary,
    clock: Clock,
    approximator: Approximator,
    run: Run,
    commit: Callable[[Plan, Decision], None] | None,
    check: bool | str,
) -> Unlearned:
    begun = time.perf_counter()
    now = cpu_clock(before)
    paused = now()
    try_module(before)
    return_freed_memory(before.architecture.state_bytes)  # of a comparison that was dropped
    assessment = assess(before, store, ids, clock, approximator, run.threads)
    plan, decision = assessment.plan, assessment.decide(boundary, check)
    if run.parallel is not None:
        decision = replace(decision, seconds=None, interval=None)
    try:
        # CPU seconds besides training and modification, which count their own.
        beside = now() - paused
        modified = modify_shards(before, store, assessment, decision, boundary, approximator, run)
        paused = now()
        decision = decision.after(modified.checks, modified.refused, assessment.costs)
        checked = decision.to_check
        beside += now() - paused
        try:
            report = train_missing(plan, store, run, shards=[*decision.exact, *checked])
        except NotFiniteError as error:
            if error.shard in checked:
                error.add_note(
                    f"Shard {error.shard} was retrained as a spot check only, and the request was "
                    "undone; give spot_check=False to repeat it without one."
                )
            raise
        paused = now()
        decision = replace(decision, repeated=report.repeated)
        for shard in checked:
            found = _spot_check(before, plan, store, shard, check is True, report, approximator)
            decision = decision.checked(found, assessment.costs)
        rates, clock = clock, clock.observe(report.timed, report.tick)
        if modified.checks:
            clock = clock.observe_modify(modified.planned, modified.seconds)
        if modified.checks and modified.as_planned:  # longer amends would count as checks
            clock = _observe_checks(clock, rates, modified)
        run.check()
        if commit is not None:
            commit(plan, decision)
    except BaseException:
        settle(before, store)  # removes what was added for the new plan
        raise
    destroyed = settle(plan, store)
    debt_after = total_debt(debts_of(plan, store))
    seconds = time.perf_counter() - begun
    beside += now() - paused
    cpu_seconds = None
    if report.cpu_seconds is not None:
        cpu_seconds = beside + modified.cpu_seconds + report.cpu_seconds
        beside += report.beside
    if decision.routes and cpu_seconds is not None and modified.as_planned:
        shards = (len(decision.exact), len(decision.approximate))
        clock = clock.observe_request(*shards, beside, cpu_seconds, decision.seconds)
        clock = clock.observe_pace(cpu_seconds, seconds)
    return Unlearned(
        ids=ids,
        plan=plan,
        workload=assessment.workload,
        decision=decision,
        visits=report.visits,
        approximate_visits=modified.visits,
        predicted_seconds=decision.seconds,
        seconds=seconds,
        debt_before=total_debt(assessment.debts),
        debt_after=debt_after,
        destroyed=destroyed,
        clock=clock,
        bounds={s: bound for s, bound in modified.bounds.items() if s in decision.approximate},
        cpu_seconds=cpu_seconds,
    )


def _observe_checks(clock: Clock, rates: Clock, modified: Modification) -> Clock:
    """Return the clock after the checks of a modification were timed.

    What an amend takes beyond its steps, or less than them, is charged to the checks of its shard.

    Args:
        clock: the clock.
        rates: the clock before the request, which predicted the steps.
        modified: the modification.
    """
    checking = modified.cpu_seconds - modified.whole - modified.once
    replay = rates.exact_seconds(modified.replayed)
    more = 0.0 if replay is None else modified.whole - modified.seconds - replay
    clock = clock.observe_checks(Checks(1, 0, 0), modified.once)
    return clock.observe_checks(
        replace(modified.checking, requests=0), checking + max(more, -checking / 2)
    )


def _spot_check(
    before: Plan,
    plan: Plan,
    store: Store,
    shard: int,
    asked: bool,
    report: TrainReport,
    approximator: Approximator,
) -> SpotCheck:
    """Compare the modified model of a shard with the exact one; both are in the store."""
    last, key = plan.spec.num_slices, plan.final_key(shard)
    original = ShardModel(before, store, shard).checkpoint(last)
    approximation = store.approximation(key)
    assert original is not None and approximation is not None  # it was modified, and accepted
    states = original.state, approximation.checkpoints[last].state, store.get(key).state
    runs = [run for run in report.runs if run.shard == shard]
    visits, seconds = sum(run.visits for run in runs), sum(run.seconds for run in runs)
    usual = is_usual(before, approximator.method, approximator.amend)
    check = SpotCheck(shard, asked, visits, seconds, usual=usual)
    forget = plan.partition.ids[members_of(before, plan, shard)[0].rows]
    return measure(check, before, approximator.probe, forget, states)


def settle(plan: Plan, store: Store) -> int:
    """Destroy every artefact that does not belong to a plan, and return their number.

    Exact checkpoints with the plan's keys stay, and so do the approximations of shards that have
    no exact model under the plan.
    """
    destroyed = store.prune(*kept_artefacts(plan, store))
    return_freed_memory(plan.architecture.state_bytes)
    return destroyed


def kept_artefacts(plan: Plan, store: Store) -> tuple[frozenset[str], list[str]]:
    """The keys of clean checkpoints and the base keys of approximations that :func:`settle` keeps.

    Some of them may not be in the store.
    """
    models = (
        ShardModel(plan, store, shard) for shard in range(plan.num_shards) if plan.alive(shard)
    )
    return plan.keys, [model.key for model in models if not model.is_exact]
