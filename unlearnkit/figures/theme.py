"""How notebooks show figures: one look for all of them, and a still picture beside each.

The figures of this package have it by themselves. :func:`set_theme` gives it to all other figures
of plotly in a notebook, such as those of ``plotly.express``.
"""

import html
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio
from plotly.io.base_renderers import MimetypeRenderer

from unlearnkit.figures.palette import PALETTE
from unlearnkit.figures.still import as_image
from unlearnkit.figures.still.canvas import GRID, PAPER
from unlearnkit.figures.still.colors import INK
from unlearnkit.figures.still.values import Spec, listed, number, plain, text_of

NAME = "unlearnkit"
PLOTLY = "application/vnd.plotly.v1+json"
MOST_ROWS = 40  # rows of the table below a still picture
# Plotly's button that would send the data to its server is removed.
CONFIG: Spec = {
    "displaylogo": False,
    "plotlyServerURL": "",
    "modeBarButtonsToRemove": ["sendChartToCloud", "lasso2d", "select2d"],
}


def set_theme() -> None:
    """Give all plotly figures of this process the look of unlearnkit's, and a still picture each.

    Call it once at the beginning of a notebook that draws with ``plotly.express``. Figures then
    have the same colours, which colour-blind people can tell apart, and the saved notebook keeps a
    picture of each beside the interactive one, which shows where no script runs: in previews on
    the web, in exported HTML, and in notebooks that are not trusted.

    It sets plotly's default template and renderer. To return to plotly's own, set
    ``plotly.io.templates.default`` and ``plotly.io.renderers.default``.

    >>> set_theme()
    >>> pio.templates.default, pio.renderers.default
    ('unlearnkit', 'unlearnkit')
    >>> pio.templates.default, pio.renderers.default = "plotly", "plotly_mimetype"
    """
    pio.templates[NAME] = go.layout.Template(template())
    pio.renderers[NAME] = _Renderer()
    pio.templates.default = NAME
    pio.renderers.default = NAME


def template() -> Spec:
    """Return the look of all figures as a plotly template: dark ink on white."""
    axis = {
        "gridcolor": GRID,
        "linecolor": GRID,
        "zerolinecolor": "#bdbdbd",
        "zerolinewidth": 1,
        "automargin": True,
    }
    bar = {"outlinewidth": 0, "thickness": 14}
    return {
        "data": {
            "heatmap": [{"type": "heatmap", "colorbar": bar}],
            "bar": [{"type": "bar", "marker": {"line": {"width": 0}}}],
        },
        "layout": {
            # A figure does not know the theme of the page, so it brings its own ground.
            "paper_bgcolor": PAPER,
            "plot_bgcolor": PAPER,
            "colorway": list(PALETTE),
            "font": {"color": INK, "size": 12, "family": "system-ui, sans-serif"},
            "title": {"x": 0, "xref": "paper", "xanchor": "left", "font": {"size": 15}},
            "xaxis": axis,
            "yaxis": axis,
            "coloraxis": {"colorbar": bar},
            "legend": {"bgcolor": "rgba(0,0,0,0)"},
            "hoverlabel": {"bgcolor": PAPER, "font": {"color": INK}},
        },
    }


def bundle(figure: Spec) -> Spec:
    """Return the forms in which a notebook keeps a figure: interactive, and a still picture.

    Args:
        figure: a figure as plotly JSON.
    """
    interactive = {
        "data": figure.get("data", []),
        "layout": {**figure.get("layout", {}), "autosize": True},
        "config": CONFIG,
    }
    shown = json.loads(pio.json.to_json_plotly(interactive))
    return {PLOTLY: shown, "text/html": as_html(figure)}


def as_html(figure: Spec) -> str:
    """Return a still picture of a figure with its numbers folded below it, or only the numbers."""
    image = as_image(figure)
    numbers = as_table(figure)
    if image is None:
        return numbers
    fold = f"<details><summary>Its numbers</summary>{numbers}</details>"
    return f"<figure>{image}{fold}</figure>"


def as_table(figure: Spec) -> str:
    """Return the numbers of a figure as an HTML table of at most ``MOST_ROWS`` rows."""
    layout = figure.get("layout") or {}
    rows = list(_rows(figure.get("data", [])))
    titles = (text_of((layout.get(f"{letter}axis") or {}).get("title")) for letter in "xy")
    heads = ("", *(title or letter for title, letter in zip(titles, "xy", strict=True)), "")
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_cell_text(value))}</td>" for value in row) + "</tr>"
        for row in rows[:MOST_ROWS]
    )
    head = "".join(f"<th>{html.escape(plain(text))}</th>" for text in heads)
    more = f"<p>and {len(rows) - MOST_ROWS} more</p>" if len(rows) > MOST_ROWS else ""
    name = plain(text_of(layout.get("title"))) or "Figure"
    return (
        f"<p><b>{html.escape(name)}</b></p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"
    )


def _rows(traces: Sequence[Any]) -> Iterator[tuple[Any, Any, Any, Any]]:
    for trace in traces:
        name, xs, ys = trace.get("name"), listed(trace.get("x")), listed(trace.get("y"))
        if trace.get("type") == "heatmap":
            cells = [listed(row) for row in listed(trace.get("z"))]
            words = [listed(row) for row in listed(trace.get("customdata"))] or cells
            xs, ys = xs or list(range(len(cells[0]) if cells else 0)), ys or list(range(len(cells)))
            for y, values, texts in zip(ys, cells, words, strict=False):
                for x, value, text in zip(xs, values, texts, strict=False):
                    if value is not None:
                        yield name, x, y, text
        else:
            for x, y in zip(xs, ys, strict=False):
                if x is not None and y is not None:
                    yield name, x, y, ""


def _cell_text(value: Any) -> str:
    found = number(value)
    if isinstance(value, float):
        return "" if math.isnan(found) else f"{value:.4g}"
    return "" if value is None else plain(value)


class _Renderer(MimetypeRenderer):  # type: ignore[misc]
    """Shows a figure of plotly's in a notebook, with a still picture beside it."""

    def to_mimebundle(self, fig_dict: Spec) -> Spec:
        """Return the forms in which the notebook keeps the figure."""
        return bundle(fig_dict)

    def activate(self) -> None:
        """Do nothing; the page draws with the renderer that plotly installs."""
