"""The lock: one process at a time writes to a store."""

import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event, Timer

import pytest

from cases import CASES
from unlearnkit import DiskStore, StoreError
from unlearnkit.records.audit import audit
from unlearnkit.store import NoLocksError, StoreInUseError
from worker import ROOT

HOLDER = """
import sys, time
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(folder / "store.lock")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_told_who_holds_the_store_and_may_read(tmp_path: Path) -> None:
    session = CASES["logistic"].session(store=tmp_path)
    session.train()
    session.store.close()
    other = hold(tmp_path)
    try:
        with pytest.raises(StoreInUseError, match="in use by"):
            DiskStore(tmp_path, wait_seconds=0.1)
        said = rf"in use by process {os.getpid()} on .* since 2.* opens the folder read-only"
        with pytest.warns(UserWarning, match=said):
            reader = CASES["logistic"].session(store=tmp_path)
        assert reader.trained and reader.accuracy() == session.accuracy()
        reader.revoke(count=2)
        for write in (reader.train, reader.unlearn, reader.repay):
            with pytest.raises(StoreError, match="read-only"):
                write()
        fork = reader.fork()
        assert fork.unlearn(1).decision.exact  # in memory, beside the folder
    finally:
        other.kill()
        other.wait()
    assert CASES["logistic"].session(store=tmp_path).trained  # a killed holder holds no longer


def test_a_second_process_waits_where_it_is_told_to(tmp_path: Path) -> None:
    other = hold(tmp_path)
    try:
        with pytest.raises(StoreInUseError, match="in use by"):  # there is nothing to be read yet
            CASES["logistic"].session(store=tmp_path)
        ending = Event()

        def end() -> None:
            ending.set()
            other.kill()

        Timer(0.3, end).start()
        session = CASES["logistic"].session(store=DiskStore(tmp_path, wait_seconds=60))
        assert ending.is_set() and session.train().runs
    finally:
        other.kill()
        other.wait()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_forked_child_neither_writes_nor_frees_its_parents_lock(tmp_path: Path) -> None:
    code = f"""
import os, sys
sys.path[:0] = [{str(ROOT)!r}]
from unlearnkit import DiskStore, StoreError
store, refused = DiskStore({str(tmp_path)!r}), 0
child = os.fork()
if not child:
    for call in (store.commit, lambda: DiskStore(store.folder)):
        try:
            call()
        except StoreError as error:
            refused += "is held by process" in str(error) or "in use by process" in str(error)
    os._exit(refused)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "2\n", result.stderr


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_relative_folder_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, elsewhere = tmp_path / "mine", tmp_path / "elsewhere"
    mine.mkdir()
    monkeypatch.chdir(mine)
    session = CASES["logistic"].session(store="runs/a")
    session.train()
    shutil.copytree(mine, elsewhere)
    before = files_of(elsewhere)
    monkeypatch.chdir(elsewhere)
    session.revoke(count=1)
    session.unlearn(1)
    assert files_of(elsewhere) == before
    session.store.close()
    again = CASES["logistic"].session(store=mine / "runs" / "a")
    assert again.revoked.tolist() == session.revoked.tolist()


def move(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))


def replace(folder: Path) -> None:
    move(folder)
    shutil.copytree(folder.with_name("moved"), folder)


@pytest.mark.parametrize(
    "change", [move, replace, shutil.rmtree, lambda folder: (folder / "store.lock").unlink()]
)
def test_a_folder_that_is_not_the_one_that_was_locked_is_not_written(
    change: Callable[[Path], object], tmp_path: Path
) -> None:
    session = CASES["logistic"].session(store=tmp_path / "store")
    session.train()
    session.revoke(count=1)
    change(tmp_path / "store")
    before = files_of(tmp_path)
    for write in (session.unlearn, session.train, session.repay):
        with pytest.raises(StoreError, match="is not the one that was opened: the folder was"):
            write()
    assert files_of(tmp_path) == before and not len(session.revoked)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_says_so(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    CASES["logistic"].session(store=tmp_path).train()
    DiskStore(tmp_path).close()

    def refuse(*args: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(NoLocksError, match=r"has no locks.*read_only=True.*lock=False"):
        DiskStore(tmp_path)
    with pytest.raises(NoLocksError, match="has no locks"):  # there is nothing to be read yet
        CASES["logistic"].session(store=tmp_path / "new")
    with pytest.warns(UserWarning, match="has no locks.* opens the folder read-only"):
        reader = CASES["logistic"].session(store=tmp_path)
    assert reader.trained and reader.store.read_only
    session = CASES["logistic"].session(store=DiskStore(tmp_path, lock=False))
    session.revoke(count=1)
    session.unlearn(1)
    assert list(audit(tmp_path, session.store.head))


READER = """
import os, sys, warnings
from cases import CASES
case = CASES["logistic"]
case.session().train()  # all is imported, and torch has its threads, while files may be read
if os.getuid() == 0:
    os.setuid(65534)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    reader = case.session(store=sys.argv[1])
print(reader.trained, reader.ensemble.digest, *(each.message for each in caught))
"""


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="the system has no users")
def test_a_folder_that_may_not_be_written_opens_to_be_read() -> None:
    """In another process, which gives up the rights of the superuser if it has them."""
    shared = Path(tempfile.mkdtemp())
    shared.chmod(0o755)
    folder = shared / "store"
    session = CASES["logistic"].session(store=folder)
    session.train()
    digest = session.ensemble.digest
    session.store.close()
    for path in (folder, *folder.glob("shard-*")):
        path.chmod(0o555)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, "-c", READER, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    for path in (folder, *folder.glob("shard-*")):
        path.chmod(0o755)
    shutil.rmtree(shared)
    assert result.stdout.startswith(f"True {digest} "), result.stderr
    assert re.search("Permission denied.*opens the folder read-only", result.stdout)


def test_two_threads_make_one_key(tmp_path: Path) -> None:
    store, barrier = DiskStore(tmp_path), Barrier(8)

    def secret(number: int) -> bytes:
        barrier.wait()
        return store.secret()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(secret, range(8)))) == 1
