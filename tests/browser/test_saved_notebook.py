"""What a notebook keeps of panels: reopened without a kernel, and exported as a page."""

import json
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from lab import (
    TOKEN,
    Traffic,
    ask,
    await_kernel,
    command,
    eventually,
    new_page,
    open_notebook,
    write_notebook,
)

MADE = """
import unlearnkit as uk
session = uk.Session("digits", model="logistic", num_shards=20, num_slices=5, epochs=2)
dashboard = session.dashboard()
dashboard
"""
LATER = """
session.train()
session.revoke(count=30)
dashboard.open_step("boundary")
session.instrument(0.2)
"""
LIVE, FROZEN = ".uk-instrument", ".uk-frozen"
# The sentences of the instruments on show, before and after a key that moves the line.
MOVE = """(kind) => [...document.querySelectorAll(kind)].filter((host) => host.clientWidth)
  .map((host) => {
    const said = () => host.shadowRoot.querySelector('.sentence').textContent, before = said();
    host.shadowRoot.querySelector('.handle').focus();
    window.dispatchEvent(new KeyboardEvent('keydown', { key: 'End', cancelable: true }));
    return [before, said()];
  })"""


def source(cell: dict) -> str:
    """The HTML in the outputs of a cell."""
    found = [output.get("data", {}).get("text/html", "") for output in cell["outputs"]]
    return "".join("".join(part) for part in found)


@pytest.fixture(scope="module")
def saved(lab, module_page) -> Path:
    """A notebook whose session was trained and asked to forget after its dashboard was shown."""
    path = write_notebook(lab.root / "kept.ipynb", [MADE, LATER])
    open_notebook(module_page, lab, path.name)
    for _ in range(2):
        command(module_page, "notebook:run-cell-and-select-next")
    module_page.locator(LIVE).nth(1).wait_for(timeout=60_000)
    ask(module_page, "from unlearnkit.widgets.saved import outputs; outputs.replace_all()")

    def old() -> list[str]:
        command(module_page, "docmanager:save")
        first, second, *_ = json.loads(path.read_text())["cells"]
        current = "At a threshold of 25%" in source(first) and "At a threshold" in source(second)
        return [] if current else ["the picture of an earlier state"]

    eventually(module_page, old, "saved")
    return path


def test_alive_the_pictures_are_hidden(saved, module_page):
    visible = "(nodes) => nodes.filter((node) => node.clientWidth).length"
    assert module_page.locator(LIVE).evaluate_all(visible) == 2
    assert module_page.locator(".uk-copy").evaluate_all(visible) == 0


def test_the_saved_notebook_says_todays_state_and_stays_small(saved):
    assert saved.stat().st_size < 300_000
    first, second, *_ = json.loads(saved.read_text())["cells"]
    for cell in (first, second):
        assert "Not trained yet" not in source(cell)
        assert 'src="data:image/svg+xml;base64,' in source(cell)
    assert "At a threshold of 20%" in source(second)


@pytest.mark.parametrize("template", ["lab", "classic", "basic"])
def test_an_exported_page_answers_the_drag_offline(saved, browser, template):
    to_html = [*(sys.executable, "-m", "nbconvert", "--to", "html", "--template", template)]
    subprocess.run([*to_html, "--output", template, saved], check=True, capture_output=True)
    # The page's own template asks for its libraries; nothing of ours does.
    traffic = Traffic(allowed=["file://", "https://cdnjs.cloudflare.com", "https://unpkg.com"])
    traffic.allowed += ["https://cdn.jsdelivr.net", "https://fonts."]
    with new_page(browser, traffic) as page:
        page.goto((saved.parent / f"{template}.html").as_uri(), wait_until="load")
        page.locator(FROZEN).nth(1).wait_for()
        moved = page.evaluate(MOVE, FROZEN)
        assert len(moved) == 2
        for before, after in moved:
            assert before != after and after.startswith("At a threshold of 100%")
        assert traffic.outside == []


def reopened(lab, notebook: dict, page, name: str) -> None:
    """Open a notebook in JupyterLab, and shut its fresh kernel down."""
    (lab.root / name).write_text(json.dumps(notebook))
    page.set_viewport_size({"width": 1280, "height": 2400})  # JupyterLab draws cells in sight
    address = f"{lab.base}/lab/workspaces/{uuid.uuid4().hex}/tree/{name}?token={TOKEN}"
    page.goto(address, wait_until="domcontentloaded")
    await_kernel(page)
    page.evaluate(
        "async () => { await window.jupyterapp.shell.currentWidget.sessionContext.shutdown(); }"
    )


def test_without_a_kernel_the_line_of_a_trusted_notebook_moves(lab, saved, browser, screenshot):
    with new_page(browser, Traffic()) as page:
        # The server trusts what it has saved itself, under any name.
        reopened(lab, json.loads(saved.read_text()), page, "trusted.ipynb")
        page.locator(FROZEN).nth(1).wait_for()
        moved = page.evaluate(MOVE, FROZEN)
        assert len(moved) == 2 and all(before != after for before, after in moved)
        screenshot(page, "trusted")


def test_an_untrusted_notebook_shows_a_picture_and_says_the_same(lab, saved, browser, screenshot):
    notebook = json.loads(saved.read_text())
    notebook["metadata"]["sent"] = "by someone"
    with new_page(browser, Traffic()) as page:
        reopened(lab, notebook, page, "untrusted.ipynb")
        pictures = page.locator(".jp-OutputArea-output img[src^='data:image/svg']")
        pictures.nth(1).wait_for()
        assert pictures.count() == 2 and page.locator(FROZEN).count() == 0
        assert page.get_by_text(re.compile("^At a threshold of 2[05]%")).count() == 2
        screenshot(page, "untrusted")
