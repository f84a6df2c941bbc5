"""The approximate part of a request: modifies the parameters of some shards, then amends them.

The boundary checks each shard twice: when its correction is known, and when it has been amended.
Shards that it refuses are left for exact retraining. Accepted approximations are stored at once;
they take effect when :func:`~unlearnkit.unlearning.unlearn.unlearn` commits the request.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from unlearnkit.approximate import (
    Amend,
    Members,
    Method,
    Modified,
    OnStep,
    ShardRound,
    ShardState,
)
from unlearnkit.approximate.routes import Routes, refusal
from unlearnkit.models.surroundings import PLAIN
from unlearnkit.progress import ProgressEvent, Run
from unlearnkit.seeding import numpy_generator
from unlearnkit.store import Approximation, Store
from unlearnkit.store.footprint import return_freed_memory
from unlearnkit.threads import deal
from unlearnkit.torch_settings import compute_threads, own_settings
from unlearnkit.training.clock import Batches, Checks, Work
from unlearnkit.training.kernels.cpu_time import cpu_clock
from unlearnkit.training.kernels.dealing import threads_used
from unlearnkit.training.plan import Plan
from unlearnkit.training.shard_model import ShardModel
from unlearnkit.training.train import work_of
from unlearnkit.unlearning.approximator import Approximator
from unlearnkit.unlearning.assessment import Assessment
from unlearnkit.unlearning.boundary.protocol import Boundary, Decision
from unlearnkit.unlearning.debt import Debts
from unlearnkit.unlearning.guard import (
    Guard,
    results_of,
    sharpness_of,
    together_or_alone,
    with_doubts,
)
from unlearnkit.unlearning.inspection import CHECKED_MAX, Check, Probe


def replayed(plan: Plan, shards: Iterable[int], amend: Amend) -> Work:
    """Return the training work that an amend does on the last stages of some shards."""
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
        threads=1,
    )


def batches_of(method: Method, plan: Plan, forget: Mapping[int, Members]) -> Batches:
    """Return the work that a method expects for some shards.

    Raises:
        TypeError: the method returned something else.
    """
    found: Any = method.batches(plan, forget)
    if not isinstance(found, Batches):
        raise TypeError(
            f"{type(method).__name__}.batches returned {found!r}; expected a Batches, from which "
            "the seconds are predicted"
        )
    return found


def checks_of(plan: Plan, forget: Mapping[int, Members], amend: Amend, probe: Probe) -> Checks:
    """Return the work of checking some shards of a request after they were amended.

    Three models are compared on some of the forgotten examples and on the probe, and a fourth one
    if training kept the state from which the amend's epochs began. An output counts as a third of
    a gradient.
    """
    models = 3 + (amend.epochs(plan) in plan.spec.tail_epochs())
    lengths = [len(members) for members in forget.values()] + [len(probe.inputs)] * len(forget)
    outputs = models * sum(min(length, CHECKED_MAX) for length in lengths)
    return Checks(int(bool(forget)), len(forget), round(outputs / 3))


def longer_of(amend: Amend, plan: Plan) -> Amend | None:
    """Return the amend to try after this one, or None.

    Raises:
        TypeError: the amend returned something else.
    """
    found: Any = amend.longer(plan)
    if found is None or (callable(found) and hasattr(found, "epochs")):
        longer: Amend | None = found
        return longer
    raise TypeError(
        f"{type(amend).__name__}.longer returned {found!r}; expected an amend (an object, not a "
        "name) or None"
    )


def unsuitable_amend(amend: Amend, plan: Plan) -> str:
    """Return a sentence on why an amend does not fit a plan, or "" if it does or cannot say."""
    judge: Any = getattr(amend, "unsuitable", None)
    return str(judge(plan)) if callable(judge) else ""


def unchecked(plan: Plan) -> str:
    """Return a sentence on why modified models of a plan could not be checked, or ""."""
    return refusal("a modified model is checked on single examples", Routes(plan).predictions)


@dataclass(frozen=True, eq=False)
class Modification:
    """The results and costs of modifying and amending some shards.

    Attributes:
        checks: the check of each shard, accepted or not.
        refused: for each refused shard, why it is retrained exactly instead.
        planned: the work in large batches, as the clock counts it.
        checking: the work of the checks, as the clock counts it.
        once: CPU seconds of the checks that are made once for all shards.
        replayed: the work of the first amend.
        visits: example gradients of large batches and replays.
        seconds: CPU seconds of the modification alone.
        whole: CPU seconds of the modification and the first amend, without the checks.
        cpu_seconds: CPU seconds of all of it, with checks, further amends and storing.
        as_planned: whether every shard was accepted after the first amend.
        bounds: for each accepted shard that the amend did not change, the method's proven bound on
            the distance of its parameters from the optimum, where there is one.
    """

    checks: tuple[Check, ...]
    refused: dict[int, str]
    planned: Batches
    checking: Checks
    once: float
    replayed: Work
    visits: int
    seconds: float
    whole: float
    cpu_seconds: float
    as_planned: bool
    bounds: dict[int, float]


def modify_shards(
    before: Plan,
    store: Store,
    assessment: Assessment,
    decision: Decision,
    boundary: Boundary,
    approximator: Approximator,
    run: Run,
) -> Modification:
    """Modify, amend and check the approximate shards of a decision, and store accepted ones.

    If the method corrects every shard by itself, one shard after the other is read, modified and
    stored in each thread, so that the memory of one shard for each suffices; otherwise all are
    modified together, in one thread.

    Args:
        before: the plan before the request.
        store: holds the ensemble of that plan; accepted approximations are added to it.
        assessment: the assessment of the request.
        decision: says which shards are modified.
        boundary: accepts or refuses each approximation.
        approximator: carries out the modification.
        run: receives progress events, and can cancel the work.

    Raises:
        LookupError: a shard lacks a checkpoint.
        TypeError: the method or the amend returned something else than its protocol says.
        Cancelled: the run was cancelled.
    """
    plan, debts = assessment.plan, assessment.debts
    method, amend = approximator.method, approximator.amend
    chosen = decision.approximate
    forget = {shard: members_of(before, plan, shard)[0] for shard in chosen}
    planned, longer = batches_of(method, plan, forget), longer_of(amend, plan)
    large = {shard: method.visits(plan, shard, members) for shard, members in forget.items()}
    replays = {shard: replayed(plan, [shard], amend).visits for shard in forget}
    total = sum(large.values()) + sum(replays.values())
    parts = [list(chosen)] if chosen else []
    if is_separate(method, plan):
        parts = [[shard] for shard in chosen]
    own = all(map(_is_own, (method, amend, longer, boundary)))
    threads = threads_used(plan, len(parts), run.threads) if own else 1
    now = cpu_clock(plan, threads)
    reached = dict[int, int]()  # visits of each part that were reported, by its first shard
    found = dict[int, _Part]()
    lock = threading.RLock()  # of the store and of what all threads report to

    def step(part: int, begin: int, visits: int) -> OnStep:
        def on_step(sentence: str, share: float) -> None:
            run.check()
            with lock:
                reached[part] = begin + int(share * visits)
                at = sum(reached.values())
                run.on_progress(ProgressEvent("modify", None, None, at, total))

        return on_step

    def modify(some: list[int]) -> _Part:
        part_begun = now()
        with lock:
            rounds = {shard: _round(before, plan, store, shard, debts) for shard in some}
        modifying, replaying = (sum(each[shard] for shard in some) for each in (large, replays))
        after = modifying + replaying
        told = (
            step(some[0], 0, modifying),
            step(some[0], modifying, replaying),
            step(some[0], after, 0),
        )
        with compute_threads(plan.spec.num_threads):
            begun = now()
            modified, diverged = _modified(method, rounds, told[0])
            seconds = now() - begun
            return_freed_memory(plan.architecture.state_bytes)
            guard = Guard(rounds, modified, boundary, approximator.probe)
            guard.refused |= {shard: f"its correction {why}" for shard, why in diverged.items()}
            guard.inspect_corrections(approximator.error_model)
            begun = now()
            guard.amend(modified.keys() - guard.refused, amend, told[1])
            first = dict(guard.amends)
            whole = seconds + now() - begun
            guard.inspect_outputs(longer, told[2])
        with lock:
            for s, how in guard.amends.items():
                if s not in guard.refused:
                    name = f"{method!r}, then {how!r}"
                    kept = _approximation(before, plan, store, debts, guard, s, name)
                    store.put_approximation(kept)
            reached[some[0]] = after
        return _Part(
            tuple(guard.checks.values()),
            guard.refused,
            first,
            guard.amends,
            guard.visits,
            seconds,
            whole,
            now() - part_begun,
            guard.bounds(),
        )

    def work(dealt: Iterator[list[int]]) -> None:
        with own_settings():
            for some in dealt:
                found[some[0]] = modify(some)
                return_freed_memory(plan.architecture.state_bytes)

    deal(parts, work, threads)
    done = [found[some[0]] for some in parts]
    begun, checks = now(), tuple(check for part in done for check in part.checks)
    if checks:
        first_shard = _round(before, plan, store, checks[0].shard, debts)
        with compute_threads(plan.spec.num_threads):
            sharpness = sharpness_of(first_shard.state, first_shard.retain, approximator.probe)
        checks = with_doubts(checks, sharpness)
    inspecting = now() - begun
    first, last, refused, bounds = (
        {shard: value for part in done for shard, value in getattr(part, name).items()}
        for name in ("first", "last", "refused", "bounds")
    )
    return Modification(
        checks=checks,
        refused=refused,
        planned=planned,
        checking=checks_of(plan, forget, amend, approximator.probe),
        once=inspecting,
        replayed=replayed(plan, first, amend),
        visits=sum(part.visits for part in done),
        seconds=sum(part.seconds for part in done),
        whole=sum(part.whole for part in done),
        cpu_seconds=sum(part.cpu_seconds for part in done) + inspecting,
        as_planned=not refused and all(how == amend for how in last.values()),
        bounds=bounds,
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """The results and costs of modifying some shards together; see :class:`Modification`.

    Attributes:
        first: the first amend of each shard.
        last: the last amend of each shard.
    """

    checks: tuple[Check, ...]
    refused: dict[int, str]
    first: dict[int, Amend]
    last: dict[int, Amend]
    visits: int
    seconds: float
    whole: float
    cpu_seconds: float
    bounds: dict[int, float]


def _is_own(used: object) -> bool:
    """Whether an object and what it holds are of this package, so that threads may share it."""
    if isinstance(used, Mapping):
        return all(map(_is_own, used.values()))
    if isinstance(used, tuple | frozenset):
        return all(map(_is_own, used))
    if isinstance(used, (*PLAIN, torch.dtype, torch.device)):
        return True
    held = getattr(used, "__dict__", {})
    return type(used).__module__.startswith("unlearnkit.") and all(map(_is_own, held.values()))


def is_separate(method: Method, plan: Plan) -> bool:
    """Return whether a method corrects every shard by itself, by its ``is_separate`` if it has one.

    The result of a shard then does not depend on the shards of the call, not even in its rounding.
    """
    judge: Any = getattr(method, "is_separate", None)
    return bool(judge(plan)) if callable(judge) else False


def _modified(
    method: Method, rounds: dict[int, ShardRound], on_step: OnStep
) -> tuple[dict[int, Modified], dict[int, str]]:
    def work(shards: list[int]) -> list[Modified]:
        found = method([rounds[shard] for shard in shards], on_progress=on_step)
        return results_of(method, found, Modified, len(shards))

    return together_or_alone(list(rounds), work)


def _approximation(
    before: Plan,
    plan: Plan,
    store: Store,
    debts: Debts,
    guard: Guard,
    shard: int,
    method: str,
) -> Approximation:
    """Build the approximation to store for an accepted shard."""
    given, last = guard.rounds[shard], plan.spec.num_slices
    old = ShardModel(before, store, shard).approximation if shard in debts else None
    corrected, end = guard.modified[shard].checkpoints, guard.amended[shard].checkpoint
    checkpoints = {**(old.checkpoints if old else {}), **corrected, last: end}
    owed = debts.get(shard, np.empty(0, np.int64))
    debt = np.union1d(owed, plan.partition.ids[given.forget.rows])
    stored = {
        # These checkpoints were trained with the examples of the debt, so their lineage names them.
        r: replace(checkpoint, lineage=plan.lineage(shard, r, debt))
        for r, checkpoint in checkpoints.items()
    }
    return Approximation(shard, plan.final_key(shard), debt, stored, method)


def _round(before: Plan, plan: Plan, store: Store, shard: int, debts: Debts) -> ShardRound:
    """Collect what a method needs for one shard."""
    forget, retain = members_of(before, plan, shard)
    model, found = ShardModel(before, store, shard), {}
    for stage in before.chains[shard]:
        checkpoint = model.checkpoint(stage.index)
        if checkpoint is None:  # boundaries retrain such a shard: see incomplete()
            raise LookupError(
                f"shard {shard} has no checkpoint of stage {stage.index}, so it cannot be "
                "modified; retrain it exactly"
            )
        found[stage.index] = checkpoint
    state = ShardState(plan, shard, found)
    owed = len(debts.get(shard, ()))
    generator = numpy_generator(plan.spec.seed, "approximate", shard, owed)
    return ShardRound(state, forget, retain, generator)


def incomplete(plan: Plan, store: Store, shard: int) -> str:
    """Return why a shard cannot be modified as it is stored, or "" if it can."""
    model = ShardModel(plan, store, shard)
    if all(model.has(stage.index) for stage in plan.chains[shard]):
        return ""
    return "a checkpoint of this shard is missing from the store, so it is retrained exactly"


def members_of(before: Plan, plan: Plan, shard: int) -> tuple[Members, Members]:
    """Return the examples that a shard forgets and retains between two plans.

    Args:
        before: the plan before the request.
        plan: the plan after it.
        shard: 0-based.
    """
    rows = plan.partition.shard_rows(shard)
    slices = plan.partition.slice_[rows]
    retain = plan.retained[rows]
    forget = before.retained[rows] & ~retain
    return Members(rows[forget], slices[forget]), Members(rows[retain], slices[retain])
