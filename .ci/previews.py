"""Execute the notebooks: small pictures of their figures for the index, or all of them as pages.

    make previews            # notebooks/pictures/*.png, one figure of each notebook in FIGURES
    make previews NAME=05    # that of one notebook
    make pages               # build/docs/notebooks/*.html, executed, without setup and check cells

A picture has at most ``MOST_BYTES``. It holds a digest of the code that it was made from, and
``tests/test_notebooks.py`` fails once the code of the notebook is another. The workflow publishes
the pages, so they are as fresh as its last run.
"""

import hashlib
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
PICTURES = NOTEBOOKS / "pictures"
WIDTH, HEIGHT, COLORS, MOST_BYTES = 760, 380, 64, 40_000
PLOTLY, WIDGET = "application/vnd.plotly.v1+json", "application/vnd.jupyter.widget-view+json"

# For each notebook by its number the cell whose figure the index shows.
FIGURES = {
    "01": "preview",
    "02": "suspects",
    "03": "many",
    "05": "lines",
    "07": "stream",
    "08": "accuracy",
    "10": "frontier",
}


def main(arguments: list[str]) -> None:
    """Write pages if asked to, else pictures: those of the numbers given, or all."""
    if arguments[:1] == ["--pages"]:
        write_pages(Path(arguments[1]))
        return
    PICTURES.mkdir(exist_ok=True)
    unknown = set(arguments) - set(FIGURES)
    if unknown:
        sys.exit(f"no picture is made of {', '.join(unknown)}; expected of {', '.join(FIGURES)}")
    for number in arguments or FIGURES:
        path = notebook_path(number)
        figure = figure_of(execute(path), FIGURES[number])
        target = PICTURES / f"{path.stem}.png"
        target.write_bytes(small_png(screenshot(figure), code_digest(path)))
        print(f"{target.relative_to(ROOT)}: {target.stat().st_size / 1000:.0f} kB", flush=True)


def notebook_path(number: str) -> Path:
    """Return the file of the notebook with this number."""
    (path,) = NOTEBOOKS.glob(f"{number}-*.ipynb")
    return path


def code_digest(path: Path) -> str:
    """Return a digest of the notebook's code, without setup and check cells."""
    cells = json.loads(path.read_text())["cells"]
    code = [
        "".join(cell["source"])
        for cell in cells
        if cell["cell_type"] == "code" and not cell["metadata"].get("tags")
    ]
    return hashlib.blake2b("\n\n".join(code).encode(), digest_size=16).hexdigest()


def execute(path: Path) -> Any:
    """Return the notebook, executed in its folder."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(NOTEBOOKS)}}
    NotebookClient(notebook, timeout=1200, resources=resources).execute()
    return notebook


def figure_of(notebook: Any, cell_id: str) -> dict[str, Any]:
    """Return the last plotly figure that a cell shows, as JSON."""
    (cell,) = [cell for cell in notebook.cells if cell.id == cell_id]
    found = [output.data[PLOTLY] for output in cell.outputs if PLOTLY in output.get("data", {})]
    if not found:
        raise LookupError(f"the cell {cell_id!r} shows no plotly figure")
    return found[-1]


def screenshot(figure: dict[str, Any]) -> bytes:
    """Draw a figure in Chromium, on white, and return it as PNG."""
    from playwright.sync_api import sync_playwright
    from plotly.offline import get_plotlyjs

    sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]
    from conftest import find_chromium

    white = {"paper_bgcolor": "white", "plot_bgcolor": "white", "autosize": False}
    height = figure["layout"].get("height", HEIGHT)
    layout = {**figure["layout"], **white, "width": WIDTH, "height": height}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": height})
        page.set_content("<body style='margin:0'><div id='figure'></div></body>")
        page.add_script_tag(content=get_plotlyjs())
        page.evaluate(
            "([data, layout]) => Plotly.newPlot('figure', data, layout, {displayModeBar: false})",
            [figure["data"], layout],
        )
        drawn = page.screenshot()
        browser.close()
    return drawn


def small_png(drawn: bytes, digest: str) -> bytes:
    """Return a picture in few colours that holds the digest of its code."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    notes = PngInfo()
    notes.add_text("code", digest)
    reduced = Image.open(io.BytesIO(drawn)).convert("RGB").quantize(COLORS)
    content = io.BytesIO()
    reduced.save(content, "PNG", optimize=True, pnginfo=notes)
    if len(content.getvalue()) > MOST_BYTES:
        raise ValueError(f"a picture has {len(content.getvalue())} bytes; at most {MOST_BYTES}")
    return content.getvalue()


def write_pages(folder: Path) -> None:
    """Execute all notebooks and write them as HTML pages that link to each other."""
    import nbformat
    from nbconvert import HTMLExporter
    from plotly.io import to_html
    from traitlets.config import Config

    tags = {"enabled": True, "remove_cell_tags": {"setup", "check"}}
    exporter = HTMLExporter(config=Config({"TagRemovePreprocessor": tags}))
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = execute(path)
        for output in (each for cell in notebook.cells for each in cell.get("outputs", [])):
            data = output.get("data", {})
            if PLOTLY in data:
                # One copy of plotly.js lies beside the pages.
                page = to_html(
                    data.pop(PLOTLY), full_html=False, include_plotlyjs="directory", validate=False
                )
                output.data = nbformat.from_dict({"text/html": page})
            data.pop(WIDGET, None)
        for cell in notebook.cells:
            # Progress bars, which appear where a run takes longer than a second.
            outputs = cell.get("outputs", [])
            outputs[:] = [output for output in outputs if output.get("name") != "stderr"]
        notebook.metadata.pop("widgets", None)
        html, _ = exporter.from_notebook_node(notebook)
        html = re.sub(r'href="([\w-]+)\.ipynb"', r'href="\1.html"', html)
        (folder / f"{path.stem}.html").write_text(html)
        print(f"{path.stem}.html", flush=True)
    pictures = folder / PICTURES.name
    pictures.mkdir(exist_ok=True)
    for picture in PICTURES.glob("*.png"):
        (pictures / picture.name).write_bytes(picture.read_bytes())
    write_plotly(folder / "plotly.min.js")


def write_plotly(path: Path) -> None:
    """Write the copy of plotly.js that the pages load."""
    from plotly.offline import get_plotlyjs

    path.write_text(get_plotlyjs())


if __name__ == "__main__":
    main(sys.argv[1:])
