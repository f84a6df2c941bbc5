"""Who may write to a store: one process at a time."""

import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

from unlearnkit.store.files import StoreError, StoreInUseError, read, replace_file

LOCK, HOLDER = "store.lock", "holder.json"


class Hold:
    """The lock of a folder. The system frees it when its process ends, however that happens."""

    def __init__(self, folder: Path, wait_seconds: float) -> None:
        """Take the lock.

        Raises:
            StoreInUseError: another process holds it.
            StoreError: it is a link to elsewhere.
        """
        from filelock import FileLock, Timeout  # not needed, and slow to import, without a folder

        path = folder / LOCK
        if path.is_symlink():
            raise StoreError(f"{path} is a symbolic link; remove it")
        self._lock = FileLock(path, timeout=wait_seconds, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout:
            raise StoreInUseError(
                f"{folder} is in use by {_holder(folder)}; close it there, wait for it "
                "(wait_seconds=...), or only read: DiskStore(..., read_only=True)"
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
        """Let others write. In a forked child this does nothing: the lock is its parent's."""
        if self.pid == os.getpid():
            self._lock.release(force=True)


def _holder(folder: Path) -> str:
    try:
        holder = json.loads(read(folder / HOLDER))
        host, pid, since = (str(holder[part])[:80] for part in ("host", "pid", "since"))
    except Exception:  # who it is matters less than that there is someone
        return "another process"
    return f"process {pid} on {host} since {since}"
