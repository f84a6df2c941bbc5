"""Unlearning: estimate, decide, run. The route of the toolkit in one paragraph of code.

assessment = assess(before, store, ids, clock)               # what each way would cost
decision = assessment.decide(boundary)                       # a route per shard
modified = modify_shards(before, store, assessment, ...)     # modify, look, amend, look again
decision = decision.after(modified.checks, modified.refused)  # what was refused goes exact
train_missing(plan, store, run, shards=decision.exact)       # the same function as training
store.put_approximation(...)                                 # what was accepted
commit(); settle(plan, store)                                # swap, then destroy what is stale
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from unlearnkit.approximate import AMENDS, METHODS, Amend, Method
from unlearnkit.progress import Progress, Run, running
from unlearnkit.store import Store
from unlearnkit.training.clock import Clock, Interval
from unlearnkit.training.plan import Plan
from unlearnkit.training.shard_model import ShardModel
from unlearnkit.training.train import train_missing
from unlearnkit.unlearning.approximator import Approximator
from unlearnkit.unlearning.assess import assess
from unlearnkit.unlearning.boundary import BOUNDARIES
from unlearnkit.unlearning.boundary.protocol import Boundary, Decision
from unlearnkit.unlearning.debt import debts_of, total_debt
from unlearnkit.unlearning.error_model import ErrorModel
from unlearnkit.unlearning.inspection import Probe
from unlearnkit.unlearning.modify import modify_shards
from unlearnkit.unlearning.workload import Workload

if TYPE_CHECKING:
    import pandas as pd

REPAY = "repay"  # stands for the boundary where a debt is repaid


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
    probe: Probe | None = None,
    error_model: ErrorModel = ErrorModel(),
    commit: Callable[[Plan, Decision], None] | None = None,
) -> Unlearned:
    """Unlearn a request: estimate, decide, run, swap, destroy.

    Args:
        before: the plan whose ensemble is in the store.
        store: changed only by additions until ``commit`` has returned.
        ids: to forget, none of them revoked in ``before``.
        boundary: chooses; a name in ``BOUNDARIES`` or an object.
        clock: for predictions.
        method: of modification, a name in ``METHODS`` or an object; :func:`default_method`
            otherwise.
        amend: after it, a name in ``AMENDS`` or an object; replay of the last epoch otherwise.
        on_progress: gets events; True shows a progress bar, False none
            (:mod:`unlearnkit.progress`).
        cancel: stops the run when set; the old ensemble then stands.
        parallel: workers of the exact part, as in :func:`~unlearnkit.training.train.train`. The
            clock predicts one process, so it neither speaks of such a run nor learns from it.
        probe: for looking at approximations; without it they are judged by their corrections alone.
        error_model: fitted to past repayments.
        commit: called with the new plan and the decision when everything is in the store and
            before anything is destroyed; once it has returned, the request is completed.

    Raises:
        KeyError: no boundary, method or amend has this name.
        TypeError: an object that lacks a part of its protocol.
        Cancelled: stopped; the store holds what it held.
    """
    boundary = BOUNDARIES.choose(boundary)
    approximator = Approximator.of(
        before,
        METHODS.choose(method),
        AMENDS.choose(amend),
        probe=probe,
        error_model=error_model,
    )
    with running(on_progress, cancel, parallel=parallel) as run:
        return _unlearn(before, store, ids, boundary, clock, approximator, run, commit)


def _unlearn(
    before: Plan,
    store: Store,
    ids: Int[np.ndarray, " request"],
    boundary: Boundary,
    clock: Clock,
    approximator: Approximator,
    run: Run,
    commit: Callable[[Plan, Decision], None] | None,
) -> Unlearned:
    begun = time.perf_counter()
    assessment = assess(before, store, ids, clock, approximator)
    plan, decision = assessment.plan, assessment.decide(boundary)
    if run.parallel is not None:
        decision = replace(decision, seconds=None, interval=None)
    try:
        modified = modify_shards(before, store, assessment, decision, boundary, approximator, run)
        decision = decision.after(modified.checks, modified.refused, assessment.costs)
        report = train_missing(plan, store, run, shards=decision.exact)
        rates, clock = clock, clock.observe(report.timed, report.tick)
        if modified.checks:
            # What the amend took beyond its steps counts as modifying: there is one for each.
            replay = rates.exact_seconds(modified.replayed) or 0.0
            took = max(modified.seconds, modified.whole - replay)
            clock = clock.observe_modify(modified.planned, took)
        for approximation in modified.approximations:
            store.put_approximation(approximation)
        run.check()
        if commit is not None:
            commit(plan, decision)
    except BaseException:
        settle(before, store)  # what was added for the new plan goes again
        raise
    destroyed = settle(plan, store)
    debt_after = total_debt(debts_of(plan, store))
    seconds = time.perf_counter() - begun
    if decision.routes and run.parallel is None and modified.as_planned:
        beside = seconds - report.seconds - modified.whole
        shards = (len(decision.exact), len(decision.approximate))
        clock = clock.observe_request(*shards, beside, seconds, decision.seconds)
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
        bounds=modified.bounds,
    )


def settle(plan: Plan, store: Store) -> int:
    """Destroy every artefact that is not of this plan; the number destroyed.

    Clean checkpoints stay under the plan's keys, approximations only where they stand for a shard
    of the plan that has no clean model.
    """
    models = (
        ShardModel(plan, store, shard) for shard in range(plan.num_shards) if plan.alive(shard)
    )
    return store.prune(plan.keys, [model.key for model in models if not model.is_exact])
