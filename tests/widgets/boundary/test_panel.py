"""The boundary's panel: adaptive settings, an override for every shard, a try on a copy."""

from dataclasses import replace

import pytest

import unlearnkit as uk
from cases import CASES
from panels import call, drawn, kinds, run, text
from unlearnkit.unlearning.boundary.protocol import APPROXIMATE, EXACT
from unlearnkit.unlearning.error_model import ErrorModel
from unlearnkit.widgets import BoundaryPanel
from unlearnkit.widgets.boundary.controls import ADAPTIVE, HAND
from worker import contents


@pytest.fixture
def session():
    return CASES["uneven"].waiting(6)


def test_adaptive_mode_decides_as_the_boundary_of_its_fields(session):
    panel = BoundaryPanel(session, 1.0)
    panel.boundary_choice.mode.value = ADAPTIVE
    assert panel.boundary == uk.AdaptiveBoundary()
    fields = (
        panel.boundary_choice.seconds,
        panel.boundary_choice.light,
        panel.boundary_choice.gain,
    )
    for field, typed in zip(fields, ("1e-4", "7.5", "1"), strict=True):
        field.value = typed
    boundary = uk.AdaptiveBoundary(seconds=1e-4, light=0.075, min_gain=1.0)
    assert panel.boundary == boundary
    expected = session.preview(boundary=boundary)
    assert panel.decision.routes == expected.routes and drawn(panel) == kinds(expected)
    assert "With the adaptive boundary" in panel.sentence
    shown = {row["shard"]: row["cells"] for row in panel.table.table["rows"]}
    assert {route.shard: route.reason for route in expected.routes} == {
        shard: cells[-1] for shard, cells in shown.items()
    }
    assert "boundary=uk.AdaptiveBoundary(seconds=0.0001, min_gain=1, light=0.075)" in panel.code
    fork = session.fork()
    call(panel.code, fork)
    run(panel.runner)
    assert panel.error is None and contents(session.store) == contents(fork.store)
    assert "Checks of" in text(panel.result) or session.last.decision.approximate == ()


def test_the_panel_begins_with_the_sessions_own_boundary(session):
    session.boundary = uk.AdaptiveBoundary(seconds=9.0, debt_cap=0.5)
    panel = BoundaryPanel(session)
    assert panel.boundary_choice.mode.value == ADAPTIVE and panel.boundary == session.boundary
    assert panel.code.count("debt_cap=0.5") == 2


def test_an_override_is_shown_done_and_forgotten_with_the_request(session):
    panel = BoundaryPanel(session, 1.0)
    assert set(kinds(panel.decision).values()) == {EXACT} and panel.instrument.chosen == {}
    (first, second) = sorted(kinds(panel.decision))
    panel.table.chosen = {str(second): APPROXIMATE}
    assert kinds(panel.decision) == drawn(panel) == {first: EXACT, second: APPROXIMATE}
    assert f"({second})" in panel.sentence or f"shard {second} is" in panel.sentence
    assert f"uk.OverriddenBoundary(uk.FixedBoundary(1), {{{second}: 'approximate'}})" in panel.code
    forget = {work.shard: work.forget for work in session.workload().shards}
    assert panel.instrument.outcome["owed"] == forget[second]
    assert panel.instrument.chosen == panel.table.chosen
    panel.instrument.chosen = {}
    assert set(kinds(panel.decision).values()) == {EXACT} and "Overridden" not in panel.code
    panel.table.chosen = {str(second): APPROXIMATE}
    fork = session.fork()
    call(panel.code, fork)
    run(panel.runner)
    assert contents(session.store) == contents(fork.store) and sorted(session.debt) == [second]
    assert "Checks of the approximations" in text(panel.result)
    session.revoke(count=3, seed=5)
    panel.changed()
    assert panel.table.chosen == {} and "Overridden" not in panel.code


@pytest.mark.parametrize(
    ("field", "typed", "sentence"),
    [
        (
            "seconds",
            "soon",
            "deadline (wall s): 'soon' is not a number; give one, or leave it empty",
        ),
        ("seconds", "0", "seconds=0.0 is not a deadline; give a number above 0"),
        ("error", "nan", "error at most (nats): 'nan' is not a number"),
        ("light", "150", "light=1.5 is out of range; give a share from 0 to 1"),
        ("gain", "0.5", "min_gain=0.5 is below 1; give 1 or more"),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_decides_nothing(session, field, typed, sentence):
    panel = BoundaryPanel(session)
    panel.boundary_choice.mode.value = ADAPTIVE
    before = panel.decision
    getattr(panel.boundary_choice, field).value = typed
    assert sentence in panel.message and panel.decision == before
    run(panel.runner)
    assert sentence in panel.message and session.last is None
    getattr(panel.boundary_choice, field).value = ""
    assert panel.message == "" and panel.boundary == uk.AdaptiveBoundary()


def test_trying_on_a_copy_shows_the_checks_and_changes_nothing(session):
    panel = BoundaryPanel(session, 0.0)
    before = contents(session.store)
    assert "No approximation has been checked against retraining yet" in text(panel.notes)
    run(panel.trial)
    assert panel.error is None and contents(session.store) == before and session.last is None
    assert len(session.pending) == 6 and "Tried on a copy" in text(panel.tried)
    fork = session.fork()
    checks = fork.unlearn(0.0).decision.checks
    for check in checks:
        assert f"{check.kl:.2g}" in text(panel.tried) and f"{check.correction:.2%}" in text(
            panel.tried
        )


def test_a_trial_is_judged_by_the_boundary_that_was_chosen():
    session = uk.Session(
        "digits", model="mlp", num_shards=3, num_slices=2, epochs=15, learning_rate=0.5
    )
    session.train()
    session.revoke(count=60)
    panel = BoundaryPanel(session)
    run(panel.trial)
    assert "doubtful: it may" in text(panel.tried) and "refuse" not in text(panel.tried)
    panel.boundary_choice.mode.value = ADAPTIVE
    run(panel.trial)
    assert "would replay longer, and refuse it if that fails too: " in text(panel.tried)
    panel.boundary_choice.error.value = "1e-6"  # a budget, and nothing is calibrated
    run(panel.trial)
    assert "this boundary would refuse it: its error is not bounded" in text(panel.tried)


def test_errors_are_predicted_where_calibrated_and_tried(session):
    pairs = tuple((0.05 * n, 0.0005 * n) for n in range(1, 60))
    session._journal.history = replace(session._journal.history, error_model=ErrorModel(pairs))
    panel = BoundaryPanel(session, 0.0)
    assert "can be predicted once the corrections have been tried" in text(panel.notes)
    run(panel.trial)
    bounds = [session.error_model.bound(s, check.correction) for s, check in panel._checks.items()]
    expected = sum(bounds) / session.plan.num_shards  # of three, the third is not hit
    assert panel.instrument.outcome["error"] == pytest.approx(expected)
    assert f"at most {expected:.2g} nats" in text(panel.notes)
    assert "error at most" in panel.table.table["headers"]
    panel.instrument.threshold = 1.0
    assert "Predicted error" not in text(panel.notes)  # exact leaves none
    assert panel.instrument.outcome["error"] == 0


class RetrainOdd:
    """Retrains shards of odd number and modifies the others."""

    def decide(self, workload, costs, debts):
        odd = tuple(work.shard for work in workload.shards if work.shard % 2)
        return uk.ChosenBoundary(odd).decide(workload, costs, debts)


def test_methods_and_amends_are_offered_used_and_shown(session):
    panel = BoundaryPanel(session, 0.0)
    choice = panel.approximation
    suited = {name for name, method in uk.METHODS.items() if not method.unsuitable(session.plan)}
    assert set(choice.method.options) == {"default", *suited} and len(suited) >= 4
    assert set(choice.amend.options) == {"default", *uk.AMENDS}
    assert "method" not in panel.code and "amend" not in panel.code
    choice.method.value, choice.amend.value = "gradient-ascent", "none"
    assert panel.code.count("0, method='gradient-ascent', amend='none')") == 2
    expected = session.preview(0.0, method="gradient-ascent", amend="none")
    assert panel.decision.routes == expected.routes
    fork = session.fork()
    call(panel.code, fork)
    run(panel.trial)
    assert {check.replayed for check in panel._checks.values()} <= {0}
    choice.amend.value = "replay"
    assert panel._checks == {} and text(panel.tried) == ""
    choice.amend.value = "none"
    run(panel.runner)
    assert panel.error is None and contents(session.store) == contents(fork.store)


def test_entries_of_ones_own_stand_among_the_choices_while_they_are_there(session, monkeypatch):
    panel = BoundaryPanel(session)
    with monkeypatch.context() as patch:
        patch.setitem(uk.METHODS, "mine", uk.StagedInfluence(iterations=3))
        patch.setitem(uk.AMENDS, "half", uk.Replay(1))
        patch.setitem(uk.BOUNDARIES, "odd", RetrainOdd)
        panel.update()
        panel.approximation.method.value, panel.approximation.amend.value = "mine", "half"
        panel.boundary_choice.mode.value = "odd"
        assert panel.code.count("(boundary='odd', method='mine', amend='half')") == 2
        assert panel.decision.exact == session.preview(boundary="odd").exact
        assert "With the boundary" in panel.sentence and "odd" in panel.sentence
        told = next(route.shard for route in panel.decision.routes if route.shard % 2)
        panel.table.chosen = {str(told): APPROXIMATE}
        assert kinds(panel.decision)[told] == APPROXIMATE
        fork = session.fork()
        call(panel.code, fork)
        run(panel.runner)
        assert panel.error is None and contents(session.store) == contents(fork.store)
    panel.update()
    assert panel.approximation.names == {} and panel.boundary_choice.mode.value == HAND


def test_a_boundary_of_the_sessions_own_is_kept(session):
    session.boundary = RetrainOdd()
    panel = BoundaryPanel(session)
    assert panel.boundary is session.boundary and "session.unlearn()" in panel.code
    assert panel.decision.exact == session.preview().exact
    panel.boundary_choice.mode.value = ADAPTIVE
    assert panel.boundary == uk.AdaptiveBoundary()


class Puzzled(uk.StagedInfluence):
    """A method that cannot say whether it suits a plan."""

    def unsuitable(self, plan):
        raise RuntimeError("I do not know")


def test_entries_that_would_break_the_panel_are_left_out(session, monkeypatch):
    monkeypatch.setitem(uk.METHODS, "puzzled", Puzzled())
    monkeypatch.setitem(uk.METHODS, "default", uk.StagedInfluence(iterations=3))
    monkeypatch.setitem(uk.AMENDS, "default", uk.Replay(1))
    panel = BoundaryPanel(session, 0.0)
    assert panel.error is None and "puzzled" not in panel.approximation.method.options
    for field in (panel.approximation.method, panel.approximation.amend):
        assert field.options.count("default") == 1


def test_a_replaced_adaptive_boundary_is_not_taken_for_the_panels_own(session, monkeypatch):
    monkeypatch.setitem(uk.BOUNDARIES, "adaptive", RetrainOdd())
    session.boundary = "adaptive"
    panel = BoundaryPanel(session)
    assert panel.boundary is session.boundary and "session.unlearn()" in panel.code
    panel.boundary_choice.mode.value = ADAPTIVE
    assert panel.boundary == uk.AdaptiveBoundary() and "uk.AdaptiveBoundary()" in panel.code
