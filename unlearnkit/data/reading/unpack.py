"""Reading of files that may be compressed, without unpacking more than their size allows."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MOST_RATIO = (
    200  # images compress to a fifth, tables of zeros to a hundredth, a bomb to a thousandth
)
FREE_BYTES = 64 << 20  # so much may be unpacked from a file of any size
_DAMAGES = (OSError, EOFError, RuntimeError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)


@contextlib.contextmanager
def opened(path: Path, packing: str | None = None) -> Iterator[BinaryIO]:
    """Open a file to read its bytes, unpacked.

    Args:
        path: path of the file.
        packing: how the file is compressed, a key of ``PACKINGS``; None takes a file that begins as
            a gzip file for one, and any other as it is.

    Raises:
        OSError: the file cannot be opened.
        ValueError: the file is damaged, which may show in the context only; or it unpacks to more
            than :func:`most_bytes`.
    """
    with open(path, "rb") as file:
        if packing is None:
            packing = "gz" if file.read(2) == b"\x1f\x8b" else ""
            file.seek(0)
        most = most_bytes(os.fstat(file.fileno()))
        try:
            inner = PACKINGS[packing](file) if packing else contextlib.nullcontext(file)
        except _DAMAGES as error:
            raise _damaged(path, error) from error
        with inner as unpacked:
            bounded = _Bounded(path, cast(BinaryIO, unpacked), most)
            yield cast(BinaryIO, io.BufferedReader(bounded))


def most_bytes(status: os.stat_result) -> int:
    """Return how many bytes a file may hold once it is unpacked, from what it takes on the disk."""
    size: int = status.st_size
    on_disk = min(size, 512 * getattr(status, "st_blocks", size))
    return max(FREE_BYTES, MOST_RATIO * on_disk)


def _unzip(file: BinaryIO) -> IO[bytes]:
    archive = zipfile.ZipFile(file)
    names = archive.namelist()
    if len(names) != 1:
        raise zipfile.BadZipFile(f"it holds {len(names)} files instead of one")
    return archive.open(names[0])


PACKINGS: dict[str, Callable[[BinaryIO], Any]] = {
    "gz": lambda file: gzip.GzipFile(fileobj=file),
    "bz2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
    "zip": _unzip,
}


class _Bounded(io.RawIOBase):
    """A file that raises an error when more is read from it than it may hold."""

    def __init__(self, path: Path, file: BinaryIO, most: int) -> None:
        self._path, self._file, self._left, self._most = path, file, most, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        try:
            data = self._file.read(len(view))
        except _DAMAGES as error:
            raise _damaged(self._path, error) from error
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(
                f"{self._path} unpacks to more than {self._most:,} bytes, which its size does not "
                "explain; if it is what you want, unpack it first"
            )
        view[: len(data)] = data
        return len(data)


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} is a damaged file ({error}); fetch it again")
