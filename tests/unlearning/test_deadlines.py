"""Deadlines: requests that wait are kept, told of in time, and executed together."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cases import CASES, shard_ids, stop_after
from tampering import with_manifest
from unlearnkit import Cancelled, StoreError
from worker import ROOT, content

DAY = timedelta(days=1)

CASE = CASES["logistic"]


def test_executed_together_requests_cost_less_and_end_in_the_same_bits() -> None:
    together, apart = CASE.session(), CASE.session()
    visits = 0
    together.train()
    apart.train()
    for wait, id_ in enumerate(shard_ids(together, 0)[:4]):
        together.revoke(id_, deadline=(wait + 1) * DAY)
        assert not len(together.due())
        apart.revoke(id_)
        visits += apart.unlearn(1).visits
    assert len(together.due(2 * DAY)) == 2 < len(together.due(9 * DAY))
    assert together.unlearn(1).visits < visits / 2
    assert not len(together.queue) and not len(together.due(9 * DAY))
    for key in apart.plan.keys | together.plan.keys:
        assert content(together.store.get(key)) == content(apart.store.get(key))


def test_the_earlier_of_two_deadlines_counts_and_withdrawing_takes_both_back() -> None:
    session = CASE.session()
    a, b, c = shard_ids(session, 1)[:3]
    soon, late = datetime(2031, 1, 1, tzinfo=UTC), datetime(2031, 2, 1, tzinfo=UTC)
    session.revoke([a, b], deadline=late)
    session.revoke([b], deadline=soon)
    session.revoke(c)
    assert session.queue.first == soon and session.pending.tolist() == [a, b, c]
    assert session.queue.to_frame()["id"].tolist() == [b, a]
    assert "3 pending, due by 2031-01-01 00:00 UTC" in repr(session)
    session.withdraw(b)
    assert session.queue.first == late and session.pending.tolist() == [a, c]
    session.withdraw()
    assert not len(session.queue) and not len(session.pending)


def test_a_deadline_is_a_moment_or_a_time_from_now() -> None:
    session = CASE.session()
    a, b = shard_ids(session, 0)[:2]
    session.revoke(a, deadline=-DAY)
    assert session.due().tolist() == [a]
    local = datetime(2031, 1, 1)  # local time, as datetime has it
    session.revoke(b, deadline=local)
    assert session.queue.deadlines[b].timestamp() == local.timestamp()
    with pytest.raises(TypeError, match="deadline='tomorrow' is a str; give a datetime"):
        session.revoke(a, deadline="tomorrow")  # type: ignore[arg-type]


def test_a_request_is_kept_until_it_is_completed(tmp_path: Path) -> None:
    session = CASE.session(store=tmp_path)
    a, b, draft = shard_ids(session, 0)[:3]
    session.revoke([a, b], deadline=DAY)  # also before there is a model
    session.revoke(draft)
    session.withdraw(b)
    session = CASE.session(store=tmp_path)
    assert session.pending.tolist() == session.queue.ids.tolist() == [a]
    session.train()
    with pytest.raises(Cancelled):
        session.unlearn(1, **stop_after(2))
    session = CASE.session(store=tmp_path)
    assert session.queue.ids.tolist() == [a]
    session.unlearn(1)
    session = CASE.session(store=tmp_path)
    assert not len(session.queue) and not len(session.pending)
    assert session.revoked.tolist() == [a]


KILLED = """
import os, signal, sys
from datetime import timedelta
sys.path.insert(0, sys.argv[1])
from cases import CASES
session = CASES["logistic"].session(store=sys.argv[2])
session.revoke(session.plan.partition.ids[:2], deadline=timedelta(days=1))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_request_outlives_its_process(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(ROOT / "tests"), str(tmp_path)])
    session = CASE.session(store=tmp_path)
    assert session.queue.ids.tolist() == session.plan.partition.ids[:2].tolist()


@pytest.mark.parametrize(
    "queue",
    [
        {"tomorrow": [7]},
        {"2031-01-01T00:00:00+00:00": ["7"]},
        {"2031-01-01T00:00:00+00:00": [8]},
        {"2031-01-01T00:00:00+00:00": 7},
        [7],
    ],
    ids=["no moment", "no number", "unknown id", "no list", "no object"],
)
def test_requests_that_are_none_of_ours_are_refused(tmp_path: Path, queue: Any) -> None:
    CASE.session(store=tmp_path).train()
    with_manifest(tmp_path, lambda content: content["run"].update(queue=queue))
    with pytest.raises(StoreError, match=r"the requests kept in .* were not written by unlearnkit"):
        CASE.session(store=tmp_path)


def test_a_deadline_is_not_promised_while_the_store_is_being_written(tmp_path: Path) -> None:
    session = CASE.session(store=tmp_path)
    id_ = shard_ids(session, 0)[0]
    with pytest.raises(RuntimeError, match="at work"):
        session.train(on_progress=lambda event: session.revoke(id_, deadline=DAY) and None)
    assert not len(session.pending) and not len(session.queue)
