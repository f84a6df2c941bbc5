"""The workload's map of stages."""

import numpy as np
import pytest

from cases import of_slice
from unlearnkit import figures
from unlearnkit.figures.decision import OWED, STAYS, UNDECIDED
from unlearnkit.unlearning import expected_workload


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
