"""The replay of modifications: whether each approximation is what the ledger says it is.

The original models are trained again, with the examples that were revoked later. Then the replay
follows the lines of the ledger. It modifies again each shard that a request modified, with the same
method and amend, and together with the shards that were modified in the same call; it retrains each
shard that was retrained or repaid. In the same environment this gives the same bits, so every
approximation in the store must equal that of the replay.

Only shards whose models lead to an approximation that is still in use are trained and modified.
What the ledger records about the checks decides again which of them were refused, and which got a
longer amend; whether the checks themselves were right is not shown.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from unlearnkit.approximate import AMENDS, METHODS
from unlearnkit.approximate.defaults import default_method, earlier_defaults
from unlearnkit.display import plural
from unlearnkit.progress import Run, running
from unlearnkit.records.history import owing_after
from unlearnkit.records.inventory import Inventory, keyed
from unlearnkit.records.ledger import formulas_of, plan_digest, spot_check_of
from unlearnkit.records.same_bits import AuditError, different_bits
from unlearnkit.registry import Registry
from unlearnkit.store import Approximation, Checkpoint, DiskStore, MemoryStore
from unlearnkit.store.codec import name_of
from unlearnkit.training.clock import Clock
from unlearnkit.training.door import try_module
from unlearnkit.training.kernels import run_jobs
from unlearnkit.training.kernels.finite import NotFiniteError
from unlearnkit.training.plan import Plan
from unlearnkit.training.schedule import make_job, starting_state
from unlearnkit.unlearning.approximator import Approximator
from unlearnkit.unlearning.assess import assess
from unlearnkit.unlearning.boundary.protocol import (
    APPROXIMATE,
    Boundary,
    Costs,
    Decision,
    Route,
)
from unlearnkit.unlearning.guard import NOT_FINITE
from unlearnkit.unlearning.inspection import Check
from unlearnkit.unlearning.modify import longer_of, modify_shards
from unlearnkit.unlearning.workload import Workload

Entry = TypeVar("Entry")


@dataclass(frozen=True, eq=False)
class Step:
    """A completed request or repayment, as far as the replay needs it.

    Attributes:
        number: its number among the completed ones, from 1.
        line: its completion line, with plain ids.
        routes: the kind of route of each shard.
        reasons: why each shard took its route.
        looks: what was known of each approximation when it was accepted or refused.
        group: the shards that were modified together, refused ones among them.
        checked: the shard whose modification was accepted, but which was retrained exactly too, as
            a spot check; none or one.
        files: keyed names of the files that the store held before.
    """

    number: int
    line: dict[str, Any]
    routes: dict[int, str]
    reasons: dict[int, str]
    looks: dict[int, Check]
    group: tuple[int, ...]
    checked: frozenset[int]
    files: Mapping[str, str]

    @property
    def modified(self) -> frozenset[int]:
        """Shards that were left modified."""
        return frozenset(s for s, kind in self.routes.items() if kind == APPROXIMATE)

    @property
    def accepted(self) -> frozenset[int]:
        """Shards whose modification was accepted."""
        return self.modified | self.checked


@dataclass(frozen=True, eq=False)
class Recorded(Boundary):
    """A boundary that accepts and refuses what it did according to the ledger."""

    step: Step

    def decide(self, workload: Workload, costs: Costs, debts: dict[int, int]) -> Decision:
        """Modify the shards that were modified, and do nothing else."""
        routes = [Route(shard, APPROXIMATE, 0, 0.0, None, "") for shard in self.step.group]
        return Decision(tuple(routes), repr(self), None)

    def objection(self, check: Check) -> str:
        """Refuse a correction or an amend that was refused."""
        step, shard = self.step, check.shard
        look, why = step.looks.get(shard), step.reasons.get(shard, "it has no route")
        refused = shard not in step.accepted
        if check.replayed is None:  # the correction, before the amend
            early = look is None or look.replayed is None
            # The outputs may have been refused later as not finite, which no check records.
            return why if refused and early and NOT_FINITE not in why else ""
        if refused:
            return why
        same = look is None or look.replayed == check.replayed
        return "" if same else "its amend runs another number of epochs than recorded"


def replay(store: DiskStore, lines: Iterable[dict[str, Any]], plan: Plan) -> Iterator[str]:
    """Modify the original models again and compare with every approximation of a store.

    Args:
        store: the store; it is only read.
        lines: all lines of its ledger, with plain ids.
        plan: the plan of the run, before any revocation.

    Yields:
        One sentence when every approximation has been compared.

    Raises:
        AuditError: an approximation is not what the ledger leads to.
        ValueError: the ledger was written by an earlier version, or names a method or an amend that
            is not known here.
    """
    kept = [found for base in sorted(store.bases) if (found := store.approximation(base))]
    if not kept:
        yield "no constituent is approximate, so there is no modification to replay"
        return
    steps = _steps(lines)
    needed = _needed(steps, frozenset(each.shard for each in kept))
    hows = {
        step.number: _how(step, plan) for step, group in zip(steps, needed, strict=True) if group
    }
    begun, visits, again = time.perf_counter(), 0, MemoryStore()
    owing: frozenset[int] = frozenset()
    try:
        try_module(plan)
    except (TypeError, ValueError) as error:
        raise AuditError(f"the model cannot be trained again exactly: {error}") from error
    with running(False) as run:
        for step, group in zip(steps, needed, strict=True):
            after = plan.without(step.line["ids"])
            _same_plan(store, step, after)
            if group:
                visits += _train(plan, again, step, store.secret(), run)
                visits += _modify(plan, again, step, *hows[step.number], run)
            owing, plan = owing_after(owing, step.line), after
            again.prune(plan.keys, [plan.final_key(shard) for shard in owing])
    for each in kept:
        _compare(each, again.approximation(each.base))
    groups = [group for group in needed if group]
    modified, requests = sum(map(len, groups)), plural(len(groups), "request")
    yield (
        f"the {plural(len(kept), 'approximate constituent')} "
        f"{'has' if len(kept) == 1 else 'have'} the bits that modifying the original models again "
        f"gives ({plural(modified, 'modification')} in {requests}, {visits:,} visits, "
        f"{time.perf_counter() - begun:.1f} s)"
    )


def _steps(lines: Iterable[dict[str, Any]]) -> list[Step]:
    """Read the completed requests and repayments from the lines of a ledger."""
    steps: list[Step] = []
    inventory, completed = Inventory(), False
    for line in lines:
        if line["kind"] in ("unlearn", "repay"):
            number = len(steps) + 1
            try:
                looks = {each.shard: each for each in (Check(**one) for one in line["looks"])}
                routes = {route["shard"]: route["kind"] for route in line["routes"]}
                reasons = {route["shard"]: str(route["reason"]) for route in line["routes"]}
                seen = {s for s, why in reasons.items() if NOT_FINITE in why} | looks.keys()
                modified = {s for s, kind in routes.items() if kind == APPROXIMATE}
                group = tuple(sorted(modified | seen)) if line["kind"] == "unlearn" else ()
            except (KeyError, TypeError) as error:
                raise ValueError(
                    f"entry {number} of the ledger does not record what a replay needs "
                    f"({type(error).__name__}: {error}), as those of earlier versions do not; "
                    "repay the debt, and audit with --retrain"
                ) from error
            check = spot_check_of(line)
            checked = frozenset(() if check is None else (check.shard,))
            files = inventory.files
            steps.append(Step(number, line, routes, reasons, looks, group, checked, files))
        elif line["kind"] == "outcome" and not completed:
            raise ValueError(
                "the ledger was written by an earlier version, which did not record which shards "
                "were repaid, so that no modification can be replayed; repay the debt, and audit "
                "with --retrain"
            )
        completed = line["kind"] in ("unlearn", "repay") or (completed and line["kind"] == "state")
        inventory = inventory.after(line)
    return steps


def _needed(steps: list[Step], owing: frozenset[int]) -> list[tuple[int, ...]]:
    """Return the shards to modify again in each step, to arrive at the approximations of ``owing``.

    Of a step they are the whole group or none, because shards that are modified together share
    batches, and the last bits can depend on the sizes of batches.
    """
    found: list[tuple[int, ...]] = []
    for step in reversed(steps):
        hit = owing & step.modified
        owing = owing - (step.routes.keys() - step.modified)  # these begin again, retrained
        if hit:
            owing = owing | set(step.group)
        found.append(step.group if hit else ())
    return found[::-1]


def _how(step: Step, plan: Plan) -> tuple[Any, Any]:
    """Find the method and the amend of a step by their descriptions.

    Raises:
        AuditError: the step says that a shard was modified which none of its ids belongs to.
        ValueError: no method or amend has this description, its forms cannot be told apart, or
            another version made the step with other formulas.
    """
    strange = sorted(set(step.group) - set(plan.shards_of(np.asarray(step.line["ids"], np.int64))))
    if strange:
        raise AuditError(
            f"entry {step.number} of the ledger says that shard {strange[0]} was modified, but "
            "none of its ids belongs to this shard"
        )
    ours, said = formulas_of(plan).get("formulas", {}), step.line.get("formulas") or {}
    if said != ours:
        names = " and ".join(sorted(n for n in {*ours, *said} if ours.get(n) != said.get(n)))
        raise ValueError(
            f"entry {step.number} of the ledger was made by a version of unlearnkit with another "
            f"formula for the {names} of this model, so that this version cannot replay the "
            "modification; repay the debt, and audit with --retrain"
        )
    method = _by_description(step, METHODS, [default_method(plan), *earlier_defaults(plan)])
    amend = _by_description(step, AMENDS, [])
    longer = longer_of(amend, plan)
    if longer is not None and longer.epochs(plan) == amend.epochs(plan):
        raise ValueError(
            f"the amend {amend!r} and its longer form run the same number of epochs, so that the "
            "ledger does not tell which of them was taken, and the modification cannot be replayed"
        )
    return method, amend


def _by_description(step: Step, registry: Registry[Entry], more: list[Entry]) -> Entry:
    said = step.line.get(registry.noun)
    for entry in (*more, *registry.values()):
        if repr(entry) == said:
            return entry
    raise ValueError(
        f"entry {step.number} of the ledger was made with the {registry.noun} {said}, which is not "
        f"known here; add it before the audit, as in uk.{registry.name}['mine'] = ..., on the "
        "command line in the module that --data or --model names. Its repr has to be the same in "
        "every process, as that of a frozen dataclass is"
    )


def _same_plan(store: DiskStore, step: Step, plan: Plan) -> None:
    said = step.line.get("plan", plan.digest)
    found = plan_digest(plan, None if step.line.get("format") is None else store.secret())
    if said != found:
        raise AuditError(
            f"entry {step.number} of the ledger names the plan {said}, but the data, spec and "
            f"model lead to {found}"
        )


def _train(plan: Plan, again: MemoryStore, step: Step, secret: bytes, run: Run) -> int:
    """Train what the shards of a step lack, and return the visits.

    A shard that has been modified keeps its model. If an interrupted repayment had retrained some
    of its stages by then, the modification began with these, so that they are trained here too.
    """
    jobs, visits = [], 0
    for shard in step.group:
        chain, whole = plan.chains[shard], again.approximation(plan.final_key(shard)) is None
        names = [name_of(Checkpoint(each.key, shard, each.index, {}, {})) for each in chain]
        there = [whole or keyed(name, secret) in step.files for name in names]
        last = max((n for n, held in enumerate(there, start=1) if held), default=0)
        missing = [stage for stage in chain[:last] if stage.key not in again]
        if missing:
            jobs.append(make_job(plan, missing, starting_state(plan, missing[0], again)))
            visits += sum(stage.visits for stage in missing)
    try:
        run_jobs(plan, jobs, keep=again.put, run=run)
    except NotFiniteError as error:
        raise AuditError(
            f"training the original models again did not stay finite, but the ledger says that "
            f"they were modified: {error}"
        ) from error
    return visits


def _modify(plan: Plan, again: MemoryStore, step: Step, method: Any, amend: Any, run: Run) -> int:
    """Modify the shards of a step as it records, and return the visits."""
    approximator, boundary = Approximator.of(plan, method, amend), Recorded(step)
    ids = np.asarray(step.line["ids"], np.int64)
    assessment = assess(plan, again, ids, Clock(), approximator)
    decision = boundary.decide(assessment.workload, assessment.costs, {})
    found = modify_shards(plan, again, assessment, decision, boundary, approximator, run)
    refused = sorted(step.accepted & found.refused.keys())
    if refused:
        raise AuditError(
            f"entry {step.number} of the ledger says that the modification of shard {refused[0]} "
            f"was accepted, but when it is replayed, {found.refused[refused[0]]}"
        )
    return found.visits


def _compare(kept: Approximation, fresh: Approximation | None) -> None:
    """Compare a stored approximation with that of the replay."""
    which = f"the approximation of shard {kept.shard}"
    if fresh is None or fresh.shard != kept.shard:
        raise AuditError(f"{which} belongs to no modification that the ledger records")
    if kept.method != fresh.method:
        raise AuditError(f"{which} names {kept.method}, but the replayed one {fresh.method}")
    if not np.array_equal(kept.debt, fresh.debt):
        raise AuditError(
            f"{which} owes {len(kept.debt)} examples, which are not the {len(fresh.debt)} of the "
            "replayed one"
        )
    if kept.checkpoints.keys() != fresh.checkpoints.keys():
        raise AuditError(
            f"{which} holds the stages {sorted(kept.checkpoints)}, but the replayed one "
            f"{sorted(fresh.checkpoints)}"
        )
    for stage, checkpoint in sorted(kept.checkpoints.items()):
        if different := different_bits(checkpoint, fresh.checkpoints[stage]):
            raise AuditError(
                f"{which} is not what modifying the original model again gives: in stage {stage}, "
                f"{different}"
            )
