"""The instrument alone: it decides as a preview, and unlearns when the page asks for it."""

import pytest

import unlearnkit as uk
from cases import CASES
from panels import drawn, kinds
from unlearnkit.widgets.parts.shared import update_panels
from worker import contents


@pytest.fixture
def session():
    return CASES["uneven"].waiting(6)


def ask(instrument, action, number=7):
    """Do as the page does when a button is pressed, and wait for the work."""
    instrument.asked = {"action": action, "number": number}
    job = instrument.job
    if job is not None:
        assert job.wait(60) and not job.subscriber_errors
    assert instrument.state["answered"] == number


def test_it_begins_with_the_sessions_boundary_and_shows_its_decision(session):
    instrument = session.instrument()
    assert instrument.boundary == session.boundary and drawn(instrument) == kinds(session.preview())
    session.boundary = uk.AdaptiveBoundary(light=0.0)
    adaptive = session.instrument()
    assert adaptive.mode == "decided" and adaptive.boundary is session.boundary
    assert adaptive.sentence.startswith("With the adaptive boundary, ")
    assert adaptive.table["code"] == "session.unlearn()"
    assert session.instrument(0.4).boundary == uk.FixedBoundary(0.4)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_unlearning_from_the_page_equals_the_python_call(session, share):
    fork = session.fork()
    instrument = session.instrument(share)
    expected = drawn(instrument)
    ask(instrument, "unlearn")
    assert kinds(session.last.decision) == expected
    assert "6 examples forgotten" in instrument.state["text"] and not instrument.state["error"]
    assert not instrument.state["running"] and "The request is empty" in instrument.sentence
    fork.unlearn(share)
    assert contents(session.store) == contents(fork.store)


def test_an_override_is_decided_done_and_forgotten_with_the_request(session):
    instrument = session.instrument(1.0)
    first = min(drawn(instrument))
    instrument.chosen = {str(first): "approximate"}
    assert drawn(instrument)[first] == "approximate"
    assert f"{{{first}: 'approximate'}}" in instrument.table["code"]
    ask(instrument, "unlearn")
    assert sorted(session.debt) == [first] and instrument.chosen == {}


def test_what_cannot_be_done_is_said(session):
    instrument = session.instrument()
    session.withdraw()
    ask(instrument, "unlearn")
    assert instrument.state["error"] and "the request is empty" in instrument.state["text"]


def test_it_follows_its_session(session):
    instrument, before = session.instrument(), session.pending.size
    session.revoke(count=3, seed=9)
    update_panels(session)
    owed = instrument.data["tables"]["visits"]["outcomes"][0]["owed"]
    assert owed > before or session.workload().num_groups is not None
    untrained = CASES["uneven"].session().instrument()
    assert "not trained yet" in untrained.sentence
