"""Queues requests until their deadlines, so that they can be executed together.

Requests that are executed together cost far less than one by one, because a shard that several of
them hit is retrained only once.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from unlearnkit.display import as_html, plural

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Queue:
    """Examples that must be forgotten by a deadline.

    Attributes:
        deadlines: the deadline of each id, in UTC.
        groups: name of the group of each id, for display; empty without groups. Stores keep none.

    >>> day = datetime(2030, 5, 17, tzinfo=UTC)
    >>> queue = Queue().with_request([3, 141], day).with_request([3], day + timedelta(days=1))
    >>> queue
    Queue(2 examples, the first due by 2030-05-17 00:00 UTC)
    >>> queue.due(day), queue.without([3]).ids, queue.due(day - timedelta(seconds=1))
    (array([  3, 141]), array([141]), array([], dtype=int64))
    """

    deadlines: Mapping[int, datetime] = field(default_factory=dict)
    groups: Mapping[int, Hashable] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.deadlines)

    def __repr__(self) -> str:
        if self.first is None:
            return "Queue(empty)"
        whose = {self.groups[i] for i in self.deadlines if i in self.groups}
        of = f" of {plural(len(whose), 'group')}" if whose else ""
        return (
            f"Queue({plural(len(self), 'example')}{of}, the first due by "
            f"{self.first:%Y-%m-%d %H:%M} UTC)"
        )

    @property
    def first(self) -> datetime | None:
        """The earliest deadline; None if the queue is empty."""
        return min(self.deadlines.values(), default=None)

    @property
    def ids(self) -> Int[np.ndarray, " queued"]:
        """All ids, ascending."""
        return np.array(sorted(self.deadlines), np.int64)

    def due(self, at: datetime) -> Int[np.ndarray, " due"]:
        """Ids whose deadline is this moment or earlier, ascending."""
        return np.array(sorted(i for i, when in self.deadlines.items() if when <= at), np.int64)

    def with_request(self, ids: Iterable[int], deadline: datetime) -> "Queue":
        """Return the queue with one more request; an id keeps the earlier of two deadlines."""
        fresh = {int(i): min(deadline, self.deadlines.get(int(i), deadline)) for i in ids}
        return replace(self, deadlines={**self.deadlines, **fresh})

    def without(self, ids: Iterable[int]) -> "Queue":
        """Return the queue without these ids."""
        gone = {int(i) for i in ids}
        left = {i: when for i, when in self.deadlines.items() if i not in gone}
        return replace(self, deadlines=left)

    def with_groups(self, groups: Mapping[int, Hashable]) -> "Queue":
        """Return the queue with the name of each id's group, for display."""
        return replace(self, groups=groups)

    def to_frame(self) -> "pd.DataFrame":
        """Return a table with one row per example, the most urgent first, and its group if any."""
        import pandas as pd

        rows = sorted((when, i) for i, when in self.deadlines.items())
        frame = pd.DataFrame([(i, when) for when, i in rows], columns=["id", "deadline"])
        if self.groups:
            names = [self.groups.get(i) for _, i in rows]
            frame["group"] = pd.Series(names, dtype=object).infer_objects()
        return frame

    def _repr_html_(self) -> str:
        return as_html(self)

    def to_dict(self) -> dict[str, list[int]]:
        """Return the ids by deadline, as the manifest of a store holds them."""
        result: dict[str, list[int]] = {}
        for i, when in sorted(self.deadlines.items()):
            result.setdefault(when.isoformat(), []).append(i)
        return result

    @classmethod
    def from_dict(cls, kept: dict[str, Any] | None) -> "Queue":
        """Read a queue from a manifest.

        Raises:
            ValueError, TypeError, AttributeError: the entry was not written by unlearnkit.
        """
        queue = cls()
        for when, ids in (kept or {}).items():
            if not all(type(i) is int for i in ids):
                raise TypeError("an id is not a whole number")
            queue = queue.with_request(ids, as_deadline(datetime.fromisoformat(when)))
        return queue


def as_deadline(deadline: datetime | timedelta) -> datetime:
    """Convert a deadline to a moment in UTC.

    Args:
        deadline: a moment, or a duration from now. A moment without a time zone is local time.

    Raises:
        TypeError: it is neither a datetime nor a timedelta.
    """
    if isinstance(deadline, timedelta):
        return datetime.now(UTC) + deadline
    if not isinstance(deadline, datetime):
        raise TypeError(
            f"deadline={deadline!r} is a {type(deadline).__name__}; give a datetime, or a "
            "timedelta from now such as timedelta(days=30)"
        )
    return deadline.astimezone(UTC)
