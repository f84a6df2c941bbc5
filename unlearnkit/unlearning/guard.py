"""The guard: inspects modified shards, asks for longer amends, and refuses what looks wrong."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch

from unlearnkit.approximate import (
    Amend,
    Amended,
    Members,
    Modified,
    OnStep,
    ShardRound,
    ShardState,
)
from unlearnkit.models.state import is_finite
from unlearnkit.seeding import torch_generator
from unlearnkit.store import Checkpoint
from unlearnkit.store.checkpoint import State
from unlearnkit.training.kernels.finite import NotFiniteError
from unlearnkit.unlearning.boundary.protocol import Boundary
from unlearnkit.unlearning.boundary.verdict import doubt_of
from unlearnkit.unlearning.error_model import ErrorModel, largest_class_share
from unlearnkit.unlearning.inspection import (
    CHECKED_MAX,
    CURVED_MAX,
    Check,
    Models,
    Probe,
    evenly_spaced,
)

Result = TypeVar("Result")
NOT_FINITE = "is not finite (NaN or infinite numbers), so it is retrained exactly"


class Guard:
    """Shards that are being modified, with their checks and the boundary's objections."""

    def __init__(
        self,
        rounds: dict[int, ShardRound],
        modified: dict[int, Modified],
        boundary: Boundary,
        probe: Probe,
    ) -> None:
        self.rounds, self.modified = rounds, modified
        self.boundary, self.probe = boundary, probe.some(CHECKED_MAX)
        self.before = {s: last_checkpoint(each).state for s, each in rounds.items()}
        self.checks: dict[int, Check] = {}
        self.refused: dict[int, str] = {}
        self.amends: dict[int, Amend] = {}
        self.amended: dict[int, Amended] = {}
        self.visits = sum(each.visits for each in modified.values())
        self.names = probe.architecture.trainable_names
        self.forgotten = {
            s: probe_of(each.state, each.forget, CHECKED_MAX) for s, each in rounds.items()
        }

    def inspect_corrections(self, error_model: ErrorModel) -> None:
        """Check the corrections, before anything is replayed."""
        for s, each in self.modified.items():
            states = [checkpoint.state for checkpoint in each.checkpoints.values()]
            if not math.isfinite(each.correction_norm) or not self._finite(states):
                self.refused[s] = f"its correction {NOT_FINITE}"
                continue
            correction = self.probe.correction(self.before[s], each.correction_norm)
            forget, retain = self.rounds[s].forget, self.rounds[s].retain
            labels, lost = self.rounds[s].state.plan.examples.labels, None
            if not labels.is_floating_point():
                lost = largest_class_share(*(labels.numpy()[m.rows] for m in (forget, retain)))
            self.checks[s] = Check(
                shard=s,
                share=len(forget) / (len(forget) + len(retain)),
                convex=self.probe.architecture.is_linear,
                correction=correction,
                bound=error_model.bound(s, correction, lost),
                class_share=lost,
            )
        self.refused |= self._objections(self.checks)

    def amend(self, shards: Iterable[int], amend: Amend, on_step: OnStep) -> None:
        """Amend some shards, beginning with their corrected parameters.

        Shards whose amend is not finite are refused.
        """

        def work(chosen: list[int]) -> list[Amended]:
            done = amend(
                [self.rounds[s] for s in chosen],
                [self.modified[s] for s in chosen],
                on_progress=on_step,
            )
            return results_of(amend, done, Amended, len(chosen))

        results, diverged = together_or_alone(sorted(shards), work)
        for s, each in results.items():
            self.visits += each.visits
            if self._finite([each.checkpoint.state]):
                self.amended[s], self.amends[s] = each, amend
            else:
                diverged[s] = NOT_FINITE
        self.refused |= {s: f"its amend {why}" for s, why in diverged.items()}

    def inspect_outputs(self, longer: Amend | None, on_step: OnStep) -> None:
        """Check the outputs on the probe; refused shards get a longer amend if there is one."""
        failed = self._objections_to_outputs(self.amended)
        if failed and longer is not None:
            self.amend(failed, longer, on_step)
            failed = self._objections_to_outputs(s for s in failed if s not in self.refused)
        self.refused |= failed

    def bounds(self) -> dict[int, float]:
        """Return the proven bounds of accepted shards that the amend did not change."""
        found = {}
        for s in self.amended.keys() - self.refused.keys():
            modified, end = self.modified[s], self.amended[s].checkpoint
            if modified.bound is not None and end is modified.checkpoints[end.stage]:
                found[s] = modified.bound
        return found

    def _objections_to_outputs(self, shards: Iterable[int]) -> dict[int, str]:
        chosen = list(shards)
        seen = [self._inspected(s) for s in chosen]
        broken = [s for s, check in zip(chosen, seen, strict=True) if _is_nan(check)]
        self.refused |= dict.fromkeys(broken, f"its output {NOT_FINITE}")
        self.checks |= {check.shard: check for check in seen if check.shard not in broken}
        return self._objections(s for s in chosen if s not in broken)

    def _inspected(self, shard: int) -> Check:
        """Return the check of a shard with what its outputs show."""
        given, amended = self.rounds[shard], self.amended[shard]
        last = len(given.state.chain)
        models = Models(
            self.before[shard],
            self.modified[shard].checkpoints[last].state,
            amended.checkpoint.state,
            last_checkpoint(given).tails.get(amended.epochs),
        )
        check = replace(self.checks[shard], replayed=amended.epochs)
        return self.probe.inspect(check, models, self.forgotten[shard])

    def _finite(self, states: Iterable[State]) -> bool:
        return all(is_finite(state, self.names) for state in states)

    def _objections(self, shards: Iterable[int]) -> dict[int, str]:
        objections = {s: self.boundary.objection(self.checks[s]) for s in shards}
        return {s: f"{why}, so it is retrained exactly" for s, why in objections.items() if why}


def together_or_alone(
    shards: Sequence[int], work: Callable[[list[int]], list[Result]]
) -> tuple[dict[int, Result], dict[int, str]]:
    """Do some work on all shards together; if it meets numbers that are not finite, on each alone.

    Args:
        shards: the shards.
        work: returns a result for each of the shards that it is given.

    Returns:
        The results by shard; and for each shard that met such numbers even alone, what became of
        it.
    """
    if not shards:
        return {}, {}
    try:
        return dict(zip(shards, work(list(shards)), strict=True)), {}
    except (NotFiniteError, FloatingPointError, OverflowError):
        why = NOT_FINITE
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        why = f"has no solution ({error}), so it is retrained exactly"
    if len(shards) == 1:
        return {}, {shards[0]: why}
    results: dict[int, Result] = {}
    diverged: dict[int, str] = {}
    for shard in shards:
        found, met = together_or_alone([shard], work)
        results |= found
        diverged |= met
    return results, diverged


def probe_of(state: ShardState, members: Members, most: int) -> Probe:
    """Return evenly spaced examples among some of a shard, as a probe."""
    some, spec = members.take(evenly_spaced(len(members), most)), state.plan.spec
    return Probe(state.plan.architecture, spec.loss, *state.data(some))


def sharpness_of(state: ShardState, members: Members, probe: Probe) -> float | None:
    """Measure the sharpness of a shard's training (:mod:`unlearnkit.unlearning.inspection`).

    Args:
        state: the shard before the request.
        members: examples that it was trained on, which are used if the probe is empty.
        probe: held-out examples.

    Returns:
        The sharpness; None where it was not defined: for other optimizers than SGD, for complex
        parameters, and without examples.
    """
    spec, architecture = state.plan.spec, state.plan.architecture
    last = state.checkpoints[max(state.checkpoints)].state
    is_complex = any(last[name].is_complex() for name in architecture.trainable_names)
    seen = probe if len(probe.inputs) else probe_of(state, members, CURVED_MAX)
    if spec.optimizer != "sgd" or is_complex or not len(seen.inputs):
        return None
    seen = seen.some(CURVED_MAX)
    generator = torch_generator(spec.seed, "sharpness", state.shard)
    states = [architecture.initial(spec.seed, state.shard)]
    if not architecture.is_linear:
        states.append(last)
    found = [seen.largest_curvature(each, generator) for each in states]
    largest = math.nan if any(map(math.isnan, found)) else max(found)
    return spec.learning_rate * largest / (2 * (1 + spec.momentum))


def with_doubts(checks: Iterable[Check], sharpness: float | None) -> tuple[Check, ...]:
    """Return the checks of some shards with their sharpness and the doubts about them."""
    complete = [replace(check, sharpness=sharpness) for check in checks]
    return tuple(replace(check, doubt=doubt_of(check)) for check in complete)


def _is_nan(check: Check) -> bool:
    """Whether the outputs of an amended model are not finite."""
    return any(
        math.isnan(seen) for seen in (check.kl, check.rise, check.agreement) if seen is not None
    )


def results_of(source: Any, found: Any, kind: type[Result], count: int) -> list[Result]:
    """Return what a method or an amend returned, once it is known to be a result for every shard.

    Raises:
        TypeError: it is not a list of the right kind and length.
    """
    met = f"a {type(found).__name__}"
    if isinstance(found, Iterable):
        results = list(found)
        if len(results) == count and all(isinstance(each, kind) for each in results):
            return results
        kinds = sorted({type(each).__name__ for each in results})
        met += f" of {len(results)} ({', '.join(kinds)})" if kinds else " of 0"
    raise TypeError(
        f"{type(source).__name__} returned {'None' if found is None else met}; expected a list of "
        f"{count} {kind.__name__}, one for each shard that it was given"
    )


def last_checkpoint(each: ShardRound) -> Checkpoint:
    """Return the checkpoint of the last stage before the modification."""
    return each.state.checkpoints[len(each.state.chain)]
