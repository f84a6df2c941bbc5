"""What all figures share: colours, axes, formatting of numbers, and the display in notebooks."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec

import plotly.graph_objects as go

from unlearnkit.display import duration, percent
from unlearnkit.figures.palette import (
    BLUE,
    DIVERGING,
    FAINT,
    GREEN,
    GREY,
    ORANGE,
    PALETTE,
    PURPLE,
    SKY,
    VERMILLION,
    styles,
)
from unlearnkit.figures.theme import PLOTLY, bundle, template

__all__ = [
    "BLUE",
    "DIVERGING",
    "FAINT",
    "GREEN",
    "GREY",
    "MODEL_COLORS",
    "MODEL_NAMES",
    "MODEL_SYMBOLS",
    "ORANGE",
    "PLOTLY",
    "PURPLE",
    "SKY",
    "VERMILLION",
    "Drawing",
    "Figure",
    "Spec",
    "axis",
    "duration",
    "layout",
    "line_colors",
    "log_axis",
    "percent",
    "row_axis",
    "row_lines",
    "share_axis",
    "styles",
]

P = ParamSpec("P")
Spec = dict[str, Any]  # a figure as plotly JSON: "data" and "layout"

MODEL_COLORS = {"original": GREY, "unlearned": ORANGE, "scratch": GREEN}
MODEL_NAMES = {"original": "original", "unlearned": "unlearned", "scratch": "retrained"}
MODEL_SYMBOLS = {"original": "circle-open", "unlearned": "circle", "scratch": "diamond"}


def axis(title: str, **more: Any) -> Spec:
    """Return an axis with a title."""
    return {"title": {"text": title}, **more}


def layout(title: str, height: int, **more: Any) -> Spec:
    """Return the layout that all figures share: a title above a horizontal legend."""
    return {
        "title": {"text": title, "y": 0.98, "yref": "container", "yanchor": "top"},
        "height": height,
        "margin": {"l": 52, "r": 16, "t": 64, "b": 44},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"},
        **more,
    }


def log_axis(
    title: str, values: Sequence[float], *, zero: str = "0"
) -> tuple[Spec, float, list[Spec]]:
    """Return a logarithmic x axis with a separate band for zeros at its left end.

    Args:
        title: title of the axis.
        values: non-negative values that the axis has to cover; nan is ignored.
        zero: label of the tick at the zeros.

    Returns:
        The axis, the x coordinate for zeros, and the band behind them (empty without zeros).
    """
    positive = [value for value in values if value > 0 and math.isfinite(value)]
    low = math.floor(math.log10(min(positive))) if positive else -3
    high = math.ceil(math.log10(max(positive)) + 1e-9) if positive else 0
    place = 10.0 ** (low - 0.5)
    ticks = list(range(low, high + 1, max(1, (high - low) // 6)))
    zeros = any(value == 0 for value in values)
    shown = axis(title, type="log") | {
        "range": [low - 0.9, high + 0.1],
        "tickvals": [*([place] if zeros else []), *(10.0**tick for tick in ticks)],
        "ticktext": [*([zero] if zeros else []), *(f"{10.0**tick:g}" for tick in ticks)],
    }
    band: Spec = {
        "type": "rect",
        "xref": "x",
        "yref": "paper",
        "x0": 10.0 ** (low - 0.8),
        "x1": 10.0 ** (low - 0.2),
        "y0": 0,
        "y1": 1,
        "layer": "below",
        "fillcolor": "rgba(0,114,178,0.13)",
        "line": {"width": 0},
    }
    return shown, place, [band] if zeros else []


def share_axis(title: str, low: float = 0.0, high: float = 1.0) -> Spec:
    """Return an axis of shares in percent, without ticks below 0 % or above 100 %.

    Args:
        title: title of the axis.
        low: lower end of the axis.
        high: upper end, which may exceed 1 to leave room for marks and their texts.

    >>> share_axis("accuracy", 0.9, 1.03)["ticktext"]
    ['90%', '92%', '94%', '96%', '98%', '100%']
    """
    span = min(high, 1.0) - max(low, 0.0)
    steps = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
    step = next((step for step in steps if span / step <= 5.01), 0.25)
    first, last = math.ceil(max(low, 0.0) / step - 1e-9), math.floor(min(high, 1.0) / step + 1e-9)
    ticks = [round(number * step, 6) for number in range(first, last + 1)]
    return axis(title, range=[low, high]) | {
        "tickformat": ".0%" if step >= 0.01 else ".1%",
        "tickvals": ticks,
        "ticktext": [percent(tick) for tick in ticks],
    }


def row_axis(names: Sequence[str]) -> Spec:
    """Return a y axis with named rows, the first on top."""
    return {
        "tickvals": list(range(len(names))),
        "ticktext": list(names),
        "range": [len(names) - 0.5, -0.5],
        "zeroline": False,
        "showgrid": False,
    }


def row_lines(rows: int) -> list[Spec]:
    """Return faint lines between this number of rows."""
    line = {"color": "rgba(128,128,128,0.25)", "width": 1}
    place = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "line": line}
    return [{**place, "y0": row - 0.5, "y1": row - 0.5} for row in range(1, rows)]


def line_colors(count: int) -> list[str]:
    """Return this number of distinct colours: the palette if it suffices, else a range of hues.

    >>> line_colors(2), len(set(line_colors(20)))
    (['#0072B2', '#E69F00'], 20)
    """
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    return [f"hsl({200 + 200 * i / count:.0f},60%,{42 + 22 * (i % 2)}%)" for i in range(count)]


class Figure(go.Figure):  # type: ignore[misc]
    """A plotly figure that notebooks display without a network connection.

    JupyterLab and Notebook 7 draw it with the renderer that plotly installs, VS Code with its own.
    Where no script runs, as in exported HTML and previews on the web, a still picture shows it.
    ``figure.write_html("figure.html")`` writes a standalone page, including plotly's script.
    """

    # Plotly's method would take precedence over the bundle, and it has no still picture.
    _ipython_display_ = None

    def _repr_mimebundle_(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        figure = self.to_plotly_json()
        layout = {**figure["layout"], "template": template()}
        return {**bundle({**figure, "layout": layout}), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"Figure({self.layout.title.text!r})"


class Drawing(Generic[P]):
    """A function that draws a figure of a result.

    Attributes:
        spec: the same function, returning plain JSON. It skips plotly's validation, which is too
            slow for figures that follow a slider.
    """

    def __init__(self, build: Callable[P, Spec]) -> None:
        functools.update_wrapper(self, build)
        self.spec = build

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Figure:
        """Draw the figure."""
        return Figure(self.spec(*args, **kwargs))
