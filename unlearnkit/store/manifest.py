"""The manifest: the list of a folder's committed files, replaced as a whole at every commit.

The listed files are on the device before the manifest is written. Files to be destroyed are first
moved from this list to a second one, where they stay until they have been unlinked.
"""

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unlearnkit.store.codec import FORMAT, NAME
from unlearnkit.store.files import (
    StoreError,
    digest_of,
    parse,
    read,
    replace_file,
    reporting_damage,
    sync_paths,
)
from unlearnkit.store.ledger_chain import LedgerExtent, append_lines

MANIFEST, LEDGER = "manifest.json", "ledger.jsonl"


@dataclass(frozen=True)
class File:
    """A file as written: its size, the bytes of its tensors, and its digest."""

    size: int
    nbytes: int
    digest: str


class Manifest:
    """The manifest of a folder, and the changes that its next version will contain.

    Attributes:
        run: description of the run; None in a new store.
        ledger: committed extent of the ledger.
        listed: files that the manifest on disk may list.
        unsynced: files written since the last commit, which may not be on the device yet.
        to_unlink: files to be unlinked.
    """

    def __init__(self, folder: Path) -> None:
        """Start with the manifest of an empty folder."""
        self.folder = folder
        self.run: dict[str, Any] | None = None
        self.ledger = LedgerExtent()
        self.listed: dict[str, File] = {}
        self.unsynced: set[str] = set()
        self.to_unlink: set[str] = set()
        self._may_lag_disk = False  # whether the manifest on disk may be newer than this object

    @property
    def path(self) -> Path:
        """Path of the manifest."""
        return self.folder / MANIFEST

    def read(self) -> set[str]:
        """Read the manifest; return the names of the files that are still to be unlinked.

        Raises:
            StoreError: the manifest is damaged or has another format.
            StoreIOError: it cannot be read now.
        """
        path = self.path
        if not os.path.lexists(path):
            return set()
        with reporting_damage(path):
            manifest = parse(read(path))
            if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
                raise StoreError(f"{path} is not of format {FORMAT}; use another folder")
            content = manifest["content"]
            if manifest["digest"] != digest_of(content):
                raise ValueError("its content does not match its digest")
            destroy = {_checked(name) for name in content["destroy"]}
            self.listed = {
                _checked(name): File(_count(size), _count(nbytes), str(digest))
                for name, (size, nbytes, digest) in content["files"].items()
            }
            self.ledger = LedgerExtent(**content["ledger"])
            self.run = content["run"]
            if not isinstance(self.run, dict | None):
                raise ValueError("its run is not an object")
        return destroy

    def commit(
        self, run: dict[str, Any] | None, files: dict[str, File], lines: Iterable[dict[str, Any]]
    ) -> None:
        """Wait until all files are on the device, then write the manifest.

        Args:
            run: description of the run; None keeps the current one.
            files: files to be listed.
            lines: lines to append to the ledger in the same commit.
        """
        if self._may_lag_disk:  # the manifest on disk may cover ledger lines that are cut off next
            self.write(self.run, files, self.ledger)
        extent = append_lines(self.folder / LEDGER, self.ledger, lines)
        self.write(self.run if run is None else run, files, extent)
        with contextlib.suppress(OSError):  # the commit is done; these files stay in the list
            self.unlink_files()

    def write(
        self, run: dict[str, Any] | None, files: dict[str, File], extent: LedgerExtent
    ) -> None:
        """Wait until these files are on the device, then write the manifest that lists them."""
        fresh = sorted(self.unsynced & files.keys())
        names = {os.path.dirname(name) for name in fresh}
        if fresh:
            names.add("")  # for the folders of new shards
        sync_paths(self.folder / name for name in [*fresh, *sorted(names)])
        content = {
            "run": run,
            "files": {n: [f.size, f.nbytes, f.digest] for n, f in sorted(files.items())},
            "destroy": sorted(self.to_unlink - files.keys()),
            "ledger": asdict(extent),
        }
        text = json.dumps(
            {"format": FORMAT, "digest": digest_of(content), "content": content}, indent=1
        )
        listed = dict(files)
        self.listed = {**self.listed, **listed}  # until it is certain which manifest is on disk
        self._may_lag_disk = True
        replace_file(self.path, [text.encode()], sync=True)
        self._may_lag_disk = False
        self.listed, self.run, self.ledger = listed, run, extent
        self.unsynced -= set(fresh)

    def unlink_files(self) -> None:
        """Unlink the files to be destroyed; those that cannot be unlinked stay in the list."""
        first: OSError | None = None
        for name in sorted(self.to_unlink):
            try:
                os.unlink(self.folder / name)
            except FileNotFoundError:
                pass
            except OSError as error:
                first = first or error
                continue
            self.to_unlink.discard(name)
        if first is not None:
            raise first


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError(f"{value!r} is not a number of bytes")
    return value


def _checked(name: object) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a store's file")
    return name
