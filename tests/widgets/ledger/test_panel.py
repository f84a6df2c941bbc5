"""The ledger's panel: decisions, certificate and audit in place, repayment within a time."""

import json
import re
from datetime import timedelta

import pytest

from cases import CASES
from panels import call, run, text
from unlearnkit import figures
from unlearnkit.widgets import LedgerPanel
from worker import contents


@pytest.fixture
def session():
    session = CASES["uneven"].session()
    session.train()
    session.revoke(count=4, seed=2)
    session.unlearn(0.0)
    session.revoke(count=2, seed=3)
    session.unlearn(1.0)
    return session


def test_a_decision_is_shown_with_its_checks(session):
    panel = LedgerPanel(session)
    section = panel.sections[0]
    section.open = True
    assert [value for _, value in section.which.options] == [1, 0]  # the latest first
    assert panel.error is None and "FixedBoundary(max_share=1.0" in text(section.routes)
    section.which.value = 0
    said = text(section.routes)
    assert "FixedBoundary(max_share=0.0" in said and "Every approximation passed" in said
    for route in session.certificate().content["requests"][0]["routes"]:
        assert route["reason"] in said
    session.revoke(count=3, seed=4)
    session.unlearn(0.0)
    session.repay()
    panel.changed()
    section.which.value = 3
    looks = session.certificate().content["requests"][3]["looks"]
    errors = [f"{look['error']:.2g}" for look in looks if look["error"]]
    assert errors and all(error in text(section.routes) for error in errors)


def test_the_certificate_is_shown_in_place_and_saved(session):
    panel = LedgerPanel(session)
    section = panel.sections[1]
    section.open = True
    assert "4 examples are revoked" not in section.page.html  # 6 are
    assert "6 examples are revoked" in section.page.html
    kept = json.loads(section.files.text("certificate.json"))
    assert kept["revoked"] == 6 and all(len(digest) == 64 for digest in kept["ids"])
    section.names.value = True
    kept = json.loads(section.files.text("certificate.json"))
    assert kept["ids"] == session.revoked.tolist() and "name_ids=True" in section.code
    assert section.files.text("certificate.html").startswith("<!doctype html>")
    sent = []
    section.files.send = sent.append
    section.files._asked(None, {"want": "certificate.html"}, None)
    section.files._asked(None, {"want": "passwords"}, None)
    assert [one["name"] for one in sent] == ["certificate.html"]


def test_the_ledger_is_drawn_and_saved(session):
    panel = LedgerPanel(session)
    lines = panel.saved.text("ledger.csv").splitlines()
    assert len(lines) == 3 and lines[0].startswith("time,kind,examples,exact_shards")
    figure = figures.ledger_costs(session.ledger())
    traces = {trace.name: trace for trace in figure.data}
    assert traces["measured, request"].y == tuple(session.ledger()["cpu_seconds"])
    assert traces["examples owed"].y == (0, *session.ledger()["debt_after"])
    assert panel.costs.view.spec["data"] == figures.ledger_costs.spec(session.ledger())["data"]
    empty = LedgerPanel(CASES["uneven"].session())
    assert empty.costs.widget.layout.display == empty.saved.layout.display == "none"


def test_repaying_within_a_time_is_the_python_call(session):
    session.revoke(count=9, seed=7)
    session.unlearn(0.0)
    assert len(session.debt) == 3
    panel, fork = LedgerPanel(session), session.fork()
    panel.seconds.value = "soon"
    assert "time limit (seconds): 'soon' is not a number" in panel.message
    panel.seconds.value = "1e-9"
    run(panel.runner)
    assert "Nothing was repaid" in panel.message and len(session.debt) == 3
    panel.seconds.value = "60"
    assert panel.code.endswith("session.repay(seconds=60)")
    call(panel.code, fork)
    run(panel.runner)
    assert session.debt == {} and contents(session.store) == contents(fork.store)


def test_what_waits_is_listed_by_deadline(session):
    session.revoke(count=3, seed=8, deadline=timedelta(days=30, hours=2))
    session.revoke(count=1, seed=9, deadline=timedelta(seconds=-1))
    said = text(LedgerPanel(session).waiting)
    assert re.search(r"1\s+due\s.*3\s+30 d 1 h", said, re.DOTALL)


def test_a_folder_is_audited_and_tampering_shows(tmp_path):
    session = CASES["uneven"].session(store=tmp_path / "store")
    session.train()
    session.revoke(count=4, seed=2)
    session.unlearn(0.0)
    panel = LedgerPanel(session)
    section = panel.sections[2]
    section.open = True
    run(section.runner)
    assert panel.error is None and re.search(r"All \d+ claims hold", text(section.claims))
    section.retrain.value = True
    run(section.runner)
    assert "have the bits that retraining from scratch" in text(section.claims)
    largest = max((tmp_path / "store").rglob("*"), key=lambda file: file.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(bytes(content))
    run(section.runner)
    assert panel.error is not None and "claims hold" not in text(section.claims)


def test_a_store_in_memory_says_why_there_is_no_audit(session):
    section = LedgerPanel(session).sections[2]
    section.open = True
    assert section.runner.button.disabled and "keeps its store in memory" in text(section.claims)
