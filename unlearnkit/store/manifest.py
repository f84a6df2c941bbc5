"""The manifest: what of a folder is committed, replaced as a whole at every commit.

Files that it lists are on the device before it is written. Files that are to be destroyed leave
its list first, and stand on another until they are gone.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unlearnkit.store.codec import FORMAT, NAME
from unlearnkit.store.files import (
    StoreError,
    broken,
    is_missing,
    read,
    replace_file,
    sync_paths,
    telling,
)
from unlearnkit.store.ledger_file import Chain, extend

MANIFEST, LEDGER = "manifest.json", "ledger.jsonl"


@dataclass(frozen=True)
class File:
    """A file as written: bytes in all, bytes of tensors, digest."""

    size: int
    nbytes: int
    digest: str


class Manifest:
    """The manifest of a folder, and what its next writing has to see to.

    Attributes:
        run: what the run says of itself; None in a new store.
        chain: how far the ledger goes.
        listed: what the manifest on disk may list.
        fresh: files written since the last commit, which may not be on the device yet.
        doomed: files to be unlinked.
    """

    def __init__(self, folder: Path) -> None:
        """Start as in a new folder."""
        self.folder = folder
        self.run: dict[str, Any] | None = None
        self.chain = Chain()
        self.listed: dict[str, File] = {}
        self.fresh: set[str] = set()
        self.doomed: set[str] = set()
        self._unsure = False  # whether the manifest on disk may be newer than what is known here

    @property
    def path(self) -> Path:
        """Of the manifest."""
        return self.folder / MANIFEST

    def read(self) -> set[str]:
        """Read what is committed; names of files whose destruction is under way.

        Raises:
            StoreError: it is damaged.
            StoreIOError: it cannot be read now.
        """
        path = self.path
        if not os.path.lexists(path):
            return set()
        try:
            manifest = json.loads(read(path))
            if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
                raise StoreError(f"{path} is not of format {FORMAT}; use another folder")
            content = manifest["content"]
            if manifest["digest"] != _digest_of(content):
                raise ValueError("its content does not match its digest")
            destroy = {_checked(name) for name in content["destroy"]}
            self.listed = {
                _checked(name): File(int(size), int(nbytes), str(digest))
                for name, (size, nbytes, digest) in content["files"].items()
            }
            self.chain = Chain(**content["ledger"])
            self.run = content["run"]
            if not isinstance(self.run, dict | None):
                raise ValueError("its run is not an object")
        except StoreError:
            raise
        except Exception as error:  # any of the reader's errors means one thing to the user
            if isinstance(error, OSError) and not is_missing(error):
                with telling(self.folder, "read"):
                    raise
            raise broken(path, error) from error
        return destroy

    def commit(
        self, run: dict[str, Any] | None, files: dict[str, File], lines: Iterable[dict[str, Any]]
    ) -> None:
        """Have everything on the device, then write the manifest: all at once.

        Args:
            run: what it is to say of the run; what it says by default.
            files: to be listed.
            lines: to be added to the ledger, by the same stroke.
        """
        if self._unsure:  # the manifest may name lines that are about to be cut off
            self.write(self.run, files, self.chain)
        chain = extend(self.folder / LEDGER, self.chain, lines)
        self.write(self.run if run is None else run, files, chain)
        with contextlib.suppress(OSError):  # it is committed; they stay on the list
            self.unlink_doomed()

    def write(self, run: dict[str, Any] | None, files: dict[str, File], chain: Chain) -> None:
        """Have these files on the device, then list them."""
        fresh = sorted(self.fresh & files.keys())
        names = {os.path.dirname(name) for name in fresh}
        if fresh:
            names.add("")  # for folders of shards that are new
        sync_paths(self.folder / name for name in [*fresh, *sorted(names)])
        content = {
            "run": run,
            "files": {n: [f.size, f.nbytes, f.digest] for n, f in sorted(files.items())},
            "destroy": sorted(self.doomed - files.keys()),
            "ledger": asdict(chain),
        }
        text = json.dumps(
            {"format": FORMAT, "digest": _digest_of(content), "content": content}, indent=1
        )
        listed = dict(files)
        self.listed = {**self.listed, **listed}  # until it is known which of the two is there
        self._unsure = True
        replace_file(self.path, [text.encode()], sync=True)
        self._unsure = False
        self.listed, self.run, self.chain = listed, run, chain
        self.fresh -= set(fresh)

    def unlink_doomed(self) -> None:
        """Unlink what is to be destroyed; what cannot be stays on the list."""
        first: OSError | None = None
        for name in sorted(self.doomed):
            try:
                os.unlink(self.folder / name)
            except FileNotFoundError:
                pass
            except OSError as error:
                first = first or error
                continue
            self.doomed.discard(name)
        if first is not None:
            raise first


def _digest_of(content: object) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _checked(name: object) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no file of a store")
    return name
