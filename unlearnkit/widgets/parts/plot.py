"""A figure in a panel, its title and legend as text: text wraps where the page is narrow."""

import html
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets

from unlearnkit.figures.drawing import Spec
from unlearnkit.widgets.parts.export import Export
from unlearnkit.widgets.parts.html import Html
from unlearnkit.widgets.parts.plotview import PlotView

if TYPE_CHECKING:
    import pandas as pd

_ICONS = ["zoom", "pan", "zoomIn", "zoomOut", "resetScale"]
_LASSO_ICONS = ["pan", "zoomIn", "zoomOut"]
_BAR = 34  # pixels above the axes for the icons of a figure whose drag selects
_TOP = 14  # pixels above the axes once title and legend are gone from there


class Plot:
    """A :class:`PlotView` under a caption made from the figure's own title and traces.

    Attributes:
        widget: both together; hidden until there is something to show.
        view: draws.
        caption: title and legend.
        export: saves it; made when there is something to save, and only with a frame.

    Args:
        height: pixels.
        name: of the files that it is saved as.
        frame: the numbers to be saved.
    """

    def __init__(
        self,
        height: int = 260,
        *,
        name: str = "",
        frame: "Callable[[], pd.DataFrame] | None" = None,
    ) -> None:
        self.view = PlotView(height=height)
        self.caption = Html(steady=True)
        self.export: Export | None = None
        self._name, self._frame = name, frame
        self.widget = ipywidgets.VBox([self.caption, self.view])
        self.widget.add_class("uk-plot")
        self.hide()

    def show(self, spec: Spec) -> None:
        """Draw a figure, given as ``figures.some_drawing.spec(...)``."""
        layout = dict(spec["layout"])
        title = str(layout.pop("title")["text"])
        margin = dict(layout["margin"])
        # A drag across a panel is a slip more often than a zoom, and the icons lie over the data.
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
        with self.view.hold_sync():  # one message
            self.view.label = title
            self.view.figure = {"data": spec["data"], "layout": layout}
        self.widget.layout.display = None

    def hide(self) -> None:
        """Take no room."""
        self.widget.layout.display = "none"

    def clear(self) -> None:
        """Take no room, and hold no numbers."""
        self.hide()
        self.view.figure = {}


def _legend(traces: list[Spec]) -> str:
    """The named traces with a mark of their colour and shape."""
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
