"""The cost curve: threshold, ends, and errors."""

from unlearnkit import figures


def test_the_curve_marks_where_the_threshold_is_and_its_ends():
    point = figures.CurvePoint
    points = [point(0.0, 1.0, 0, 9), point(0.2, 1.5, 1, 4), point(1.0, 3.0, 2, 0)]
    figure = figures.cost_curve(points, point(0.5, 1.5, 1, 4))
    named = [trace for trace in figure.data if trace.name]
    drawn = {(trace.name, trace.yaxis): (trace.x, trace.y) for trace in named}
    now = [(shape.yref, shape.xanchor, shape.yanchor) for shape in figure.layout.shapes]
    assert ("y", 0.5, 1.5) in now and ("y2", 0.5, 4) in now
    assert drawn["approximate only", "y"] == ((0.0,), (1.0,))
    assert drawn["exact only", "y"] == ((1.0,), (3.0,))
    assert figure.layout.title.text == "Whole request: 1.5 s of CPU time predicted, 4 owed"
    below = [trace.y for trace in figure.data if trace.yaxis == "y2"]
    assert below == [(9, 4, 0), (9,), (0,)]


def test_the_curve_shows_errors_where_all_are_known():
    errors = (0.03, 0.01, 0.0)
    points = [figures.CurvePoint(s, 1.0, 0, 9, e) for s, e in zip((0, 0.2, 1), errors, strict=True)]
    figure = figures.cost_curve(points, points[1])
    assert next(trace.y for trace in figure.data if trace.yaxis == "y2") == errors
    assert "error at most 0.01 nats" in figure.layout.title.text
