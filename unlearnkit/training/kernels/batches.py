"""Batches straight from the data as they are stored, converted one batch at a time.

No table of the shards' examples as numbers is made, but of few examples, where the calls of a
conversion cost more than what it does, and on other devices than the processor. (Measured, 54,000
images kept as bytes, batches of 320: 2.8 us a row to make such a table and .5 to gather from it, .3
to gather bytes and convert them while they are in the cache. Numbers kept as float32 cost the same
either way.)
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unlearnkit.training.plan import Plan

SMALL = 2 << 20  # bytes of a table that is made: it stays in the cache


class Gathering:
    """Reads the retained examples of some shards, batch by batch.

    An empty slot is a row of zeros. Where there is no table that has such a row, it holds a
    retained example while the batch is made, never a revoked one.
    """

    def __init__(self, plan: Plan, shards: Sequence[int]) -> None:
        """Find where every row of the partition is."""
        examples = plan.examples
        rows = np.concatenate([plan.partition.shard_rows(shard) for shard in sorted(set(shards))])
        kept = np.sort(rows[plan.retained[rows]])
        ids = plan.partition.ids[kept]
        inner = examples.features[0].numel()
        self.converted = plan.device.type != "cpu" or 4 * inner * len(kept) <= SMALL
        if self.converted:
            inputs, labels = (
                torch.cat([part, part.new_zeros(1, *part.shape[1:])]).to(plan.device)
                for part in examples[ids]
            )
            at = np.arange(len(kept))
        else:
            inputs, labels, at = examples.features, examples.labels, examples.rows(ids)
        self.examples, self.features, self.labels = examples, inputs.flatten(1), labels
        self.position = np.zeros(len(plan.partition.ids), np.int32)
        self.position[kept] = at
        self.spare = len(kept) if self.converted else int(at[0]) if len(at) else 0
        self.raw = self.features.new_empty(0)

    def places(
        self, rows: Int[np.ndarray, " *slot"], alive: Bool[np.ndarray, " *slot"]
    ) -> Int[np.ndarray, " *slot"]:
        """Where the examples in some slots are."""
        return np.where(alive, self.position[rows], np.int32(self.spare))

    def empty(self, alive: Bool[np.ndarray, "step slot"]) -> list[Int[Tensor, " empty"] | None]:
        """The slots of each step that have to be emptied when it is read; None if there is none."""
        found: list[Tensor | None] = [None] * len(alive)
        if not self.converted:
            for step in np.flatnonzero(~alive.all(1)):
                found[step] = torch.from_numpy(np.flatnonzero(~alive[step]))
        return found

    def read(
        self,
        places: Int[Tensor, " slot"],
        empty: Int[Tensor, " empty"] | None,
        into: Float[Tensor, "slot width"],
    ) -> None:
        """Write the inputs of a batch; columns beyond them stay as they are."""
        inner = self.features.shape[1]
        inputs = into if into.shape[1] == inner else into[:, :inner]
        if self.features.dtype == into.dtype:
            torch.index_select(self.features, 0, places, out=inputs)
        else:
            if len(self.raw) != len(places):
                self.raw = self.features.new_empty(len(places), inner)
            torch.index_select(self.features, 0, places, out=self.raw)
            inputs.copy_(self.raw)
        if self.converted:
            return
        self.examples.scale_(inputs)
        if empty is not None:
            into.index_fill_(0, empty, 0.0)

    def targets(self, places: Int[Tensor, " slot"], alive: Bool[Tensor, " slot"]) -> Tensor:
        """Labels, or targets, of slots; 0 where they are empty."""
        found = self.labels.index_select(0, places)
        found[~alive] = 0
        return found
