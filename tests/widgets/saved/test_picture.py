"""What a reader without a kernel sees of widgets."""

import sys
from types import SimpleNamespace

import ipywidgets
import pytest

from unlearnkit.widgets.parts.plotview import PlotView
from unlearnkit.widgets.saved.picture import made, picture_of

BARS = {"data": [{"type": "bar", "x": ["a", "b"], "y": [1, 2]}], "layout": {}}


def test_a_plot_leaves_a_still_picture_of_its_present_figure():
    view = PlotView(BARS, label="Costs")
    view.description = "a costs 1, b costs 2"
    box = ipywidgets.VBox([view])
    first = picture_of(box)
    assert 'alt="a costs 1, b costs 2"' in first and "data:image/svg+xml" in first
    assert picture_of(box) == first
    view.figure = {"data": [{"type": "bar", "x": ["a"], "y": [5]}], "layout": {}}
    assert picture_of(box) != first
    view.figure = {}
    assert picture_of(box) == ""


def test_a_plot_that_cannot_be_drawn_leaves_its_name():
    view = PlotView({"data": [{"type": "pie", "values": [1, 2]}], "layout": {}}, label="Shares")
    assert picture_of(view) == "<p><i>Plot: Shares</i></p>"


@pytest.mark.parametrize("inside", [True, False])
def test_in_marimo_it_says_what_to_do_instead(monkeypatch, inside):
    marimo = SimpleNamespace(running_in_notebook=lambda: inside)
    monkeypatch.setitem(sys.modules, "marimo", marimo)
    assert ("marimo does not show panels" in made()) is inside
    assert ("run the notebook" in made()) is not inside
