"""The ledger's file: what was committed is read, and every change of it is found."""

from pathlib import Path

import pytest

from unlearnkit.store.files import StoreError
from unlearnkit.store.ledger_chain import LedgerExtent, append_lines, read_lines


def test_what_was_appended_and_not_committed_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    extent = append_lines(path, LedgerExtent(), [{"n": n} for n in range(3)])
    append_lines(path, extent, [{"n": "never committed"}])
    assert [line["n"] for line, _ in read_lines(path, path.read_bytes(), extent)] == [0, 1, 2]
    extent = append_lines(path, extent, [{"n": 3}])
    assert [line["n"] for line, _ in read_lines(path, path.read_bytes(), extent)] == [0, 1, 2, 3]
    assert b"never" not in path.read_bytes()


def test_any_flipped_byte_and_any_missing_line_is_found(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    extent = append_lines(path, LedgerExtent(), [{"n": n} for n in range(3)])
    good = path.read_bytes()
    assert extent.lines == 3 and extent.size == len(good)
    for at in range(len(good)):
        flipped = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        with pytest.raises(StoreError, match="is damaged"):
            list(read_lines(path, flipped, extent))
    lines = good.splitlines(keepends=True)
    for kept in (lines[1:], lines[:2], [lines[0], lines[2]], [lines[0], lines[2], lines[1]]):
        with pytest.raises(StoreError, match="is damaged"):
            list(read_lines(path, b"".join(kept), extent))
