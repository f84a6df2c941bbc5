"""The ledger's file: one line of JSON per operation, each with the digest of the line before it.

Whoever knows an earlier head can detect removed, edited or truncated lines. The chain proves no
more than that: anyone who can write to the folder can write another ledger with another head.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearnkit.store.files import (
    MismatchError,
    StoreError,
    check_own,
    check_own_file,
    damaged_file,
    parse,
    write_all,
)

START = "0" * 64
MOST = 2**63 - 1  # bytes of a file, as the system counts them


@dataclass(frozen=True)
class LedgerExtent:
    """Committed extent of a ledger: its bytes, its lines, and the digest of its last line."""

    size: int = 0
    lines: int = 0
    head: str = START

    def __post_init__(self) -> None:
        kinds = (self.size, int), (self.lines, int), (self.head, str)
        typed = all(type(value) is kind for value, kind in kinds)
        if not typed or not all(0 <= value <= MOST for value in (self.size, self.lines)):
            raise ValueError(f"{self!r} is not a valid extent of a ledger")


def append_lines(
    path: Path, extent: LedgerExtent, bodies: Iterable[dict[str, Any]]
) -> LedgerExtent:
    """Append lines after the committed ones; bytes beyond these are cut off first.

    The lines take effect only when the manifest with the returned value has been written.

    Raises:
        StoreError: the file is not a regular one, or has another name.
        OSError: it could not be written.
    """
    text, head, lines = b"", extent.head, extent.lines
    for body in bodies:
        line = json.dumps({"previous": head, **body}, separators=(",", ":")).encode()
        head, lines, text = hashlib.sha256(line).hexdigest(), lines + 1, text + line + b"\n"
    if not text:
        return extent
    handle = _open_to_append(path)
    try:
        os.ftruncate(handle, extent.size)
        os.lseek(handle, extent.size, os.SEEK_SET)
        write_all(handle, text)
        os.fsync(handle)
    finally:
        os.close(handle)
    return LedgerExtent(extent.size + len(text), lines, head)


def _open_to_append(path: Path) -> int:
    """Open a ledger, or create it. A pipe under its name is not waited for."""
    check_own_file(path)
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags, 0o666)
    try:
        check_own(path, os.fstat(handle))
    except BaseException:
        os.close(handle)
        raise
    return handle


def read_lines(
    path: Path, data: bytes, extent: LedgerExtent
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the lines of a ledger and their digests, after checking them.

    Args:
        path: path of the file, for error messages.
        data: contents of the file.
        extent: committed extent of the ledger.

    Raises:
        StoreError: a line was removed, edited or added.
    """
    previous, number = START, 0
    try:
        for line in data[: extent.size].splitlines():
            body = parse(line)
            if body.pop("previous") != previous:
                raise ValueError(f"line {number + 1} lacks the digest of the line before it")
            previous, number = hashlib.sha256(line).hexdigest(), number + 1
            yield body, previous
        if (number, previous) != (extent.lines, extent.head):
            raise MismatchError(
                f"its {number} lines end with digest {previous}, but {extent.lines} lines that end "
                f"with {extent.head} were committed"
            )
    except StoreError:
        raise
    except Exception as error:  # whatever the reader raised, the file is damaged
        raise damaged_file(path, error) from error
