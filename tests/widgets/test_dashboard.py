"""Panels without a browser: set values, click, and read the session and the words on show."""

import threading

import pytest

from panels import CASE, call, run, text, weights
from unlearnkit.unlearning.boundary.protocol import APPROXIMATE, EXACT
from unlearnkit.widgets import PANELS, Dashboard, PlotView
from unlearnkit.widgets.parts import shared


def test_every_panel_stands_alone_and_shows_itself(session):
    for name, kind in PANELS.items():
        panel = kind(session)
        assert panel.name == name and panel.message == "" and panel.code
        assert panel.title in panel._repr_mimebundle_()["text/html"]


def test_a_dashboard_of_some_panels(session):
    dashboard = Dashboard(session, ["boundary", "ledger"])
    assert list(dashboard.panels) == ["overview", "boundary", "ledger"]
    with pytest.raises(KeyError, match="no panel is named 'map'; choose from training, "):
        Dashboard(session, ["map"])
    with pytest.raises(KeyError, match="no panel 'training'; it has overview, boundary"):
        dashboard["training"]
    assert "interactive when the notebook runs" in dashboard._repr_mimebundle_()["text/html"]


def test_the_slider_decides_as_preview_does_and_changes_nothing(dashboard, session):
    panel, before = dashboard["boundary"], weights(session)
    seen = set()
    for percent in range(101):
        panel.slider.value = percent
        decision = session.preview(round(percent / 100, 4))
        assert panel.decision.routes == decision.routes
        exact = [t for t in panel.map.view.figure.data if t.name == "exact: retrained"]
        drawn = {y for t in exact for y, row in zip(t.y, t.z, strict=True) if any(row)}
        assert drawn == set(decision.exact)
        seen.add((decision.exact, decision.approximate))
    assert len(seen) == 3  # both approximate, the cheaper one exact, both exact
    assert weights(session) == before and session.last is None and len(session.pending) == 3


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("options", [{}, {"whole": True}, {"unit": "seconds"}])
def test_unlearning_by_a_click_equals_the_python_call(dashboard, session, share, options):
    panel, fork = dashboard["boundary"], session.fork()
    panel.slider.value = 100 * share
    for name, value in options.items():
        getattr(panel, name).value = value
    kinds = {route.shard: route.kind for route in panel.decision.routes}
    call(panel.code, fork)
    run(panel.runner)
    assert panel.error is None and "3 examples unlearned" in panel.message
    assert {r.shard: r.kind for r in session.last.decision.routes} == kinds
    assert weights(session) == weights(fork)
    assert sorted(session.debt) == [s for s, kind in kinds.items() if kind == APPROXIMATE]
    assert "measured" in text(panel.result) and "The request is empty" in text(panel.sentence)


def test_an_untrained_session_is_no_error():
    dashboard = CASE.session().dashboard()
    assert "not trained yet" in text(dashboard["boundary"].sentence)
    assert "Nothing has been unlearned yet" in text(dashboard["comparison"].note)
    assert all(panel.error is None for panel in dashboard.panels.values())


def test_compare_discard_and_repay(dashboard, session):
    boundary, comparison, ledger = (dashboard[n] for n in ("boundary", "comparison", "ledger"))
    assert comparison.runner.button.disabled
    boundary.slider.value = 30
    routes = boundary.decision
    assert len(routes.exact) == len(routes.approximate) == 1
    run(boundary.runner)
    assert "kept in memory only" in text(comparison.note)
    run(comparison.runner)
    assert "1 of 2 constituents is bit-identical to the retrained model" in text(comparison.verdict)
    assert text(comparison.constituents).count("approximate") == 1
    assert comparison._results.layout.display is None
    views = (comparison.accuracy, comparison.layers, comparison.outputs, comparison.membership)
    assert all(isinstance(plot.view, PlotView) and plot.view.spec["data"] for plot in views)

    (owing,) = session.debt
    assert [value for _, value in ledger.which.options] == [-1, owing]
    ledger.which.value = owing
    assert ledger.code == f"session.ledger()\nsession.repay([{owing}])"
    run(ledger.runner)
    assert session.debt == {} and "No debt: every constituent is exact" in text(ledger.debts)
    assert comparison._results.layout.display == "none"  # it spoke of the state before
    run(comparison.runner)
    assert "byte for byte" in text(comparison.verdict)

    comparison.discard.click()
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
        assert "At a threshold of" in text(panel.sentence)
    assert "3 waiting" in text(dashboard["overview"].steps)


def test_what_a_cell_does_shows_in_the_panels(session, request_on_two):
    dashboard = session.dashboard()
    session.revoke(request_on_two)
    assert "The request is empty" in text(dashboard["boundary"].sentence)
    shared._after_cell()  # what IPython calls after a cell
    assert "At a threshold of" in text(dashboard["boundary"].sentence)
    session.withdraw()
    dashboard["overview"].again.click()
    assert "The request is empty" in text(dashboard["boundary"].sentence)


def test_panels_wait_while_the_session_is_at_work(dashboard, session):
    before = text(dashboard["boundary"].sentence)
    reached, go_on = threading.Event(), threading.Event()

    def hold(event):
        reached.set()
        go_on.wait(30)

    worker = threading.Thread(target=lambda: session.unlearn(1.0, on_progress=hold))
    worker.start()
    assert reached.wait(30)
    dashboard.update()
    assert text(dashboard["boundary"].sentence) == before
    dashboard["boundary"].slider.value = 3  # still decides, on the request as assessed
    assert "At a threshold of 3%" in text(dashboard["boundary"].sentence)
    run(dashboard["ledger"].runner) if session.debt else None
    started = run(dashboard["boundary"].runner)
    assert started and "at work in another thread" in dashboard["boundary"].message
    go_on.set()
    worker.join()
    dashboard.update()
    assert "The request is empty" in text(dashboard["boundary"].sentence)


def test_moving_the_slider_sends_no_more_than_it_must(dashboard):
    panel = dashboard["boundary"]
    kinds = {r.shard: r.kind for r in panel.decision.routes}
    assert EXACT in kinds.values()
    map_before = panel.map.view.spec
    panel.slider.value += 0.5  # crosses no shard's sum
    assert {r.shard: r.kind for r in panel.decision.routes} == kinds
    assert panel.map.view.spec == map_before
