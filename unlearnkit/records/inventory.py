"""The inventory: what a line of the ledger fixes beside its own text.

Each line names the files that were added to the store and destroyed in it since the line before,
and the queue and the run. So a head of the ledger that is kept elsewhere also fixes the parameters
of that moment: whoever changes a checkpoint, removes one or alters the queue has to write another
ledger, with another head. All names and digests are keyed by the store's secret, because they
depend on which examples were revoked, which otherwise could be found by trying each one.
"""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from unlearnkit.store import DiskStore
from unlearnkit.store.files import canonical

FORMAT = 3  # of lines; lines of earlier versions lack the field and have no inventory
STATE = "state"  # the kind of a line that only takes note of files and the queue
# The parts of a run's description that tell which run it is.
IDENTITY = ("dataset", "spec", "model", "partition", "environment")
DIGITS = 40  # of a keyed digest, in hexadecimal


def keyed(text: str, secret: bytes) -> str:
    """HMAC-SHA-256 of a text, shortened to 160 bits."""
    return hmac.digest(secret, text.encode(), "sha256").hex()[:DIGITS]


@dataclass(frozen=True)
class Inventory:
    """What the lines of a ledger up to one of them fix.

    Attributes:
        files: keyed digest of each file's content, by the keyed digest of its name.
        clean: the same for every clean checkpoint that ever was; its key fixes its bits.
        queue: keyed digest of the requests that wait.
        run: keyed digest of the run's identity, the data set among it.
        known: whether any line had an inventory.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    clean: Mapping[str, str] = field(default_factory=dict)
    queue: str = ""
    run: str = ""
    known: bool = False

    def after(self, line: Mapping[str, Any]) -> "Inventory":
        """The inventory after another line of the ledger.

        Raises:
            ValueError: the line names a clean checkpoint with another content than before, or
                destroys a file that is not there; or it has no inventory, but an earlier one has.
            KeyError, TypeError, AttributeError: the line was not written by unlearnkit.
        """
        if line.get("format") is None:
            if self.known:
                raise ValueError("it lacks its inventory, which lines before it have")
            return self
        if line["format"] != FORMAT:
            raise ValueError(f"it has format {line['format']!r}, not {FORMAT}")
        clean, approximate, gone = line["clean"], line["approximate"], line["destroyed"]
        for name, content in clean.items():
            if self.clean.get(name, content) != content:
                raise ValueError("it names a clean checkpoint with another content than before")
        if not set(gone) <= self.files.keys():
            raise ValueError("it destroys a file that no line before it names")
        kept = {name: content for name, content in self.files.items() if name not in set(gone)}
        return Inventory(
            {**kept, **clean, **approximate},
            {**self.clean, **clean},
            str(line["queue"]),
            str(line["run"]),
            True,
        )


def inventory_of(lines: Iterable[Mapping[str, Any]]) -> Inventory:
    """The inventory after all lines of a ledger.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: as of :meth:`Inventory.after`.
    """
    inventory = Inventory()
    for line in lines:
        inventory = inventory.after(line)
    return inventory


def fields_of(
    before: Inventory,
    clean: Mapping[str, str],
    approximate: Mapping[str, str],
    queue: object,
    run: object,
    secret: bytes,
) -> dict[str, Any]:
    """The fields of the next line of a ledger, which describe what the store then holds.

    Args:
        before: the inventory after the line before.
        clean: digests of the files of all clean checkpoints, by name.
        approximate: the same for approximations.
        queue: the requests that wait, as JSON-compatible values.
        run: the run's identity, as JSON-compatible values.
        secret: keys all digests.
    """
    new = [_keyed(files, secret) for files in (clean, approximate)]
    added = [{n: d for n, d in each.items() if before.files.get(n) != d} for each in new]
    return {
        "format": FORMAT,
        "clean": added[0],
        "approximate": added[1],
        "destroyed": sorted(before.files.keys() - new[0].keys() - new[1].keys()),
        "queue": keyed(canonical(queue), secret),
        "run": keyed(canonical(run), secret),
    }


def says_something(before: Inventory, fields: Mapping[str, Any]) -> bool:
    """Whether fields of a next line tell anything new."""
    changed = any(fields[part] for part in ("clean", "approximate", "destroyed"))
    return changed or (fields["queue"], fields["run"]) != (before.queue, before.run)


def _keyed(files: Mapping[str, str], secret: bytes) -> dict[str, str]:
    return {keyed(name, secret): keyed(digest, secret) for name, digest in sorted(files.items())}


def differences(inventory: Inventory, store: DiskStore, secret: bytes) -> list[str]:
    """Say in what a store differs from the inventory of its ledger; missing files are left out.

    Args:
        inventory: of all lines of the ledger.
        store: the store.
        secret: its key.
    """
    found: list[str] = []
    files = _all_files(store)
    names = {keyed(name, secret) for name in files}
    if names and inventory.files and not names & inventory.files.keys():
        found.append("the ledger records none of the files; its secret.key may be damaged")
    for name, digest in files.items():
        recorded = inventory.files.get(keyed(name, secret))
        if recorded is not None and recorded != keyed(digest, secret):
            found.append(f"{name} is not the file that the ledger records")
    run = store.manifest or {}
    if keyed(canonical(run.get("queue")), secret) != inventory.queue:
        found.append("the requests that wait are not those that the ledger records")
    identity = {part: run.get(part) for part in IDENTITY}
    if run.get("backbone") is not None:  # of heads on a frozen backbone
        identity["backbone"] = run["backbone"]
    if keyed(canonical(identity), secret) != inventory.run:
        found.append(
            "the run is not the one that the ledger records: data, spec, model or partition"
        )
    return found


def missing_files(inventory: Inventory, store: DiskStore, secret: bytes) -> tuple[int, list[str]]:
    """The number of recorded files that a store lacks, and its files that no line records."""
    files = {keyed(name, secret): name for name in _all_files(store)}
    return len(inventory.files.keys() - files.keys()), sorted(
        name for digest, name in files.items() if digest not in inventory.files
    )


def _all_files(store: DiskStore) -> dict[str, str]:
    clean, approximate = store.digests(store.keys, store.bases)
    return {**clean, **approximate}
