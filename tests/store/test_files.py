"""Files: replaced as a whole or not at all, and read only where they are regular ones."""

import errno
import os
from pathlib import Path

import pytest

from unlearnkit.store.files import (
    StoreIOError,
    read,
    replace_file,
    reporting_failure,
    scan,
    unfinished_files,
    write_all,
)


def test_a_replacement_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    replace_file(path, [b"old ", memoryview(b"contents")], sync=True)
    assert read(path) == read(path, 12) == b"old contents"

    def full(handle: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space left"):
        patch.setattr(os, "write", full)
        replace_file(path, [b"new"], sync=False)
    assert read(path) == b"old contents" and os.listdir(tmp_path) == ["file"]


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    handle = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: write(handle, bytes(data[:3])))
        write_all(handle, b"written in four")
    os.close(handle)
    assert (tmp_path / "file").read_bytes() == b"written in four"


def test_only_regular_files_of_the_right_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"twelve bytes")
    with pytest.raises(ValueError, match="it has 12 bytes, but 11 were written"):
        read(tmp_path / "file", 11)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(OSError, match="link"):
        read(tmp_path / "link")
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="most are not on disk"):
        read(tmp_path / "sparse")


def test_a_folder_is_scanned_for_a_stores_own_names(tmp_path: Path) -> None:
    for name in ("shard-0000/ab.safetensors", "shard-0000/notes.txt", "other/ab.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"seven b")
    for name in (".writing-x", "shard-0000/.writing-y", "other/.writing-z"):
        (tmp_path / name).write_bytes(b"")
    assert list(scan(tmp_path)) == [("shard-0000/ab.safetensors", 7)]
    assert {path.name for path in unfinished_files(tmp_path)} == {".writing-x", ".writing-y"}


def test_a_failed_operation_names_the_store_and_keeps_its_number(tmp_path: Path) -> None:
    with pytest.raises(StoreIOError, match="could not be written") as raised:
        with reporting_failure(tmp_path, "written"):
            raise OSError(errno.EDQUOT, "quota exceeded")
    assert raised.value.errno == errno.EDQUOT and str(tmp_path) in str(raised.value)
