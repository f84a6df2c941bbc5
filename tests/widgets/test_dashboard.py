"""Panels without a browser: set values, click, and read the session and the words on show."""

import re
import threading
import time

import ipywidgets
import pytest

from cases import CASES
from panels import call, run, text, weights
from unlearnkit.unlearning.boundary.protocol import APPROXIMATE, EXACT
from unlearnkit.widgets import PANELS, Dashboard, PlotView
from unlearnkit.widgets.parts import shared
from unlearnkit.widgets.revocation.panel import parse_ids

CASE = CASES["uneven"]


@pytest.fixture(autouse=True)
def close_widgets():
    """Close what a test opened: ipywidgets keeps every open widget alive, to the very exit."""
    yield
    ipywidgets.Widget.close_all()


@pytest.fixture
def session():
    session = CASE.session()
    session.train()
    return session


@pytest.fixture
def request_on_two(session):
    """Revoke one example of a late slice and two of an early one, in two shards."""
    partition = session.plan.partition
    late = partition.ids[(partition.shard == 1) & (partition.slice_ == 3)]
    early = partition.ids[(partition.shard == 2) & (partition.slice_ == 1)]
    return [int(i) for i in (*late[:1], *early[:2])]


@pytest.fixture
def dashboard(session, request_on_two):
    session.revoke(request_on_two)
    return session.dashboard()


def test_every_panel_stands_alone_and_shows_itself(session):
    for name, kind in PANELS.items():
        panel = kind(session)
        assert panel.name == name and panel.message == "" and panel.code
        assert panel.title in panel._repr_mimebundle_()["text/html"]


def test_a_dashboard_of_some_panels(session):
    dashboard = Dashboard(session, ["boundary", "ledger"])
    assert list(dashboard.panels) == ["overview", "boundary", "ledger"]
    with pytest.raises(KeyError, match="no panel is named 'map'; known are training, "):
        Dashboard(session, ["map"])
    with pytest.raises(KeyError, match="no panel 'training' here; there are overview, boundary"):
        dashboard["training"]
    assert "alive when the notebook runs" in dashboard._repr_mimebundle_()["text/html"]


def test_training_by_a_click_equals_training_by_code(session):
    clicked = CASE.session()
    panel = clicked.dashboard()["training"]
    assert "Not trained yet" in text(panel.status)
    assert panel.curves.widget.layout.display == "none"
    run(panel.runner)
    assert weights(clicked) == weights(session)
    assert "The session is trained" in text(panel.status) and "on test examples" in text(
        panel.status
    )
    assert panel.runner.button.disabled and "stages trained" in panel.message
    assert len(panel.curves.view.figure.data) == clicked.plan.num_shards
    assert panel.curves.widget.layout.display is None


def test_a_cancelled_training_goes_on_and_ends_in_the_same_bits(session):
    clicked = CASE.session(spec=CASE.spec.with_(epochs=150))
    panel = PANELS["training"](clicked)
    job = panel.runner.start()
    while not clicked.store.keys:
        time.sleep(0.001)
    panel.runner.cancel.click()
    assert job.wait(60)
    assert "Stopped on request; finished stages are kept" in panel.message
    assert "Partly trained" in text(panel.status)
    assert panel.runner.button.description == "Go on training"
    run(panel.runner)
    whole = CASE.session(spec=CASE.spec.with_(epochs=150))
    whole.train()
    assert weights(clicked) == weights(whole)


def test_a_paused_training_keeps_its_curves_and_goes_on_to_the_same_bits():
    spec = CASE.spec.with_(epochs=150)
    clicked = CASE.session(spec=spec)
    panel = PANELS["training"](clicked)
    assert panel.runner.pause.layout.display == "none"
    job = panel.runner.start()
    assert panel.runner.pause.layout.display is None
    while not panel._events:  # a pause before the first step trains nothing
        time.sleep(0.001)
    panel.runner.pause.click()
    assert job.wait(60) and panel.error is None
    kept = len(clicked.store.keys)
    assert 0 < kept < 9 and f"Partly trained: {kept} of 9 stages are kept" in text(panel.status)
    assert "Paused: all of it is kept." in panel.message
    assert panel.runner.label.value.startswith("paused after")
    assert 0 < panel.runner.bar.value < 1 and ", about " in text(panel.status)
    before = len(panel.curves.export._frame())
    run(panel.runner)
    assert clicked.trained and panel.runner.pause.layout.display == "none"
    losses = panel.curves.export._frame()
    epochs = 3 * sum(spec.stage_epochs())  # each of them once
    assert before < len(losses) == epochs
    assert losses.groupby(["shard", "stage", "epoch"]).ngroups == epochs
    whole = CASE.session(spec=spec)
    whole.train()
    assert weights(clicked) == weights(whole)


def test_the_accuracies_shown_are_those_of_the_checkpoints():
    clicked = CASE.session()
    panel = PANELS["training"](clicked)
    assert panel.accuracies.widget.layout.display == "none"
    run(panel.runner)
    frame = panel.accuracies.export._frame()
    assert len(frame) == 9 and frame["epoch"].max() == sum(CASE.spec.stage_epochs())
    inputs, labels = clicked.dataset.examples(clicked.dataset.probe.ids)
    for line in frame.itertuples():
        module = clicked.plan.architecture.module(clicked.store.get(line.key).state)
        right = (module(inputs).argmax(1) == labels).float().mean()
        assert line.accuracy == pytest.approx(float(right))
    drawn = panel.accuracies.view.figure.data
    assert [list(trace.y) for trace in drawn] == [
        list(part["accuracy"]) for _, part in frame.groupby("shard")
    ]
    assert "uk.stage_accuracies(session)" in panel.code


def test_a_session_trained_before_says_so_and_how_well(session):
    panel = PANELS["training"](session)
    panel._measuring.wait(30)
    test = session.accuracy()["test"]
    assert f"The session is trained. Accuracy of the trained ensemble: {test:.1%}" in text(
        panel.status
    )
    session.revoke(count=2)
    session.unlearn(1.0)
    panel.update()
    said = f"ensemble before later unlearning (step 4 compares): {test:.1%}"
    assert said in text(panel.status)


@pytest.mark.parametrize(
    "fields",
    [
        {"ids": "7, 13 19-25\n[40]"},
        {"ids": "19-25"},
        {"mode": "by class", "label": "b"},
        {"mode": "by class", "label": "a", "amount": "a number", "number": 2},
        {"mode": "by class", "label": "c", "amount": "a share (%)", "number": 50, "seed": 3},
        {"mode": "at random", "amount": "a number", "number": 5, "seed": 1},
        {"mode": "at random", "amount": "a share (%)", "number": 12.5},
    ],
)
def test_a_click_revokes_what_the_python_call_says(session, fields):
    fork = session.fork()
    panel = PANELS["revocation"](session)
    if "ids" in fields:  # ids of the case are 7, 10, 13, ...
        fields = {"ids": re.sub(r"19-25", "19-19, 25", fields["ids"])}
    for name, value in fields.items():
        getattr(panel, name).value = value
    call(panel.code, fork)
    panel.add.click()
    assert panel.error is None
    assert len(session.pending) and session.pending.tolist() == fork.pending.tolist()
    assert f"The request: {len(session.pending)} example" in text(panel.pending)


def test_the_request_is_described(session, request_on_two):
    panel = PANELS["revocation"](session)
    assert "The request is empty" in text(panel.pending) and panel.withdraw_all.disabled
    panel.ids.value = " ".join(map(str, request_on_two))
    panel.add.click()
    said = text(panel.pending)
    assert "The request: 3 examples to forget." in said
    assert "Shards hit: 2 of 3: 1 (from slice 3), 2 (from slice 1)." in said
    panel.ids.value = str(request_on_two[0])
    panel.withdraw.click()
    assert session.pending.tolist() == sorted(request_on_two[1:])
    panel.withdraw_all.click()
    assert len(session.pending) == 0 and panel.message == "2 examples withdrawn."


def test_images_are_shown_with_their_ids():
    session = CASES["cnn-batchnorm"].session()
    session.revoke([7, 10])
    shown = PANELS["revocation"](session).pending.html
    assert shown.count("<img ") == 2 and 'alt="example 10, class' in shown


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"ids": "7, x"}, "'x' is not an id; give whole numbers and ranges such as 3, 141, 10-20"),
        ({"ids": "20-10"}, "the range 20-10 runs backwards; write 10-20"),
        ({"ids": "0-99999999999"}, "names too many ids"),
        ({"ids": " "}, "no ids are given"),
        ({"ids": "9999"}, "id 9999 is not in uneven"),
        ({"mode": "at random", "number": 7.5}, "count=7.5 is not a whole number"),
        (
            {"mode": "at random", "amount": "a share (%)", "number": 150},
            "share=1.5 is out of range; give a number from 0 to 1",
        ),
    ],
)
def test_wrong_input_is_one_sentence_and_breaks_nothing(session, fields, sentence):
    panel = PANELS["revocation"](session)
    for name, value in fields.items():
        getattr(panel, name).value = value
    panel.add.click()
    assert sentence in panel.message and "\n" not in panel.message
    assert len(session.pending) == 0
    panel.mode.value, panel.ids.value = "by id", "7"
    panel.add.click()
    assert panel.message == "1 example revoked."


def test_ids_with_dashes_and_blanks():
    assert parse_ids("3 - 5;9") == [range(3, 6), 9]
    assert parse_ids("") == []


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


def test_the_sentence_says_the_decision(dashboard):
    panel = dashboard["boundary"]
    panel.slider.value = 0
    assert "At a threshold of 0%, all 2 hit shards (1 and 2) are modified" in text(panel.sentence)
    panel.slider.value = 100
    said = text(panel.sentence)
    visits = panel.decision.exact_visits
    assert f"are retrained exactly: {visits:,} visits" in said and "approximately" not in said
    assert "Predicted: " in said
    for route in panel.decision.routes:
        assert route.reason in (row["cells"][-1] for row in panel.table.table["rows"])
    assert "session.unlearn(1)" in panel._code_line.code


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


def test_outstanding_debt_is_told_apart(dashboard, session):
    panel = dashboard["boundary"]
    panel.slider.value = 0
    run(panel.runner)
    visits = session.workload().outstanding_visits
    assert f"{visits:,} visits would clear it" in text(panel.sentence)
    partition = session.plan.partition
    session.revoke([int(partition.ids[(partition.shard == 1)][0])])
    dashboard.update()
    said = text(panel.sentence)
    assert "Outstanding debt elsewhere: shard 2 is approximate" in said
    panel.slider.value = 100
    assert "The exact part clears a debt of 1 example too." in text(panel.sentence)


def test_a_shard_that_loses_everything_leaves_the_vote(session):
    partition = session.plan.partition
    session.revoke(partition.ids[partition.shard == 0].tolist())
    panel = PANELS["boundary"](session)
    assert "Shard 0 is left without examples, and out of the vote." in text(panel.sentence)
    run(panel.runner)
    assert panel.error is None and len(session.ensemble.constituents) == 2


def test_an_untrained_session_is_no_error():
    dashboard = CASE.session().dashboard()
    assert "not trained yet" in text(dashboard["boundary"].sentence)
    assert "Nothing was unlearned yet" in text(dashboard["comparison"].note)
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
    assert "1 of 2 constituents is bit-identical to scratch" in text(comparison.verdict)
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
    shared._look()  # what IPython calls after a cell
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
