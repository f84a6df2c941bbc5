"""The history: rebuilt from the lines of a ledger it is what was built step by step."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from cases import CASES
from unlearnkit import Session
from unlearnkit.records.history import (
    History,
    debts_after,
    owing_after,
    owing_shards,
    read_history,
)
from unlearnkit.records.ledger import Entry

CASE = CASES["logistic"]


def lines_of(session: Session) -> list[dict[str, Any]]:
    return [line for line, _ in session.store.ledger()]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """An approximate request, an exact one, another approximate one, and a repayment of a shard."""
    session = CASE.session(store=tmp_path)
    session.train()
    for seed, max_share in enumerate((0, 0.3, 0)):
        session.revoke(count=3, seed=seed)
        session.unlearn(max_share)
    session.repay([min(session.debt)])
    return session


def test_a_history_read_is_the_history_built_step_by_step(session: Session) -> None:
    lines, history = lines_of(session), History()
    for line in lines:
        if line["kind"] == "outcome":
            history = history.measured(Entry(**line["entry"]))
        elif line["kind"] != "state":
            history = history.after(line)
    for found in (read_history(lines, 3), session._journal.history):
        assert found.records == history.records and found.owing == history.owing
        assert found.revocations.ids.tolist() == history.revocations.ids.tolist()
        assert found.error_model == history.error_model
    assert history.owing == set(session.debt) and len(history.records) == 4
    assert history.revocations.ids.tolist() == session.revoked.tolist()
    assert set(history.error_model.owed) == history.owing


def test_debts_follow_from_the_lines_alone(session: Session) -> None:
    partition, debts = session.plan.partition, {}
    shards = dict(zip(partition.ids.tolist(), partition.shard.tolist(), strict=True))
    for line in lines_of(session):
        if line["kind"] not in ("outcome", "state"):
            debts = debts_after(debts, line, shards)
    assert debts == {shard: set(debt.tolist()) for shard, debt in session.debt.items()}


def line_of(kind: str, **routes: str) -> dict[str, Any]:
    found = [{"shard": int(shard[1:]), "kind": how} for shard, how in routes.items()]
    return {"kind": kind, "routes": found}


def test_a_shard_owes_from_its_first_approximation_to_the_next_exact_route() -> None:
    owing = owing_after(frozenset(), line_of("unlearn", s0="approximate", s1="exact"))
    assert owing == {0}
    owing = owing_after(owing, line_of("unlearn", s2="approximate"))
    assert owing == {0, 2}
    assert owing_after(owing, line_of("repay", s0="exact")) == {2}
    assert owing_after(owing, line_of("unlearn", s2="leave")) == {0}


def test_where_the_ledger_cannot_tell_every_shard_may_owe() -> None:
    def repaid(debt_after: int) -> dict[str, Any]:
        entry = Entry("t", "repay", 0, 1, 0, 5, 5, None, 1.0, 3, debt_after, "b")
        return {"kind": "outcome", "entry": asdict(entry)}

    first = line_of("unlearn", s0="approximate", s1="approximate")
    # Earlier versions wrote only the outcome of a repayment, which does not name its shards.
    assert owing_shards([first, repaid(0)]) == frozenset()
    assert owing_shards([first, repaid(1)]) is None
    assert owing_shards([first, line_of("repay", s1="exact"), repaid(1)]) == {0}


def test_a_shard_that_the_run_does_not_have_is_refused(session: Session) -> None:
    assert read_history(lines_of(session), 3).owing
    with pytest.raises(ValueError, match="carry debt, but the run has 0 shards"):
        read_history(lines_of(session), 0)
