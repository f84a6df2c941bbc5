"""Panels without a browser: set values, click, and read the session and the words on show."""

import threading
import time
from contextlib import contextmanager

import ipywidgets
import pytest

from panels import CASE, call, drawn, opened, run, text
from unlearnkit.unlearning.boundary.protocol import APPROXIMATE
from unlearnkit.widgets import PANELS, Dashboard, PlotView
from unlearnkit.widgets.comparison.overview import MovesView, ScoresView
from unlearnkit.widgets.parts import shared
from worker import contents


def click(dashboard, act, name=""):
    """Click on the strip of a dashboard, as its page does."""
    dashboard.strip._handle_custom_msg({"act": act, "name": name}, [])


@contextmanager
def waiting(runner):
    """Wait for the job that starts inside the block."""
    started, start = [], runner.start
    runner.start = lambda: started.append(start()) or started[0]
    yield
    runner.start = start
    assert started and started[0].wait(60)


def shown(dashboard):
    return dashboard.strip.state["said"][0]


def steps(dashboard, mark):
    return [step["name"] for step in dashboard.strip.state["steps"] if step[mark]]


def coming(dashboard):
    (name,) = steps(dashboard, "next")
    return name


def done(dashboard):
    return steps(dashboard, "done")


def notes(dashboard):
    return [step["note"] for step in dashboard.strip.state["steps"]]


def test_every_panel_stands_alone_and_shows_itself(session):
    for name, kind in PANELS.items():
        panel = kind(session)
        assert panel.name == name and panel.message == "" and panel.code
        assert panel.title in panel._repr_mimebundle_()["text/html"]


def test_a_dashboard_of_some_panels(session):
    dashboard = Dashboard(session, ["ledger", "boundary"])
    assert dashboard.names == ("boundary", "ledger")
    with pytest.raises(KeyError, match="no panel is named 'map'; choose from training, "):
        Dashboard(session, ["map"])
    with pytest.raises(KeyError, match="no panel 'training'; it has boundary, ledger"):
        dashboard["training"]
    session.revoke(count=2)
    dashboard.update()
    assert shown(dashboard).startswith("To forget: 2 examples in ")
    assert Dashboard(session, ["ledger"]).strip.state["said"] == ["To forget: 2 examples."]


def test_a_dashboard_is_a_widget_with_words_where_no_widget_runs(dashboard):
    outer = ipywidgets.VBox([ipywidgets.Label("above"), dashboard])
    assert outer.children[1] is dashboard and dashboard.model_id
    bundle = dashboard._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == dashboard.model_id
    assert "To forget: 3 examples in 2 of 3 shards." in bundle["text/html"]
    assert bundle["text/plain"].startswith("Dashboard(Session(")


def test_one_step_is_open_and_a_panel_is_built_when_its_step_is_opened(session):
    dashboard = session.dashboard()
    assert dashboard.step == "revocation" and list(dashboard.panels) == ["revocation"]
    seen = []
    for name in dashboard.names:
        click(dashboard, "open", name)
        seen.append(name)
        visible = [n for n, p in dashboard.panels.items() if p.widget.layout.display is None]
        assert visible == [name] == [dashboard.step] == [dashboard.strip.state["open"]]
        assert set(dashboard.panels) == {"revocation", *seen}


def test_the_strip_leads_from_training_to_the_comparison(request_on_two):
    session = CASE.session()
    dashboard = session.dashboard()
    assert dashboard.step == "training" and coming(dashboard) == "training"
    assert shown(dashboard) == "Not trained yet: step 1 trains one model for each shard."
    run(dashboard["training"].runner)
    assert coming(dashboard) == "revocation" and done(dashboard) == ["training"]
    dashboard["revocation"].ids.value = " ".join(map(str, request_on_two))
    dashboard["revocation"].add.click()
    assert coming(dashboard) == "boundary" and "3 waiting" in notes(dashboard)
    assert dashboard.strip.state["unlearn"]
    dashboard["boundary"].instrument.threshold = 0.3
    decision = dashboard["boundary"].decision
    assert dashboard.strip.state["said"][1].startswith("Threshold 30%: 1 shard retrained, 1 mod")
    with waiting(dashboard["boundary"].runner):
        click(dashboard, "unlearn")
    assert session.last.decision.exact == decision.exact
    assert shown(dashboard).startswith("3 examples forgotten: 1 shard retrained, 1 modified in ")
    assert "; retraining all 2 would have taken " in shown(dashboard)
    assert dashboard.step == "training" and coming(dashboard) == "comparison"
    assert dashboard.strip.state["compare"] and not dashboard.strip.state.get("unlearn")
    with waiting(dashboard["comparison"].runner):
        click(dashboard, "compare")
    assert dashboard.step == "comparison" and dashboard["comparison"].comparison is not None


def test_a_click_on_the_better_choice_retrains_all(dashboard):
    dashboard["boundary"].instrument.threshold = 0
    click(dashboard, "better")
    assert dashboard["boundary"].decision.approximate == ()
    assert not dashboard.strip.state["better"]
    assert dashboard.strip.state["said"][1].startswith("Threshold 100%: 2 shards retrained")


def test_running_work_is_shown_in_the_strip_and_can_be_cancelled_there():
    session = CASE.session(spec=CASE.spec.with_(epochs=150))
    dashboard = session.dashboard()
    job = dashboard["training"].runner.start()
    while not dashboard["training"]._events:
        time.sleep(0.001)
    click(dashboard, "open", "revocation")
    state = dashboard.strip.state
    assert state["busy"] and state["stoppable"] and state["said"][0] == "1. Train: Train"
    click(dashboard, "cancel")
    assert job.wait(60) and not session.trained
    assert "busy" not in dashboard.strip.state


def test_how_a_request_ended_is_gone_when_the_next_one_waits(dashboard, session):
    runner = dashboard["boundary"].runner
    run(runner)
    assert runner.label.value.startswith("done in ") and runner.bar.value == 1
    session.revoke(count=1)
    dashboard.update()
    assert runner.label.value == "" and runner.bar.layout.display == "none"
    assert shown(dashboard).startswith("To forget: 1 example in ")


def test_an_error_of_unlearning_shows_in_the_strip_beside_another_step(dashboard, monkeypatch):
    click(dashboard, "open", "revocation")
    monkeypatch.setattr(dashboard.session, "unlearn", lambda **options: 1 / 0)
    with waiting(dashboard["boundary"].runner):
        click(dashboard, "unlearn")
    assert dashboard.strip.state["problem"] == "ZeroDivisionError: division by zero"


def test_the_line_decides_as_preview_does_and_changes_nothing(dashboard, session):
    panel, before = dashboard["boundary"], contents(session.store)
    seen = set()
    for percent in range(101):
        panel.instrument.threshold = percent / 100
        decision = session.preview(percent / 100)
        assert panel.decision.routes == decision.routes
        assert drawn(panel) == {route.shard: route.kind for route in decision.routes}
        seen.add((decision.exact, decision.approximate))
    assert len(seen) == 3  # both approximate, the cheaper one exact, both exact
    assert contents(session.store) == before and session.last is None and len(session.pending) == 3


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("options", [{}, {"whole": True}, {"unit": "seconds"}])
def test_unlearning_by_a_click_equals_the_python_call(dashboard, session, share, options):
    panel, fork = dashboard["boundary"], session.fork()
    panel.instrument.threshold = share
    for name, value in options.items():
        setattr(panel.instrument, name, value)
    kinds = {route.shard: route.kind for route in panel.decision.routes}
    call(panel.code, fork)
    run(panel.runner)
    assert panel.error is None and "3 examples unlearned" in panel.message
    assert {r.shard: r.kind for r in session.last.decision.routes} == kinds
    assert contents(session.store) == contents(fork.store)
    assert sorted(session.debt) == [s for s, kind in kinds.items() if kind == APPROXIMATE]
    assert "measured" in text(panel.result) and "The request is empty" in panel.sentence


def test_an_untrained_session_is_no_error():
    dashboard = CASE.session().dashboard()
    assert "not trained yet" in dashboard["boundary"].sentence
    assert "Nothing has been unlearned yet" in text(dashboard["comparison"].note)
    assert all(dashboard[name].error is None for name in dashboard.names)


def test_compare_discard_and_repay(dashboard, session):
    boundary, comparison, ledger = (dashboard[n] for n in ("boundary", "comparison", "ledger"))
    assert comparison.runner.button.disabled
    boundary.instrument.threshold = 0.3
    routes = boundary.decision
    assert len(routes.exact) == len(routes.approximate) == 1
    run(boundary.runner)
    assert "kept in memory only" in text(comparison.note)
    run(comparison.runner)
    assert "1 of 2 constituents is bit-identical to the retrained model" in text(comparison.verdict)
    assert text(opened(comparison, MovesView).constituents).count("approximate") == 1
    assert comparison._results.layout.display is None
    scores = opened(comparison, ScoresView)
    views = (scores.accuracy, scores.outputs, scores.membership)
    assert all(isinstance(plot.view, PlotView) and plot.view.spec["data"] for plot in views)

    (owing,) = session.debt
    assert [value for _, value in ledger.which.options] == [-1, owing]
    ledger.which.value = owing
    assert ledger.code == f"session.ledger()\nsession.repay([{owing}])"
    run(ledger.runner)
    assert session.debt == {} and "No debt: every constituent is exact" in text(ledger.debts)
    # A repayment leaves the finished comparison, and says that it shows the models from before.
    assert comparison._results.layout.display is None and comparison.comparison is not None
    assert "Debt was repaid after this comparison" in text(comparison.note)
    run(comparison.runner)
    assert "byte for byte" in text(comparison.verdict)

    assert "Debt was repaid" not in text(comparison.note)
    comparison.discard.button.click()
    assert session.original is not None  # it asks first
    comparison.discard.no.click()
    assert session.original is not None
    comparison.discard.button.click()
    comparison.discard.yes.click()
    assert session.original is None and comparison.comparison is None
    assert "were discarded" in text(comparison.note) and comparison.runner.button.disabled
    rows = text(ledger.requests)
    assert "unlearn 3" in rows and "repay" in rows and len(session.ledger()) == 2


def test_a_click_in_one_panel_refreshes_the_others(session, request_on_two):
    dashboard = session.dashboard()
    alone = PANELS["boundary"](session)
    dashboard["revocation"].ids.value = " ".join(map(str, request_on_two))
    dashboard["revocation"].add.click()
    for panel in (dashboard["boundary"], alone):
        assert "At a threshold of" in panel.sentence
    assert "3 waiting" in notes(dashboard)


def test_what_a_cell_does_shows_in_the_panels(session, request_on_two):
    dashboard = session.dashboard()
    assert dashboard["boundary"].assessment is not None
    session.revoke(request_on_two)
    assert "The request is empty" in dashboard["boundary"].sentence
    shared._after_cell()  # what IPython calls after a cell
    assert "At a threshold of" in dashboard["boundary"].sentence
    session.withdraw()
    dashboard.update()
    assert "The request is empty" in dashboard["boundary"].sentence


def test_panels_wait_while_the_session_is_at_work(dashboard, session):
    before = dashboard["boundary"].sentence
    reached, go_on = threading.Event(), threading.Event()

    def hold(event):
        reached.set()
        go_on.wait(30)

    worker = threading.Thread(target=lambda: session.unlearn(1.0, on_progress=hold))
    worker.start()
    assert reached.wait(30)
    dashboard.update()
    assert dashboard["boundary"].sentence == before
    dashboard["boundary"].instrument.threshold = 0.03  # still decides, on the request as assessed
    assert "At a threshold of 3%" in dashboard["boundary"].sentence
    run(dashboard["ledger"].runner) if session.debt else None
    started = run(dashboard["boundary"].runner)
    assert started and "at work in another thread" in dashboard["boundary"].message
    go_on.set()
    worker.join()
    dashboard.update()
    assert "The request is empty" in dashboard["boundary"].sentence


def test_moving_the_line_sends_no_outcomes_again(dashboard):
    panel = dashboard["boundary"]
    data = panel.instrument.data
    panel.instrument.threshold = 0.31
    panel.instrument.whole = True
    assert panel.instrument.data is data
    panel.instrument.chosen = {"1": APPROXIMATE}
    assert panel.instrument.data is not data
