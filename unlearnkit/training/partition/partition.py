"""The partition: the shard and slice of every training example, fixed for the whole run.

With groups, such as the rows of one person, a group is dealt to one slice of one shard as a whole,
so that forgetting it retrains one shard from that slice on. Shards and slices are balanced by rows.
With propensities, those who are likely to leave are in the last slices of few shards.

Revoking an example empties its slot and moves neither the bounds of slices nor other examples.
Retraining therefore stays coupled to the original run, and a plan changes only for affected shards.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int, UInt8

from unlearnkit.data.examples import Examples
from unlearnkit.data.reading.groups import has_shared_groups, in_order_of_appearance
from unlearnkit.data.reading.propensities import has_unequal
from unlearnkit.display import as_html
from unlearnkit.seeding import digest, numpy_generator
from unlearnkit.training.partition.dealing import check_smallest, dealt_places
from unlearnkit.training.partition.likely_late import likely_late
from unlearnkit.training.spec import TrainSpec

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Partition:
    """Shard and slice of every training example.

    Attributes:
        ids: ids of the examples, ascending.
        shard: 0-based shard of each example.
        slice_: 1-based slice of each example; slice r joins training at stage r.
        digests: 16-byte content digest of each example.
    """

    ids: Int[np.ndarray, " example"]
    shard: Int[np.ndarray, " example"]
    slice_: Int[np.ndarray, " example"]
    digests: UInt8[np.ndarray, "example 16"]

    def __repr__(self) -> str:
        return (
            f"Partition({len(self.ids)} examples, {self.num_shards} shards x "
            f"{self.num_slices} slices)"
        )

    @cached_property
    def num_shards(self) -> int:
        """Number of shards S."""
        return int(self.shard.max()) + 1

    @cached_property
    def num_slices(self) -> int:
        """Number of slices R of every shard."""
        return int(self.slice_.max())

    @cached_property
    def digest(self) -> str:
        """Digest of ids, shards and slices; the contents of the examples do not matter."""
        return digest(*(a.astype("<i8").tobytes() for a in (self.ids, self.shard, self.slice_)))

    @cached_property
    def _by_slice(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows sorted by shard and slice, their digests, and where each slice begins."""
        place = self.shard.astype(np.int64) * self.num_slices + self.slice_ - 1
        order = np.argsort(place, kind="stable")
        bounds = np.searchsorted(place[order], np.arange(self.num_shards * self.num_slices + 1))
        return order, np.ascontiguousarray(self.digests[order]).view("V16")[:, 0], bounds

    def slice_members(self, shard: int, stage: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of one slice, ascending by id, and their content digests."""
        order, digests, bounds = self._by_slice
        at = shard * self.num_slices + stage - 1
        part = slice(bounds[at], bounds[at + 1])
        return order[part], digests[part]

    @cached_property
    def slice_digests(self) -> tuple[tuple[str, ...], ...]:
        """Digest of the ids of every slice, by shard and slice."""
        return tuple(
            tuple(
                digest(self.ids[self.slice_members(s, r)[0]].tobytes())
                for r in range(1, self.num_slices + 1)
            )
            for s in range(self.num_shards)
        )

    @cached_property
    def _rows_by_shard(self) -> tuple[np.ndarray, ...]:
        order = np.argsort(self.shard, kind="stable")
        bounds = np.searchsorted(self.shard[order], np.arange(self.num_shards + 1))
        return tuple(order[a:b] for a, b in pairwise(bounds))

    def shard_rows(self, shard: int) -> Int[np.ndarray, " row"]:
        """Return the rows (positions in ``ids``) of one shard, ascending by id."""
        return self._rows_by_shard[shard]

    def rows(self, ids: Int[np.ndarray, " request"]) -> Int[np.ndarray, " found"]:
        """Return the rows of these ids; ids outside the training part are left out."""
        at = np.searchsorted(self.ids, ids)
        at_clipped = np.minimum(at, len(self.ids) - 1)
        found: np.ndarray = at_clipped[self.ids[at_clipped] == ids]
        return found

    def sizes(self, alive: Bool[np.ndarray, " example"]) -> Int[np.ndarray, "shard slice"]:
        """Count the examples selected by ``alive``: by shard and slice, slice r in column r - 1."""
        flat = self.shard.astype(np.int64) * self.num_slices + (self.slice_ - 1)
        counts = np.bincount(flat[alive], minlength=self.num_shards * self.num_slices)
        return counts.reshape(self.num_shards, self.num_slices)

    def to_frame(self) -> "pd.DataFrame":
        """Return a table with one row per example: id, shard, slice."""
        import pandas as pd

        return pd.DataFrame({"id": self.ids, "shard": self.shard, "slice": self.slice_})

    def _repr_html_(self) -> str:
        return as_html(self)


def balanced_sizes(
    num_examples: int, num_shards: int, num_slices: int
) -> Int[np.ndarray, "shard slice"]:
    """Return the number of examples in each slice of a new partition.

    Shard sizes differ by at most one, and so do slice sizes within a shard; the larger come first.
    """

    def split(total: Int[np.ndarray, " whole"], parts: int) -> Int[np.ndarray, "whole part"]:
        return total[:, None] // parts + (np.arange(parts) < (total % parts)[:, None])

    (shards,) = split(np.array([num_examples]), num_shards)
    return split(shards, num_slices)


def make_partition(examples: Examples, spec: TrainSpec, *, spread: bool = False) -> Partition:
    """Divide the examples into shards and slices by a permutation keyed by the seed.

    Their sizes are those of :func:`balanced_sizes`. If examples share groups, whole groups are
    dealt instead (:func:`~unlearnkit.training.partition.dealing.deal_groups`), and sizes are only
    about equal.

    If the examples have unequal propensities, the likeliest to leave are put into the last slice of
    the first shard, the next ones into that of the second, and so on, so that requests mostly
    retrain the last stage of few shards. **Shards are then unlike each other as far as leaving goes
    with labels or features.** This costs accuracy if most examples of a class are likely to leave,
    because most shards never see it: two to four points on images where all of one class were, and
    nothing measurable where they were a tenth of all rows, half of two classes, or the brightest
    rows. Then spread the likely leavers over the last slices of all shards, which saves less::

        partition = make_partition(data.train, spec, spread=True)
        session = uk.Session(data, spec=spec, partition=partition)

    Args:
        examples: the training part. Neither features nor labels are read.
        spec: the training specification, which has the seed.
        spread: whether likely leavers are spread over the last slices of all shards.

    Raises:
        ValueError: there are too few examples for the numbers of shards and slices.
    """
    count = len(examples)
    check_smallest(count // spec.num_shards, count, spec)
    generator = numpy_generator(spec.seed, "partition")
    order = generator.permutation(count)
    shard, slice_ = np.empty(count, np.int32), np.empty(count, np.int32)
    if examples.groups is not None and has_shared_groups(examples.groups):
        groups = in_order_of_appearance(examples.groups)[order]
        shard[order], slice_[order] = dealt_places(groups, spec, generator)
    else:
        sizes = balanced_sizes(count, spec.num_shards, spec.num_slices)
        shards, slices = np.indices(sizes.shape, np.int32)
        shard[order] = np.repeat(shards, sizes.ravel())
        slice_[order] = np.repeat(slices + 1, sizes.ravel())
    if has_unequal(examples.propensity):
        shard, slice_ = likely_late(examples, shard, slice_, generator, spread)
    return Partition(np.asarray(examples.ids), shard, slice_, examples.digests)
