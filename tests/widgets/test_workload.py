"""The workload, stage by stage: figures and panel against the plan itself."""

import ast

import unlearnkit as uk
from cases import CASES, of_slice
from unlearnkit.widgets import PANELS


def text(prose):
    return prose.html


def test_the_panel_says_the_request_and_follows_it(indebted):
    session = indebted.fork()
    panel = session.panel("workload")
    assert panel.error is None and panel.stages.open
    assert "The request is empty" in text(panel.stages.summary)
    assert "visits would clear the debt of shards that this request does not hit" in text(
        panel.stages.summary
    )
    assert len(panel.stages.curve.view.spec["data"]) == 1
    session.revoke([of_slice(session, 2, 3)])
    panel.changed()
    workload = session.workload()
    said = text(panel.stages.summary)
    assert f"Exact retraining for this request: {workload.visits:,} visits" in said
    assert "of these visits are due to debt from earlier requests" in said
    _, without, actual = panel.stages.curve.view.spec["data"]
    assert actual["x"] == [1] and actual["y"] == [workload.visits] > without["y"]
    panel.stages.unit.value = "share"
    assert panel.stages.curve.view.spec["data"][2]["y"] == [workload.share]
    assert "%" in panel.stages.map.view.spec["data"][0]["text"][0][0]
    assert "figures.stage_map(workload, 'share')" in panel.stages._code_line.code
    marks = [trace["type"] for trace in panel.stages.map.view.spec["data"]]
    panel.stages.debt.value = False
    left = [trace["type"] for trace in panel.stages.map.view.spec["data"]]
    assert marks.count("scatter") == 1 and left == marks[:-1]
    scope = {"session": session, "uk": uk}
    exec(compile(ast.parse(panel.stages._code_line.code), "panel", "exec"), scope)
    assert scope["workload"].visits == workload.visits


def test_it_assesses_nothing_before_its_step_is_opened(indebted):
    session = indebted.fork()
    dashboard = session.dashboard()
    session.revoke([of_slice(session, 1, 2)])
    dashboard.update()
    dashboard["boundary"].instrument.threshold = 0.4
    assert "workload" not in dashboard.panels
    dashboard.open_step("workload")
    panel = dashboard["workload"]
    assessed = panel.stages.workload
    assert assessed is not None
    assert "Exact retraining for this request" in text(panel.stages.summary)
    dashboard["boundary"].instrument.threshold = 0.6
    assert panel.stages.workload is assessed


def test_an_untrained_session_is_no_error():
    panel = PANELS["workload"](CASES["uneven"].session())
    assert panel.error is None and "not trained yet" in text(panel.stages.summary)
