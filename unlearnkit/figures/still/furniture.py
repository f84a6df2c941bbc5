"""What surrounds the traces of a still picture: shapes, annotations, legends and colour bars."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unlearnkit.figures.still.axes import WIDE, Axis
from unlearnkit.figures.still.canvas import QUIET, Canvas, ellipse, polyline, short
from unlearnkit.figures.still.colors import INK, SEQUENTIAL, color_at, limits, scale_of
from unlearnkit.figures.still.frame import Area
from unlearnkit.figures.still.lines import mode_of
from unlearnkit.figures.still.markers import mark
from unlearnkit.figures.still.values import (
    Spec,
    lines_of,
    listed,
    number,
    text_of,
    written,
)

Entry = tuple[Spec, str, str]  # trace, colour, name


def _pixel(
    value: Any,
    reference: str,
    axes: dict[str, Axis],
    area: Area,
    upright: bool,
    *,
    log: bool = False,
) -> float:
    """Return the pixel of a coordinate of a shape or an annotation.

    Args:
        value: the coordinate.
        reference: the axis, ``"paper"``, or an axis with ``" domain"``.
        axes: all axes.
        area: left, top, right and bottom of all axes.
        upright: whether it is a y coordinate.
        log: whether coordinates on a log axis are logarithms, as those of annotations are.
    """
    left, top, right, bottom = area
    name, _, domain = reference.partition(" ")
    if name == "paper" or name not in axes:
        return (
            bottom - number(value) * (bottom - top)
            if upright
            else left + number(value) * (right - left)
        )
    axis = axes[name]
    if domain:
        return axis.start + number(value) * (axis.end - axis.start)
    if log and axis.kind == "log":
        return axis.at(number(value))
    return axis.pixel(value)


def shapes(canvas: Canvas, layout: Spec, axes: dict[str, Axis], area: Area, *, below: bool) -> None:
    """Draw the shapes below or above the traces, with their labels."""
    for shape in listed(layout.get("shapes")):
        if (shape.get("layer") == "below") is not below:
            continue
        refs = {"x": shape.get("xref", "x"), "y": shape.get("yref", "y")}
        ends = []
        for letter, upright in (("x", False), ("y", True)):
            if shape.get(f"{letter}sizemode") == "pixel":
                anchor = _pixel(shape.get(f"{letter}anchor"), refs[letter], axes, area, upright)
                sign = -1 if upright else 1
                ends.append([anchor + sign * shape[f"{letter}{i}"] for i in (0, 1)])
            else:
                ends.append(
                    [
                        _pixel(shape.get(f"{letter}{i}", i), refs[letter], axes, area, upright)
                        for i in (0, 1)
                    ]
                )
        (x0, x1), (y0, y1) = ends
        if not all(map(math.isfinite, (x0, x1, y0, y1))):
            continue
        line = shape.get("line") or {}
        ink = line.get("color", INK) if line.get("width", 2) else None
        if shape.get("type") == "rect":
            canvas.rect(
                x0,
                y0,
                x1 - x0,
                y1 - y0,
                fill=shape.get("fillcolor"),
                line=line.get("width", 2),
                dash=line.get("dash", ""),
                opacity=shape.get("opacity") or 1,
                color=ink,
            )
        elif shape.get("type") == "circle":
            a, b = abs(x1 - x0) / 2, abs(y1 - y0) / 2
            path = f"M{short(min(x0, x1))} {short((y0 + y1) / 2)}{ellipse(a, b)}"
            canvas.path(path, fill=shape.get("fillcolor"), width=line.get("width", 2), color=ink)
        elif shape.get("type") == "line":
            canvas.path(
                polyline([(x0, y0), (x1, y1)]),
                width=line.get("width", 2),
                dash=line.get("dash", ""),
                opacity=shape.get("opacity") or 1,
                color=ink,
            )
        _shape_label(canvas, shape, (x0, x1), (y0, y1))


def _shape_label(
    canvas: Canvas, shape: Spec, xs: tuple[float, float], ys: tuple[float, float]
) -> None:
    label = shape.get("label") or {}
    text = text_of(label.get("text"))
    if not text:
        return
    place = str(label.get("textposition") or "middle")
    left, right, top = min(xs), max(xs), min(ys)
    end = "end" in place or "right" in place or label.get("xanchor") == "right"
    x = right - 4 if end else left + 4 if place != "middle" else (left + right) / 2
    anchor = (
        "end"
        if end
        else "start"
        if place != "middle" or label.get("xanchor") == "left"
        else "middle"
    )
    y = top + 14 if label.get("yanchor") == "top" or shape.get("type") == "rect" else top - 5
    canvas.text(
        x, y, text, size=11, anchor=anchor, color=QUIET if shape.get("type") == "rect" else INK
    )


def annotations(canvas: Canvas, layout: Spec, axes: dict[str, Axis], area: Area) -> None:
    """Write the annotations, with the lines of their arrows."""
    for note in listed(layout.get("annotations")):
        text = text_of(note.get("text"))
        if not text or note.get("visible") is False:
            continue
        x = _pixel(note.get("x"), note.get("xref", "x"), axes, area, False, log=True)
        y = _pixel(note.get("y"), note.get("yref", "y"), axes, area, True, log=True)
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        shown = note.get("showarrow", True)
        ax, ay = (float(note.get("ax", -10)), float(note.get("ay", -30))) if shown else (0.0, 0.0)
        x, y = x + float(note.get("xshift") or 0), y - float(note.get("yshift") or 0)
        if shown:
            canvas.path(polyline([(x, y), (x + ax, y + ay)]), color=QUIET)
        x, y = x + ax, y + ay
        anchor = {"left": "start", "right": "end"}.get(note.get("xanchor", ""), "middle")
        lines = lines_of(text)
        wide, tall = WIDE * max(map(len, lines)) + 6, 15 * len(lines) + 2
        up = {"bottom": -tall / 2, "top": tall / 2}.get(note.get("yanchor", ""), 0.0)
        if note.get("bgcolor"):
            start = {"start": x - 3, "end": x - wide + 3}.get(anchor, x - wide / 2)
            canvas.rect(start, y + up - tall / 2, wide, tall, fill=note["bgcolor"])
        canvas.text(x, y + up, text, anchor=anchor, middle=True)


def legend_rows(
    traces: Sequence[tuple[Spec, str]], layout: Spec, width: float
) -> list[list[tuple[float, Entry]]]:
    """Return the entries of the legend in rows that fit, each with its place."""
    if layout.get("showlegend") is False:
        return []
    names: dict[str, Entry] = {}
    for trace, color in traces:
        name = trace.get("name")
        kind = trace.get("type", "scatter")
        shown = trace.get("showlegend", kind != "heatmap")
        if name and shown:
            names.setdefault(str(name), (trace, color, " ".join(lines_of(str(name)))))
    if len(names) < 2 and layout.get("showlegend") is not True:
        return []
    rows: list[list[tuple[float, Entry]]] = [[]]
    place = 0.0
    for entry in names.values():
        wide = 30 + WIDE * len(entry[2]) + 14
        if place and place + wide > width:
            rows.append([])
            place = 0.0
        rows[-1].append((place, entry))
        place += wide
    return rows if names else []


def legends(
    canvas: Canvas, rows: Sequence[Sequence[tuple[float, Entry]]], left: float, top: float
) -> None:
    """Draw the legend above the axes."""
    for number_of_row, row in enumerate(rows):
        y = top + 19 * number_of_row
        for place, (trace, color, name) in row:
            x = left + place
            _swatch(canvas, trace, color, x, y)
            canvas.text(x + 28, y, name, middle=True)


def _swatch(canvas: Canvas, trace: Spec, color: str, x: float, y: float) -> None:
    kind = trace.get("type", "scatter")
    marker, line = trace.get("marker") or {}, trace.get("line") or {}
    if kind == "heatmap":
        canvas.rect(x + 6, y - 6, 12, 12, fill=listed(trace.get("colorscale"))[0][1])
    elif kind in ("bar", "box"):
        canvas.rect(x + 6, y - 6, 12, 12, fill=color)
    else:
        mode = mode_of(trace)
        if "lines" in mode:
            canvas.path(
                polyline([(x, y), (x + 24, y)]),
                color=color,
                width=line.get("width") or 2,
                dash=line.get("dash") or "",
            )
        if "markers" in mode:
            symbol = marker.get("symbol")
            edge = marker.get("line") if isinstance(marker.get("line"), dict) else {}
            mark(
                canvas,
                symbol if isinstance(symbol, str) else "circle",
                8,
                color,
                [(x + 12, y)],
                edge or {},
            )


@dataclass(frozen=True)
class ColorBar:
    """The scale of a colour, at the right of a picture."""

    title: str
    scale: list[tuple[float, tuple[float, float, float]]]
    low: float
    high: float
    form: str | None

    def draw(self, canvas: Canvas, x: float, top: float, height: float, place: int) -> None:
        """Draw the scale with its ends and its middle."""
        start = top + place * height + (18 if self.title else 6)
        tall = height - 34
        canvas.text(x, start - 6, self.title, size=11)
        for step in range(24):
            share = 1 - step / 23
            canvas.rect(
                x, start + tall * step / 24, 12, tall / 24 + 0.6, fill=color_at(self.scale, share)
            )
        for share in (0.0, 0.5, 1.0):
            value = self.low + share * (self.high - self.low)
            canvas.text(
                x + 17,
                start + tall * (1 - share),
                written(value, self.form or ".3~g"),
                size=11,
                middle=True,
            )


def color_bars(traces: Sequence[Spec], layout: Spec) -> list[ColorBar]:
    """Return the scales that a figure shows, each once."""
    found: list[ColorBar] = []
    drawn: set[str] = set()
    for trace in traces:
        marker = trace.get("marker") or {}
        source = trace if trace.get("type") == "heatmap" else marker
        shared = layout.get(source.get("coloraxis") or "") or {}
        axis = {**source, **shared}
        name = str(source.get("coloraxis") or "")
        if axis.get("showscale") is False or name in drawn:
            continue
        drawn |= {name} - {""}
        if trace.get("type") == "heatmap":
            values = [number(z) for row in listed(trace.get("z")) for z in listed(row)]
        elif isinstance(marker.get("color"), str | None):
            continue
        else:
            values = [number(value) for value in listed(marker.get("color"))]
            if not axis.get("colorscale"):
                continue
        low, high = limits(
            {"zmin": axis.get("cmin"), "zmax": axis.get("cmax")}
            | {k: axis[k] for k in ("zmin", "zmax") if axis.get(k) is not None},
            [v for v in values if v == v],
        )
        bar = axis.get("colorbar") or {}
        made = ColorBar(
            text_of(bar.get("title")),
            scale_of(axis.get("colorscale") or SEQUENTIAL),
            low,
            high,
            bar.get("tickformat"),
        )
        if made not in found:
            found.append(made)
    return found
