"""What all figures share: colours, axes, formatting of numbers, and the display in notebooks."""

import copy
import functools
import html
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, ParamSpec

import plotly.graph_objects as go

from unlearnkit.display import duration as duration
from unlearnkit.display import percent as percent

P = ParamSpec("P")
Spec = dict[str, Any]  # a figure as plotly JSON: "data" and "layout"

# The colour-blind-safe palette of Okabe and Ito (2008); the greys suit light and dark pages.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
SKY, VERMILLION = "#56B4E9", "#D55E00"
DIVERGING = [[0, BLUE], [0.5, "#d9d9d9"], [1, VERMILLION]]  # grey at 0
GREY, FAINT = "#8a8a8a", "rgba(128,128,128,0.24)"
MODEL_COLORS = {"original": GREY, "unlearned": ORANGE, "scratch": GREEN}
MODEL_NAMES = {"original": "original", "unlearned": "unlearned", "scratch": "retrained"}

PLOTLY = "application/vnd.plotly.v1+json"
MOST_ROWS = 40  # rows of the table that replaces a figure if no script runs
# A figure does not know the theme of the page, so its text is readable on white and on black.
_INK, _GRID = "#767676", "rgba(128,128,128,0.25)"


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
    palette = [BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, GREY]
    if count <= len(palette):
        return palette[:count]
    return [f"hsl({200 + 200 * i / count:.0f},60%,{42 + 22 * (i % 2)}%)" for i in range(count)]


class Figure(go.Figure):  # type: ignore[misc]
    """A plotly figure that notebooks display without a network connection.

    JupyterLab and Notebook 7 draw it with the renderer that plotly installs, VS Code with its own.
    Where no script runs, as in exported HTML and previews on the web, a table shows its numbers.
    ``figure.write_html("figure.html")`` writes a standalone page, including plotly's script.
    """

    # Plotly's method would take precedence over the bundle, and it has no fallback.
    _ipython_display_ = None

    def _repr_mimebundle_(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        figure = copy.deepcopy(self.to_plotly_json())
        layout = figure["layout"]
        layout["template"] = _template()
        layout["autosize"] = True
        # Plotly's button that would send the data to its server is removed.
        figure["config"] = {
            "displaylogo": False,
            "plotlyServerURL": "",
            "modeBarButtonsToRemove": ["sendChartToCloud", "lasso2d", "select2d"],
        }
        return {PLOTLY: figure, "text/html": as_table(self), "text/plain": repr(self)}

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


def as_table(figure: go.Figure) -> str:
    """Return the numbers of a figure as an HTML table of at most ``MOST_ROWS`` rows."""
    layout = figure.layout
    rows = list(_rows(figure.data))
    heads = ("", layout.xaxis.title.text or "x", layout.yaxis.title.text or "y", "")
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_cell_text(value))}</td>" for value in row) + "</tr>"
        for row in rows[:MOST_ROWS]
    )
    head = "".join(f"<th>{html.escape(_without_tags(text))}</th>" for text in heads)
    more = f"<p>and {len(rows) - MOST_ROWS} more</p>" if len(rows) > MOST_ROWS else ""
    return (
        f"<p><b>{html.escape(_without_tags(layout.title.text or 'Figure'))}</b> (open the notebook "
        f"in Jupyter to see the figure; these are its numbers)</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"
    )


def _rows(traces: Sequence[Any]) -> Iterator[tuple[Any, Any, Any, Any]]:
    for trace in traces:
        if trace.type == "heatmap":
            texts = trace.customdata if trace.customdata is not None else trace.z
            for y, values, words in zip(trace.y, trace.z, texts, strict=True):
                for x, value, word in zip(trace.x, values, words, strict=True):
                    if value is not None:
                        yield trace.name, x, y, word
        elif trace.x is not None and trace.y is not None:
            for x, y in zip(trace.x, trace.y, strict=True):
                if x is not None and y is not None:
                    yield trace.name, x, y, ""


def _cell_text(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return "" if value is None else _without_tags(str(value))


def _without_tags(text: str) -> str:
    return text.replace("<br>", " ").replace("<b>", "").replace("</b>", "")


def _template() -> Spec:
    clear = "rgba(0,0,0,0)"
    lines = {"gridcolor": _GRID, "linecolor": _GRID, "zerolinecolor": _GRID, "automargin": True}
    return {
        "layout": {
            "paper_bgcolor": clear,
            "plot_bgcolor": clear,
            "font": {"color": _INK, "size": 12, "family": "system-ui, sans-serif"},
            "title": {"x": 0, "xref": "paper", "xanchor": "left", "font": {"size": 15}},
            "xaxis": lines,
            "yaxis": lines,
            "legend": {"bgcolor": clear},
        }
    }
