"""Figures of a study."""

import unlearnkit as uk
from unlearnkit import figures


def test_a_study_is_drawn_with_every_policy_and_the_band_of_the_paper():
    settings = {"models": ("logistic",), "num_shards": (3,), "num_slices": (2,), "epochs": 2}
    frame = uk.study("digits", **settings, revoked=(2, 9), seeds=(0, 1))
    speed, gap = figures.study_speed(frame), figures.study_gap(frame)
    for figure, column in ((speed, "speed"), (gap, "gap_removed")):
        assert [trace.name for trace in figure.data] == ["exact", "hybrid", "approximate"]
        for trace in figure.data:
            assert list(trace.x) == [2, 9]
            rows = frame[frame.policy == trace.name]
            assert list(trace.y) == rows.groupby("revoked")[column].median().tolist()
    [band] = [shape for shape in speed.layout.shapes if shape.type == "rect"]
    assert (band.y0, band.y1) == (1.5, 8)
    frontier = figures.study_frontier(frame)
    *points, best = frontier.data
    assert sum(len(trace.x) for trace in points) == len(frame)
    # Nothing is right of and above a point of the line.
    for x, y in zip(best.x, best.y, strict=True):
        assert not ((frame["speed"] > x) & (frame["gap_removed"] > y)).any()
