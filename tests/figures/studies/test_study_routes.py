"""Workloads and routes of a study."""

import numpy as np
import pytest

import unlearnkit as uk
from unlearnkit import figures


def test_a_study_shows_workloads_and_a_map_of_routes():
    settings = {"models": ("logistic",), "num_shards": (2, 3), "num_slices": (2,), "epochs": 3}
    frame = uk.study("digits", **settings, revoked=(1, 9, "class"))
    uniform = frame[(frame.kind == "uniform") & (frame.policy == "exact")]
    shares = [
        (x, y)
        for trace in figures.study_workload(frame).data
        for x, y in zip(trace.x, trace.y, strict=True)
    ]
    expected = list(zip(uniform.expected_share, uniform.workload_share, strict=True))
    assert sorted(shares) == sorted(expected)
    # One revocation, and two epochs a stage: (2R + 1)/(3RS), but for the example that is gone.
    one = uniform[(uniform.revoked == 1) & (uniform.num_shards == 2)].iloc[0]
    assert one.expected_share == pytest.approx(5 / 12, rel=0.01)
    [exact] = figures.study_map(frame, "exact").data
    assert list(exact.y) == ["logistic, 2 x 2", "logistic, 3 x 2"]
    assert list(exact.x) == ["1", "9"] and np.array(exact.text).tolist() == [["exact"] * 2] * 2
    [other] = figures.study_map(frame, "approximate").data
    assert (np.array(other.z) == 1).all() and all("x" in word for word in np.ravel(other.text))
    with pytest.raises(KeyError, match="policy 'adaptive'; choose from exact, hybrid, approximate"):
        figures.study_map(frame)
