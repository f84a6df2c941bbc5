"""Requests to forget examples, and the log of all completed requests.

A request names ids. :class:`Revocations` is the frozen log of the completed requests; forget and
retain sets are derived from it.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Int

from unlearnkit.data.examples import Dataset, Examples
from unlearnkit.display import as_html, plural
from unlearnkit.seeding import numpy_generator

if TYPE_CHECKING:
    import pandas as pd

Ids = Int[np.ndarray, " request"]


@dataclass(frozen=True, eq=False)
class Request:
    """The checked ids of a request: ascending, unique, known and not revoked before.

    Attributes:
        ids: ids to forget; may be empty.
        notes: one sentence about each group of ids that was ignored.
        num_groups: number of groups, such as persons, that the ids belong to; None without groups.
    """

    ids: Ids
    notes: tuple[str, ...] = ()
    num_groups: int | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        groups = [] if self.num_groups is None else [plural(self.num_groups, "group")]
        return f"Request({', '.join([*groups, plural(len(self), 'example'), *self.notes])})"

    def to_frame(self) -> "pd.DataFrame":
        """One row per example: its id."""
        import pandas as pd

        return pd.DataFrame({"id": self.ids})

    def _repr_html_(self) -> str:
        return as_html(self)


@dataclass(frozen=True, eq=False)
class Revocations:
    """All completed requests, oldest first."""

    requests: tuple[Int[np.ndarray, " _"], ...] = ()  # of different lengths

    def __repr__(self) -> str:
        requests, examples = plural(len(self.requests), "request"), plural(len(self.ids), "example")
        return f"Revocations({requests}, {examples})"

    @cached_property
    def ids(self) -> Ids:
        """Every revoked id, ascending."""
        return np.unique(np.concatenate([np.empty(0, np.int64), *self.requests]))

    def with_request(self, ids: Ids) -> "Revocations":
        """Return the log with one more request."""
        return Revocations((*self.requests, np.asarray(ids, np.int64)))

    def retained(self, examples: Examples) -> Bool[np.ndarray, " example"]:
        """Return which of these examples are not revoked."""
        return ~np.isin(examples.ids, self.ids, assume_unique=True)


def check_request(
    ids: int | Iterable[int] | np.ndarray, dataset: Dataset, revocations: Revocations
) -> Request:
    """Check a request before any work starts.

    Ids may belong to training or probe examples, and to test examples if the data have groups.
    Repeated ids and ids that were revoked before are ignored with a note.

    Raises:
        TypeError: an id is not a whole number.
        KeyError: an id is not in the dataset, or belongs to its test part, without groups.
        ValueError: no training example would remain.
    """
    given = known_ids(ids, dataset)
    unique, counts = np.unique(given, return_counts=True)
    notes = []
    if (counts > 1).any():
        notes.append(f"{name_ids(unique[counts > 1])} listed more than once; counted once.")
    before = np.isin(unique, revocations.ids)
    if before.any():
        notes.append(f"{name_ids(unique[before])} revoked before; ignored.")
    fresh = unique[~before]
    left = revocations.retained(dataset.train) & ~np.isin(dataset.train.ids, fresh)
    if len(fresh) and not left.any():
        raise ValueError(
            f"the request revokes all {len(dataset.train)} training examples, so no model is "
            "left to unlearn; keep at least one, or delete the store."
        )
    if not len(fresh):
        notes.append("The request is empty: there is nothing to forget.")
    return Request(fresh, tuple(notes), dataset.count_groups(fresh))


def select(
    dataset: Dataset,
    revocations: Revocations = Revocations(),
    *,
    label: int | str | None = None,
    count: int | None = None,
    share: float | None = None,
    by_group: bool = False,
    seed: int = 0,
) -> Ids:
    """Choose training examples that are not yet revoked: by class, at random, or both.

    Args:
        dataset: dataset whose training examples are chosen from.
        revocations: completed requests, whose examples are excluded.
        label: choose only examples of this class, given by number or name.
        count: number of examples to choose at random; all if neither ``count`` nor ``share`` is
            given.
        share: share of the examples to choose at random, from 0 to 1.
        by_group: whether ``count`` and ``share`` are of groups, all of whose remaining training
            examples are chosen.
        seed: seed of the random choice.

    Raises:
        KeyError: there is no such class.
        TypeError: ``count`` is not a whole number.
        ValueError: nothing was asked for, ``count`` or ``share`` is out of range, both are given,
            ``label`` is given for a regression, or groups are asked for together with a class or
            where there are none.
    """
    if by_group:
        return _whole_groups(dataset, revocations, label, count, share, seed)
    keep = revocations.retained(dataset.train)
    if label is not None:
        keep &= dataset.train.labels.numpy() == _class_number(dataset, label)
    candidates: Ids = dataset.train.ids[keep]
    if label is None and count is None and share is None:
        raise ValueError("nothing selected: give label=, count= or share=")
    count = _number_of(count, share, len(candidates), "examples")
    if count is None:
        return candidates
    generator = numpy_generator(seed, "select", len(revocations.ids))
    chosen: Ids = np.sort(generator.choice(candidates, count, replace=False))
    return chosen


def _number_of(count: int | None, share: float | None, left: int, kind: str) -> int | None:
    """Return how many of the candidates are to be drawn; None if neither number is given."""
    if count is not None and share is not None:
        raise ValueError(f"count={count} and share={share} were both given; give one of them")
    if share is not None:
        if not 0 <= share <= 1:
            raise ValueError(f"share={share} is out of range; give a number from 0 to 1")
        count = round(share * left)
    if count is None:
        return None
    if isinstance(count, bool) or not isinstance(count, int | np.integer):
        raise TypeError(f"count={count!r} is not a whole number; give an int such as 5")
    if not 0 <= count <= left:
        raise ValueError(
            f"count={count} is out of range; {left} {kind} are left to choose from, "
            f"so give a number from 0 to {left}"
        )
    return int(count)


def _whole_groups(
    dataset: Dataset,
    revocations: Revocations,
    label: int | str | None,
    count: int | None,
    share: float | None,
    seed: int,
) -> Ids:
    """Draw groups that have training examples left, and return all of these examples."""
    dataset.named_grouping()
    if label is not None or (count is None and share is None):
        raise ValueError(
            "by_group=True draws whole groups; give count= or share= with it, and no label="
        )
    groups, keep = dataset.train.groups, revocations.retained(dataset.train)
    assert groups is not None
    candidates = np.unique(groups[keep])
    count = _number_of(count, share, len(candidates), "groups")
    generator = numpy_generator(seed, "select-groups", len(revocations.ids))
    drawn = generator.choice(candidates, count, replace=False)
    chosen: Ids = dataset.train.ids[keep & np.isin(groups, drawn)]
    return chosen


def _class_number(dataset: Dataset, label: int | str) -> int:
    if dataset.is_regression:
        raise ValueError(
            f"label={label!r} chooses a class, and {dataset.name} is a regression; choose by "
            "query='target > 100' or the like"
        )
    if isinstance(label, str):
        if label not in dataset.class_names:
            known = ", ".join(map(repr, dataset.class_names))
            raise KeyError(f"class {label!r} is not in {dataset.name}; it has {known}")
        return dataset.class_names.index(label)
    if not 0 <= label < dataset.num_classes:
        raise KeyError(
            f"class {label} is not in {dataset.name}; classes run from 0 to "
            f"{dataset.num_classes - 1}"
        )
    return int(label)


def as_ids(ids: int | Iterable[int] | np.ndarray) -> Ids:
    """Return whole numbers as an array, in the order given.

    Raises:
        TypeError: an id is not a whole number, or is masked.
    """
    if isinstance(ids, str | bytes):
        raise TypeError(f"ids={ids!r} is text; give whole numbers such as [3, 141, 592]")
    if np.ma.is_masked(ids):
        raise TypeError("ids have masked entries; give those that are meant, as ids.compressed()")
    single = not isinstance(ids, Iterable) or getattr(ids, "ndim", 1) == 0
    items: Any = [ids] if single else ids
    known = isinstance(items, Sequence) or hasattr(items, "__array__")
    array = np.asarray(items if known else list(items))
    if array.size == 0:
        return np.empty(0, np.int64)
    # NumPy makes numbers of a list that holds both truth values and numbers.
    mixed = isinstance(items, Sequence) and any(isinstance(one, bool | np.bool_) for one in items)
    if mixed or array.dtype == bool:
        raise TypeError(
            "ids of kind bool were given; give whole numbers such as [3, 141, 592] (for a mask "
            "over the rows of your data, use numpy.flatnonzero(mask); for one over the training "
            "part, use dataset.train.ids[mask])"
        )
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"ids of kind {array.dtype} were given; give whole numbers such as [3, 141, 592]"
        )
    return array.reshape(-1).astype(np.int64)


def revocable_ids(dataset: Dataset) -> Ids:
    """Return the ids of training and probe examples, and of test examples if there are groups.

    A group is revoked as a whole, whatever parts its examples are in.
    """
    parts = [dataset.train, dataset.probe, *([] if dataset.grouping is None else [dataset.test])]
    return np.concatenate([examples.ids for examples in parts])


def known_ids(ids: int | Iterable[int] | np.ndarray, dataset: Dataset) -> Ids:
    """Return ids as an array, in the order given, if all of them can be revoked.

    Raises:
        TypeError: an id is not a whole number.
        KeyError: an id is not in the dataset, or belongs to its test part, without groups.
    """
    given = as_ids(ids)
    unknown = np.setdiff1d(given, revocable_ids(dataset))
    if not len(unknown):
        return given
    tested = np.isin(unknown, dataset.test.ids)
    if tested.any():
        raise KeyError(
            f"{name_ids(unknown[tested])} in the test part of {dataset.name}, "
            "which no model was trained on; revoke training or probe examples."
        )
    raise KeyError(
        f"{name_ids(unknown)} not in {dataset.name}; training ids run from "
        f"{dataset.train.ids[0]} to {dataset.train.ids[-1]} ({len(dataset.train)} examples)."
    )


def check_pending(
    ids: int | Iterable[int] | np.ndarray,
    dataset: Dataset,
    pending: Int[np.ndarray, " pending"],
) -> Ids:
    """Check ids that are to be withdrawn from the pending request, and remove duplicates.

    Raises:
        TypeError: an id is not a whole number.
        KeyError: an id is not in the dataset, or is not pending.
    """
    given = known_ids(ids, dataset)
    absent = np.setdiff1d(given, pending)
    if len(absent):
        there = "no id is" if not len(pending) else name_ids(pending)
        raise KeyError(
            f"{name_ids(absent)} not pending, so nothing was withdrawn; {there} pending."
        )
    return np.unique(given)


def pending_of(
    groups: Iterable[Hashable], dataset: Dataset, pending: Int[np.ndarray, " pending"]
) -> Ids:
    """Return the pending ids of groups that are to be withdrawn.

    Raises:
        KeyError: a group is not known, or has no pending example.
        ValueError: the dataset has no groups.
    """
    found = []
    for group in groups:
        ids = np.intersect1d(dataset.ids_of_groups([group]), pending)
        if not len(ids):
            raise KeyError(f"group {group!r} has no pending example, so nothing was withdrawn.")
        found.append(ids)
    return np.concatenate([np.empty(0, np.int64), *found])


def name_ids(ids: Sequence[int] | np.ndarray, most: int = 5) -> str:
    """Name a few ids in words, with the verb: ``"ids 3, 7 are"``.

    >>> name_ids([3]), name_ids([1, 2, 3], most=2)
    ('id 3 is', 'ids 1, 2 and 1 more are')
    """
    shown = ", ".join(str(int(i)) for i in ids[:most])
    if len(ids) == 1:
        return f"id {shown} is"
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return f"ids {shown}{more} are"
