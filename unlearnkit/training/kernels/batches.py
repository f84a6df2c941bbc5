"""Batches of examples, converted to float32 one batch at a time.

Examples stored as bytes are gathered and converted while they are in the cache, which is faster
than converting a whole table of them first. A table is converted in advance only for few examples,
where the overhead of calls dominates, and on devices other than the CPU.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unlearnkit.training.plan import Plan

SMALL = 2 << 20  # upper limit of bytes of a table converted in advance, which fits the cache


class BatchReader:
    """Reads the retained examples of some shards batch by batch.

    An empty slot reads as a row of zeros. A converted table has such a row. Without a table, the
    slot temporarily holds a retained example, never a revoked one, and is then zeroed.
    """

    def __init__(self, plan: Plan, shards: Sequence[int]) -> None:
        """Convert a table if it pays, and locate every row of the partition."""
        examples, computed = plan.examples, plan.examples.computed
        rows = np.concatenate([plan.partition.shard_rows(shard) for shard in sorted(set(shards))])
        kept = np.sort(rows[plan.retained[rows]])
        ids = plan.partition.ids[kept]
        inner = math.prod(examples.input_shape)
        self.converted = plan.device.type != "cpu" or 4 * inner * len(kept) <= SMALL
        if self.converted:
            inputs, labels = (
                torch.cat([part, part.new_zeros(1, *part.shape[1:])]).to(plan.device)
                for part in examples[ids]
            )
            at = np.arange(len(kept))
        elif computed is not None:  # features in the order in which they are kept
            inputs, at = computed.stored(ids)
            labels = examples.labels.new_zeros(len(inputs), *examples.labels.shape[1:])
            labels[torch.from_numpy(at)] = examples.labels[torch.from_numpy(examples.rows(ids))]
        else:
            inputs, labels, at = examples.features, examples.labels, examples.rows(ids)
        self.raw_values = not self.converted and computed is None  # they are still to be scaled
        self.examples, self.features, self.labels = examples, inputs.flatten(1), labels
        self.position = np.zeros(len(plan.partition.ids), np.int32)
        self.position[kept] = at
        self.spare = len(kept) if self.converted else int(at[0]) if len(at) else 0
        self.raw = self.features.new_empty(0)

    def positions(
        self, rows: Int[np.ndarray, " *slot"], alive: Bool[np.ndarray, " *slot"]
    ) -> Int[np.ndarray, " *slot"]:
        """Return the positions from which slots read; empty slots read from the spare position."""
        return np.where(alive, self.position[rows], np.int32(self.spare))

    def empty(self, alive: Bool[np.ndarray, "step slot"]) -> list[Int[Tensor, " empty"] | None]:
        """Return for each step the slots to zero after reading, or None if there are none."""
        found: list[Tensor | None] = [None] * len(alive)
        if not self.converted:
            for step in np.flatnonzero(~alive.all(1)):
                found[step] = torch.from_numpy(np.flatnonzero(~alive[step]))
        return found

    def read(
        self,
        positions: Int[Tensor, " slot"],
        empty: Int[Tensor, " empty"] | None,
        into: Float[Tensor, "slot width"],
    ) -> None:
        """Write the inputs of a batch to ``into``; columns beyond the features do not change."""
        inner = self.features.shape[1]
        inputs = into if into.shape[1] == inner else into[:, :inner]
        if self.features.dtype == into.dtype:
            torch.index_select(self.features, 0, positions, out=inputs)
        else:
            if len(self.raw) != len(positions):
                self.raw = self.features.new_empty(len(positions), inner)
            torch.index_select(self.features, 0, positions, out=self.raw)
            inputs.copy_(self.raw)
        if self.converted:
            return
        if self.raw_values:
            self.examples.scale_(inputs)
        if empty is not None:
            into.index_fill_(0, empty, 0.0)

    def targets(self, positions: Int[Tensor, " slot"], alive: Bool[Tensor, " slot"]) -> Tensor:
        """Return the labels or targets of slots; 0 for empty slots."""
        found = self.labels.index_select(0, positions)
        found[~alive] = 0
        return found
