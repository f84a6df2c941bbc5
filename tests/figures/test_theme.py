"""One look for all figures of a notebook, and a still picture beside each."""

import html
import json
import re
import subprocess
import sys

import nbformat
import plotly.express as px
import plotly.io as pio
import pytest
from nbclient import NotebookClient

from unlearnkit import figures
from unlearnkit.figures.theme import PLOTLY, as_html, bundle, template


@pytest.fixture
def themed():
    before = pio.templates.default, pio.renderers.default
    figures.set_theme()
    yield
    pio.templates.default, pio.renderers.default = before


def contrast(one, other):
    """Contrast of two colours (WCAG 2.2, 1.4.3)."""
    lights = []
    for color in (one, other):
        channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_text_is_readable_on_the_ground_that_figures_bring():
    look = template()["layout"]
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast(look["font"]["color"], look["paper_bgcolor"]) >= 4.5


def test_figures_of_plotly_express_get_the_palette_and_a_picture(themed):
    figure = px.scatter(x=[1, 2], y=[3, 4], color=["a", "b"], title="Two points")
    assert [trace.marker.color for trace in figure.data] == ["#0072B2", "#E69F00"]
    shown = pio.renderers["unlearnkit"].to_mimebundle(figure.to_dict())
    assert shown[PLOTLY]["config"]["plotlyServerURL"] == ""
    assert 'alt="Two points.' in shown["text/html"] and "data:image/svg+xml" in shown["text/html"]
    json.dumps(shown)


def test_without_a_picture_there_are_the_numbers():
    shown = as_html({"data": [{"type": "funnel", "x": [7], "y": ["a"]}], "layout": {}})
    assert "<img" not in shown and "<td>7</td>" in shown


def test_a_long_table_is_cut_and_says_so():
    trace = {"type": "bar", "name": "<img>", "x": list(range(99)), "y": [0.5] * 99}
    table = bundle({"data": [trace], "layout": {}})["text/html"]
    assert len(re.findall("<tr>", table)) == 41
    assert "and 59 more" in table and html.escape("<img>") in table


def test_numbers_that_plotly_packs_are_read(themed):
    figure = px.bar(x=["a", "b"], y=[0.25, 0.5])
    packed = json.loads(figure.to_json())
    assert "bdata" in packed["data"][0]["y"]
    assert "<td>0.25</td>" in as_html(packed)


CELL = """
import plotly.express as px
from unlearnkit import figures
figures.set_theme()
px.line(x=[1, 2], y=[3, 4], title="A line")
"""


def test_a_saved_notebook_keeps_both(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    [output] = notebook.cells[0].outputs
    assert PLOTLY in output["data"] and "data:image/svg+xml" in output["data"]["text/html"]
    nbformat.write(notebook, tmp_path / "saved.ipynb")
    command = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "html", "saved.ipynb"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert 'alt="A line.' in (tmp_path / "saved.html").read_text()
