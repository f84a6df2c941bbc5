"""Wrong turns in the dashboard: shortcuts, keys, a subshell that is gone, a restarted kernel."""

import json
import re

import pytest

from lab import ask, await_kernel, command, open_and_run, write_notebook

CELLS = [
    "import unlearnkit as uk\n"
    "session = uk.Session('digits', model='logistic', num_shards=3, num_slices=2, epochs=2)\n"
    "session.train()",
    "session.dashboard()",
]
SUBSHELLS = """
import json, threading
names = [thread.name for thread in threading.enumerate()]
print(json.dumps([name[9:] for name in names if name.startswith("subshell-")]))
"""
REMOVE = """async (id) => {
  const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
  await kernel.requestDeleteSubshell({ subshell_id: id }).done;
}"""
DIRTY = "() => window.jupyterapp.shell.currentWidget.context.model.dirty"
RESTART = """async () => {
  await window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart();
}"""


@pytest.fixture
def dashboard(lab, page):
    write_notebook(lab.root / "turns.ipynb", CELLS)
    open_and_run(page, lab, "turns.ipynb")
    page.locator(".uk-tab").first.wait_for(timeout=60_000)
    return page


def pending(page):
    return int(ask(page, "print(len(session.pending))"))


def revoke(page, ids):
    page.locator(".uk-revocation textarea").first.fill(ids)
    page.locator(".uk-revocation button", has_text=re.compile("^Revoke$")).click()


def test_keys_a_lost_subshell_and_a_restart(dashboard, screenshot):
    page = dashboard
    # The steps are tabs; the arrow keys move among them and not among JupyterLab's cells.
    page.get_by_role("tab", name="2. Revoke").focus()
    page.keyboard.press("ArrowRight")
    page.locator(".uk-boundary:visible").wait_for()
    page.keyboard.press("Home")
    page.locator(".uk-training:visible").wait_for()
    page.keyboard.press("ArrowRight")
    page.locator(".uk-revocation:visible").wait_for()
    # A group of radio buttons is one tab stop, and the arrow keys choose.
    radios = page.locator(".uk-revocation input[type=radio]")
    assert len(set(radios.evaluate_all("(all) => all.map(({ name }) => name)"))) == 1
    radios.first.focus()
    page.keyboard.press("ArrowRight")
    page.locator(".uk-revocation select:visible").first.wait_for()
    # Ctrl+S saves the notebook with the focus on a control.
    command(page, "notebook:insert-cell-below")
    assert page.evaluate(DIRTY)
    radios.nth(1).focus()
    page.keyboard.press("Control+s")
    page.wait_for_function(f"() => !({DIRTY})()")
    # Enter presses a button, which is not JupyterLab's to enter the cell.
    radios.first.check()
    revoke(page, "3 7-9")
    page.locator(".uk-lines", has_text="To forget: 4 examples").wait_for()
    page.locator(".uk-revocation button", has_text="Withdraw all").focus()
    page.keyboard.press("Enter")
    page.locator(".uk-lines", has_text="The request is empty").wait_for()

    # The subshell that handled the page's messages is gone: another one must take them.
    for name in json.loads(ask(page, SUBSHELLS)):
        page.evaluate(REMOVE, name)
    revoke(page, "3 7-12")
    page.locator(".uk-lines", has_text="To forget: 7 examples").wait_for()
    page.reload(wait_until="domcontentloaded")
    await_kernel(page)
    page.locator(".uk-revocation button", has_text="Withdraw all").click()
    page.locator(".uk-lines", has_text="The request is empty").wait_for()
    assert pending(page) == 0

    page.evaluate(RESTART)
    page.locator(".uk-dashboard.jupyter-widgets-disconnected").wait_for()
    said = page.evaluate(
        "() => getComputedStyle(document.querySelector('.uk-dashboard'), '::before').content"
    )
    assert "Run the cell again." in said
    icons = page.evaluate(
        """() => [...document.querySelectorAll('.uk-dashboard .jupyter-widgets-disconnected')]
          .filter((node) => getComputedStyle(node, '::before').content !== 'none').length"""
    )
    assert icons == 0
    screenshot(page, "restarted")
