"""Placing by propensity: those who are likely to leave are put where forgetting them is cheap."""

import numpy as np
from jaxtyping import Bool, Int

from unlearnkit.data.examples import Examples
from unlearnkit.data.reading.groups import in_order_of_appearance


def likely_late(
    examples: Examples,
    shard: Int[np.ndarray, " row"],
    slice_: Int[np.ndarray, " row"],
    generator: np.random.Generator,
    spread: bool = False,
) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " row"]]:
    """Exchange rows, or groups of about the same size, so that the likeliest to leave come last.

    Places in the last slices are best, and among these those of the first shards. The units of a
    size class (:func:`_size_class`) take the places of their class in the order of their
    propensities, so that slices keep their sizes: exactly without groups, and with groups up to the
    width of a class. Groups that are divided among several slices stay where they are.

    Args:
        examples: the training part, with propensities.
        shard: shard of each row.
        slice_: 1-based slice of each row.
        generator: breaks ties.
        spread: whether the shards of a slice are equally good.

    Returns:
        The new shard and slice of each row.
    """
    assert examples.propensity is not None
    units, first, of_row, rows = _units(examples, shard, slice_)
    propensity, at_shard, at_slice = examples.propensity[first], shard[first], slice_[first]
    kind = _size_class(rows)[units]
    tie = generator.permutation(len(units))
    places = np.lexsort((tie if spread else at_shard[units], -at_slice[units], kind))
    leaving = np.lexsort((generator.permutation(len(units)), -propensity[units], kind))
    new_shard, new_slice = at_shard.copy(), at_slice.copy()
    new_shard[units[leaving]] = at_shard[units[places]]
    new_slice[units[leaving]] = at_slice[units[places]]
    whole = np.zeros(len(rows), bool)
    whole[units] = True
    moved = whole[of_row]
    return (
        np.where(moved, new_shard[of_row], shard),
        np.where(moved, new_slice[of_row], slice_),
    )


def share_of_last_slices(
    examples: Examples, slice_: Int[np.ndarray, " row"], retained: Bool[np.ndarray, " row"]
) -> float:
    """Return the share of requests that are expected to hit no slice but the last of a shard.

    Args:
        examples: the training part, with propensities.
        slice_: 1-based slice of each row.
        retained: rows that are not revoked.
    """
    assert examples.propensity is not None
    rates, slices = examples.propensity[retained], slice_[retained]
    if examples.groups is not None:
        groups, of_row = np.unique(examples.groups[retained], return_inverse=True)
        earliest = np.full(len(groups), slice_.max())
        np.minimum.at(earliest, of_row, slices)
        rate_of_group = np.zeros(len(groups))
        rate_of_group[of_row] = rates
        rates, slices = rate_of_group, earliest
    total = rates.sum()
    return float(rates[slices == slice_.max()].sum() / total) if total else 0.0


def _units(
    examples: Examples, shard: Int[np.ndarray, " row"], slice_: Int[np.ndarray, " row"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the units that leave together: the groups, or the rows where there are none.

    Returns:
        Numbers of the units that are in a single slice; the first row of each unit; the unit of
        each row; and the number of rows of each unit.
    """
    if examples.groups is None:
        each = np.arange(len(examples))
        return each, each, each, np.ones(len(each), np.int64)
    of_row = in_order_of_appearance(examples.groups)
    _, first, rows = np.unique(of_row, return_index=True, return_counts=True)
    elsewhere = (shard != shard[first[of_row]]) | (slice_ != slice_[first[of_row]])
    divided = np.zeros(len(rows), bool)
    divided[of_row[elsewhere]] = True
    return np.flatnonzero(~divided), first, of_row, rows


def _size_class(rows: Int[np.ndarray, " unit"]) -> Int[np.ndarray, " unit"]:
    """Return a class of sizes within which units may change places.

    Sizes below 5 are classes of their own; others differ by at most a fifth within a class.

    >>> _size_class(np.array([1, 2, 3, 4, 5, 6, 7, 8, 100])).tolist()
    [0, 1, 2, 3, 4, 4, 5, 5, 18]
    """
    bounds = [1]  # whole numbers, which are the same on every processor
    while bounds[-1] <= rows.max():
        bounds.append(bounds[-1] + 1 + bounds[-1] // 5)
    classes: np.ndarray = np.searchsorted(bounds, rows, side="right") - 1
    return classes
