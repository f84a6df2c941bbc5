"""The guard: inspects modified shards, asks for longer amends, and refuses what looks wrong."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from unlearnkit.approximate import (
    Amend,
    Amended,
    Members,
    Modified,
    OnStep,
    ShardRound,
)
from unlearnkit.store import Checkpoint
from unlearnkit.unlearning.boundary.protocol import Boundary
from unlearnkit.unlearning.error_model import ErrorModel
from unlearnkit.unlearning.inspection import PROBE_MAX, Check, Probe

Result = TypeVar("Result")


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
        self.boundary, self.probe = boundary, probe
        self.before = {s: last_checkpoint(each).state for s, each in rounds.items()}
        self.checks: dict[int, Check] = {}
        self.refused: dict[int, str] = {}
        self.amends: dict[int, Amend] = {}
        self.amended: dict[int, Amended] = {}
        self.visits = sum(each.visits for each in modified.values())

    def inspect_corrections(self, error_model: ErrorModel) -> None:
        """Check the corrections, before anything is replayed."""
        for s, each in self.modified.items():
            correction = self.probe.correction(self.before[s], each.correction_norm)
            num_forget, num_retain = len(self.rounds[s].forget), len(self.rounds[s].retain)
            self.checks[s] = Check(
                shard=s,
                share=num_forget / (num_forget + num_retain),
                convex=self.probe.architecture.is_linear,
                correction=correction,
                bound=error_model.bound(s, correction),
            )
        self.refused |= self._objections(self.checks)

    def amend(self, shards: Iterable[int], amend: Amend, on_step: OnStep) -> None:
        """Amend some shards, beginning with their corrected parameters."""
        chosen = sorted(shards)
        if not chosen:
            return
        done = amend(
            [self.rounds[s] for s in chosen],
            [self.modified[s] for s in chosen],
            on_progress=on_step,
        )
        results = results_of(amend, done, Amended, len(chosen))
        self.amended |= dict(zip(chosen, results, strict=True))
        self.amends |= dict.fromkeys(chosen, amend)
        self.visits += sum(each.visits for each in results)

    def inspect_outputs(self, longer: Amend | None, on_step: OnStep) -> None:
        """Check the outputs on the probe; refused shards get a longer amend if there is one."""
        failed = self._objections_to_outputs(self.amended)
        if failed and longer is not None:
            self.amend(failed, longer, on_step)
            failed = self._objections_to_outputs(failed)
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
        """Mean loss of evenly spaced forgotten examples under the model before the request."""
        given = self.rounds[shard]
        spaced = np.linspace(0, len(given.forget) - 1, min(len(given.forget), PROBE_MAX)).round()
        chosen = spaced.astype(np.int64)
        members = Members(given.forget.rows[chosen], given.forget.slices[chosen])
        return self.probe.loss_of(self.before[shard], *given.state.data(members))

    def _objections(self, shards: Iterable[int]) -> dict[int, str]:
        objections = {s: self.boundary.objection(self.checks[s]) for s in shards}
        return {s: f"{why}, so it is retrained exactly" for s, why in objections.items() if why}


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
