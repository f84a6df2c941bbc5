"""Search for the files of a published dataset, and the error if they are not found.

The order is: the folder ``$UNLEARNKIT_DATA``, the default folders, a download. A path given by the
caller replaces all of these.
"""

import hashlib
import http.client
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from unlearnkit.data.reading.unpack import opened

T = TypeVar("T")

# Default folders: that of Debian's dataset packages, then common root folders of torchvision.
SYSTEM_ROOTS = ("/usr/share/datasets", "data", "~/data", "~/.cache")
MOST_BYTES = 64 << 20  # of a file with a published checksum; the largest has half as many


@dataclass(frozen=True)
class Published:
    """A published dataset: its names, its files and where to get them.

    Attributes:
        name: name for ``load``.
        title: name for display.
        files: description of its files.
        folders: subfolders that may contain the files; the folder itself is searched first.
        address: where the authors publish the dataset.
        network: service for the download.
        ways: further ways to get it, for the error message.
    """

    name: str
    title: str
    files: str
    folders: tuple[str, ...]
    address: str
    network: str
    ways: tuple[str, ...] = ()

    def get(
        self,
        path: str | Path | None,
        read: Callable[[Path], T | None],
        download: Callable[[], T],
    ) -> T:
        """Read the dataset from the first folder that contains its files, or else download it.

        Args:
            path: the only folder to search; None searches the default folders.
            read: reads a folder, and returns None if files are missing from it.
            download: downloads the dataset, and may raise OSError.

        Raises:
            FileNotFoundError: the files were not found; the message says how to get them.
        """
        if path is not None:
            found = self._search([Path(path)], read)
            if found is None:
                raise FileNotFoundError(
                    f"path={str(path)!r} does not hold {self.title}; expected the files "
                    f"{self.files} there, or in its subfolder {' or '.join(self.folders)}. "
                    "Without path=, the default folders are searched."
                )
            return found
        given = os.environ.get("UNLEARNKIT_DATA")
        roots = [Path(root) for root in ([given] if given else []) + list(SYSTEM_ROOTS)]
        found = self._search(roots, read)
        if found is not None:
            return found
        try:
            return download()
        except (OSError, http.client.HTTPException) as error:
            raise self._absent(roots, error) from error

    def _search(self, roots: list[Path], read: Callable[[Path], T | None]) -> T | None:
        for root in roots:
            for inner in ("", *self.folders):
                found = read(root.expanduser() / inner)
                if found is not None:
                    return found
        return None

    def _absent(self, searched: list[Path], error: Exception) -> FileNotFoundError:
        ways = (
            *self.ways,
            f"load({self.name!r}, path=FOLDER) with {self.files}, as published at {self.address}",
            f"the environment variable UNLEARNKIT_DATA=FOLDER, with these files in FOLDER or in "
            f"{' or '.join(f'FOLDER/{inner}' for inner in self.folders)}",
            f"a network connection, for the download from {self.network}",
            "or load('digits'), which needs no files",
        )
        return FileNotFoundError(
            f"{self.title} is not on this machine (searched: {', '.join(map(str, searched))}) and "
            f"{self.network} did not deliver it ({type(error).__name__}: {error}). "
            f"Any of these helps: {'; '.join(ways)}."
        )

    def damaged(self, where: object, what: str) -> ValueError:
        """Make the error for a file that differs from the published one."""
        return ValueError(
            f"{where} is damaged or not {self.title}: {what}; remove it and fetch it again from "
            f"{self.address}, or load it as your own data with from_arrays or from_file"
        )

    def check_md5(self, path: Path, expected: str) -> bytes:
        """Return the decompressed bytes of a file after checking their MD5.

        Raises:
            ValueError: the MD5 differs.
        """
        raw = read_bytes(path)
        found = hashlib.md5(raw, usedforsecurity=False).hexdigest()
        if found != expected:
            raise self.damaged(path, f"MD5 {found} of its bytes, expected {expected}")
        return raw


def find_file(folder: Path, name: str) -> Path | None:
    """Return the path of the file of this name, plain or gzipped; None if it is missing."""
    candidates = (folder / name, folder / f"{name}.gz")
    return next((path for path in candidates if path.is_file()), None)


def find_files(folder: Path, names: tuple[str, ...]) -> list[Path] | None:
    """Return the paths of all these files, plain or gzipped; None if one is missing."""
    paths = [find_file(folder, name) for name in names]
    found = [path for path in paths if path is not None]
    return found if len(found) == len(names) else None


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the contents of a file, unpacked if it is gzipped.

    Args:
        path: path of the file.
        most: number of bytes that it may hold, unpacked; no more is taken up to find out.

    Raises:
        ValueError: the gzip file is damaged, or it holds more.
    """
    with opened(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"{path} holds more than {most:,} bytes, unpacked; fetch it again")
    return data
