"""What the boundary's panel says of a decision, of debt, and of what is left."""

from panels import run, text
from unlearnkit.widgets import PANELS


def test_the_sentence_says_the_decision(dashboard):
    panel = dashboard["boundary"]
    panel.instrument.threshold = 0.0
    assert "At a threshold of 0%, all 2 hit shards (1 and 2) are modified" in panel.sentence
    panel.instrument.threshold = 1.0
    said = panel.sentence
    visits = panel.decision.exact_visits
    assert f"are retrained exactly: {visits:,} visits" in said and "approximately" not in said
    assert "Predicted: " in said
    for route in panel.decision.routes:
        assert route.reason in (row["cells"][-1] for row in panel.table.table["rows"])
    assert "session.unlearn(1)" in panel._code_line.code


def test_outstanding_debt_is_told_apart(dashboard, session):
    panel = dashboard["boundary"]
    panel.instrument.threshold = 0.0
    run(panel.runner)
    visits = session.workload().outstanding_visits
    assert f"{visits:,} visits would clear it" in panel.sentence
    partition = session.plan.partition
    session.revoke([int(partition.ids[(partition.shard == 1)][0])])
    dashboard.update()
    said = text(panel.notes)
    assert "Outstanding debt elsewhere: shard 2 is approximate" in said
    panel.instrument.threshold = 1.0
    assert "The exact part clears a debt of 1 example too." in text(panel.notes)


def test_a_shard_that_loses_everything_leaves_the_vote(session):
    partition = session.plan.partition
    session.revoke(partition.ids[partition.shard == 0].tolist())
    panel = PANELS["boundary"](session)
    assert "Shard 0 is left without examples and dropped from the vote." in panel.sentence
    run(panel.runner)
    assert panel.error is None and len(session.ensemble.constituents) == 2
