"""The journal: what a step commits, and that a fork does not touch its parent."""

from pathlib import Path

import pytest

from cases import CASES, stop_after
from unlearnkit import Cancelled
from unlearnkit.records.audit import audit
from unlearnkit.store import DiskStore, StoreError

CASE = CASES["logistic"]


def state_of(journal):
    history = journal.history
    return (
        history.records,
        history.owing,
        history.revocations.ids.tolist(),
        journal.plan,
        journal.queue,
        journal.clock,
        journal.store.keys,
    )


def test_a_fork_does_not_touch_its_parent(tmp_path: Path):
    session = CASE.session(store=tmp_path)
    session.train()
    session.revoke(count=3)
    session.unlearn(0)
    before, files = state_of(session._journal), (tmp_path / "ledger.jsonl").read_bytes()
    fork = session.fork()
    assert state_of(fork._journal) == before and fork._journal.store is not session.store
    fork.revoke(count=2)
    fork.unlearn(1)
    fork.repay()
    assert len(fork._journal.history.records) == 3
    assert state_of(session._journal) == before
    assert (tmp_path / "ledger.jsonl").read_bytes() == files


def test_memory_does_not_run_ahead_of_a_commit_that_fails(tmp_path: Path):
    session = CASE.session(store=tmp_path)
    session.train()
    session.revoke(count=1)
    session.unlearn(1)
    session.store.close()
    reader = CASE.session(store=DiskStore(tmp_path, read_only=True))
    journal = reader._journal
    ids = journal.plan.partition.ids[journal.plan.retained][:2]
    reader.revoke(ids)
    decision, before = reader.preview(1), state_of(journal)
    with pytest.raises(StoreError, match="read-only"):
        journal.commit_request(ids, journal.plan.without(ids), decision, 0, method=None, amend=None)
    assert state_of(journal) == before


def test_a_journal_opened_again_is_where_the_last_one_ended(tmp_path: Path):
    session = CASE.session(store=tmp_path)
    session.train()
    session.revoke(count=3)
    session.unlearn(0)
    again = CASE.session(store=tmp_path)
    ours, theirs = session._journal, again._journal
    assert theirs.plan.digest == ours.plan.digest
    assert theirs.history.records == ours.history.records
    assert theirs.history.owing == ours.history.owing == set(session.debt)
    assert theirs.secret() == ours.secret()
    # A run in memory has a key of its own each time.
    memory = CASE.session()._journal
    assert memory.secret() != memory.secret()


@pytest.mark.parametrize("events", [1, 2, 4])
def test_a_cancelled_repayment_leaves_nothing_that_an_audit_objects_to(
    events: int, tmp_path: Path
) -> None:
    session = CASE.session(store=tmp_path)
    session.train()
    session.revoke(session.plan.partition.ids[:3])
    session.unlearn(0)
    owed = {shard: ids.tolist() for shard, ids in session.debt.items()}
    with pytest.raises(Cancelled):
        session.repay(shards=[min(owed)], **stop_after(events))
    assert {shard: ids.tolist() for shard, ids in session.debt.items()} == owed
    assert list(audit(tmp_path, session.store.head))
    session.repay()
    assert not session.debt and list(audit(tmp_path, session.store.head))
