"""The guard: inspects modified shards, asks for longer amends, and refuses what looks wrong."""

from collections.abc import Iterable
from dataclasses import replace

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
        self.amended |= dict(zip(chosen, done, strict=True))
        self.amends |= dict.fromkeys(chosen, amend)
        self.visits += sum(each.visits for each in done)

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


def last_checkpoint(each: ShardRound) -> Checkpoint:
    """Return the checkpoint of the last stage before the modification."""
    return each.state.checkpoints[len(each.state.chain)]
