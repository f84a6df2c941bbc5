"""The lock: one process at a time writes to a store."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Event, Timer

import pytest

from cases import CASES
from unlearnkit import DiskStore, StoreError
from unlearnkit.store import StoreInUseError
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
