"""A still picture of a figure: margins, axes, traces, legend and title."""

import base64
import html
from collections.abc import Sequence

from unlearnkit.figures.still.axes import WIDE, Axis
from unlearnkit.figures.still.bars import bars, box
from unlearnkit.figures.still.canvas import GRID, Canvas, polyline
from unlearnkit.figures.still.cells import heatmap
from unlearnkit.figures.still.colors import limits
from unlearnkit.figures.still.frame import Area, axes_of, fit_axes, pair_of
from unlearnkit.figures.still.furniture import annotations, color_bars, legend_rows, legends, shapes
from unlearnkit.figures.still.lines import color_of, scatter
from unlearnkit.figures.still.values import Spec, UnknownPartError, listed, number, plain, text_of
from unlearnkit.figures.still.words import describe

KINDS = ("scatter", "scattergl", "bar", "box", "heatmap")
WIDTH, HEIGHT = 760, 450
MOST_BYTES = 60_000  # a larger picture would make notebooks large, so there is none
TITLE, ROW = 15, 19  # pixels of the title's font and of a row of the legend


def as_image(figure: Spec, description: str = "") -> str | None:
    """Return an ``<img>`` element with a still picture, which describes itself in its ``alt``.

    Args:
        figure: a figure as plotly JSON.
        description: the alternative text; by default the figure is described.

    Returns:
        The element; None for figures that cannot be drawn, such as pie charts, and for pictures of
        more than ``MOST_BYTES`` bytes.
    """
    try:
        drawn = picture(figure)
    # Plotly takes more than is drawn here, and no figure may fail to show for that.
    except Exception:
        return None
    data = base64.b64encode(drawn.encode()).decode()
    if len(data) > MOST_BYTES:
        return None
    words = html.escape(description or describe(figure), quote=True)
    return f'<img alt="{words}" src="data:image/svg+xml;base64,{data}" style="max-width: 100%">'


def picture(figure: Spec) -> str:
    """Return a figure as SVG, in dark ink on white.

    Args:
        figure: a figure as plotly JSON.

    Raises:
        UnknownPartError: a trace or an axis is of a kind that is not drawn.

    >>> svg = picture({"data": [{"type": "bar", "x": ["a", "b"], "y": [1, 2]}], "layout": {}})
    >>> svg.startswith("<svg "), "<script" in svg
    (True, False)
    """
    layout = dict(figure.get("layout") or {})
    traces = [trace for trace in figure.get("data", []) if trace.get("visible", True) is True]
    _check_kinds(traces)
    layout |= _shared_limits(traces, layout)
    colors = [color_of(trace, at) for at, trace in enumerate(traces)]
    width, height = int(layout.get("width") or WIDTH), int(layout.get("height") or HEIGHT)
    title = _wrapped(text_of(layout.get("title")), width - 20, 0.55 * TITLE)
    rows = legend_rows(list(zip(traces, colors, strict=True)), layout, width - 24)
    axes = axes_of(traces, layout)
    scales = color_bars(traces, layout)
    top = 8 + len(title) * 20 + len(rows) * ROW + 10 + _above(layout)
    # A wide margin holds what is written beside the axes, such as the names of lines.
    wide = int((layout.get("margin") or {}).get("r") or 0)
    right = width - max(16, 76 if scales else wide)
    area = fit_axes(axes, (0, top, right, height))
    canvas = Canvas()
    for row, line in enumerate(title):
        canvas.text(10, 24 + 20 * row, line, size=TITLE)
    legends(canvas, rows, 10, 8 + len(title) * 20 + 14)
    pairs = _pairs(traces)
    for x, y in pairs:
        _grid(canvas, axes[x], axes[y])
    shapes(canvas, layout, axes, area, below=True)
    for x, y in pairs:
        _draw(
            canvas,
            [(t, c) for t, c in zip(traces, colors, strict=True) if pair_of(t) == (x, y)],
            axes[x],
            axes[y],
            layout,
        )
    shapes(canvas, layout, axes, area, below=False)
    for name, axis in axes.items():
        _label(canvas, name, axis, axes, area)
    annotations(canvas, layout, axes, area)
    for place, bar in enumerate(scales):
        bar.draw(canvas, right + 14, top, min(220, area[3] - top) / len(scales), place)
    return canvas.picture(width, height)


def _shared_limits(traces: Sequence[Spec], layout: Spec) -> Spec:
    """Return the colour axes of a layout with the ends that all their traces have together."""
    found: Spec = {}
    for name, axis in layout.items():
        if name.startswith("coloraxis"):
            values = [
                number(value)
                for trace in traces
                if trace.get("coloraxis") == name
                for row in listed(trace.get("z"))
                for value in listed(row)
            ]
            values += [
                number(value)
                for trace in traces
                if (trace.get("marker") or {}).get("coloraxis") == name
                for value in listed(trace["marker"].get("color"))
            ]
            low, high = limits(axis, [value for value in values if value == value])
            found[name] = {**axis, "cmin": low, "cmax": high}
    return found


def _wrapped(text: str, width: float, wide: float) -> list[str]:
    """Return a title in lines that fit the width."""
    lines: list[str] = []
    for part in text.split("<br>") if text else []:
        line = ""
        for word in plain(part).split():
            if line and (len(line) + 1 + len(word)) * wide > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}".strip()
        lines.append(line)
    return lines


def _above(layout: Spec) -> float:
    """Return the room for annotations right above the axes, such as the titles of facets."""
    notes = listed(layout.get("annotations"))
    return (
        16
        if any(n.get("yref") == "paper" and n.get("y") == 1 and n.get("text") for n in notes)
        else 0
    )


def _pairs(traces: Sequence[Spec]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(map(pair_of, traces))) or [("x", "y")]


def _grid(canvas: Canvas, x: Axis, y: Axis) -> None:
    for axis, other in ((x, y), (y, x)):
        if axis.spec.get("showgrid") is False or axis.spec.get("visible") is False:
            continue
        path = ""
        for at, _ in axis.ticks():
            ends = [(axis.at(at), other.start), (axis.at(at), other.end)]
            path += polyline(ends if axis is x else [(b, a) for a, b in ends])
        canvas.path(path, color=GRID)
    for axis, other in ((x, y), (y, x)):
        zero = (
            axis.kind == "linear"
            and axis.spec.get("zeroline", True)
            and min(axis.low, axis.high) < 0 < max(axis.low, axis.high)
        )
        if zero and axis.spec.get("visible") is not False:
            ends = [(axis.at(0.0), other.start), (axis.at(0.0), other.end)]
            canvas.path(polyline(ends if axis is x else [(b, a) for a, b in ends]), color="#bdbdbd")


def _draw(
    canvas: Canvas, traces: Sequence[tuple[Spec, str]], x: Axis, y: Axis, layout: Spec
) -> None:
    axes = {name: part for name, part in layout.items() if name.startswith("coloraxis")}
    left, right = min(x.start, x.end), max(x.start, x.end)
    top, bottom = min(y.start, y.end), max(y.start, y.end)
    canvas.clip(left - 7, top - 7, right - left + 14, bottom - top + 14)
    found = [(trace, color) for trace, color in traces if trace.get("type") == "bar"]
    if found:
        bars(canvas, found, x, y, layout)
    for trace, color in traces:
        kind = trace.get("type", "scatter")
        if kind == "heatmap":
            heatmap(canvas, trace, x, y, axes)
        elif kind == "box":
            box(canvas, trace, x, y, color)
        elif kind.startswith("scatter"):
            scatter(canvas, trace, x, y, color, axes)
    canvas.end()


def _label(
    canvas: Canvas,
    name: str,
    axis: Axis,
    axes: dict[str, Axis],
    area: Area,
) -> None:
    """Write the tick labels and the title of an axis."""
    if axis.spec.get("visible") is False:
        return
    anchor = axes.get(str(axis.spec.get("anchor") or ("y" if name[0] == "x" else "x")))
    if name[0] == "x":
        base = max(anchor.start, anchor.end) if anchor else area[3]
        ticks = axis.thinned(axis.ticks())
        for at, text in ticks:
            canvas.text(axis.at(at), base + 16, text, anchor="middle")
        deep = max((text.count("<br>") + 1 for _, text in ticks), default=0)
        canvas.text((axis.start + axis.end) / 2, base + 18 + 15 * deep, axis.title, anchor="middle")
        return
    right = axis.spec.get("side") == "right"
    edge = min(anchor.start, anchor.end) if anchor else area[0]
    if right:
        edge = max(anchor.start, anchor.end) if anchor else area[2]
    wide = 0.0
    for at, text in axis.ticks():
        canvas.text(
            edge + (7 if right else -7),
            axis.at(at),
            text,
            anchor="start" if right else "end",
            middle=True,
        )
        wide = max(wide, WIDE * max(map(len, map(plain, text.split("<br>")))))
    if axis.title:
        place = edge + (wide + 20 if right else -min(wide, 240) - 20)
        canvas.text(place, (axis.start + axis.end) / 2, axis.title, anchor="middle", turned=True)


def _check_kinds(traces: Sequence[Spec]) -> None:
    """Refuse figures with traces of another kind.

    Raises:
        UnknownPartError: a trace is of a kind that is not drawn.
    """
    for trace in traces:
        if trace.get("type", "scatter") not in KINDS:
            raise UnknownPartError(f"a trace of type {trace['type']}")
