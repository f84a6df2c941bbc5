"""The panel that trains: by a click, cancelled, paused, and what it says of the models."""

import time

import pytest

from panels import CASE, run, text
from unlearnkit.widgets import PANELS
from worker import contents


def test_training_by_a_click_equals_training_by_code(session):
    clicked = CASE.session()
    panel = clicked.dashboard()["training"]
    assert "Not trained yet" in text(panel.status)
    assert panel.curves.widget.layout.display == "none"
    run(panel.runner)
    assert contents(clicked.store) == contents(session.store)
    assert "The session is trained" in text(panel.status) and "on test examples" in text(
        panel.status
    )
    assert panel.runner.button.disabled and ": 9 stages, " in text(panel.status)
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
    assert panel.runner.button.description == "Continue training"
    run(panel.runner)
    whole = CASE.session(spec=CASE.spec.with_(epochs=150))
    whole.train()
    assert contents(clicked.store) == contents(whole.store)


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
    assert 0 < kept < 9 and f"Partly trained: {kept} of 9 stages are done" in text(panel.status)
    assert "Paused: finished stages are kept." in panel.message
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
    assert contents(clicked.store) == contents(whole.store)


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
    assert "stage_accuracies(session)" in panel.code


def test_chaos_is_measured_by_a_click_at_the_cost_said_before(session):
    untrained = PANELS["training"](CASE.session())
    assert untrained.chaos.widget.layout.display == "none"
    panel = PANELS["training"](session)
    panel.chaos.open = True
    events, before = [], contents(session.store)
    expected = session.amplification(on_progress=events.append)
    said = text(panel.chaos.said)
    assert f"Shard {expected.shard} is trained once more" in said
    assert f": {events[-1].total_visits:,} visits, " in said and "of wall time" in said
    run(panel.chaos.runner)
    assert text(panel.chaos.said).strip() == expected.sentence and contents(session.store) == before
    assert panel.chaos.code == "session.amplification()"


def test_a_cancelled_measurement_of_chaos_leaves_the_offer():
    clicked = CASE.session(spec=CASE.spec.with_(epochs=150))
    clicked.train()
    panel = PANELS["training"](clicked)
    panel.chaos.open = True
    said = text(panel.chaos.said)
    job = panel.chaos.runner.start()
    panel.chaos.runner.cancel.click()
    assert job.wait(60) and panel.error is None
    assert job.state == "cancelled" and text(panel.chaos.said) == said
    assert not panel.chaos.runner.button.disabled


def test_a_cell_that_unlearns_during_training_hears_that_training_is_running():
    clicked = CASE.session(spec=CASE.spec.with_(epochs=150))
    panel = PANELS["training"](clicked)
    job = panel.runner.start()
    while not panel._events:
        time.sleep(0.001)
    with pytest.raises(
        RuntimeError, match=r"^training is running: .* wait for that work or cancel"
    ):
        clicked.unlearn()
    panel.runner.cancel.click()
    assert job.wait(60)
    with pytest.raises(LookupError, match="not trained yet"):
        CASE.session().unlearn()


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
