"""The approximate part of a request: modify the parameters of some shards, then amend them.

The boundary looks at each shard twice: when its correction is known, and when it has been amended.
What it refuses is left for exact retraining. Nothing is stored here; what comes out is for
:func:`~unlearnkit.unlearning.unlearn.unlearn` to store.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from unlearnkit.approximate import (
    Amend,
    Amended,
    Members,
    Modified,
    OnStep,
    ShardRound,
    ShardState,
)
from unlearnkit.progress import ProgressEvent, Run
from unlearnkit.seeding import numpy_generator
from unlearnkit.store import Approximation, Checkpoint, Store
from unlearnkit.training.clock import Batches, Work
from unlearnkit.training.kernels.loop import compute_threads
from unlearnkit.training.plan import Plan
from unlearnkit.training.shard_model import ShardModel
from unlearnkit.training.train import work_of
from unlearnkit.unlearning.approximator import Approximator
from unlearnkit.unlearning.assessment import Assessment
from unlearnkit.unlearning.boundary.protocol import Boundary, Decision
from unlearnkit.unlearning.debt import Debts
from unlearnkit.unlearning.error_model import ErrorModel
from unlearnkit.unlearning.inspection import PROBE_MAX, Check, Probe


def replayed(plan: Plan, shards: Iterable[int], amend: Amend) -> Work:
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


@dataclass(frozen=True, eq=False)
class Modification:
    """What a round gave, and what it took.

    Attributes:
        approximations: that were accepted.
        checks: of each shard, accepted or not.
        refused: shards that are to be retrained exactly instead, and why.
        planned: the work in large batches, as the clock counts it.
        replayed: the work of the first amend.
        visits: large-batch and replayed.
        seconds: of the modification alone.
        whole: of the first amend too, but of no look.
        as_planned: whether no look asked for more than was planned.
        bounds: what the method proves of accepted shards that the amend left as they were.
    """

    approximations: tuple[Approximation, ...]
    checks: tuple[Check, ...]
    refused: dict[int, str]
    planned: Batches
    replayed: Work
    visits: int
    seconds: float
    whole: float
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
    """One approximate round on some shards: modify and amend them together, and look at them."""
    plan, debts = assessment.plan, assessment.debts
    method, amend = approximator.method, approximator.amend
    rounds = {shard: _round(before, plan, store, shard, debts) for shard in decision.approximate}
    forget = {shard: each.forget for shard, each in rounds.items()}
    planned = method.batches(plan, forget)
    large = sum(method.visits(plan, shard, members) for shard, members in forget.items())
    replay = replayed(plan, forget, amend).visits

    def step(begin: int, visits: int) -> OnStep:
        def on_step(sentence: str, share: float) -> None:
            run.check()
            done = begin + int(share * visits)
            run.on_progress(ProgressEvent("modify", None, None, done, large + replay))

        return on_step

    with compute_threads(plan.spec.num_threads):
        begun = time.perf_counter()
        found = method(list(rounds.values()), on_progress=step(0, large))
        seconds = time.perf_counter() - begun
        modified = dict(zip(rounds, found, strict=True))
        guard = _Guard(rounds, modified, boundary, approximator.probe)
        guard.inspect_corrections(approximator.error_model)
        begun = time.perf_counter()
        guard.amend(rounds.keys() - guard.refused, amend, step(large, replay))
        amended = replayed(plan, guard.amends, amend)
        whole = seconds + time.perf_counter() - begun
        guard.inspect_outputs(amend.longer(plan), step(large + replay, 0))
    approximations = [
        _approximation(before, plan, store, debts, rounds[s], guard, f"{method!r}, then {how!r}")
        for s, how in guard.amends.items()
        if s not in guard.refused
    ]
    return Modification(
        approximations=tuple(approximations),
        checks=tuple(guard.checks.values()),
        refused=guard.refused,
        planned=planned,
        replayed=amended,
        visits=guard.visits,
        seconds=seconds,
        whole=whole,
        as_planned=not guard.refused and set(guard.amends.values()) <= {amend},
        bounds=guard.bounds(),
    )


class _Guard:
    """Shards on their way, with what was seen of them."""

    def __init__(
        self,
        rounds: dict[int, ShardRound],
        modified: dict[int, Modified],
        boundary: Boundary,
        probe: Probe,
    ) -> None:
        self.rounds, self.modified = rounds, modified
        self.boundary, self.probe = boundary, probe
        self.before = {s: _last(each).state for s, each in rounds.items()}
        self.checks: dict[int, Check] = {}
        self.refused: dict[int, str] = {}
        self.amends: dict[int, Amend] = {}
        self.amended: dict[int, Amended] = {}
        self.visits = sum(each.visits for each in modified.values())

    def inspect_corrections(self, error_model: ErrorModel) -> None:
        """The second look: the corrections are known, and nothing has been replayed yet."""
        for s, each in self.modified.items():
            correction = self.probe.correction(self.before[s], each.correction_norm)
            gone, kept = len(self.rounds[s].forget), len(self.rounds[s].retain)
            self.checks[s] = Check(
                shard=s,
                share=gone / (gone + kept),
                convex=self.probe.architecture.is_linear,
                correction=correction,
                bound=error_model.bound(s, correction),
            )
        self.refused |= self._objections(self.checks)

    def amend(self, shards: Iterable[int], amend: Amend, on_step: OnStep) -> None:
        """Amend some shards, from their corrections on."""
        chosen = sorted(shards)
        if not chosen:
            return
        done = amend(
            [self.rounds[s] for s in chosen],
            [self.modified[s] for s in chosen],
            on_progress=on_step,
        )
        self.amended |= dict(zip(chosen, done, strict=True))
        self.amends |= dict.fromkeys(chosen, amend)
        self.visits += sum(each.visits for each in done)

    def inspect_outputs(self, longer: Amend | None, on_step: OnStep) -> None:
        """The guard: what the probe shows may ask for a longer amend, or refuse."""
        failed = self._objections_to_outputs(self.amended)
        if failed and longer is not None:
            self.amend(failed, longer, on_step)
            failed = self._objections_to_outputs(failed)
        self.refused |= failed

    def bounds(self) -> dict[int, float]:
        """Of each accepted shard for which there is one, and which the amend left as it was."""
        found = {}
        for s in self.amended.keys() - self.refused.keys():
            modified, end = self.modified[s], self.amended[s].checkpoint
            if modified.bound is not None and end is modified.checkpoints[end.stage]:
                found[s] = modified.bound
        return found

    def _objections_to_outputs(self, shards: Iterable[int]) -> dict[int, str]:
        chosen = list(shards)
        seen = self.probe.inspect(
            [replace(self.checks[s], replayed=self.amended[s].epochs) for s in chosen],
            [self.before[s] for s in chosen],
            [self.modified[s].checkpoints[len(self.rounds[s].state.chain)].state for s in chosen],
            [self.amended[s].checkpoint.state for s in chosen],
            None if self.probe.architecture.is_linear else list(map(self._loss, chosen)),
        )
        self.checks |= dict(zip(chosen, seen, strict=True))
        return self._objections(chosen)

    def _loss(self, shard: int) -> float:
        """Of what the shard forgets, before the request: of so many examples from all of it."""
        given = self.rounds[shard]
        some = np.linspace(0, len(given.forget) - 1, min(len(given.forget), PROBE_MAX)).round()
        chosen = some.astype(np.int64)
        members = Members(given.forget.rows[chosen], given.forget.slices[chosen])
        return self.probe.loss_of(self.before[shard], *given.state.data(members))

    def _objections(self, shards: Iterable[int]) -> dict[int, str]:
        asked = {s: self.boundary.objection(self.checks[s]) for s in shards}
        return {s: f"{why}, so it is retrained exactly" for s, why in asked.items() if why}


def _last(each: ShardRound) -> Checkpoint:
    """The checkpoint of the last stage when the round begins."""
    return each.state.checkpoints[len(each.state.chain)]


def _approximation(
    before: Plan,
    plan: Plan,
    store: Store,
    debts: Debts,
    given: ShardRound,
    guard: _Guard,
    method: str,
) -> Approximation:
    """What is stored of a shard that was accepted."""
    shard, last = given.state.shard, plan.spec.num_slices
    old = ShardModel(before, store, shard).approximation if shard in debts else None
    corrected, end = guard.modified[shard].checkpoints, guard.amended[shard].checkpoint
    checkpoints = {**(old.checkpoints if old else {}), **corrected, last: end}
    owed = debts.get(shard, np.empty(0, np.int64))
    debt = np.union1d(owed, plan.partition.ids[given.forget.rows])
    kept = {
        # They were trained with the examples of the debt, and are not free of them.
        r: replace(checkpoint, lineage=plan.lineage(shard, r, debt))
        for r, checkpoint in checkpoints.items()
    }
    return Approximation(shard, plan.final_key(shard), debt, kept, method)


def _round(before: Plan, plan: Plan, store: Store, shard: int, debts: Debts) -> ShardRound:
    """What a method gets for one shard."""
    forget, retain = members_of(before, plan, shard)
    model, found = ShardModel(before, store, shard), {}
    for stage in before.chains[shard]:
        checkpoint = model.checkpoint(stage.index)
        if checkpoint is None:  # a shard that lacks one is retrained exactly: see incomplete()
            raise LookupError(f"shard {shard} has no checkpoint of stage {stage.index}")
        found[stage.index] = checkpoint
    state = ShardState(plan, shard, found)
    owed = len(debts.get(shard, ()))
    generator = numpy_generator(plan.spec.seed, "approximate", shard, owed)
    return ShardRound(state, forget, retain, generator)


def incomplete(plan: Plan, store: Store, shard: int) -> str:
    """Why a shard cannot be modified as it is stored, in a sentence; empty if it can."""
    model = ShardModel(plan, store, shard)
    if all(model.has(stage.index) for stage in plan.chains[shard]):
        return ""
    return "a checkpoint of this shard is missing from the store, so it is retrained exactly"


def members_of(before: Plan, plan: Plan, shard: int) -> tuple[Members, Members]:
    """What a shard forgets in going from one plan to the next, and what it keeps."""
    rows = plan.partition.shard_rows(shard)
    slices = plan.partition.slice_[rows]
    kept = plan.retained[rows]
    gone = before.retained[rows] & ~kept
    return Members(rows[gone], slices[gone]), Members(rows[kept], slices[kept])
