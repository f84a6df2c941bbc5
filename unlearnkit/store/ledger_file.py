"""The ledger's file: a line of JSON for all that was done, each naming the digest before it.

Given the head that was printed once, a removed, edited or truncated line is found. The chain proves
no more than that: who can write to the folder can write another ledger with another head.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearnkit.store.files import StoreError, write

START = "0" * 64


@dataclass(frozen=True)
class Chain:
    """How far a ledger goes: its bytes, its lines, and the digest of the last one."""

    size: int = 0
    lines: int = 0
    head: str = START

    def __post_init__(self) -> None:
        kinds = (self.size, int), (self.lines, int), (self.head, str)
        if not all(type(value) is kind for value, kind in kinds) or min(self.size, self.lines) < 0:
            raise ValueError(f"{self!r} is not how far a ledger goes")


def extend(path: Path, chain: Chain, bodies: Iterable[dict[str, Any]]) -> Chain:
    """Add lines after those of the chain; what was written beyond it is cut off first.

    Nothing counts before the chain that is returned has been kept.
    """
    text, head, lines = b"", chain.head, chain.lines
    for body in bodies:
        line = json.dumps({"previous": head, **body}, separators=(",", ":")).encode()
        head, lines, text = hashlib.sha256(line).hexdigest(), lines + 1, text + line + b"\n"
    if not text:
        return chain
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        os.ftruncate(handle, chain.size)
        os.lseek(handle, chain.size, os.SEEK_SET)
        write(handle, text)
        os.fsync(handle)
    finally:
        os.close(handle)
    return Chain(chain.size + len(text), lines, head)


def unchain(path: Path, data: bytes, chain: Chain) -> Iterator[tuple[dict[str, Any], str]]:
    """The lines of a chain and their digests, checked.

    Args:
        path: named in errors.
        data: what the file holds.
        chain: how far it goes.

    Raises:
        StoreError: a line was removed, edited or added.
    """
    previous, number = START, 0
    try:
        for line in data[: chain.size].splitlines():
            body = json.loads(line)
            if body.pop("previous") != previous:
                raise ValueError(f"line {number + 1} does not follow on the line before it")
            previous, number = hashlib.sha256(line).hexdigest(), number + 1
            yield body, previous
        if (number, previous) != (chain.lines, chain.head):
            raise ValueError(
                f"its {number} lines end in {previous}, and {chain.lines} lines that end in "
                f"{chain.head} were committed"
            )
    except StoreError:
        raise
    except Exception as error:  # any of the reader's errors means one thing to the user
        raise StoreError(
            f"{path} is damaged ({type(error).__name__}: {error}); restore it from a copy, or use "
            "another folder"
        ) from error
