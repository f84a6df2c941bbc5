"""What all figures share: colours, words for numbers, and how a figure shows itself."""

import copy
import functools
import html
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, ParamSpec

import plotly.graph_objects as go

P = ParamSpec("P")
Spec = dict[str, Any]  # a figure as plotly's JSON: "data" and "layout"

# The colour-blind-safe palette of Okabe and Ito (2008); greys lie between light and dark pages.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
SKY, VERMILLION = "#56B4E9", "#D55E00"
DIVERGING = [[0, BLUE], [0.5, "#d9d9d9"], [1, VERMILLION]]  # 0 in the middle
GREY, FAINT = "#8a8a8a", "rgba(128,128,128,0.24)"
MODEL_COLORS = {"original": GREY, "unlearned": ORANGE, "scratch": GREEN}
MODEL_NAMES = {"original": "original", "unlearned": "unlearned", "scratch": "from scratch"}

PLOTLY = "application/vnd.plotly.v1+json"
MOST_ROWS = 40  # of the table that stands for a figure where no script runs
# An output does not learn the page's theme, so its ink is readable on white and on black.
_INK, _GRID = "#767676", "rgba(128,128,128,0.25)"


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage.

    >>> percent(0.196), percent(0.25), percent(1.0), percent(0.0004)
    ('19.6%', '25%', '100%', 'under 0.1%')
    """
    if 0 < share < 0.5 * 10.0 ** -(digits + 2):
        return f"under {10.0**-digits:g}%"
    return f"{share:.{digits}%}".replace("." + "0" * digits + "%", "%")


def duration(seconds: float) -> str:
    """Seconds in words, to two digits.

    >>> duration(0.034), duration(1.66), duration(48.2), duration(130)
    ('0.034 s', '1.7 s', '48 s', '2 min 10 s')
    """
    if seconds >= 59.5:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s"
    if seconds >= 10:
        return f"{seconds:.0f} s"
    return f"{max(seconds, 0):.2g} s"


def axis(title: str, **more: Any) -> Spec:
    """An axis with a title."""
    return {"title": {"text": title}, **more}


def layout(title: str, height: int, **more: Any) -> Spec:
    """A layout with a title above a horizontal legend, the same in every figure."""
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
    """A logarithmic x axis with a place for 0 apart at its left end, in a band of its own.

    Args:
        title: of the axis.
        values: 0 or more; what the axis has to reach. nan is left out.
        zero: the tick where the zeros stand.

    Returns:
        The axis, where a 0 stands on it, and the band behind the zeros (none without any).
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
    """A y axis of named rows, the first on top."""
    return {
        "tickvals": list(range(len(names))),
        "ticktext": list(names),
        "range": [len(names) - 0.5, -0.5],
        "zeroline": False,
        "showgrid": False,
    }


def rules(rows: int) -> list[Spec]:
    """Faint lines between so many rows."""
    line = {"color": "rgba(128,128,128,0.25)", "width": 1}
    place = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "line": line}
    return [{**place, "y0": row - 0.5, "y1": row - 0.5} for row in range(1, rows)]


def shades(count: int) -> list[str]:
    """Colours for so many lines of one kind: the palette while it lasts, then a ramp.

    >>> shades(2), len(set(shades(20)))
    (['#0072B2', '#E69F00'], 20)
    """
    palette = [BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, GREY]
    if count <= len(palette):
        return palette[:count]
    return [f"hsl({200 + 200 * i / count:.0f},60%,{42 + 22 * (i % 2)}%)" for i in range(count)]


class Figure(go.Figure):  # type: ignore[misc]
    """A plotly figure that shows itself in notebooks, and as a table where no script runs.

    JupyterLab and Notebook 7 draw it with the renderer that plotly installs, VS Code with its own;
    none of them asks a CDN. Exported HTML and previews on the web show its numbers. A page of its
    own, script included (4.8 MB): ``figure.write_html("figure.html")``.
    """

    # Plotly's own would win over the bundle, and has no fallback.
    _ipython_display_ = None

    def _repr_mimebundle_(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        figure = copy.deepcopy(self.to_plotly_json())
        layout = figure["layout"]
        layout["template"] = _page_template()
        layout["autosize"] = True
        # Plotly offers a button that sends the data to its server: not here.
        figure["config"] = {
            "displaylogo": False,
            "plotlyServerURL": "",
            "modeBarButtonsToRemove": ["sendChartToCloud", "lasso2d", "select2d"],
        }
        return {PLOTLY: figure, "text/html": as_table(self), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"Figure({self.layout.title.text!r})"


class Drawing(Generic[P]):
    """A function from a result to a figure.

    Attributes:
        spec: the same as plain JSON, which skips plotly's validation (5 ms): for what moves.
    """

    def __init__(self, build: Callable[P, Spec]) -> None:
        functools.update_wrapper(self, build)
        self.spec = build

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Figure:
        """Draw."""
        return Figure(self.spec(*args, **kwargs))


def as_table(figure: go.Figure) -> str:
    """The numbers of a figure as an HTML table, at most 40 rows of them."""
    layout = figure.layout
    rows = list(_rows(figure.data))
    heads = ("", layout.xaxis.title.text or "x", layout.yaxis.title.text or "y", "")
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_word(value))}</td>" for value in row) + "</tr>"
        for row in rows[:MOST_ROWS]
    )
    head = "".join(f"<th>{html.escape(_bare(text))}</th>" for text in heads)
    more = f"<p>and {len(rows) - MOST_ROWS} more</p>" if len(rows) > MOST_ROWS else ""
    return (
        f"<p><b>{html.escape(_bare(layout.title.text or 'Figure'))}</b> (a figure: drawn where "
        f"the notebook is open in Jupyter; here are its numbers)</p>"
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


def _word(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return "" if value is None else _bare(str(value))


def _bare(text: str) -> str:
    return text.replace("<br>", " ").replace("<b>", "").replace("</b>", "")


def _page_template() -> Spec:
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
