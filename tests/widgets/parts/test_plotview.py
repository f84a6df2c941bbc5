"""Plots without a browser: what is read is what would be sent."""

import base64

import numpy as np
import plotly.graph_objects as go
import pytest
import traitlets

from unlearnkit.widgets.parts.plotview import PlotView


class FakeComm:
    """What ipywidgets uses of a comm; keeps what would go to the page."""

    comm_id = "fake"
    kernel = object()

    def __init__(self):
        self.sent = []

    def send(self, data=None, metadata=None, buffers=None, **rest):
        self.sent.append(data)

    def on_msg(self, callback):
        pass

    def close(self, *args, **rest):
        pass


def test_a_figure_comes_back_as_it_went_in_without_plotlys_template():
    view = PlotView(go.Figure(go.Bar(x=np.arange(3), y=np.array([1.0, np.nan, 3.0]))))
    assert "template" not in view.spec["layout"]
    y = view.figure.data[0].y  # plotly's typed array: the page decodes it
    np.testing.assert_array_equal(
        np.frombuffer(base64.b64decode(y["bdata"]), y["dtype"]), [1.0, np.nan, 3.0]
    )


def test_a_template_of_the_users_own_is_kept():
    view = PlotView(go.Figure(layout={"template": {"layout": {"colorway": ["#0072B2"]}}}))
    assert view.spec["layout"]["template"]["layout"]["colorway"] == ["#0072B2"]


def test_a_dict_with_arrays_and_nan_is_a_figure_too():
    view = PlotView({"data": [{"z": np.array([[1.0, np.nan]])}]})
    assert view.spec["data"] == [{"z": [[1.0, None]]}]


def test_anything_else_is_refused_by_name():
    with pytest.raises(TypeError, match=r"figure is a list; give a plotly go\.Figure"):
        PlotView([1, 2])


def test_height_is_reserved_before_the_page_draws():
    assert PlotView(height=200).layout.height == "200px"
    view = PlotView(go.Figure(layout={"height": 444}))
    assert view.layout.height == "444px"


def test_an_update_sends_the_figure_and_nothing_else():
    view = PlotView({"data": [{"y": [1]}]})
    try:
        view.comm = FakeComm()
    except traitlets.TraitError:
        pytest.skip("ipywidgets 7 takes its own comms only")
    view.comm.sent.clear()
    view.figure = {"data": [{"y": [2]}]}
    view.figure = {"data": [{"y": [2]}]}  # the same again: nothing to send
    assert [message["state"] for message in view.comm.sent] == [
        {"spec": {"data": [{"y": [2]}], "layout": {}}}
    ]


def test_the_script_is_shared_and_comes_back_when_it_was_closed():
    first, second = PlotView(), PlotView()
    assert first.runtime is second.runtime
    assert len(first.runtime.script) < 3_000_000  # Jupyter's limit: 1 MB/s over 3 s
    first.runtime.close()
    assert PlotView().runtime is not first.runtime


def test_every_click_of_the_page_calls_back_until_unsubscribed():
    view, heard = PlotView(), []
    stop = view.on_click(heard.append)
    click = {"curve": 0, "point": 2, "x": 2, "y": 5.0, "customdata": 7}
    view.set_state({"clicked": click | {"count": 1}})
    view.set_state({"clicked": click | {"count": 2}})  # the same point once more
    stop()
    view.set_state({"clicked": click | {"count": 3}})
    assert [one["count"] for one in heard] == [1, 2]
    assert heard[0]["customdata"] == 7


def test_the_page_gets_the_picture_of_an_example_it_asks_for():
    asked = []
    view = PlotView(picture_of=lambda number: asked.append(number) or f"data:image/png,{number}")
    assert view.pictured and not PlotView().pictured
    sent = []
    view.send = sent.append
    view._handle_custom_msg({"want": "picture", "id": 7}, [])
    view._handle_custom_msg({"want": "csv"}, [])
    assert asked == [7] and sent == [{"picture": "data:image/png,7", "id": 7}]
