"""The lock of a store: one process at a time may write to it."""

import errno
import json
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unlearnkit.interrupts import check
from unlearnkit.store.files import (
    NoLocksError,
    StoreError,
    StoreInUseError,
    check_own_file,
    read,
    replace_file,
)

LOCK, HOLDER = "store.lock", "holder.json"
POLL_SECONDS = 0.05  # between two attempts to acquire the lock
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


class Lock:
    """The lock of a folder. The system releases it when the process ends for any reason.

    Attributes:
        pid: the process that holds the lock.
    """

    def __init__(self, folder: Path, wait_seconds: float, *, lock: bool = True) -> None:
        """Acquire the lock.

        Args:
            folder: folder of the store.
            wait_seconds: how long to wait for another process.
            lock: False only takes note of the folder, on a file system without locks.

        Raises:
            StoreInUseError: another process holds the lock.
            NoLocksError: the file system has no locks.
            StoreError: the lock file is not a regular file, or has another name.
            OSError: the folder cannot be written.
        """
        self.pid, self._folder = os.getpid(), folder
        path = folder / LOCK
        check_own_file(path)  # it is opened to be written
        self._lock: Any = None
        try:
            if lock:
                self._acquire(path, wait_seconds)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": now}
            replace_file(folder / HOLDER, [json.dumps(holder).encode()], sync=False)
            self._seen = self._identity()
        except BaseException:
            self.release()
            raise

    def _acquire(self, path: Path, wait_seconds: float) -> None:
        from filelock import FileLock, Timeout  # slow, and not needed in memory

        # Without locks it would fall back to a file that outlives a process that is killed.
        self._lock = FileLock(path, thread_local=False, fallback_to_soft=False)
        until = time.monotonic() + wait_seconds
        while True:
            try:
                self._lock.acquire(timeout=0)
                return
            except Timeout:
                if time.monotonic() >= until:
                    raise StoreInUseError(
                        f"{self._folder} is in use by {_holder(self._folder)}; close it there, "
                        "wait for it (wait_seconds=...), or open it with "
                        "DiskStore(..., read_only=True)"
                    ) from None
            except (NotImplementedError, OSError) as error:
                if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                    raise
                raise _no_locks(self._folder) from error
            check()
            time.sleep(POLL_SECONDS)

    def need(self) -> None:
        """Check that the folder is still the one that was locked.

        Raises:
            StoreError: it was deleted, moved or replaced, its lock file was removed, or this is a
                process forked from the one that holds the lock.
        """
        if self.pid != os.getpid():
            raise StoreError(
                f"the store in {self._folder} is held by process {self.pid}, from which this one "
                "was forked; write to it in that process"
            )
        if self._identity() != self._seen:
            raise StoreError(
                f"the store in {self._folder} is not the one that was opened: the folder was "
                f"deleted, moved or replaced, or its {LOCK} was removed. Nothing was written; open "
                "the store again where it is now"
            )

    def _identity(self) -> tuple[tuple[int, int] | None, ...]:
        """Device and number of the folder and of the lock file; None for one that is not there."""
        paths = (self._folder, self._folder / LOCK) if self._lock else (self._folder,)
        return tuple(_number(path) for path in paths)

    def release(self) -> None:
        """Release the lock, except in a forked child, since its parent holds the lock."""
        if self._lock is not None and self.pid == os.getpid():
            self._lock.release(force=True)


def _number(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _no_locks(folder: Path) -> NoLocksError:
    return NoLocksError(
        f"the file system of {folder} has no locks, so another process could write to the store at "
        "the same time; open it with DiskStore(..., read_only=True), or with "
        "DiskStore(..., lock=False) if you know that no other process writes to it"
    )


def _holder(folder: Path) -> str:
    try:
        holder = json.loads(read(folder / HOLDER))
        host, pid, since = (str(holder[part])[:80] for part in ("host", "pid", "since"))
    except Exception:  # the process may be unknown; the store is in use all the same
        return "another process"
    return f"process {pid} on {host} since {since}"
