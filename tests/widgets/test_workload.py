"""The workload, stage by stage: figures and panel against the plan itself."""

import ast

import ipywidgets
import numpy as np
import pytest

import unlearnkit as uk
from cases import CASES
from unlearnkit import figures
from unlearnkit.figures.decision import OWED, STAYS, UNDECIDED
from unlearnkit.unlearning import expected_workload
from unlearnkit.widgets import PANELS


@pytest.fixture(autouse=True)
def close_widgets():
    """Close what a test opened: ipywidgets keeps every open widget alive, to the very exit."""
    yield
    ipywidgets.Widget.close_all()


@pytest.fixture(scope="module")
def indebted():
    """Shard 2 owes an example of its first slice and one of its third; nothing is pending."""
    session = CASES["uneven"].session()
    session.train()
    partition = session.plan.partition
    places = ((2, 1), (2, 3))
    session.revoke(
        [int(partition.ids[(partition.shard == s) & (partition.slice_ == r)][0]) for s, r in places]
    )
    session.unlearn(0.0)
    return session


def of_slice(session, shard, stage):
    partition, alive = session.plan.partition, session.plan.retained
    return int(partition.ids[(partition.shard == shard) & (partition.slice_ == stage) & alive][0])


def test_debt_makes_a_request_dearer_by_the_stages_before_it(indebted):
    session = indebted.fork()
    late = of_slice(session, 2, 3)
    session.revoke([late])
    after, workload = session.plan.without([late]), session.workload()
    visits = [stage.visits for stage in after.chains[2]]
    assert workload.visits == sum(visits)  # back to the first slice, for the debt
    alone = expected_workload.visits_without_debt(session.plan, workload, session.pending)
    assert alone == visits[2]
    owed = expected_workload.debt_places(session.plan, session.debt)
    assert owed.tolist() == [[0, 0, 0], [0, 0, 0], [1, 0, 1]]


def test_the_curve_is_the_mean_of_requests_that_are_drawn():
    data = uk.load("digits", num_examples=400)
    session = uk.Session(data, model="logistic", num_shards=4, num_slices=2, epochs=3)
    session.train()
    curve = expected_workload.expected_curve(session.plan, session.workload())
    assert curve["revoked"].min() == 1 and curve["revoked"].max() == 200
    for count in (1, 6, 15):
        found = []
        for seed in range(60):
            session.withdraw()
            session.revoke(count=count, seed=seed)
            found.append((session.workload().visits, session.workload().share))
        (row,) = curve[curve["revoked"] == count].to_dict("records")
        for values, name in zip(np.array(found).T, ("visits", "share"), strict=True):
            error = max(values.std() / np.sqrt(60), 0.005 * values.mean())
            assert abs(values.mean() - row[name]) < 4 * error
    assert np.allclose(curve["seconds"] / curve["visits"], curve["seconds"][0] / curve["visits"][0])


@pytest.mark.parametrize("unit", ["visits", "share", "seconds"])
def test_the_map_has_the_cost_of_every_stage_in_its_unit(indebted, unit):
    session = indebted.fork()
    session.revoke([of_slice(session, 1, 2)])
    workload = session.workload()
    frame = expected_workload.stage_frame(workload).set_index(["shard", "slice"])
    figure = figures.stage_map(
        workload, unit, expected_workload.debt_places(session.plan, session.debt)
    )
    names = {}
    for trace in figure.data:
        if trace.type != "heatmap":
            assert np.round(trace.x).tolist() == [1, 3] and np.round(trace.y).tolist() == [2, 2]
            assert trace.customdata[0] == "shard 2, slice 1: 1 owed"
            continue
        for shard, row in zip(trace.y, trace.z, strict=True):
            for slice_, value in zip(trace.x, row, strict=True):
                if value is not None:
                    names[shard, slice_] = trace.name
                    word = figures.workload.format_amount(frame[unit][shard, slice_], unit)
                    assert trace.text[shard][slice_ - 1] == word
                    assert trace.customdata[shard][slice_ - 1].startswith(word)
    assert [names[1, r] for r in (1, 2, 3)] == [STAYS, UNDECIDED, UNDECIDED]
    assert {names[2, r] for r in (1, 2, 3)} == {OWED} and len(names) == 9
    assert frame["visits"].sum() == workload.stage_visits.sum()


def text(prose):
    return prose.html


def test_the_panel_says_the_request_and_follows_it(indebted):
    session = indebted.fork()
    panel = session.panel("workload")
    assert panel.error is None and panel.stages.open
    assert "The request is empty" in text(panel.stages.words)
    assert "visits would clear the debt of shards that this request does not hit" in text(
        panel.stages.words
    )
    assert len(panel.stages.curve.view.spec["data"]) == 1
    session.revoke([of_slice(session, 2, 3)])
    panel.changed()
    workload = session.workload()
    said = text(panel.stages.words)
    assert f"Exact retraining for this request: {workload.visits:,} visits" in said
    assert "of its visits are there because of debt from before" in said
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


def test_folded_it_assesses_nothing(indebted, monkeypatch):
    from unlearnkit.widgets import workload as module

    asked = []
    whole = module.assess
    monkeypatch.setattr(module, "assess", lambda *given: asked.append(1) or whole(*given))
    session = indebted.fork()
    dashboard = session.dashboard()
    panel = dashboard["workload"]
    session.revoke([of_slice(session, 1, 2)])
    dashboard.update()
    dashboard["boundary"].slider.value = 40
    assert asked == [] and not panel.stages.open
    panel.stages.open = True
    assert asked == [1] and "Exact retraining for this request" in text(panel.stages.words)
    dashboard["boundary"].slider.value = 60
    assert asked == [1]


def test_an_untrained_session_is_no_error():
    panel = PANELS["workload"](CASES["uneven"].session())
    assert panel.error is None and "not trained yet" in text(panel.stages.words)
