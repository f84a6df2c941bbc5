"""The lock of a store: one process at a time may write to it."""

import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

from unlearnkit.store.files import StoreInUseError, check_own_file, read, replace_file

LOCK, HOLDER = "store.lock", "holder.json"


class Lock:
    """The lock of a folder. The system releases it when the process ends for any reason."""

    def __init__(self, folder: Path, wait_seconds: float) -> None:
        """Acquire the lock.

        Args:
            folder: folder of the store.
            wait_seconds: how long to wait for another process.

        Raises:
            StoreInUseError: another process holds the lock.
            StoreError: the lock file is not a regular file, or has another name.
        """
        from filelock import FileLock, Timeout  # slow to import, and not needed in memory

        path = folder / LOCK
        check_own_file(path)  # it is opened to be written
        self._lock = FileLock(path, timeout=wait_seconds, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout:
            raise StoreInUseError(
                f"{folder} is in use by {_holder(folder)}; close it there, wait for it "
                "(wait_seconds=...), or open it with DiskStore(..., read_only=True)"
            ) from None
        self.pid = os.getpid()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": now}
        try:
            replace_file(folder / HOLDER, [json.dumps(holder).encode()], sync=False)
        except BaseException:
            self._lock.release()
            raise

    def release(self) -> None:
        """Release the lock, except in a forked child, since its parent holds the lock."""
        if self.pid == os.getpid():
            self._lock.release(force=True)


def _holder(folder: Path) -> str:
    try:
        holder = json.loads(read(folder / HOLDER))
        host, pid, since = (str(holder[part])[:80] for part in ("host", "pid", "since"))
    except Exception:  # the process may be unknown; the store is in use all the same
        return "another process"
    return f"process {pid} on {host} since {since}"
