"""Figures of training: curves join where the slices do."""

import numpy as np

from cases import CASES
from unlearnkit import figures
from unlearnkit.training.train import TrainReport


def test_curves_join_where_the_slices_do(session):
    events = []
    spec = session.spec
    fresh = CASES["uneven"].session()
    report = fresh.train(on_progress=events.append)
    figure = figures.training_curves(events, spec)
    epochs = spec.stage_epochs()
    for trace in figure.data:
        assert list(trace.x) == list(range(1, sum(epochs) + 1))
    joins = np.cumsum(epochs)[:-1]
    assert [shape.x0 for shape in figure.layout.shapes] == list(joins)
    # A report knows the ends of the stages only; there the two agree.
    ends = figures.training_curves(report, spec)
    for few, many in zip(ends.data, figure.data, strict=True):
        assert list(few.x) == [*joins, sum(epochs)]
        assert list(few.y) == [many.y[x - 1] for x in few.x]
    assert len(figures.training_curves(TrainReport((), 0.0), spec).data) == 0


def test_the_axis_says_why_there_are_more_epochs_than_the_spec_has(session):
    spec = session.spec
    title = figures.training_curves([], spec).layout.xaxis.title.text
    assert sum(spec.stage_epochs()) > spec.epochs
    assert f"{sum(spec.stage_epochs())} epochs on growing data" in title
    alone = figures.training_curves([], spec.with_(num_slices=1)).layout.xaxis.title.text
    assert alone == "epoch"
