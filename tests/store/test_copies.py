"""A store that is copied file by file while a process writes to it.

The copy is a state that was committed, and opens and passes its audit; or one error says that it
was perhaps taken while the store was in use. ``UNLEARNKIT_COPIES=2000`` takes that many.
"""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cases import CASES
from unlearnkit import DiskStore, StoreError
from unlearnkit.records.audit import audit
from unlearnkit.store import manifest as manifest_module
from unlearnkit.store.ledger_chain import START
from victim import finish
from worker import ROOT

MANY = int(os.environ.get("UNLEARNKIT_COPIES", "150"))
CASE = CASES["logistic"]
IN_USE = "it was perhaps taken while the store was in use; then copy it again"

pytestmark = pytest.mark.filterwarnings("ignore")


def opens(copy: Path, heads: list[str]) -> bool:
    """Whether a copy opens, as a state that was committed; else it is refused as a copy."""
    try:
        session = CASE.session(store=DiskStore(copy))
    except StoreError as error:
        assert IN_USE in str(error)
        return False
    try:
        found = [head for _, head in session.store.ledger()]
        # A repayment whose training was copied, but not its commit, is completed when it is opened.
        known = found[:-1] if found and found[-1] not in heads else found
        assert known == heads[1 : len(known) + 1]
        requests = [line for line, _ in session.store.ledger() if line["kind"] == "unlearn"]
        assert len(session.revoked) == sum(len(line["ids"]) for line in requests)
        if session.store.manifest is not None:
            list(audit(session.store))
            assert session.trained or not found
    finally:
        session.store.close()
    return True


def heads_of(folder: Path) -> list[str]:
    return [START, *(head for _, head in DiskStore(folder, read_only=True).ledger())]


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """The folder before and after every commit of a run that trains, unlearns and repays."""
    top, replace_file = tmp_path_factory.mktemp("states"), manifest_module.replace_file
    found: list[Path] = []

    def keep() -> None:
        found.append(shutil.copytree(top / "store", top / str(len(found))))

    def keeping(path: Path, *pieces: object, **options: object) -> None:
        keep()
        replace_file(path, *pieces, **options)  # type: ignore[arg-type]
        keep()

    manifest_module.replace_file = keeping  # type: ignore[assignment]
    try:
        session = CASE.session(store=top / "store")
        finish(session)
    finally:
        manifest_module.replace_file = replace_file
    session.store.close()
    found.append(top / "store")
    yield found
    shutil.rmtree(top)


def copied_meanwhile(states: list[Path], to: Path, rng: random.Random) -> Path:
    """Copy a folder as ``shutil.copytree`` does, while it passes through these states."""
    shutil.rmtree(to, ignore_errors=True)
    now, pace = rng.randrange(len(states)), rng.choice([0.05, 0.3, 1.0])

    def passed() -> Path:
        nonlocal now
        while rng.random() < pace and now < len(states) - 1:
            now += rng.choice([0, 1, 2])
            now = min(now, len(states) - 1)
            if rng.random() < 0.5:
                break
        return states[now]

    def copy(folder: str) -> None:
        (to / folder).mkdir()
        listed = list(os.scandir(states[now] / folder)) if (states[now] / folder).exists() else []
        rng.shuffle(listed)
        for entry in listed:
            path = passed() / folder / entry.name
            if entry.is_dir():
                copy(f"{folder}/{entry.name}" if folder else entry.name)
            elif path.exists():  # otherwise copytree reports it at its end
                shutil.copy(path, to / folder / entry.name)

    copy("")
    return to


@pytest.mark.parametrize("count", [8, pytest.param(20 * MANY, marks=pytest.mark.weekly)])
@pytest.mark.timeout(120 + 10 * MANY)
def test_a_copy_of_files_of_different_moments_opens_or_says_so(
    count: int, states: list[Path], tmp_path: Path
) -> None:
    rng, heads = random.Random(count), heads_of(states[-1])
    found = [opens(copied_meanwhile(states, tmp_path / "copy", rng), heads) for _ in range(count)]
    assert True in found and False in found


def test_every_state_between_two_commits_opens(states: list[Path], tmp_path: Path) -> None:
    heads = heads_of(states[-1])
    for state in states[::5]:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        assert opens(shutil.copytree(state, tmp_path / "copy"), heads)


def test_a_copy_without_the_key_of_its_ledger_is_refused(
    states: list[Path], tmp_path: Path
) -> None:
    """Otherwise a new key would be made, with which the lines before it could not be checked."""
    copy = shutil.copytree(states[-1], tmp_path / "copy")
    (copy / "secret.key").unlink()
    before = {path: path.read_bytes() for path in copy.rglob("*.json*")}
    with pytest.raises(StoreError, match=r"secret.key is damaged .*perhaps taken while the store"):
        CASE.session(store=copy)
    assert not (copy / "secret.key").exists()
    ledger = copy / "ledger.jsonl"
    assert ledger.read_bytes() == before[ledger]


@pytest.mark.weekly
@pytest.mark.timeout(120 + 10 * MANY)
def test_copies_taken_while_another_process_trains_and_unlearns(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "victim.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
    )
    assert writer.stdin and writer.stdout
    opened = refused = 0
    for number in range(max(1, MANY // 30)):
        store, done = tmp_path / f"store-{number}", threading.Event()
        writer.stdin.write(json.dumps([str(store), "logistic", None, 0]) + "\n")
        writer.stdin.flush()
        waiter = threading.Thread(
            target=lambda end: (writer.stdout.readline(), end.set()), args=(done,)
        )
        waiter.start()
        copies = []
        while not done.is_set():
            if not (store / "manifest.json").exists():
                time.sleep(0.001)
                continue
            copies.append(tmp_path / f"copy-{number}-{len(copies)}")
            with contextlib.suppress(OSError):  # a file was destroyed meanwhile; the rest is copied
                shutil.copytree(store, copies[-1])
        waiter.join()
        heads = heads_of(store)
        for copy in random.Random(number).sample(copies, min(30, len(copies))):
            if opens(copy, heads):
                opened += 1
            else:
                refused += 1
        for copy in copies:
            shutil.rmtree(copy)
    writer.communicate()
    assert opened
    print(f"{opened} copies opened, {refused} were refused")
