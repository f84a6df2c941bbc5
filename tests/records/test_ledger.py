"""The ledger: a line when a request is completed, another when its cost is measured."""

import hmac
import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from cases import CASES
from unlearnkit import Session
from unlearnkit.records.ledger import Entry, keyed_digest, ledger_frame, outcome_line, read_lines
from unlearnkit.store.ledger_chain import LedgerExtent, append_lines
from unlearnkit.unlearning.boundary.protocol import Route

CASE = CASES["logistic"]


def test_a_request_without_its_outcome_is_in_the_ledger(session: Session) -> None:
    last = session.ledger().iloc[-1]
    lines = [line for line, _ in session.store.ledger()][:-1]
    (session.store.folder / "ledger.jsonl").unlink()
    session.store._manifest.ledger = append_lines(
        session.store.folder / "ledger.jsonl", LedgerExtent(), lines
    )
    session.store.commit()
    again = CASE.session(store=session.store.folder)
    assert again.revoked.tolist() == session.revoked.tolist()
    entry = again.ledger().iloc[-1]
    assert np.isnan(entry["seconds"]) and entry["examples"] == last["examples"]
    assert entry["approximate_shards"] == last["approximate_shards"]
    assert json.loads(again.certificate().to_json())["requests"][-1]["seconds"] is None


def test_outcomes_are_paired_with_their_completions() -> None:
    def completion(kind: str, at: int) -> dict[str, Any]:
        return {
            **{"kind": kind, "time": str(at), "ids": [at], "boundary": "b"},
            **{"routes": [asdict(Route(at, "exact", 5, 0.1, None, "because"))]},
            **{"predicted_visits": 5, "predicted_seconds": None, "debt_before": 0},
        }

    def outcome(kind: str, visits: int) -> dict[str, Any]:
        return outcome_line(Entry("t", kind, 1, 1, 0, 5, visits, None, 2.5, 0, 0, "b"))

    lines = [completion("unlearn", 0), outcome("unlearn", 7), completion("unlearn", 1)]
    records = read_lines([*lines, completion("repay", 2), outcome("repay", 8)])
    assert [line["time"] for line, _ in records] == ["0", "1", "2"]
    assert [entry.visits for _, entry in records] == [7, 5, 8]
    # The second was interrupted before it was measured.
    assert [math.isnan(entry.seconds) for _, entry in records] == [False, True, False]
    assert ledger_frame(records)["kind"].tolist() == ["unlearn", "unlearn", "repay"]
    # Earlier versions wrote no completion of a repayment.
    [(line, entry)] = read_lines([outcome("repay", 3)])
    assert line == {} and entry.visits == 3
    for wrong in ({**lines[0], "ids": ["x"]}, {**lines[0], "predicted_visits": 1.5}):
        with pytest.raises(TypeError, match="is not a whole number"):
            read_lines([wrong])


def test_a_keyed_digest_is_of_the_set_of_ids_and_of_the_key() -> None:
    digest = keyed_digest(np.array([3, 1, 2]), b"key")
    assert digest == keyed_digest(np.array([2, 1, 3, 3]), b"key")
    data = b"".join(i.to_bytes(8, "little") for i in (1, 2, 3))
    assert digest == hmac.digest(b"key", data, "sha256").hex()
    assert digest not in (keyed_digest(np.array([1, 2]), b"key"), keyed_digest(1, b"other"))
