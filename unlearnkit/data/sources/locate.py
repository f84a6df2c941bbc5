"""The order of places in which a published dataset is looked for, and the error when it is in none.

An explicit path; the folder in ``$UNLEARNKIT_DATA``; the folders that hold dataset folders by
custom, torchvision's among them; a download.
"""

import gzip
import hashlib
import http.client
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# Folders that hold dataset folders: Debian's, then the customary roots of torchvision.
SYSTEM_ROOTS = ("/usr/share/datasets", "data", "~/data", "~/.cache")


@dataclass(frozen=True)
class Published:
    """A dataset that others publish: its names, and how its files are laid out.

    Attributes:
        name: for ``load``.
        title: for people.
        files: names of its files, in words.
        folders: sub-folders in which they may lie; the folder itself is looked into first.
        address: where its authors publish it.
        ways: further ways to get it, in words.
        network: who is asked where no folder has it; empty where nobody serves it.
    """

    name: str
    title: str
    files: str
    folders: tuple[str, ...]
    address: str
    ways: tuple[str, ...] = ()
    network: str = ""

    def get(
        self,
        path: str | Path | None,
        read: Callable[[Path], T | None],
        download: Callable[[], T] | None = None,
    ) -> T:
        """What `read` makes of the first folder that has the files, or else of the download.

        Args:
            path: look here and nowhere else; None for the usual places.
            read: of a folder; None where files are missing from it.
            download: may raise OSError; None where nobody serves it.

        Raises:
            FileNotFoundError: found nowhere; the message names every way out.
        """
        if path is not None:
            found = self._search([Path(path)], read)
            if found is None:
                raise FileNotFoundError(
                    f"path={str(path)!r} does not hold {self.title}; expected the files "
                    f"{self.files} there, or in its sub-folder {' or '.join(self.folders)}. "
                    "Without path=, the usual places are searched."
                )
            return found
        given = os.environ.get("UNLEARNKIT_DATA")
        roots = [Path(root) for root in ([given] if given else []) + list(SYSTEM_ROOTS)]
        found = self._search(roots, read)
        if found is not None:
            return found
        if download is None:
            raise self._absent(roots, "nobody serves it for download by programs", ())
        try:
            return download()
        except (OSError, http.client.HTTPException) as error:
            raise self._absent(
                roots,
                f"{self.network} did not deliver it ({type(error).__name__}: {error})",
                (f"a network connection, for the download from {self.network}",),
            ) from error

    def _search(self, roots: list[Path], read: Callable[[Path], T | None]) -> T | None:
        for root in roots:
            for inner in ("", *self.folders):
                found = read(root.expanduser() / inner)
                if found is not None:
                    return found
        return None

    def _absent(
        self, searched: list[Path], reason: str, online: tuple[str, ...]
    ) -> FileNotFoundError:
        ways = (
            *self.ways,
            f"load({self.name!r}, path=FOLDER) with {self.files}, as published at {self.address}",
            f"the environment variable UNLEARNKIT_DATA=FOLDER, with these files in FOLDER or in "
            f"{' or '.join(f'FOLDER/{inner}' for inner in self.folders)}",
            *online,
            "or load('digits'), which needs no files",
        )
        return FileNotFoundError(
            f"{self.title} is not on this machine (searched: {', '.join(map(str, searched))}) and "
            f"{reason}. Ways out, any of: {'; '.join(ways)}."
        )

    def damaged(self, where: object, what: str) -> ValueError:
        """The error about a file that is not the published one."""
        return ValueError(
            f"{where} is damaged or not {self.title}: {what}; remove it and fetch it again from "
            f"{self.address}, or load it as your own data with from_arrays or from_file"
        )

    def check_md5(self, path: Path, expected: str) -> bytes:
        """The bytes of a file, decompressed, once they have the published MD5.

        Raises:
            ValueError: they have another.
        """
        raw = read_bytes(path)
        met = hashlib.md5(raw, usedforsecurity=False).hexdigest()
        if met != expected:
            raise self.damaged(path, f"MD5 {met} of its bytes, expected {expected}")
        return raw


def find_file(folder: Path, name: str) -> Path | None:
    """The file of this name, plain or gzipped."""
    candidates = (folder / name, folder / f"{name}.gz")
    return next((path for path in candidates if path.is_file()), None)


def find_files(folder: Path, names: tuple[str, ...]) -> list[Path] | None:
    """All of these files, plain or gzipped; None where one is missing."""
    paths = [find_file(folder, name) for name in names]
    found = [path for path in paths if path is not None]
    return found if len(found) == len(names) else None


def read_bytes(path: Path) -> bytes:
    """What a file holds, decompressed where it is gzipped.

    Raises:
        ValueError: a damaged gzip file.
    """
    raw = path.read_bytes()
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is a damaged gzip file ({error}); fetch it again") from error
