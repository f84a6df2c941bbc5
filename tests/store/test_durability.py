"""Faults: the process killed, operations that fail, several who want to write at once.

After each the store opens, nothing that was finished is done again, and the work ends in the bits
of an undisturbed run. ``UNLEARNKIT_KILLS=300`` kills more often than by default, and with
``UNLEARNKIT_FAULTS=1`` every file operation fails in turn instead of every eleventh.
"""

import errno
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cases import CASES, stop_after
from lineage import artefacts, declared, parse, shaped_by
from unlearnkit import Cancelled, DiskStore, Session, StoreError
from unlearnkit.records.audit import audit
from unlearnkit.store import MemoryStore, StoreIOError
from unlearnkit.training.train import train
from victim import STEPS, finish
from worker import ROOT, content

KILLS = int(os.environ.get("UNLEARNKIT_KILLS", "8"))
FAULTS = int(os.environ.get("UNLEARNKIT_FAULTS", "11"))
NAMES = ("logistic", "mlp-dropout")


@cache
def undisturbed(name: str) -> Session:
    session = CASES[name].session()
    finish(session)
    return session


def assert_finished(session: Session, name: str) -> None:
    expected = undisturbed(name)
    assert session.revoked.tolist() == expected.revoked.tolist()
    assert not session.debt and session.store.keys == expected.store.keys
    for key in expected.store.keys:
        assert content(session.store.get(key)) == content(expected.store.get(key))
    assert len(list(audit(session.store.folder, session.store.head))) == 8


def assert_closed(session: Session, folder: Path) -> None:
    """No revoked id in any lineage, but for the debt that is declared; no file too many."""
    partition, revoked = session.plan.partition, set(session.revoked.tolist())
    debts = {s: set(debt.tolist()) for s, debt in session.debt.items()}
    assert declared(folder, partition.ids, partition.shard) == debts  # no repayment is unrecorded
    for artefact in artefacts(folder):
        shaped = shaped_by(artefact, partition.ids, partition.shard, partition.slice_)
        assert shaped & revoked <= (set() if artefact.clean else debts[artefact.shard])
        assert artefact.debt == (set() if artefact.clean else debts[artefact.shard])
        assert shaped, "nothing is shaped by nobody"


# Killed


class Victim:
    """The parent's end of ``victim.py``."""

    def __init__(self) -> None:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "victim.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        )

    def __call__(self, folder: Path, case: str, step: str | None = None, share: float = 0) -> bool:
        """Whether the child got to its end."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([str(folder), case, step, share]) + "\n")
        self._process.stdin.flush()
        ended: bool = json.loads(self._process.stdout.readline())
        return ended

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    one = Victim()
    yield one
    one.close()


def complete(folder: Path) -> set[str]:
    """Keys of clean files that got their names, whether they were committed or not.

    A file has a temporary name, which begins with a dot, until all of it is written.
    """
    return {
        artefact.path.stem
        for path in folder.glob("shard-*/[!.]*.safetensors")
        for artefact in parse(path)
        if artefact.clean
    }


@pytest.mark.timeout(7200 if KILLS > 50 else 300)
@pytest.mark.parametrize("name", NAMES)
def test_killed_at_any_moment(name: str, victim: Victim, tmp_path: Path) -> None:
    assert victim(tmp_path / "first", name)  # it has imported everything when it answers
    assert victim(tmp_path / "whole", name)
    rng, kills, folders = np.random.default_rng(len(name)), 0, count()
    during: Counter[str] = Counter()
    while kills < KILLS // len(NAMES):
        number = next(folders)
        step, folder = STEPS[number % len(STEPS)], tmp_path / str(number)
        folder.mkdir()
        for _ in range(3):  # the same folder may be hit again
            killed = not victim(folder, name, step, rng.uniform(0, 1))
            kills += killed
            during[step] += killed
            there = complete(folder)
            session = CASES[name].session(store=folder)
            assert session.store.keys == there & session.plan.keys  # nothing finished is lost
            assert_closed(session, folder)
            if not killed:
                break
        finish(session)
        assert_finished(session, name)
        assert_closed(session, folder)
        session.store.close()
    print(f"{name}: {kills} killed, {dict(during)}")  # shown by pytest -rP
    assert KILLS < 100 or all(during[step] > 9 for step in STEPS)


# Operations that fail


class Faulty:
    """The ``os`` module, in which one operation fails, or all from some operation on."""

    FALLIBLE = (
        *("open", "write", "fsync", "replace", "unlink", "mkdir", "makedirs", "scandir"),
        "ftruncate",
    )

    def __init__(self, at: int, code: int, last: int | None = None) -> None:
        self.count, self.at, self.code, self.last = 0, at, code, last

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in self.FALLIBLE:
            return real

        def operation(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.at <= self.count and (self.last is None or self.count <= self.last):
                raise OSError(self.code, os.strerror(self.code))
            return real(*args, **kwargs)

        return operation


def under_fault(
    folder: Path, name: str, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> tuple[Session | None, Exception | None]:
    """Run to the end with the fault in place: the session, and what came up."""
    session, error = None, None
    with monkeypatch.context() as patch:
        for module in ("files", "disk", "manifest", "ledger_chain"):
            patch.setattr(f"unlearnkit.store.{module}.os", faulty)
        try:
            session = CASES[name].session(store=folder)
            finish(session)
        except (StoreIOError, StoreError) as caught:
            error = caught
    return session, error


def faults_at(every: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    counting = Faulty(10**9, 0)
    session, error = under_fault(folder, "logistic", counting, monkeypatch)
    assert error is None and session is not None and counting.count > 100
    session.store.close()
    yield from range(1 + every // 2, counting.count, every)


@pytest.mark.parametrize(
    "every",
    [
        53,
        pytest.param(FAULTS, marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
        pytest.param(2, marks=pytest.mark.weekly),
    ],
    ids=["few", "many", "half"],
)
@pytest.mark.parametrize(
    ("code", "lasting"),
    [(errno.ENOSPC, False), (errno.EACCES, True)],
    ids=["disk full once", "permission gone for good"],
)
def test_an_operation_fails(
    every: int, code: int, lasting: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "logistic"
    for at in faults_at(every, tmp_path / "whole", monkeypatch):
        folder = tmp_path / str(at)
        faulty = Faulty(at, code, None if lasting else at)
        session, error = under_fault(folder, name, faulty, monkeypatch)
        assert error is None or isinstance(error, StoreIOError), f"at {at}: {error!r}"
        assert not lasting or error is not None
        if at % 2 and session is not None:  # go on in the same session, or in a new one
            finish(session)
            assert_finished(session, name)
            assert_closed(session, folder)
        again = CASES[name].session(store=folder)
        finish(again)
        assert_finished(again, name)
        assert_closed(again, folder)
        again.store.close()


def test_a_put_that_failed_says_so_and_the_store_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = CASES["logistic"].session()
    session.train()
    first, second = (session.store.get(key) for key in sorted(session.store.keys)[:2])
    store = DiskStore(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("unlearnkit.store.files.os", Faulty(2, errno.ENOSPC))
        with pytest.raises(StoreIOError, match=r"could not be written .*No space left.*again"):
            store.put(first)
    assert first.key not in store and not store.nbytes
    store.put(second)
    store.commit({})
    assert DiskStore(tmp_path).keys == {second.key}
    assert not list(tmp_path.rglob(".writing-*"))


def test_what_cannot_be_destroyed_now_is_destroyed_at_the_next_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = CASES["logistic"].session(store=tmp_path)
    session.train()
    session.revoke(session.plan.partition.ids[:4])

    def refuse(path: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("unlearnkit.store.disk.os.unlink", refuse)
        with pytest.raises(StoreIOError, match="could not be destroyed"):
            session.unlearn(1)
    assert len(session.revoked) == 4 and session.trained  # completed all the same
    session.store.close()
    again = CASES["logistic"].session(store=tmp_path)
    assert len(again.revoked) == 4
    assert_closed(again, tmp_path)


def test_a_commit_stands_though_something_older_cannot_be_destroyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = CASES["logistic"].session(store=tmp_path)
    session.train()

    def refuse(path: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("unlearnkit.store.disk.os.unlink", refuse)
        for ids in (slice(0, 4), slice(6, 9)):
            session.revoke(session.plan.partition.ids[ids])
            with pytest.raises(StoreIOError, match="could not be destroyed"):
                session.unlearn(1)
    assert len(session.revoked) == 7 and session.trained
    assert len(CASES["logistic"].session(store=tmp_path).revoked) == 7
    list(audit(tmp_path))


def test_a_repayment_is_recorded_by_the_stroke_that_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = CASES["logistic"].session(store=tmp_path)
    session.train()
    session.revoke(session.plan.partition.ids[:9])
    session.unlearn(0)
    owed = {shard: len(debt) for shard, debt in session.debt.items()}
    assert len(owed) == 3
    # One shard is repaid, and the process ends before that is committed.
    train(session.plan, session.store, shards=[min(owed)])
    session.store.close()
    session = CASES["logistic"].session(store=tmp_path)
    assert_closed(session, tmp_path)
    entry = session.ledger().iloc[-1]
    assert (entry["kind"], entry["exact_shards"]) == ("repay", 1) and np.isnan(entry["seconds"])
    assert entry["debt_before"] - entry["debt_after"] == owed[min(owed)]
    # The next is committed, and the process ends before anything is destroyed.
    with monkeypatch.context() as patch:
        patch.setattr("unlearnkit.unlearning.repay.settle", lambda plan, store: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            session.repay([sorted(owed)[1]])
    count = len(session.ledger())
    session.store.close()
    session = CASES["logistic"].session(store=tmp_path)
    assert_closed(session, tmp_path)
    assert len(session.ledger()) == count  # recorded once
    # The last is cancelled when it is as good as done, and one without any shard done.
    with pytest.raises(Cancelled):
        session.repay(**stop_after(1))
    assert len(session.debt) == 1 and len(session.ledger()) == count
    session.repay()
    assert_closed(session, tmp_path)
    entries = session.ledger()
    assert entries["debt_after"].iloc[-1] == 0 and entries["kind"].tolist()[1:] == ["repay"] * 3
    assert len(list(audit(tmp_path, session.store.head))) == 8


def test_a_cancelled_repayment_records_the_shards_that_are_done(tmp_path: Path) -> None:
    case = CASES["cnn-batchnorm"]  # shard by shard
    session = case.session(store=tmp_path)
    session.train()
    session.revoke(session.plan.partition.ids[:9])
    session.unlearn(0)
    owed = {shard: len(debt) for shard, debt in session.debt.items()}
    assert len(owed) == 2
    for events in range(1, 99):
        with pytest.raises(Cancelled):
            session.repay(**stop_after(events))
        assert_closed(session, tmp_path)
        if len(session.debt) < 2:
            break
    assert len(session.debt) == 1
    again = case.session(store=tmp_path)
    assert again.ledger().drop(columns="seconds").equals(session.ledger().drop(columns="seconds"))
    entry = again.ledger().iloc[-1]
    assert entry["kind"] == "repay" and entry["debt_before"] == sum(owed.values())
    visits = entry["visits"]
    again.repay()
    whole = case.session()
    whole.train()
    whole.revoke(session.revoked)
    whole.unlearn(0)
    assert visits + again.ledger()["visits"].iloc[-1] == whole.repay().visits


def test_repair_keeps_what_is_whole_committed(tmp_path: Path) -> None:
    CASES["logistic"].session(store=tmp_path).train()
    path = sorted(tmp_path.glob("shard-*/*"))[2]
    path.write_bytes(b"x" * path.stat().st_size)
    store = DiskStore(tmp_path, repair=True)
    assert path.stem not in store.keys and len(store.keys) == 5
    store.close()
    reader = DiskStore(tmp_path, read_only=True)
    assert reader.keys == store.keys and not reader.unlisted()


def test_a_file_that_cannot_be_read_now_is_not_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = CASES["logistic"].session()
    session.train()
    store = DiskStore(tmp_path)
    store.put(session.store.get(session.plan.final_key(0)))
    store.close()

    def refuse(*args: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("unlearnkit.store.disk.read", refuse)
        with pytest.raises(StoreIOError, match="could not be opened"):
            DiskStore(tmp_path)
    assert DiskStore(tmp_path).keys == {session.plan.final_key(0)}


def test_a_store_opened_again_in_a_process_passes_to_the_newer_object(tmp_path: Path) -> None:
    first = CASES["logistic"].session(store=tmp_path)
    first.train()
    second = CASES["logistic"].session(store=tmp_path)
    first.revoke(count=1)
    with pytest.raises(StoreError, match="opened again in this process"):
        first.unlearn(1)
    assert first.trained and second.train().runs == ()
    second.revoke(count=1)
    second.unlearn(1)


def test_tensors_beyond_the_cache_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearnkit.store.disk.CACHE_BYTES", 400)
    session = CASES["logistic"].session(store=tmp_path)
    finish(session)
    assert_finished(session, "logistic")
    assert sum(kept.nbytes for kept in session.store._cache.values()) <= 400


def test_a_reader_is_told_when_what_it_wants_was_destroyed(tmp_path: Path) -> None:
    session = CASES["logistic"].session(store=tmp_path)
    session.train()
    reader = CASES["logistic"].session(store=DiskStore(tmp_path, read_only=True))
    session.revoke(session.plan.partition.ids[::5])
    session.unlearn(1)
    with pytest.raises(StoreError, match=r"destroyed since .* open it again"):
        reader.accuracy()
    reader = CASES["logistic"].session(store=DiskStore(tmp_path, read_only=True))
    assert reader.accuracy() == session.accuracy()


def test_reading_a_folder_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no store"):
        DiskStore(tmp_path / "nowhere", read_only=True)
    assert not list(tmp_path.iterdir())


# Lineage


@pytest.mark.parametrize(
    "requests",
    [
        15,
        pytest.param(60, marks=pytest.mark.slow),
        pytest.param(200, marks=pytest.mark.weekly),
    ],
)
def test_nothing_in_the_folder_is_shaped_by_a_revoked_example_but_the_debt(
    requests: int, tmp_path: Path
) -> None:
    case = replace(CASES["logistic"], num_examples=44 if requests < 50 else 3 * requests)
    session = case.session(store=tmp_path)
    session.train()
    rng = np.random.default_rng(1)
    for number in range(requests):
        left = session.plan.partition.ids[session.plan.retained]
        if number % 7 == 6:
            session.repay()
        session.revoke(rng.choice(left, rng.integers(1, 3), replace=False))
        session.unlearn(float(rng.choice([0, 0.3, 1])))
        assert_closed(session, tmp_path)
    revoked = session.plan.partition.rows(session.revoked)
    rows = session.dataset.train.features[revoked]
    session.repay()
    assert not session.debt and all(one.clean for one in artefacts(tmp_path))
    assert_closed(session, tmp_path)
    written = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert not any(row.numpy().tobytes() in written for row in rows)
    fresh = case.session(store=MemoryStore())
    fresh.train()
    fresh.revoke(session.revoked)
    fresh.unlearn(1)
    for key in fresh.store.keys:
        assert content(session.store.get(key)) == content(fresh.store.get(key))
