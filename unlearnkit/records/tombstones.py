"""Tombstones: keyed digests of what was forgotten, by which it is recognised when it returns."""

import hmac
import os
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from unlearnkit.data.examples import Dataset, Examples
from unlearnkit.display import plural
from unlearnkit.records.inventory import DIGITS, keyed
from unlearnkit.store.files import (
    canonical,
    digest_of,
    parse,
    read,
    replace_file,
    reporting_failure,
)
from unlearnkit.unlearning.request import Revocations, revocable_ids

FORMAT = "unlearnkit tombstones 1"
TOMBSTONES = "tombstones"  # in place of the boundary of a request in the ledger
KEY_DIGITS = 64  # of a key, in hexadecimal


@dataclass(frozen=True)
class Marks:
    """Digests under one key.

    Attributes:
        key: the key, in hexadecimal.
        groups: digests of the names of forgotten groups.
        rows: digests of the contents of forgotten rows.
    """

    key: str
    groups: frozenset[str] = frozenset()
    rows: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"Marks({plural(len(self.groups), 'group')}, {plural(len(self.rows), 'row')})"

    def of_group(self, name: Hashable) -> str:
        """The digest of a group's name; 17, 17.0 and "17" are the same name."""
        plain = int(name) if isinstance(name, float) and name.is_integer() else name
        return keyed(f"group {plain}", self._secret)

    def of_rows(self, examples: Examples, rows: Int[np.ndarray, " row"] | None = None) -> list[str]:
        """The digest of each example: of its features and its label as the dataset holds them.

        Args:
            examples: the examples.
            rows: positions of those that are meant; all by default.
        """
        secret = self._secret
        digests = examples.digests if rows is None else examples.digests[rows]
        return [keyed(f"row {digest.hex()}", secret) for digest in map(bytes, digests)]

    @property
    def _secret(self) -> bytes:
        return bytes.fromhex(self.key)


@dataclass(frozen=True)
class Tombstones:
    """What was forgotten: keyed digests of groups and of the contents of rows.

    A session that is given them (``uk.Session(data, tombstones="tombstones.json")``) trains on no
    row that was forgotten before, and on none of a group of which all rows were forgotten.

    They hold no name and no content, but their keys, without which nothing could be recognised. So
    whoever has them can find out whether somebody whose name or row they know is among them; keep
    them as you keep the store. A saved file can be read by its owner only.

    Two rows are the same if their features and labels have the same bytes. So the data have to be
    read as before: with the same columns in the same order, classes, encoding and constants.
    Rows of equal contents cannot be told apart: all of them are recognised, whoever they belong to.
    A group is recognised by its name alone, in whichever column the names are.

    Attributes:
        marks: the digests under each key, one key for each run that they are from.
    """

    marks: tuple[Marks, ...] = ()

    def __repr__(self) -> str:
        groups, rows = (
            sum(len(getattr(own, name)) for own in self.marks) for name in ("groups", "rows")
        )
        return f"Tombstones({plural(groups, 'group')}, {plural(rows, 'row content')})"

    def __or__(self, other: "Tombstones") -> "Tombstones":
        """The tombstones of both."""
        found: dict[str, Marks] = {}
        for own in (*self.marks, *other.marks):
            before = found.get(own.key, Marks(own.key))
            found[own.key] = Marks(own.key, before.groups | own.groups, before.rows | own.rows)
        return Tombstones(tuple(found.values()))

    def groups_in(self, dataset: Dataset) -> Int[np.ndarray, " group"]:
        """Return the numbers of the dataset's groups that were forgotten, ascending."""
        names = () if dataset.grouping is None else dataset.grouping.names
        found = {
            number
            for own in self.marks
            if own.groups
            for number, name in enumerate(names)
            if name is not None and own.of_group(name) in own.groups
        }
        return np.array(sorted(found), np.int64)

    def rows_in(
        self, examples: Examples, rows: Int[np.ndarray, " row"] | None = None
    ) -> Bool[np.ndarray, " example"]:
        """Return which of these examples, or of some rows, have the contents of forgotten rows."""
        found = np.zeros(len(examples) if rows is None else len(rows), bool)
        for own in self.marks:
            if own.rows:
                found |= np.array([one in own.rows for one in own.of_rows(examples, rows)], bool)
        return found

    def ids_in(self, dataset: Dataset) -> Int[np.ndarray, " id"]:
        """Return the ids of all rows that were forgotten or are of forgotten groups, ascending."""
        groups, found = self.groups_in(dataset), [np.empty(0, np.int64)]
        for examples in dataset.parts.values():
            known = self.rows_in(examples)
            if examples.groups is not None:
                known |= np.isin(examples.groups, groups)
            found.append(examples.ids[known])
        return np.sort(np.concatenate(found))

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write the tombstones to a file, as JSON.

        Raises:
            StoreIOError: the file cannot be written.
        """
        path, content = Path(file).expanduser(), self.to_dict()
        text = canonical({"format": FORMAT, "digest": digest_of(content), **content})
        with reporting_failure(path.parent, "written", TOMBSTONES):
            replace_file(path, [text.encode()], sync=True, mode=0o600)

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> "Tombstones":
        """Read tombstones that :meth:`save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file holds no tombstones, or was damaged.
        """
        path = Path(file).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {os.fspath(file)!r} with tombstones")
        try:
            content = dict(parse(read(path.resolve())))
            if content.pop("format", None) != FORMAT:
                raise ValueError("it is a file of another kind")
            if content.pop("digest", None) != digest_of(content):
                raise ValueError("it was changed or cut off")
            return cls.from_dict(content)
        except (KeyError, TypeError, ValueError, RecursionError, AttributeError) as error:
            raise ValueError(
                f"{os.fspath(file)!r} holds no tombstones ({type(error).__name__}: {error}); give "
                "a file that session.tombstones().save(file) wrote, or restore it from a copy"
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """The tombstones as JSON-compatible values."""
        return {
            "marks": [
                {"key": own.key, "groups": sorted(own.groups), "rows": sorted(own.rows)}
                for own in self.marks
            ]
        }

    @classmethod
    def from_dict(cls, content: Any) -> "Tombstones":
        """Read what :meth:`to_dict` returned; None gives no tombstones.

        Raises:
            KeyError, TypeError, ValueError: the values are of another kind.
        """
        found = cls()
        for own in () if content is None else content["marks"]:
            (key,) = _digits([own["key"]], KEY_DIGITS)
            groups, rows = (_digits(own[name], DIGITS) for name in ("groups", "rows"))
            found |= cls((Marks(key, groups, rows),))
        return found


NOTHING_FORGOTTEN = Tombstones()


def _digits(values: Iterable[Any], length: int) -> frozenset[str]:
    for value in values:
        if len(value) != length or bytes.fromhex(value).hex() != value:
            raise ValueError(f"{value!r} does not have {length} hexadecimal digits")
    return frozenset(values)


def as_tombstones(given: Any) -> Tombstones:
    """Return tombstones that a session was given: a file, the object, or None.

    Raises:
        FileNotFoundError, ValueError: as in :meth:`Tombstones.load`.
        TypeError: they are of another kind.
    """
    if given is None or isinstance(given, Tombstones):
        return given or NOTHING_FORGOTTEN
    if not isinstance(given, str | os.PathLike):
        raise TypeError(
            f"tombstones={given!r} is a {type(given).__name__}; give what session.tombstones() "
            "returns, or the file in which it was saved"
        )
    return Tombstones.load(given)


def tombstones_of(
    dataset: Dataset,
    revoked: Int[np.ndarray, " id"],
    secret: bytes,
    others: Tombstones,
    erased: Int[np.ndarray, " erased"] | None = None,
) -> Tombstones:
    """Return the tombstones of a run, with those that it was given.

    Args:
        dataset: the data of the run.
        revoked: the ids that were forgotten.
        secret: the run's key; the key of the tombstones is made of it, and does not tell it.
        others: the tombstones that the run was given. What they hold is not repeated.
        erased: those of the revoked ids whose contents the data do not hold any more.
    """
    own = Marks(hmac.digest(secret, TOMBSTONES.encode(), "sha256").hex())
    groups, rows = set[str](), set[str]()
    readable = revoked if erased is None else np.setdiff1d(revoked, erased)
    for part in dataset.parts.values():
        gone = np.flatnonzero(np.isin(part.ids, readable))
        rows.update(own.of_rows(part, gone[~others.rows_in(part, gone)]))
    if dataset.grouping is not None:
        everyone = np.concatenate([part.ids for part in dataset.parts.values()])
        left = dataset.groups_of(np.setdiff1d(everyone, revoked))
        forgotten = np.setdiff1d(dataset.groups_of(revoked), left)
        names = dataset.grouping.names
        for number in np.setdiff1d(forgotten, others.groups_in(dataset)).tolist():
            if names[number] is not None:  # erased, and marked before
                groups.add(own.of_group(names[number]))
    mine = Marks(own.key, frozenset(groups), frozenset(rows))
    return others | Tombstones((mine,)) if groups or rows else others


@dataclass(frozen=True, eq=False)
class Returned:
    """Rows of the data that were forgotten before.

    Attributes:
        ids: those that can be revoked and are not yet, ascending.
        num_groups: number of groups that they belong to; None without groups.
        num_unread: number of further ones in the test part, without groups.
    """

    ids: Int[np.ndarray, " id"]
    num_groups: int | None
    num_unread: int

    def sentence(self, trained: bool) -> str:
        """Say how many there are, and what becomes of them."""
        whose = "" if self.num_groups is None else f" of {plural(self.num_groups, 'group')}"
        there = f"{plural(len(self.ids), 'row')}{whose}"
        fate = "revoked before anything is trained"
        if trained:
            fate = "added to the pending request, since models are there already; session.unlearn()"
            fate += " forgets them"
        they = "it is" if len(self.ids) == 1 else "they are"
        said = f"the tombstones name {there} of the data as forgotten before, and {they} {fate}"
        if self.num_unread:
            said += (
                f"; {self.num_unread} more in the test part stay there, since no model is trained "
                "on them"
            )
        return said


def returned(tombstones: Tombstones, dataset: Dataset, revocations: Revocations) -> Returned:
    """Find the rows of the data that tombstones name and that are not revoked.

    Raises:
        ValueError: no training example would remain.
    """
    found = np.setdiff1d(tombstones.ids_in(dataset), revocations.ids)
    ids = np.intersect1d(found, revocable_ids(dataset))
    left = revocations.retained(dataset.train) & ~np.isin(dataset.train.ids, ids)
    if len(ids) and not left.any():
        raise ValueError(
            f"the tombstones name all {len(dataset.train)} training examples of {dataset.name} as "
            "forgotten before, so nothing is left to train on; give other data"
        )
    return Returned(ids, dataset.count_groups(ids), len(found) - len(ids))
