"""Reading and writing the files of a store.

Files are replaced atomically, and reads refuse symbolic links. The contents of a checkpoint are
used only after their digest has been checked (:mod:`unlearnkit.store.codec`).
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

from unlearnkit.store.codec import NAME

SYNC_THREADS = 8
WRITEBACK_BYTES = 128 << 10  # size from which writeback starts early; smaller files sync quickly
JOINED_BYTES = 4 << 20
WRITING = ".writing-"  # prefix of files that are not complete yet
FOLDER = re.compile(r"shard-(\d{4,9})")
MOST_LEVELS = 32  # of lists and objects within each other
COPIED = (
    ". If the folder is a copy, it was perhaps taken while the store was in use; then copy it "
    "again when no process writes to it"
)
_MAX_SPARSE_BYTES = 64 << 20  # larger files must occupy a quarter of their size on disk


class StoreError(ValueError):
    """The store is damaged, in use, or belongs to another run.

    >>> import tempfile
    >>> import unlearnkit as uk
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     try:
    ...         uk.DiskStore(file.name)
    ...     except uk.StoreError as error:
    ...         print(str(error).partition("; ")[2])
    give the path of a folder for the store
    """


class MismatchError(ValueError):
    """A file is whole, but not the one that the manifest was written with."""


class NoStoreError(StoreError):
    """There is no store in the folder."""


class StoreInUseError(StoreError):
    """Another process holds the store."""


class NoLocksError(StoreError):
    """The file system has no locks, so a second writer would not be noticed."""


class StoreIOError(OSError):
    """The store cannot be read or written now, for example because the disk is full."""


def damaged_file(path: Path, error: Exception) -> StoreError:
    """Make the error for a damaged file that the whole store depends on."""
    return StoreError(
        f"{path} is damaged ({type(error).__name__}: {error}); restore it from a copy, or use "
        f"another folder{of_a_copy(error)}"
    )


def of_a_copy(error: Exception) -> str:
    """Say what may have happened to a copy, if files are absent or do not fit each other."""
    return COPIED if isinstance(error, FileNotFoundError | MismatchError) else ""


def is_missing(error: OSError) -> bool:
    """Whether the error says that a file is absent or a symbolic link.

    After other errors the file may be intact.
    """
    return error.errno in (errno.ENOENT, errno.ELOOP)


@contextlib.contextmanager
def reporting_failure(folder: Path, what: str, content: str = "store") -> Iterator[None]:
    """Turn an ``OSError`` into an error that names the folder and the failed operation.

    Args:
        folder: the folder.
        what: the operation as a past participle, such as "written".
        content: what the folder holds.

    Raises:
        StoreIOError: an operation in the context failed.
    """
    try:
        yield
    except StoreIOError:
        raise
    except OSError as error:
        raise StoreIOError(
            error.errno,
            f"the {content} in {folder} could not be {what} ({error}); its previous contents are "
            "intact. Free disk space or fix the permissions, then try again",
        ) from error


@contextlib.contextmanager
def reporting_damage(path: Path, content: str = "store") -> Iterator[None]:
    """Turn what the reading of a file or of its contents raises into an error that names the file.

    Args:
        path: the file, on which all of its folder depends.
        content: what the folder holds.

    Raises:
        StoreError: the file is damaged or missing.
        StoreIOError: it cannot be read now.
    """
    try:
        yield
    except (StoreError, StoreIOError):
        raise
    except Exception as error:  # whatever the reader raised, the file is damaged
        if isinstance(error, OSError) and not is_missing(error):
            with reporting_failure(path.parent, "read", content):
                raise
        raise damaged_file(path, error) from error


def canonical(value: object) -> str:
    """A JSON-compatible value as text, equal for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def digest_of(value: object) -> str:
    """SHA-256 of a JSON-compatible value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


# Reading


def scan(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield names and sizes of a store's checkpoint files; files with other names are ignored.

    Raises:
        StoreError: a checkpoint file is not a regular file, or a shard's folder is not a folder.
    """
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if not FOLDER.fullmatch(entry.name):
            continue
        if not entry.is_dir(follow_symlinks=False):
            raise StoreError(f"{entry.path} is not a folder of this store; remove it")
        for file in sorted(os.scandir(entry.path), key=lambda e: e.name):
            name = f"{entry.name}/{file.name}"
            if NAME.fullmatch(name):
                if not file.is_file(follow_symlinks=False):
                    raise StoreError(f"{file.path} is not a regular file; remove it")
                yield name, file.stat(follow_symlinks=False).st_size


def unfinished_files(folder: Path) -> Iterator[Path]:
    """Yield temporary files that an interrupted writer left."""
    inner = [e for e in os.scandir(folder) if FOLDER.fullmatch(e.name)]
    folders = [folder, *(Path(e.path) for e in inner if e.is_dir(follow_symlinks=False))]
    for one in folders:
        yield from (Path(e.path) for e in os.scandir(one) if e.name.startswith(WRITING))


def read(path: Path, expected: int | None = None, most: int | None = None) -> bytes:
    """Read a whole regular file.

    Args:
        path: path of the file.
        expected: size in bytes that it must have; None accepts any.
        most: size in bytes that it may have at most; None accepts any.

    Raises:
        OSError: the file cannot be read, or is a symbolic link.
        ValueError: it is not a regular file of the expected size.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if expected is not None and status.st_size != expected:
            raise MismatchError(f"it has {status.st_size} bytes, but {expected} were written")
        if most is not None and status.st_size > most:
            raise ValueError(f"it has {status.st_size} bytes, more than {most}")
        if status.st_size > max(_MAX_SPARSE_BYTES, 4 * 512 * getattr(status, "st_blocks", 2**53)):
            raise ValueError(f"its size is {status.st_size} bytes, but most are not on disk")
        return file.read(status.st_size)


def parse(data: bytes) -> Any:
    """Parse JSON that somebody else may have written.

    Raises:
        ValueError: it is not JSON, or is nested so deeply that later steps could fail.
        RecursionError: the same.
    """
    value = json.loads(data)
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MOST_LEVELS):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return value
    raise ValueError(f"it is nested in more than {MOST_LEVELS} levels")


# Writing


def replace_file(
    path: Path,
    pieces: Sequence[memoryview | bytes],
    *,
    sync: bool,
    mode: int = 0o666,
) -> None:
    """Replace a file atomically: a reader sees either the old or the new contents.

    With ``sync`` this holds even after a power failure; without it, only after the process dies.
    """
    temporary = path.with_name(WRITING + path.name)
    try:
        handle = _create(temporary, mode)
        try:
            for piece in _joined(pieces):
                write_all(handle, piece)
            if sync:
                os.fsync(handle)
            elif os.fstat(handle).st_size >= WRITEBACK_BYTES:
                _start_writeback(handle)
        finally:
            os.close(handle)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if sync:
        sync_path(path.parent)


def _create(path: Path, mode: int) -> int:
    """Create a file that nothing else has the name of, and return its handle.

    A file of this name that is there already, such as one that an interrupted writer left, loses
    the name. It is not opened, since it may be a pipe, or another name of a file elsewhere.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    try:
        return os.open(path, flags, mode)
    except FileExistsError:
        remove_temporary(path)
        return os.open(path, flags, mode)


def remove_temporary(path: Path) -> None:
    """Remove a temporary file.

    Raises:
        StoreError: it is a folder.
    """
    if path.is_dir() and not path.is_symlink():
        raise StoreError(f"{path} is a folder, not a file of this store; remove it")
    os.unlink(path)


def check_own(path: Path, status: os.stat_result) -> None:
    """Check that a file which is about to be changed in place is the store's own.

    Args:
        path: path of the file.
        status: status of the file itself, not of what a symbolic link leads to.

    Raises:
        StoreError: it is not a regular file, or has another name.
    """
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{path} is not a regular file; restore it from a copy, or remove it")
    if status.st_nlink > 1:
        raise StoreError(
            f"{path} has {status.st_nlink} names (hard links), so writing to it would change a "
            "file elsewhere as well; replace it by a copy of itself"
        )


def check_own_file(path: Path) -> None:
    """Check that a file, if there is one, can be opened and changed in place.

    Raises:
        StoreError: it is not a regular file, or has another name.
    """
    with contextlib.suppress(FileNotFoundError):
        check_own(path, os.lstat(path))


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; it survives a power failure from then on."""
    missing = [folder, *folder.parents]
    missing = missing[: next(i for i, path in enumerate(missing) if path.exists())]
    os.makedirs(folder, exist_ok=True)
    for path in missing:
        sync_path(path.parent)


def _start_writeback(handle: int) -> None:
    """Start writing a file to the device without waiting, so that the next commit is faster.

    On Linux the hint that the file is no longer needed in memory starts its writeback.
    """
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)


def sync_path(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the device."""
    if os.name == "nt" and os.path.isdir(path):
        return  # Windows cannot open folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_paths(paths: Iterable[Path]) -> None:
    """Wait until files and entries of folders are on the device, several at a time.

    Several threads sync at once, since file systems then combine their writes.

    Raises:
        OSError: a file or folder could not be synced.
    """
    left, errors = deque(paths), list[OSError]()

    def work() -> None:
        with contextlib.suppress(IndexError):  # the queue is empty
            while True:
                path = left.popleft()
                try:
                    sync_path(path)
                except OSError as error:
                    errors.append(error)

    threads = [Thread(target=work) for _ in range(min(SYNC_THREADS, len(left)) - 1)]
    for thread in threads:
        thread.start()
    work()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _joined(pieces: Sequence[memoryview | bytes]) -> Sequence[memoryview | bytes]:
    """Join small pieces, so that a single call writes them."""
    return [b"".join(pieces)] if sum(map(len, pieces)) < JOINED_BYTES else pieces


def write_all(handle: int, data: memoryview | bytes) -> None:
    """Write all bytes, continuing after short writes."""
    view = memoryview(data)
    while len(view):
        view = view[os.write(handle, view) :]
