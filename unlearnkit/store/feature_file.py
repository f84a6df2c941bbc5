"""The file of a store that keeps the features of a frozen backbone.

    features.bin    one row of features for each example, and behind them one mark for each row

The features are read through a memory map, so that they take no memory of the process. The mark of
a row is a digest, keyed by the store's secret, of its features and of what they were computed from.
A row whose mark does not fit, because it was never written, was written partly before a power
failure, or was damaged, is computed again. To destroy a row means to overwrite it with zeros.
"""

import contextlib
import hashlib
import mmap
import os
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor

from unlearnkit.store.disk import DiskStore
from unlearnkit.store.files import StoreError, check_own, reporting_failure, write_all

FEATURES = "features.bin"
MARK = 16  # bytes of the mark of a row
CHUNK_BYTES = 8 << 20  # of features that are read or written at a time


class Reader(Protocol):
    """Readers that have mapped a file privately."""

    def take(self, places: Int64[np.ndarray, " k"]) -> None:
        """Copy rows that are about to be erased into memory, where they are still needed."""


class FeatureFile:
    """The rows of features in a store's folder.

    Attributes:
        values: the rows, which are mapped into memory; they are changed by this class only.
        marks: the marks of all rows; a mark of zeros means that the row is empty.
    """

    # By device and inode, so that a store that is opened again finds those who read it before.
    _readers: ClassVar[dict[tuple[int, int], "weakref.WeakSet[Reader]"]] = {}

    def __init__(self, store: DiskStore, count: int, width: int) -> None:
        """Open the file, or create an empty one of this size.

        A file of another size is replaced: it was made for other features.

        Args:
            store: the store in whose folder the file lies; it has to be writable.
            count: number of rows.
            width: number of values of each row.

        Raises:
            StoreError: the store cannot be written, or the file is a link or no regular file.
            StoreIOError: there is not enough space, or the file cannot be opened.
        """
        store.need_writable()
        self._store, self._width = store, width
        self._secret, self._lock = store.secret(), threading.Lock()
        self.path = store.folder / FEATURES
        self._begin = 4 * width * count  # of the marks
        with reporting_failure(store.folder, "written"):
            self._file = _open(self.path, self._begin + MARK * count)
            whole = np.memmap(self.path, np.uint8, "r+")
        # What may not be written is a view of a map that may; torch warns of others.
        rows = whole[: self._begin].view(np.float32).reshape(count, width)
        self.values: Float32[Tensor, "row value"] = torch.from_numpy(rows)
        self.marks: UInt8[np.ndarray, "row 16"] = whole[self._begin :].reshape(count, MARK)

    def __repr__(self) -> str:
        held = int(self.filled.sum())
        return f"FeatureFile({str(self.path)!r}, {held:,} of {len(self.marks):,} rows)"

    def private(self, reader: Reader) -> Float32[Tensor, "row value"]:
        """Return the rows as a private map, whose changes take memory and do not reach the file.

        While the reader exists, it is told before this process erases a row.
        """
        rows, (count, width) = mmap.mmap(self._file, 0, access=mmap.ACCESS_COPY), self.values.shape
        self._readers.setdefault(self._key, weakref.WeakSet()).add(reader)
        values = np.frombuffer(rows, np.float32, count * width)
        return torch.from_numpy(values.reshape(count, width))

    @property
    def _key(self) -> tuple[int, int]:
        about = os.fstat(self._file)
        return about.st_dev, about.st_ino

    @property
    def filled(self) -> Bool[np.ndarray, " row"]:
        """Which rows have a mark; whether it fits, :meth:`fitting` finds out."""
        filled = self.marks.any(1)
        assert isinstance(filled, np.ndarray)  # one for each row
        return filled

    @property
    def writable(self) -> bool:
        """Whether rows can be written: the store is open, and held by this process."""
        try:
            self._store.need_writable()
        except StoreError:
            return False
        return True

    def write(
        self,
        places: Int64[np.ndarray, " k"],
        rows: Float32[Tensor, "k value"],
        origins: Sequence[bytes],
    ) -> None:
        """Write rows and then their marks.

        Args:
            places: the numbers of the rows.
            rows: their features.
            origins: for each row, bytes that identify what it was computed from.

        Raises:
            StoreError: the store can no longer be written.
            StoreIOError: writing failed.
        """
        values = rows.contiguous().numpy()
        marks = self._marks_of(values, origins)
        self._write(places, values, marks)

    def erase(self, places: Int64[np.ndarray, " k"]) -> None:
        """Overwrite rows and their marks with zeros, and wait until they are on the device.

        Readers that have mapped the file privately copy the rows first.

        Raises:
            StoreError: the store can no longer be written.
            StoreIOError: writing failed.
        """
        for reader in tuple(self._readers.get(self._key, ())):
            reader.take(places)
        nothing = np.zeros((len(places), self._width), np.float32)
        self._write(places, nothing, np.zeros((len(places), MARK), np.uint8))
        with reporting_failure(self._store.folder, "written"):
            os.fsync(self._file)

    def fitting(
        self,
        places: Int64[np.ndarray, " k"],
        origins: Sequence[bytes],
        rows: Float32[np.ndarray, "k value"] | None = None,
    ) -> Bool[np.ndarray, " k"]:
        """Return which rows hold the features of these origins, unchanged.

        Args:
            places: the numbers of the rows.
            origins: for each row, bytes that identify what it was computed from.
            rows: copies of the rows; None stands for those of the file.
        """
        fits = np.zeros(len(places), bool)
        some = max(1, CHUNK_BYTES // (4 * self._width))
        for begin in range(0, len(places), some):
            at = places[begin : begin + some]
            held = self.values.numpy()[at] if rows is None else rows[begin : begin + some]
            found = self._marks_of(held, origins[begin : begin + some])
            fits[begin : begin + some] = (found == self.marks[at]).all(1)
        return fits

    def _marks_of(
        self, rows: Float32[np.ndarray, "k value"], origins: Sequence[bytes]
    ) -> UInt8[np.ndarray, "k 16"]:
        found = bytearray()
        for row, origin in zip(rows, origins, strict=True):
            found += mark_of(self._secret, origin, row)
        return np.frombuffer(found, np.uint8).reshape(len(rows), MARK)

    def _write(
        self,
        places: Int64[np.ndarray, " k"],
        rows: Float32[np.ndarray, "k value"],
        marks: UInt8[np.ndarray, "k 16"],
    ) -> None:
        """Write through the file rather than the map: on a full device a map ends the process."""
        self._store.need_writable()
        if not len(places):
            return
        ends = np.flatnonzero(np.diff(places) != 1) + 1
        with self._lock, reporting_failure(self._store.folder, "written"):
            for content, begin, size in ((rows, 0, 4 * self._width), (marks, self._begin, MARK)):
                for at, part in zip(np.split(places, ends), np.split(content, ends), strict=True):
                    os.lseek(self._file, begin + size * int(at[0]), os.SEEK_SET)
                    write_all(self._file, np.ascontiguousarray(part).reshape(-1).data.cast("B"))

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.close(self._file)


def read_features(
    folder: Path, count: int, width: int
) -> tuple[Float32[np.ndarray, "row value"], UInt8[np.ndarray, "row 16"]] | None:
    """Return the rows and the marks of a store's features, to be read only; None without a file.

    Args:
        folder: folder of the store.
        count: number of rows.
        width: number of values of each row.

    Raises:
        StoreError: the file is a link, no regular file, or not of this size.
    """
    path, size = folder / FEATURES, (4 * width + MARK) * count
    if not os.path.lexists(path):
        return None
    check_own(path, os.lstat(path))
    if path.stat().st_size != size:
        raise StoreError(
            f"{path} has {path.stat().st_size} bytes, but the features of {count} examples take "
            f"{size}; delete it, and they are computed again"
        )
    whole = np.memmap(path, np.uint8, "r")
    rows = whole[: 4 * width * count].view(np.float32).reshape(count, width)
    return rows, whole[4 * width * count :].reshape(count, MARK)


def mark_of(secret: bytes, origin: bytes, row: Float32[np.ndarray, " value"]) -> bytes:
    """Return the mark of a row of features.

    Args:
        secret: the key of the store.
        origin: identifies what the features were computed from.
        row: the features.
    """
    hasher = hashlib.blake2b(origin, key=secret, digest_size=MARK)
    hasher.update(np.ascontiguousarray(row).data)
    return hasher.digest()


def _open(path: Path, size: int) -> int:
    """Open a file to be written in place, of this size, and return its handle."""
    if os.path.lexists(path):
        check_own(path, os.lstat(path))
        if os.lstat(path).st_size != size:
            os.unlink(path)  # to truncate it would end a process that still has it mapped
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags, 0o600)
    try:
        check_own(path, os.fstat(handle))
        if os.fstat(handle).st_size != size:
            os.ftruncate(handle, size)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle, 0, size)
    except BaseException:
        os.close(handle)
        raise
    return handle
