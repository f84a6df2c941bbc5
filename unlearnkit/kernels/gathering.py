"""Batches straight from the data as they are stored, converted one batch at a time.

No table of a shard's examples as numbers is made. (Measured, 54,000 images kept as bytes, batches
of 320: 2.8 us a row to make such a table and .5 to gather from it, .3 to gather bytes and convert
them while they are in the cache. Numbers kept as float32 cost the same either way.)
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unlearnkit.plan import Plan


class Gathering:
    """Reads the retained examples of some shards, batch by batch.

    An empty slot is a row of zeros. While a batch is made it holds a retained example, never a
    revoked one.
    """

    def __init__(self, plan: Plan, shards: Sequence[int]) -> None:
        """Find where every row of the partition is; the data of another device are sent there."""
        examples = plan.examples
        rows = np.concatenate([plan.partition.shard_rows(shard) for shard in sorted(set(shards))])
        kept = np.sort(rows[plan.retained[rows]])
        at = examples.rows(plan.partition.ids[kept])
        features, labels = examples.features, examples.labels
        if plan.device.type != "cpu":
            index = torch.from_numpy(at)
            features, labels = features[index].to(plan.device), labels[index].to(plan.device)
            at = np.arange(len(at))
        self.examples = examples
        self.features, self.labels = features.flatten(1), labels
        self.position = np.zeros(len(plan.partition.ids), np.int32)
        self.position[kept] = at
        self.spare = int(at[0]) if len(at) else 0
        self.raw = self.features.new_empty(0)

    def places(
        self, rows: Int[np.ndarray, " *slot"], alive: Bool[np.ndarray, " *slot"]
    ) -> Int[np.ndarray, " *slot"]:
        """Where the examples in some slots are."""
        return np.where(alive, self.position[rows], np.int32(self.spare))

    def read(
        self,
        places: Int[Tensor, " slot"],
        empty: Int[Tensor, " empty"] | None,
        into: Float[Tensor, "slot width"],
    ) -> None:
        """Write the inputs of a batch; columns beyond them stay as they are."""
        inner = self.features.shape[1]
        if len(self.raw) != len(places):
            self.raw = self.features.new_empty(len(places), inner)
        inputs = into if into.shape[1] == inner else into[:, :inner]
        if self.raw.dtype == into.dtype and inputs is into:
            torch.index_select(self.features, 0, places, out=into)
        else:
            torch.index_select(self.features, 0, places, out=self.raw)
            inputs.copy_(self.raw)
        self.examples.scale_(inputs)
        if empty is not None:
            into.index_fill_(0, empty, 0.0)

    def targets(self, places: Int[Tensor, " slot"], alive: Bool[Tensor, " slot"]) -> Tensor:
        """Labels, or targets, of slots; 0 where they are empty."""
        found = self.labels.index_select(0, places)
        found[~alive] = 0
        return found
