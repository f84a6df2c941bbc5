"""The instrument in JupyterLab: moved by mouse, touch and keys, while the kernel is busy too."""

import json

import pytest

from lab import ask, command, eventually, fresh, open_notebook, settled, write_notebook

MADE = """
import unlearnkit as uk
session = uk.Session("digits", model="logistic", num_shards=12, num_slices=4, epochs=4)
session.train()
session.revoke(count=14)
instrument = session.instrument(0.1)
"""
# Holds the interpreter, so that no other thread of the kernel can answer, until it is interrupted.
BUSY = "import ctypes; ctypes.PyDLL(None).sleep(120)"
HOST = ".uk-instrument"
SENTENCE, HANDLE, SAID = f"{HOST} .sentence", f"{HOST} .handle", f"{HOST} .said"


@pytest.fixture(scope="module")
def notebook(lab, module_page):
    """A notebook with an instrument, and a cell that keeps the kernel busy."""
    write_notebook(lab.root / "instrument.ipynb", [MADE, "instrument", BUSY])
    open_notebook(module_page, lab, "instrument.ipynb")
    for _ in range(2):
        command(module_page, "notebook:run-cell-and-select-next")
    module_page.locator(HANDLE).wait_for(timeout=60_000)
    return module_page


@pytest.fixture
def page(notebook):
    fresh(notebook)
    return notebook


def drag(page, by: float) -> None:
    """Drag the line by so many pixels."""
    box = page.locator(f"{HANDLE} .knob").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by, y, steps=6)


def expected(page, threshold: float) -> str:
    """What Python says of a threshold, with the routes of the rows."""
    return ask(
        page,
        f"import json; instrument.threshold = {threshold}; found = instrument.outcome\n"
        "print(json.dumps([found['kinds'], instrument.sentence]))",
    )


def shown(page) -> list[str]:
    """The routes of the rows on show, and the sentence."""
    rows = page.locator(f"{HOST} .row:not(.rest)")
    kinds = rows.evaluate_all("(rows) => rows.map((row) => row.classList[1]).join('')")
    return [kinds, page.locator(SENTENCE).inner_text()]


def test_the_line_is_dragged_and_python_agrees_with_what_is_shown(page, screenshot):
    before = shown(page)
    drag(page, 150)
    dragged = shown(page)
    assert dragged != before  # while the mouse is still down
    page.mouse.up()
    threshold = float(ask(page, "print(instrument.threshold)"))
    assert threshold > 0.1 and json.loads(expected(page, threshold)) == dragged
    # The line stands where the pointer was, and crosses the rows where exact retraining ends.
    line = page.locator(f"{HOST} svg > .line").bounding_box()
    last = page.locator(f"{HOST} .row.e").last.bounding_box()
    assert abs(line["y"] - (last["y"] + last["height"])) < 2
    screenshot(page, "instrument")


def test_a_finger_drags_the_line_too(page):
    page.locator(HANDLE).press("Home")
    knob = page.locator(f"{HANDLE} .knob").bounding_box()
    x, y = knob["x"] + 6, knob["y"] + 60
    devtools = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        given = {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]}
        devtools.send("Input.dispatchTouchEvent", given)

    touch("touchStart", (x, y))
    for step in range(1, 9):
        touch("touchMove", (x + 15 * step, y))
    touch("touchEnd")
    assert not page.locator(SENTENCE).inner_text().startswith("At a threshold of 0%")


def test_keys_move_the_line_and_leave_jupyterlab_its_own(page):
    cell = "() => window.jupyterapp.shell.currentWidget.content.activeCellIndex"
    before = page.evaluate(cell)
    handle = page.locator(HANDLE)
    handle.press("Home")
    seen = [page.locator(SENTENCE).inner_text()]
    for key in ("ArrowUp", "ArrowRight", "ArrowDown", "PageUp", "PageUp", "PageDown", "End"):
        page.keyboard.press(key)
        seen.append(page.locator(SENTENCE).inner_text())
        assert seen[-1] != seen[-2]
    assert seen[1].startswith("At a threshold of 0.5%") and seen[2].startswith(
        "At a threshold of 1%"
    )
    assert page.evaluate(cell) == before
    assert handle.get_attribute("role") == "slider"
    assert handle.get_attribute("aria-valuetext").startswith("100%: ")
    assert handle.get_attribute("aria-valuenow") == "100"
    page.evaluate(
        "() => { window.saved = 0; window.jupyterapp.shell.currentWidget.context"
        ".saveState.connect((_, state) => { window.saved += state === 'completed'; }); }"
    )
    page.keyboard.press("Control+s")
    page.wait_for_function("() => window.saved > 0")


def test_every_page_key_stops_at_a_new_decision_of_python(page):
    page.locator(HANDLE).press("Home")
    starts = json.loads(
        ask(
            page,
            "import json; print(json.dumps([o['start'] for o in "
            "instrument.data['tables']['visits']['outcomes']]))",
        )
    )
    for start in starts[1:]:
        page.keyboard.press("PageUp")
        seen = shown(page)
        percent = float(seen[1].removeprefix("At a threshold of ").partition("%")[0])
        assert start <= percent / 100 + 1e-12
        assert json.loads(expected(page, percent / 100)) == seen


def test_a_shard_is_overridden_and_the_table_follows(page):
    page.locator(HANDLE).press("Home")
    assert set(shown(page)[0]) == {"a"}
    row = page.locator(f"{HOST} .row").nth(2)
    row.locator(".name").click()
    page.locator(f"{HOST} .override").get_by_label("exact", exact=True).check()
    page.wait_for_function(
        "() => document.querySelector('.uk-instrument').shadowRoot"
        ".querySelectorAll('.row')[2].classList[1] === 'e'"
    )
    shard = int(row.locator(".name").text_content())
    assert ask(page, "print(instrument.boundary.routes)") == f"{{{shard}: 'exact'}}"
    assert "OverriddenBoundary" in page.locator(f"{HOST} code").inner_text()
    page.get_by_role("button", name="Clear overrides").click()
    page.locator(f"{HOST} .row.hand").wait_for(state="detached")


def test_the_adaptive_boundary_shows_its_one_decision(page):
    page.locator(f"{HOST} .mode select").select_option("decided")
    page.locator(SENTENCE, has_text="With the adaptive boundary").wait_for()
    assert page.locator(HANDLE).count() == 0
    assert page.locator(f"{HOST} .row text", has_text="instead: ").count() > 0
    assert ask(page, "print(instrument.boundary)").startswith("AdaptiveBoundary(")
    page.locator(f"{HOST} .mode select").select_option("hand")
    page.locator(HANDLE).wait_for()


def test_all_of_it_while_the_kernel_is_busy(page, module_traffic):
    page.locator(HANDLE).press("Home")
    page.evaluate(
        "() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 2; "
        "window.jupyterapp.commands.execute('notebook:run-cell'); }"
    )
    prompt = page.locator(".jp-Notebook .jp-Cell").nth(2).locator(".jp-InputPrompt")
    prompt.filter(has_text="*").wait_for()
    page.locator(HANDLE).scroll_into_view_if_needed()
    before = shown(page)
    drag(page, 200)
    assert shown(page) != before
    page.mouse.up()
    page.keyboard.press("End")
    seen = shown(page)
    assert set(seen[0]) == {"e"} and "*" in prompt.inner_text()
    page.locator(f"{HOST} .unlearn").click()
    page.locator(SAID, has_text="Waiting for the kernel, which is busy").wait_for()
    page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt()"
    )
    page.locator(SAID, has_text="Last request: 14 examples forgotten").wait_for(timeout=60_000)
    prompt.filter(has_not_text="*").wait_for()
    # What was asked of the kernel before the interruption is dropped together with the cell.
    eventually(
        page, lambda: ask(page, "print(session.pending.size)") != "0" and ["waiting"], "busy"
    )
    assert ask(page, "print(sorted(session.debt))") == "[]"
    assert "The request is empty" in page.locator(SENTENCE).inner_text()
    assert module_traffic.errors == []


def test_narrow_and_wide_pages_and_both_themes(page, screenshot):
    ask(page, "session.revoke(count=14, seed=4)")
    page.locator(HANDLE).wait_for()
    command(page, "application:toggle-left-area")
    for width in (640, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        settled(page, width)
        box = page.locator(f"{HOST} svg").bounding_box()
        assert box["width"] <= width and box["height"] < 400
        screenshot(page, f"instrument-{width}")


def test_a_dead_kernel_is_named(page):
    page.evaluate(
        "async () => { await window.jupyterapp.shell.currentWidget.sessionContext.shutdown(); }"
    )
    before = shown(page)
    drag(page, -120)
    page.mouse.up()
    assert shown(page) != before
    page.locator(f"{HOST} .unlearn").click()
    page.locator(SAID, has_text="The kernel is not running").wait_for()
