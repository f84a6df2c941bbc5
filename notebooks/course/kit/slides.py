"""Run the slides and write them as one page for a browser: ``python slides.py build/slides.html``.

The page holds its figures as drawings that can be moved and zoomed. Its slide show, reveal.js, is
loaded from the network by the browser; so is the setting of formulas.
"""

import argparse
import json
from pathlib import Path

import nbformat
import plotly.io
from nbconvert import SlidesExporter
from nbconvert.preprocessors import ExecutePreprocessor

PLOTLY = "application/vnd.plotly.v1+json"
HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT = 900, 330  # pixels of a figure; a slide that is not shown yet has no width


def drawn(bundle: dict, with_plotly: bool) -> str:
    """A plotly figure as HTML that draws itself; one figure of a page brings plotly along."""
    figure = plotly.io.from_json(json.dumps({part: bundle[part] for part in ("data", "layout")}))
    figure.update_layout(width=WIDTH, height=HEIGHT, autosize=False)
    return plotly.io.to_html(figure, include_plotlyjs=with_plotly, full_html=False)


def page(notebook: nbformat.NotebookNode) -> str:
    """Execute the slides, whose cells get outputs, and return the page."""
    ExecutePreprocessor(timeout=300).preprocess(notebook, {"metadata": {"path": str(HERE)}})
    first = True
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if PLOTLY in output.get("data", {}):
                output.data = {"text/html": drawn(output.data[PLOTLY], first)}
                first = False
    exporter = SlidesExporter(exclude_input_prompt=True, exclude_output_prompt=True)
    return exporter.from_notebook_node(notebook)[0]


def main() -> None:
    """Read the command line and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("page", type=Path, help="the HTML file to write")
    chosen = parser.parse_args()
    notebook = nbformat.read(HERE / "slides.ipynb", as_version=4)
    chosen.page.parent.mkdir(parents=True, exist_ok=True)
    chosen.page.write_text(page(notebook), encoding="utf-8")
    print(f"open {chosen.page} in a browser")


if __name__ == "__main__":
    main()
