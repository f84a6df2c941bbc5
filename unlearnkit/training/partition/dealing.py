"""Dealing whole groups, such as the rows of one person, to shards and slices."""

import heapq
from itertools import pairwise

import numpy as np
from jaxtyping import Int

from unlearnkit.data.reading.groups import in_order_of_appearance
from unlearnkit.training.spec import TrainSpec


def check_smallest(smallest: int, count: int, spec: TrainSpec, shard: int | None = None) -> None:
    """Check that the smallest shard, which is the last by default, fills its slices.

    Raises:
        ValueError: it does not.
    """
    if smallest < 1:
        raise ValueError(
            f"num_shards={spec.num_shards} for {count} examples leaves shards empty; "
            f"use at most {count}."
        )
    if smallest < spec.num_slices:
        shard = spec.num_shards - 1 if shard is None else shard
        raise ValueError(
            f"num_slices={spec.num_slices} leaves shard {shard} ({smallest} "
            f"examples) with empty slices; use at most {smallest}, or fewer shards."
        )


def dealt_places(
    groups: Int[np.ndarray, " row"], spec: TrainSpec, generator: np.random.Generator
) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " row"]]:
    """Return the shard and the slice of each row; rows are in random order.

    Raises:
        ValueError: a shard is too small for the number of slices.
    """
    shard = deal_groups(groups, spec.num_shards, generator)
    slice_ = np.empty_like(shard)
    order = np.argsort(shard, kind="stable")
    bounds = np.searchsorted(shard[order], np.arange(spec.num_shards + 1))
    for s, (a, b) in enumerate(pairwise(bounds)):
        check_smallest(int(b - a), len(groups), spec, s)
        rows = order[a:b]
        slice_[rows] = 1 + deal_groups(
            in_order_of_appearance(groups[rows]), spec.num_slices, generator
        )
    return shard, slice_


def deal_groups(
    groups: Int[np.ndarray, " row"], num_bins: int, generator: np.random.Generator
) -> Int[np.ndarray, " row"]:
    """Deal whole groups to bins of about the same number of rows.

    The largest group goes first, and each to the bin with the fewest rows (Graham 1969, "largest
    processing time first"); equal ones in random order. A group of at least one and a half bins is
    divided into pieces of about a bin each. If there are fewer groups than bins, the largest are
    divided until no bin is empty.

    Args:
        groups: number of each row's group, 0, 1, ..., without gaps. Rows are in random order.
        num_bins: number of bins, at most the number of rows.
        generator: breaks ties.

    >>> groups = np.repeat([0, 1, 2, 3], [4, 2, 1, 1])
    >>> np.bincount(deal_groups(groups, 2, np.random.default_rng(0)))
    array([4, 4])
    """
    sizes = np.bincount(groups)
    pieces = np.maximum(1, np.rint(sizes * num_bins / len(groups)).astype(np.int64))
    while pieces.sum() < num_bins:
        pieces[np.argmax(np.where(pieces < sizes, sizes / pieces, 0))] += 1
    piece = groups if len(pieces) == pieces.sum() else _pieces_of(groups, sizes, pieces)
    rows = np.bincount(piece)
    bins = np.empty(len(rows), np.int32)
    filled = [(0, tie, b) for b, tie in enumerate(generator.permutation(num_bins).tolist())]
    heapq.heapify(filled)
    for p in np.lexsort((generator.permutation(len(rows)), -rows)).tolist():
        held, tie, bins[p] = filled[0]
        heapq.heapreplace(filled, (held + int(rows[p]), tie, int(bins[p])))
    dealt: np.ndarray = bins[piece]
    return dealt


def _pieces_of(
    groups: Int[np.ndarray, " row"],
    sizes: Int[np.ndarray, " group"],
    pieces: Int[np.ndarray, " group"],
) -> Int[np.ndarray, " row"]:
    """Return the number of each row's piece, if groups of these sizes are divided into pieces."""
    order = np.argsort(groups, kind="stable")
    place = np.empty_like(groups)  # of each row in its group
    place[order] = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    first = np.cumsum(pieces) - pieces
    piece: np.ndarray = first[groups] + place * pieces[groups] // sizes[groups]
    return piece
