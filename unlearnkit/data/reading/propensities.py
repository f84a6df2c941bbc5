"""Propensities: how likely each example, or each group of examples, is to be revoked.

They are relative rates: an example with 10 is expected to leave ten times as soon as one with 1,
and one with 0 not at all. Like groups they are no feature, and shape nothing but the partition.
"""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from unlearnkit.data.conversion import listed, numbers_of, refuse_masks, row_numbers
from unlearnkit.data.reading.groups import Grouping

WHAT = "propensity"


def propensities_of(
    propensity: Any,
    length: int,
    numbers: Int64[np.ndarray, " n"] | None = None,
    grouping: Grouping | None = None,
) -> Float64[np.ndarray, " n"]:
    """Return the propensity of each row, divided by the largest.

    Args:
        propensity: one rate per row, of 0 or more; or a mapping from the name of each group to its
            rate.
        length: number of rows.
        numbers: number of each row's group; None without groups.
        grouping: names of the groups; None without groups.

    Raises:
        KeyError: a group is not known, or has no rate.
        TypeError: rates are no numbers.
        ValueError: there is not one rate per row, rates are missing, negative, infinite or all 0,
            they differ within a group, or a mapping is given without groups.

    >>> propensities_of([1, 4, 2], 3)
    array([0.25, 1.  , 0.5 ])
    """
    by_group = isinstance(propensity, Mapping)
    values = _numbers(list(propensity.values()) if by_group else propensity)
    if by_group:
        values = _of_groups(list(propensity), values, numbers, grouping)
    if values.shape != (length,):
        raise ValueError(
            f"{WHAT} has shape {values.shape} for {length} rows; give one rate per row, or a "
            "mapping with one for each group"
        )
    _check(values)
    if numbers is not None and grouping is not None and not by_group:
        _check_groups(values, numbers, grouping)
    relative: np.ndarray = values / values.max()
    return relative


def _numbers(propensity: Any) -> Float64[np.ndarray, "..."]:
    refuse_masks(propensity, WHAT)
    given = propensity.detach().cpu() if hasattr(propensity, "detach") else propensity
    values = given.to_numpy() if hasattr(given, "to_numpy") else np.asarray(given)
    if values.dtype == object:
        found = numbers_of(values)
        values = values if found is None else found
    if values.dtype.kind not in "iuf" or not values.ndim:
        kind = f"a {type(propensity).__name__}" if not values.ndim else f"values of {values.dtype}"
        raise TypeError(
            f"{WHAT} holds {kind}; give relative rates as numbers, such as 1 for a usual row and "
            "10 for one that is ten times as likely to be revoked (the name of a column only goes "
            "with a table, as from_frame(frame, target, propensity='rate'))"
        )
    return values.astype(np.float64)


def _of_groups(
    names: list[Hashable],
    rates: Float64[np.ndarray, " group"],
    numbers: Int64[np.ndarray, " n"] | None,
    grouping: Grouping | None,
) -> Float64[np.ndarray, " n"]:
    """Return the rate of each row's group."""
    if grouping is None or numbers is None:
        raise ValueError(
            f"{WHAT} is a mapping by group, but the data have no groups; give groups= as well, or "
            "one rate per row"
        )
    of_group = np.full(len(grouping), np.nan)
    known = grouping.numbers_of(names)
    of_group[known] = rates
    lacking = np.setdiff1d(np.arange(len(grouping)), known)
    if len(lacking):
        shown = listed([repr(grouping.names[number]) for number in lacking[:5]])
        raise KeyError(
            f"{WHAT} has no rate for {len(lacking)} of {len(grouping)} groups, such as {shown}; "
            "give each group one, such as 1 for a usual one"
        )
    rates_of_rows: np.ndarray = of_group[numbers]
    return rates_of_rows


def _check(values: Float64[np.ndarray, " n"]) -> None:
    odd = ~np.isfinite(values) | (values < 0)
    if odd.any():
        raise ValueError(
            f"{WHAT} is missing, negative or infinite in {int(odd.sum())} of {len(values)} rows "
            f"(rows {row_numbers(odd)}, such as {values[odd][0]}); give each a rate of 0 or more"
        )
    if not values.any():
        raise ValueError(
            f"{WHAT} is 0 for all {len(values)} rows, so nobody would ever leave; give rates above "
            "0, or leave it out"
        )


def _check_groups(
    values: Float64[np.ndarray, " n"], numbers: Int64[np.ndarray, " n"], grouping: Grouping
) -> None:
    first = np.full(len(grouping), np.nan)
    first[numbers[::-1]] = values[::-1]
    differ = np.flatnonzero(values != first[numbers])
    if len(differ):
        name, row = grouping.names[numbers[differ[0]]], differ[0]
        raise ValueError(
            f"{WHAT} differs within groups, such as {name!r}, whose rows have "
            f"{first[numbers[row]]:g} and {values[row]:g}; a group leaves as a whole, so give all "
            "its rows one rate, or a mapping with one for each group"
        )


def has_unequal(propensity: Float64[np.ndarray, " n"] | None) -> bool:
    """Whether some examples are likelier to leave than others; equal rates are as none."""
    return propensity is not None and len(propensity) > 0 and bool(np.ptp(propensity) > 0)
