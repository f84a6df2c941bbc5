"""A figure in a panel, with title and legend as HTML text, which wraps on narrow pages."""

import html
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets

from unlearnkit.figures.drawing import Spec
from unlearnkit.figures.still import describe
from unlearnkit.widgets.parts.export import Export
from unlearnkit.widgets.parts.html import Html
from unlearnkit.widgets.parts.plotview import PlotView

if TYPE_CHECKING:
    import pandas as pd

_ICONS = ["zoom", "pan", "zoomIn", "zoomOut", "resetScale"]
_LASSO_ICONS = ["pan", "zoomIn", "zoomOut"]
_BAR = 34  # pixels above the axes for the icons of a figure in which dragging selects
_TOP = 14  # pixels above the axes without title and legend


class Plot:
    """A :class:`PlotView` below a caption made from the figure's title and traces.

    Attributes:
        widget: caption and plot; hidden until there is a figure.
        view: the plot.
        caption: title and legend.
        export: the buttons that save the figure; None until there is one, or without a frame.

    Args:
        height: height of the plot in pixels.
        name: stem of the names of saved files.
        frame: returns the numbers to save.
        picture_of: returns the picture of an example, which is shown where one points at it.
    """

    def __init__(
        self,
        height: int = 260,
        *,
        name: str = "",
        frame: "Callable[[], pd.DataFrame] | None" = None,
        picture_of: Callable[[int], str] | None = None,
    ) -> None:
        self.view = PlotView(height=height, picture_of=picture_of)
        self.caption = Html(steady=True)
        self.export: Export | None = None
        self._name, self._frame = name, frame
        self.widget = ipywidgets.VBox([self.caption, self.view])
        self.widget.add_class("uk-plot")
        self.hide()

    def show(self, spec: Spec) -> None:
        """Draw the figure that ``figures.<name>.spec(...)`` returns."""
        layout = dict(spec["layout"])
        title = str(layout.pop("title")["text"])
        margin = dict(layout["margin"])
        # Most drags across a panel are accidental, so they do not zoom, and icons hide data.
        drag = layout.get("dragmode", False)
        icons = [*(_LASSO_ICONS if drag else _ICONS), *(["toImage"] if self._frame else [])]
        top = _BAR if drag else _TOP
        layout["height"] -= margin["t"] - top
        layout |= {"margin": margin | {"t": top}, "showlegend": False}
        layout |= {"dragmode": drag, "modebar": {"remove": icons}}
        named = bool(spec["layout"].get("showlegend", True))
        legend = _legend(spec["data"]) if named else ""
        if self.export is None and self._frame is not None:
            self.export = Export(self.view, self._name, self._frame)
            self.widget.children = (*self.widget.children, self.export)
        if self.export is not None:
            self.export.legend = named
        self.caption.html = f'<p class="uk-caption"><b>{html.escape(title)}</b>{legend}</p>'
        with self.view.hold_sync():  # sends one message
            self.view.label = title
            self.view.description = describe(spec)
            self.view.figure = {"data": spec["data"], "layout": layout}
        self.widget.layout.display = None

    def hide(self) -> None:
        """Hide the plot."""
        self.widget.layout.display = "none"

    def clear(self) -> None:
        """Hide the plot and discard its data."""
        self.hide()
        self.view.figure = {}


def _legend(traces: list[Spec]) -> str:
    """Return the legend: the named traces, each with its colour and shape."""
    marks = []
    for trace in traces:
        kind, color = _mark(trace)
        if trace.get("name") and trace.get("showlegend", True) and isinstance(color, str):
            name = html.escape(str(trace["name"]))
            swatch = f'<i class="uk-mark uk-{kind}" style="--uk-mark: {color}"></i>'
            marks.append(f'<span class="uk-legend">{swatch}{name}</span>')
    return " ".join(["", *marks])


def _mark(trace: Spec) -> tuple[str, Any]:
    if trace["type"] == "heatmap":
        return "square", trace["colorscale"][0][1]
    if trace["type"] == "bar":
        return "square", trace["marker"]["color"]
    if trace["mode"].startswith("lines"):
        solid = trace["line"].get("dash", "solid") == "solid"
        return "line" if solid else "line uk-dashed", trace["line"]["color"]
    symbol = trace["marker"].get("symbol", "circle")
    kinds = {"circle-open": "ring", "diamond-open": "hollow"}
    return kinds.get(symbol, symbol), trace["marker"]["color"]
