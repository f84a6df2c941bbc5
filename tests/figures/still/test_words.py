"""A figure in words."""

from unlearnkit.figures.still import describe


def test_few_values_are_all_told_with_their_places_and_formats():
    trace = {
        "type": "scatter",
        "mode": "markers",
        "name": "unlearned",
        "x": [0.96, 0.5],
        "y": [0.2, 1],
    }
    rows = {"tickvals": [0, 1], "ticktext": ["forget", "test"]}
    layout = {"yaxis": rows, "xaxis": {"tickformat": ".0%"}}
    assert "unlearned: forget 96%, test 50%" in describe({"data": [trace], "layout": layout})


def test_many_values_are_told_by_their_range_and_their_ends():
    trace = {
        "type": "scatter",
        "mode": "lines",
        "name": "loss",
        "x": list(range(9)),
        "y": [9 - i for i in range(9)],
    }
    told = describe({"data": [trace], "layout": {"title": {"text": "Loss"}}})
    assert told == "Loss. loss: 9 points from 1 to 9, starting with 9 at 0 and ending with 1 at 8."


def test_what_holds_no_values_is_not_told():
    none = {"type": "scatter", "name": "now", "x": [None], "y": [None]}
    assert describe({"data": [none], "layout": {}}) == "Figure."


def test_very_many_series_are_counted():
    data = [{"type": "bar", "name": str(i), "x": ["a"], "y": [i]} for i in range(11)]
    assert "There are 3 more series." in describe({"data": data, "layout": {}})
