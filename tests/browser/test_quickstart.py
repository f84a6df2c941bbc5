"""The quickstart as a newcomer meets it: run all cells, drag the boundary, unlearn, compare."""

import re
import shutil
import time
from pathlib import Path

import pytest

from lab import (
    ask,
    await_kernel,
    command,
    fresh,
    open_and_run,
    open_voila,
    set_theme,
    settled,
    write_notebook,
)

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "01-quickstart.ipynb"
SENTENCE = ".uk-boundary .uk-instrument .sentence"
HANDLE = ".uk-boundary .uk-instrument .handle"
STRIP = ".uk-strip-bar .uk-lines"
UNLEARN = ".uk-strip-bar .uk-unlearn"
ROWS = ".uk-boundary .uk-instrument .row"


def colors(page) -> list[str]:
    """The routes that colour the rows of the instrument, in the order drawn."""
    return page.locator(ROWS).evaluate_all("(rows) => rows.map((row) => row.classList[1])")


def open_step(page, name: str) -> None:
    """Open a step of a dashboard by its tab."""
    page.get_by_role("tab", name=name).click()
    page.locator(".uk-tab[aria-selected=true]", has_text=name).wait_for()


def to_panel(page, name: str) -> None:
    page.locator(f".uk-{name}.uk-panel").evaluate("(node) => node.scrollIntoView()")


@pytest.fixture(scope="module")
def notebook(lab, module_page):
    """The quickstart, all its cells run."""
    shutil.copy(QUICKSTART, lab.root / QUICKSTART.name)
    open_and_run(module_page, lab, QUICKSTART.name)
    module_page.locator(HANDLE).wait_for(timeout=120_000)
    return module_page


@pytest.fixture
def quickstart(notebook):
    fresh(notebook)
    return notebook


def test_the_quickstart_from_the_first_cell_to_the_comparison(
    quickstart, screenshot, module_traffic
):
    page = quickstart
    # On a slow machine a progress bar may have been there, but nothing warns.
    for text in page.locator(".jp-RenderedText[data-mime-type*=stderr]").all_inner_texts():
        assert "Warning" not in text and "Error" not in text
    to_panel(page, "boundary")
    screenshot(page, "quickstart-boundary")

    # The mouse: drag the line to the right end of its axis.
    sentence = page.locator(SENTENCE)
    before, drawn = sentence.inner_text(), colors(page)
    knob = page.locator(f"{HANDLE} .knob").bounding_box()
    x, y = knob["x"] + knob["width"] / 2, knob["y"] + knob["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=8)
    page.mouse.move(x + 900, y, steps=8)
    page.mouse.up()
    assert sentence.inner_text().startswith("At a threshold of 100%") and "e" in colors(page)
    assert before != sentence.inner_text() and drawn != colors(page) and "a" not in colors(page)
    assert "approximately" not in sentence.inner_text()
    page.locator(".uk-boundary .uk-instrument code", has_text="session.unlearn(1)").wait_for()
    assert ask(page, "print(session.pending.size, len(session.ledger()))") == "5 2"

    # The keyboard: to the left end, and up to the next decision.
    page.locator(HANDLE).focus()
    page.keyboard.press("Home")
    assert sentence.inner_text().startswith("At a threshold of 0%")
    assert "retrained exactly" not in sentence.inner_text()
    page.keyboard.press("PageUp")
    assert "retrained exactly" in sentence.inner_text()
    # Typed.
    page.locator(".uk-boundary").get_by_label("threshold, in percent").fill("31.25")
    page.keyboard.press("Enter")
    assert sentence.inner_text().startswith("At a threshold of 31.25%")
    page.locator(".uk-boundary .uk-instrument code", has_text="session.unlearn(0.3125)").wait_for()

    page.locator(HANDLE).focus()
    page.keyboard.press("End")
    page.locator(STRIP, has_text="Threshold 100%").wait_for()
    page.locator(UNLEARN).click()
    page.locator(".uk-boundary .uk-text", has_text="5 examples unlearned").wait_for(timeout=60_000)
    result = page.locator(".uk-boundary .uk-prose p", has_text="Last request: 5 examples")
    assert "measured" in result.inner_text()

    page.locator(".uk-strip-bar .uk-compare").click()
    verdict = page.locator(".uk-comparison li").first
    verdict.wait_for(timeout=60_000)
    assert "byte for byte" in verdict.inner_text()
    page.locator(".uk-comparison").get_by_role("tab", name="Before and after").click()
    page.locator(".uk-comparison .uk-plotview .main-svg").locator("visible=true").first.wait_for()
    to_panel(page, "comparison")
    settled(page, (1280, "light"))
    screenshot(page, "quickstart-comparison")
    assert page.locator(".uk-panel [role=alert]").count() == 0
    assert module_traffic.errors == []


def test_both_themes_and_half_the_width(quickstart, screenshot):
    page = quickstart
    command(page, "application:toggle-left-area")
    for width, theme in ((1280, "light"), (1280, "dark"), (640, "dark"), (640, "light")):
        page.set_viewport_size({"width": width, "height": 900})
        set_theme(page, theme)
        for step in ("1. Train", "2. Revoke", "3. Decide", "4. Compare", "Workload", "Ledger"):
            open_step(page, step)
            page.locator(".uk-dashboard").evaluate("(node) => node.scrollIntoView()")
            settled(page, (width, theme, step))
            screenshot(page, f"dashboard-{width}-{theme}-{step.split()[-1].lower()}")


def test_training_by_mouse_keeps_the_kernel_free_and_can_be_cancelled(lab, page, screenshot):
    cell = (
        "import unlearnkit as uk\n"
        "session = uk.Session('digits', model='mlp', hidden=(512, 512), epochs=2000)\n"
    )
    write_notebook(lab.root / "train.ipynb", [cell + "session.dashboard()"])
    open_and_run(page, lab, "train.ipynb")
    page.locator(".uk-training button", has_text="Train").click(timeout=60_000)
    page.locator(".uk-training .uk-plotview .scatterlayer .trace").first.wait_for()
    label = page.locator(".uk-training .widget-label", has_text="left")
    label.wait_for()
    begun = time.perf_counter()
    assert ask(page, "print(6 * 7, session.busy)") == "42 True"
    answered = time.perf_counter() - begun
    page.wait_for_function(
        """(first) => [...document.querySelectorAll('.uk-training .widget-label')].some((node) =>
          node.textContent.includes('left') && node.textContent !== first)""",
        arg=label.inner_text(),
    )
    screenshot(page, "training-live")
    begun = time.perf_counter()
    page.locator(".uk-training button:enabled", has_text="Cancel").click()
    page.locator(".uk-training .uk-text", has_text="Stopped on request").wait_for()
    cancelled = time.perf_counter() - begun
    print(f"another cell's answer {answered * 1000:.0f} ms, cancelled in {cancelled * 1000:.0f} ms")
    # "Continue" if a stage was finished by then.
    again = page.locator(".uk-training button", has_text=re.compile("^(Train|Continue training)$"))
    assert again.is_enabled()
    # A wrong id is one sentence in the panel, and breaks nothing.
    open_step(page, "2. Revoke")
    page.locator(".uk-revocation textarea").fill("3, seven")
    page.locator(".uk-revocation button", has_text=re.compile("^Revoke$")).click()
    alert = page.locator(".uk-revocation [role=alert] .uk-text")
    alert.wait_for()
    assert alert.inner_text().startswith("'seven' is not an id; give whole numbers")
    page.locator(".uk-revocation textarea").fill("3 7-9")
    page.locator(".uk-revocation button", has_text=re.compile("^Revoke$")).click()
    page.locator(".uk-revocation .uk-text", has_text="4 examples revoked").wait_for()
    assert page.locator(".uk-revocation [role=alert]").count() == 0


def test_a_reload_shows_the_present_state_and_a_cell_moves_the_panels(lab, page):
    cell = "import unlearnkit as uk\nsession = uk.Session('digits', epochs=3)\nsession.train()\n"
    write_notebook(lab.root / "reload.ipynb", [cell + "d = session.dashboard()\nd", "0"])
    open_and_run(page, lab, "reload.ipynb")
    page.locator(STRIP, has_text="The request is empty").wait_for()
    command(page, "docmanager:save")
    page.reload(wait_until="domcontentloaded")
    await_kernel(page)
    page.locator(STRIP, has_text="The request is empty").wait_for()
    ask(page, "session.revoke(count=9)")
    page.locator(STRIP, has_text="To forget: 9 examples").wait_for()
    open_step(page, "3. Decide")
    page.locator(SENTENCE, has_text="At a threshold of 25%").wait_for()
    page.locator(HANDLE).focus()
    page.keyboard.press("ArrowRight")
    page.locator(SENTENCE, has_text="At a threshold of 25.5%").wait_for()
    page.locator(STRIP, has_text="Threshold 25.5%").wait_for()


FOLD = """() => {
  const bottom = document.querySelector('.jp-WindowedPanel-outer').getBoundingClientRect().bottom;
  const needed = [...document.querySelectorAll(`.uk-strip-bar button, .uk-actions button,
    .uk-training .widget-button, .uk-comparison .mod-primary`)];
  const instrument = document.querySelector('.uk-boundary .uk-instrument')?.shadowRoot;
  if (instrument) needed.push(...instrument.querySelectorAll('.plot, .sentence, button'));
  return needed.filter((node) => node.getClientRects().length)
    .filter((node) => node.getBoundingClientRect().bottom > bottom + 0.5)
    .map((node) => node.className.baseVal ?? node.textContent);
}"""


def test_the_route_on_one_screen(lab, page, screenshot):
    """From training to the comparison, nothing that is needed lies below the fold."""
    cell = "import unlearnkit as uk\nsession = uk.Session('digits', num_shards=6, epochs=4)\n"
    write_notebook(lab.root / "screen.ipynb", [cell + "session.dashboard()"])
    page.set_viewport_size({"width": 1280, "height": 800})
    open_and_run(page, lab, "screen.ipynb")
    page.locator(".uk-tab").first.wait_for(timeout=60_000)

    def at_the_top(name):
        page.locator(".uk-dashboard").evaluate("(node) => node.scrollIntoView()")
        page.wait_for_timeout(200)
        screenshot(page, f"screen-{name}")
        assert page.evaluate(FOLD) == [], name
        assert page.locator(".uk-stage > .uk-panel:visible").count() == 1

    at_the_top("untrained")
    page.locator(".uk-training button", has_text="Train").click()
    page.locator(".uk-tab", has_text="1. Train \N{CHECK MARK}").wait_for(timeout=60_000)
    page.locator(".uk-training .uk-plotview .main-svg").nth(1).wait_for()
    at_the_top("trained")
    open_step(page, "2. Revoke")
    page.get_by_label("from pictures").check()
    page.locator(".uk-picker button").nth(20).wait_for()
    at_the_top("pictures")
    page.get_by_label("at random").check()
    page.locator(".uk-actions button", has_text=re.compile("^Revoke$")).click()
    page.locator(STRIP, has_text="To forget: 10 examples").wait_for()
    at_the_top("revoked")
    open_step(page, "3. Decide")
    page.locator(HANDLE).wait_for()
    at_the_top("decide")
    page.locator(UNLEARN).click()
    page.locator(STRIP, has_text="10 examples forgotten: ").wait_for(timeout=60_000)
    frame = page.locator(".uk-dashboard").bounding_box()
    assert abs(frame["y"] - page.locator(".uk-strip-bar").bounding_box()["y"]) < 2  # not scrolled
    at_the_top("unlearned")
    page.locator(".uk-strip-bar .uk-compare").click()
    page.locator(".uk-comparison .uk-prose li").first.wait_for(timeout=60_000)
    at_the_top("compared")
    # The strip stays in sight above a long step.
    page.mouse.move(frame["x"] + 200, frame["y"] + 300)
    page.mouse.wheel(0, 400)
    page.wait_for_timeout(300)
    top = page.locator(".jp-WindowedPanel-outer").bounding_box()["y"]
    assert page.locator(".uk-strip-bar").bounding_box()["y"] >= top - 1


def test_the_dashboard_works_as_a_page_of_its_own(voila, page, traffic, screenshot):
    cell = "import unlearnkit as uk\nsession = uk.Session('digits', epochs=3)\nsession.train()\n"
    cell += "session.revoke(count=9)\nsession.dashboard()"
    write_notebook(voila.root / "page.ipynb", [cell])
    open_voila(page, voila, "page.ipynb", traffic)
    page.locator(SENTENCE, has_text="At a threshold of 25%").wait_for(timeout=60_000)
    page.locator(HANDLE).focus()
    page.keyboard.press("End")
    page.locator(SENTENCE, has_text="At a threshold of 100%").wait_for()
    settled(page, (1280, "light"))
    screenshot(page, "dashboard-voila")
