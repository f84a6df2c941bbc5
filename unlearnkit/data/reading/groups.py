"""Groups of examples, such as all rows of one person, and the numbers that stand for them.

Examples hold numbers of groups, and a dataset the names that the numbers stand for. A partition
depends on which examples share a group, never on a name.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped

from unlearnkit.data.conversion import listed, refuse_masks, row_numbers

COLUMN = "group"


@dataclass(frozen=True, eq=False)
class Grouping:
    """Names of the groups of a dataset.

    Attributes:
        names: name of each group, by its number; None where the name was forgotten.
        column: name of the column that the groups are from, for queries and display.
    """

    names: tuple[Hashable, ...]
    column: str = COLUMN

    def __len__(self) -> int:
        """Number of groups."""
        return len(self.names)

    def __repr__(self) -> str:
        return f"Grouping({len(self)} groups by {self.column!r})"

    @cached_property
    def _numbers(self) -> dict[Hashable, int]:
        return {name: number for number, name in enumerate(self.names) if name is not None}

    def without_names(self, numbers: Int64[np.ndarray, " k"]) -> "Grouping":
        """Return the grouping without the names of these groups."""
        gone = set(numbers.tolist())
        names = tuple(None if n in gone else name for n, name in enumerate(self.names))
        return Grouping(names, self.column)

    def numbers_of(self, names: Iterable[Hashable]) -> Int64[np.ndarray, " k"]:
        """Return the numbers of these groups, in the given order.

        Raises:
            KeyError: a group is not known.
            TypeError: a name is of a kind that no group can have.

        >>> Grouping(("ann", "bob", 17)).numbers_of([17, "ann"])
        array([2, 0])
        """
        wanted = [_plain(name) for name in names]
        odd = next((name for name in wanted if not isinstance(name, Hashable)), None)
        if odd is not None:
            raise TypeError(f"{odd!r} is a {type(odd).__name__}; name a group by its single value")
        unknown = [name for name in wanted if name not in self._numbers]
        if unknown:
            texts = {str(name) for name in unknown}
            near = [repr(name) for name in self._numbers if str(name) in texts]
            meant = f"; {listed(near)} may be meant" if near else ""
            raise KeyError(
                f"no group {listed(list(map(repr, unknown)))} in {self.column!r}; the known ones "
                f"are {listed(list(map(repr, self._numbers)))}{meant}"
            )
        return np.array([self._numbers[name] for name in wanted], np.int64)


def _plain(name: Any) -> Any:
    return name.item() if hasattr(name, "item") and np.ndim(name) == 0 else name


def named_groups(group: Hashable, groups: Iterable[Hashable] | None) -> list[Hashable] | None:
    """Return the names that a request gives as one group or as several; None if it gives neither.

    Raises:
        TypeError: several groups are no list of names.
        ValueError: both are given.
    """
    if group is not None and groups is not None:
        raise ValueError("group= and groups= were both given; give one of them")
    if groups is None:
        return None if group is None else [group]
    if isinstance(groups, str | bytes) or not isinstance(groups, Iterable):
        raise TypeError(
            f"groups={groups!r} is a {type(groups).__name__}; give a list of names, or one name as "
            f"group={groups!r}"
        )
    return list(groups)


def numbers_of_groups(
    groups: Any, lengths: Mapping[str, int]
) -> tuple[Int64[np.ndarray, " n"], Grouping]:
    """Return the number of every row's group, in order of first appearance, and the names.

    Args:
        groups: one group per row; or, if parts are given separately, a mapping with the groups of
            each part: ``"train"``, and ``"test"`` or ``"probe"``.
        lengths: number of rows of each part, in the order of their rows; ``"train"`` comes first.

    Raises:
        TypeError: groups are no sequence, or are of a kind that cannot be compared.
        ValueError: there is not one group per row, or groups are missing.
    """
    import pandas as pd

    parts = dict(groups) if isinstance(groups, Mapping) else {"train": groups}
    if parts.keys() != lengths.keys():
        raise ValueError(
            f"groups= names the groups of {listed(list(parts))}, but the parts that are given are "
            f"{listed(list(lengths))}; give groups={{'train': ..., 'test': ...}} with one entry "
            "for each part that is given, and one group for each row of the features alone"
        )
    found = [_values(part, parts[part], length) for part, length in lengths.items()]
    kinds = {one.dtype for one in found}
    joined = np.concatenate(found if len(kinds) == 1 else [one.astype(object) for one in found])
    try:
        numbers, names = pd.factorize(joined)
    except TypeError as error:
        raise TypeError(
            f"groups= holds values that cannot be compared ({error}); give numbers or text"
        ) from error
    column = getattr(parts["train"], "name", None)
    grouping = Grouping(
        tuple(map(_plain, names.tolist())), column if isinstance(column, str) else COLUMN
    )
    return numbers.astype(np.int64), grouping


def _values(part: str, groups: Any, length: int) -> Shaped[np.ndarray, " row"]:
    """Return the groups of one part as an array, of which missing values are refused."""
    import pandas as pd

    what = f"groups of the {part} part"
    if isinstance(groups, str | bytes) or not (
        hasattr(groups, "__len__") or hasattr(groups, "__array__")
    ):
        raise TypeError(
            f"{what}: {groups!r} is a {type(groups).__name__}; give one group per row (the name "
            "of a column only goes with a table, as from_frame(frame, target, groups='person'))"
        )
    refuse_masks(groups, what)
    if isinstance(groups, list | tuple):  # numpy would make text of numbers beside text
        values = np.fromiter(map(_plain, groups), object, len(groups))
    else:
        given = groups.detach().cpu() if hasattr(groups, "detach") else groups
        values = given.to_numpy() if hasattr(given, "to_numpy") else np.asarray(given)
    if values.ndim != 1:
        raise ValueError(f"{what} have shape {values.shape}; give one group per row")
    if len(values) != length:
        raise ValueError(f"{what}: {len(values)} groups for {length} rows; give one group per row")
    missing = np.asarray(pd.isna(values))
    if missing.any():
        raise ValueError(
            f"{what} are missing in {int(missing.sum())} of {length} rows (rows "
            f"{row_numbers(missing)}); leave these rows out, or name a group for each of them"
        )
    if values.dtype.kind in "mM":  # whose plain form is a number
        values = pd.Series(values).astype(object).to_numpy()
    return values


def in_order_of_appearance(numbers: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Renumber groups in the order in which they first appear.

    >>> in_order_of_appearance(np.array([7, 7, 2, 7, 5, 2])).tolist()
    [0, 0, 1, 0, 2, 1]
    """
    import pandas as pd

    return pd.factorize(numbers)[0].astype(np.int64)


def has_shared_groups(numbers: Int64[np.ndarray, " n"] | None) -> bool:
    """Whether a group holds two of these rows; otherwise each row is a group, as without groups."""
    return numbers is not None and len(numbers) > 0 and bool(np.bincount(numbers).max() > 1)


def rows_of_parts(
    numbers: Int64[np.ndarray, " n"],
    sizes: Mapping[str, int],
    order: Int64[np.ndarray, " group"],
) -> dict[str, Int64[np.ndarray, " k"]]:
    """Deal whole groups to the parts of a dataset, which get about the wanted numbers of rows.

    A group with more than a quarter of the rows of a part joins it only if nothing else fills it,
    so that no part but the first is that of a single person.

    Args:
        numbers: number of each row's group, in order of first appearance.
        sizes: wanted number of rows of each part; the first gets what the others leave.
        order: a permutation of the groups.

    Raises:
        ValueError: there are too few groups.
    """
    counts, rest, *others = np.bincount(numbers), *sizes
    part_of = np.zeros(len(counts), np.int64)
    for at, part in reversed(list(enumerate(others, start=1))):
        wanted = sizes[part]
        free = order[::-1][part_of[order[::-1]] == 0]
        free = free[np.argsort(np.where(counts[free] * 4 > wanted, counts[free], 0), kind="stable")]
        left = wanted
        for group in free.tolist():
            if counts[group] <= left or left == wanted:
                part_of[group], left = at, left - counts[group]
            if left <= 0:
                break
    rows = {part: np.flatnonzero(part_of[numbers] == at) for at, part in enumerate(sizes)}
    if not all(map(len, rows.values())):
        raise ValueError(
            f"{len(counts)} groups leave the {rest} part or another one empty, since each group "
            f"stays in one of {listed(list(sizes))}; give more groups, other shares (test_share, "
            "probe_share), or separate parts (test=, probe=)"
        )
    return rows
