"""Draw the report's figures from its committed rows: the frontier, kinds of request, error bounds.

    make bench NAME=drawings

Each figure is a small SVG file in ``figures/``, drawn by plotly in a headless Chromium
(``$UNLEARNKIT_CHROMIUM``, or that of ``.ci/system.sh``). A figure whose table has no committed rows
yet is left as it is.
"""

import math
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import frontier as cells
import pandas as pd
import plotly.graph_objects as go
import report
from judging import ADAPTIVE, ANOTHER, GAPS, NOTHING
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from unlearnkit.figures.drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION

FOLDER = Path(__file__).resolve().parent / "figures"
MOST_BYTES = 60_000
INK, GRID = "#333333", "#dddddd"
REPLAY, APPROXIMATE, EXACT = "replay without a correction", "all approximate", "always exact"
COLORS = {
    NOTHING: GREY,
    ANOTHER: PURPLE,
    ADAPTIVE: BLUE,
    f"{ADAPTIVE}, spot check": SKY,
    APPROXIMATE: ORANGE,
    REPLAY: VERMILLION,
    EXACT: GREEN,
}
SYMBOLS = {ADAPTIVE: "circle-open", APPROXIMATE: "diamond", REPLAY: "x", EXACT: "square"}
DASHES = {NOTHING: "dash", ANOTHER: "dot", EXACT: "solid"}


def frontier(rows: list[report.Row]) -> go.Figure:
    """Draw accuracy, both divergences and speed over the learning rate."""
    frame = left_of(pd.DataFrame(rows))
    frame["rate"] = frame.cell.str.extract(r"rate ([^,]+)", expand=False).astype(float)
    default = float(f"{cells.session_of(cells.SWEPT).spec.learning_rate:.2g}")
    titles = ("test accuracy", "speed over always exact", "test KL", "forget-side KL")
    figure = make_subplots(
        2, 2, subplot_titles=titles, horizontal_spacing=0.1, vertical_spacing=0.16
    )
    trained = frame.groupby("rate").first()
    add(figure, 1, 1, "accuracy", trained.index, trained.accuracy, INK, shown=False)
    for method in (APPROXIMATE, REPLAY, ADAPTIVE):
        some = frame[frame.method == method].sort_values("rate")
        color = COLORS[method]
        add(figure, 1, 2, method, some.rate, some.speed, color, SYMBOLS[method])
        for column, gap in enumerate(GAPS[:2], 1):
            values = some[f"{gap}, left"]
            add(figure, 2, column, method, some.rate, values, color, SYMBOLS[method], shown=False)
    rates = trained.index
    add(figure, 1, 2, EXACT, rates, [1.0] * len(rates), GREEN, None, "solid")
    for column, gap in enumerate(GAPS[:2], 1):
        nothing = trained[f"{gap}, {NOTHING}"]
        add(figure, 2, column, NOTHING, rates, nothing, GREY, None, "dash", column == 1)
        other = frame[frame.method == ANOTHER].sort_values("rate")
        if len(other):
            values = other[f"{gap}, left"]
            add(figure, 2, column, ANOTHER, other.rate, values, PURPLE, None, "dot", column == 1)
    figure.update_xaxes(type="log", tickvals=rates, ticktext=[f"{rate:g}" for rate in rates])
    figure.update_xaxes(title={"text": "learning rate", "font": {"size": 13}}, row=2)
    figure.update_yaxes(rangemode="tozero", row=1)
    figure.update_yaxes(type="log", dtick=1, exponentformat="e", row=2)
    figure.add_vline(default, line={"color": GRID, "width": 6}, layer="below")
    notes = "wide grey line: the default rate; always exact leaves a divergence of 0"
    return styled(figure, "A perceptron on 10,000 images, a tenth revoked", notes, 620)


def kinds(rows: list[report.Row]) -> go.Figure:
    """Draw three distances from the retrained model, by kind of request."""
    frame = left_of(pd.DataFrame(rows))
    names = list(dict.fromkeys(frame.request))
    titles = ("test KL", "forget-side KL", "MIA gap")
    figure = make_subplots(1, 3, subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.03)
    for column, gap in enumerate(GAPS, 1):
        nothing = frame.groupby("request")[f"{gap}, {NOTHING}"].median()
        drawn = {NOTHING: nothing} | {
            method: frame[frame.method == method].groupby("request")[f"{gap}, left"].median()
            for method in (ANOTHER, APPROXIMATE, ADAPTIVE)
        }
        for method, values in drawn.items():
            known = [name for name in names if values.get(name, 0) > 0]
            figure.add_scatter(
                x=[values[name] for name in known],
                y=known,
                name=method,
                mode="markers",
                marker=thin_of(method) or marker_of(SYMBOLS.get(method), COLORS[method]),
                showlegend=column == 1,
                row=1,
                col=column,
            )
    figure.update_xaxes(type="log", dtick=2, tickangle=0, exponentformat="e")
    figure.update_yaxes(autorange="reversed")
    notes = "distance to the retrained model; no mark: exactly 0, where all was retrained"
    return styled(figure, "Distance from the retrained model, by kind of request", notes, 430)


def bounds(rows: list[report.Row]) -> go.Figure:
    """Draw how often the 95 % bounds held, by kind of request, with 95 % intervals."""
    figure = go.Figure()
    first = "held, "
    names = [key.removeprefix(first) for key in rows[0] if key.startswith(first)]
    step = 0.3
    for number, (row, color) in enumerate(zip(rows, (BLUE, ORANGE, GREEN), strict=False)):
        at, middle, below, above, texts = [], [], [], [], []
        for place, name in enumerate(names):
            held, cases = row[f"held, {name}"], row[f"cases, {name}"]
            if not cases:
                continue
            low, high = wilson(held, cases)
            at.append(place + step * (number - (len(rows) - 1) / 2))
            middle.append(held / cases)
            below.append(held / cases - low)
            above.append(high - held / cases)
            texts.append(f"{held} of {cases}")
        figure.add_scatter(
            x=middle,
            y=at,
            mode="markers",
            name=row["model"],
            marker={"color": color, "size": 9},
            error_x={"array": above, "arrayminus": below, "color": color, "thickness": 1.5},
        )
        for y, text in zip(at, texts, strict=True):
            font = {"size": 11, "color": INK}
            figure.add_annotation(
                x=1.02, y=y, text=text, showarrow=False, xanchor="left", font=font
            )
    figure.add_vline(0.95, line={"color": INK, "dash": "dash", "width": 1})
    without = {name: sum(row[f"no bound, {name}"] for row in rows) for name in names}
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=[f"{name}<br>({without[name]} without a bound)" for name in names],
        range=[len(names) - 0.5, -0.5],
    )
    figure.update_xaxes(
        tickformat=".0%", range=[0.4, 1.12], tickvals=[0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
    )
    notes = "dashed: the 95 % that was promised; bars: Wilson's 95 % intervals"
    return styled(figure, "Share of error bounds that held, by kind of request", notes, 430)


def left_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the distances that remain."""
    return frame.assign(
        **{f"{gap}, left": (1 - frame[gap]) * frame[f"{gap}, {NOTHING}"] for gap in GAPS}
    )


def add(
    figure: go.Figure,
    row: int,
    column: int,
    name: str,
    x: Any,
    y: Any,
    color: str,
    symbol: str | None = "circle",
    dash: str = "solid",
    shown: bool = True,
) -> None:
    """Draw a line, with markers if there is a symbol."""
    figure.add_scatter(
        x=list(x),
        y=list(y),
        name=name,
        legendgroup=name,
        showlegend=shown,
        mode="lines+markers" if symbol else "lines",
        line={"color": color, "dash": dash, "width": 2},
        marker=marker_of(symbol, color) if symbol else None,
        row=row,
        col=column,
    )


def thin_of(method: str) -> dict[str, Any] | None:
    """Return the marker of a null, which is a stroke; None for others."""
    symbol = {NOTHING: "line-ns", ANOTHER: "x-thin"}.get(method)
    color = COLORS[method]
    return symbol and {"symbol": symbol, "size": 11, "line": {"width": 3, "color": color}}


def marker_of(symbol: str | None, color: str) -> dict[str, Any]:
    """Return a marker; open ones are large, so that they show around others."""
    is_open = bool(symbol) and str(symbol).endswith("-open")
    size = 14 if is_open else 8
    return {"symbol": symbol, "size": size, "color": color, "line": {"width": 2 if is_open else 0}}


def styled(figure: go.Figure, title: str, notes: str, height: int) -> go.Figure:
    """Give a figure the title, legend and colours that all share."""
    figure.update_layout(
        template="none",
        width=860,
        height=height,
        title={
            "text": f"{title}<br><sub>{notes}</sub>",
            "x": 0.01,
            "y": 1,
            "yanchor": "top",
            "pad": {"t": 22},
            "font": {"size": 17},
        },
        font={"family": "DejaVu Sans, Verdana, Arial, sans-serif", "size": 13, "color": INK},
        paper_bgcolor="white",
        plot_bgcolor="white",
        legend={"orientation": "h", "yref": "container", "y": 0.01, "yanchor": "bottom", "x": 0},
        margin={"l": 60, "r": 24, "t": 92, "b": 92},
    )
    grid = {"gridcolor": GRID, "zeroline": False, "automargin": True, "ticks": ""}
    figure.update_xaxes(**grid)
    figure.update_yaxes(**grid)
    figure.update_annotations(font_color=INK)
    return figure


def wilson(held: int, cases: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share.

    >>> [round(bound, 3) for bound in wilson(10, 10)]
    [0.722, 1.0]
    """
    z = 1.959964
    share, squared = held / cases, z * z / cases
    middle = (share + squared / 2) / (1 + squared)
    half = z * math.sqrt(share * (1 - share) / cases + squared / (4 * cases)) / (1 + squared)
    return max(0.0, middle - half), min(1.0, middle + half)


FIGURES: dict[str, tuple[str, Callable[[list[report.Row]], go.Figure]]] = {
    "frontier": ("frontier rates", frontier),
    "kinds": ("kinds", kinds),
    "bounds": ("bounds", bounds),
}


def find_chromium() -> str | None:
    """Return the path of a Chromium, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("UNLEARNKIT_CHROMIUM") or next(
        filter(None, map(shutil.which, names)), None
    )


def as_svg(figures: dict[str, go.Figure], chromium: str) -> dict[str, str]:
    """Draw figures in a headless Chromium, and return their SVG text."""
    from playwright.sync_api import sync_playwright

    drawn = {}
    with sync_playwright() as playwright:
        flags = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page()
        page.set_content("<html><body></body></html>")
        page.add_script_tag(content=get_plotlyjs())
        for name, figure in figures.items():
            size = {"format": "svg", "width": figure.layout.width, "height": figure.layout.height}
            url = page.evaluate(
                "([figure, size]) => Plotly.toImage(JSON.parse(figure), size)",
                [figure.to_json(), size],
            )
            drawn[name] = stable(unquote(url.partition(",")[2]))
        browser.close()
    return drawn


def stable(text: str) -> str:
    """Return an SVG without the random names that plotly gives its parts, ended by a newline.

    >>> stable('<g class="clip1ab23cxy"/><g id="g3fa0b1-a" url="#g3fa0b1-a"/>').strip()
    '<g class="clip1ab23cxy"/><g id="g0-a" url="#g0-a"/>'
    """
    for number, name in enumerate(
        dict.fromkeys(re.findall(r'(?:id="[a-z]+| trace)([0-9a-f]{6})', text))
    ):
        text = text.replace(name, str(number))
    return text.strip() + "\n"


def main() -> None:
    """Draw and write."""
    chromium = find_chromium()
    if chromium is None:
        raise SystemExit("no Chromium: apt-get install chromium, or set UNLEARNKIT_CHROMIUM")
    known = {name: report.rows_of(table) for name, (table, _) in FIGURES.items()}
    for name, rows in known.items():
        if not rows:
            print(f"{name}: no rows are committed for the table {FIGURES[name][0]!r}")
    drawn = as_svg({n: FIGURES[n][1](rows) for n, rows in known.items() if rows}, chromium)
    FOLDER.mkdir(exist_ok=True)
    for name, text in drawn.items():
        if len(text.encode()) > MOST_BYTES:
            sys.exit(f"{name} has {len(text.encode()):,} bytes, more than {MOST_BYTES:,}")
        (FOLDER / f"{name}.svg").write_text(text)
        print(f"{FOLDER / name}.svg: {len(text.encode()):,} bytes")


if __name__ == "__main__":
    main()
