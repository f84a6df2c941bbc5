"""Choosing what to forget as a person does: a grid by keyboard, a map by lasso."""

import json

from lab import ask, command, open_and_run, set_theme, settled, write_notebook

CELL = """
import json
import unlearnkit as uk
session = uk.Session("digits", model="logistic", epochs=2)
session.train()
panel = session.panel("revocation")
panel
"""


def pending(page):
    return json.loads(ask(page, "print(json.dumps(session.pending.tolist()))"))


def test_picking_by_keyboard_and_by_lasso(lab, page, screenshot, traffic):
    write_notebook(lab.root / "choosing.ipynb", [CELL])
    open_and_run(page, lab, "choosing.ipynb")
    panel = page.locator(".uk-revocation")
    panel.get_by_label("from pictures").check(timeout=60_000)
    cells = panel.locator(".uk-picker button")
    cells.nth(47).wait_for()
    cells.first.focus()
    page.keyboard.press("Space")
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert panel.locator(".uk-picker button[aria-pressed=true]").count() == 2
    assert cells.nth(1).get_attribute("aria-label").startswith("example 1, class ")
    panel.locator(".uk-prose p", has_text="2 picked: 0 and ").wait_for()
    panel.get_by_role("button", name="Revoke", exact=True).click()
    panel.locator(".uk-prose p", has_text="The request: 2 examples to forget").wait_for()
    waiting = panel.locator(".uk-picker button.uk-waiting")
    waiting.nth(1).wait_for()
    ids = [int(waiting.nth(i).get_attribute("data-id")) for i in range(2)]
    assert pending(page) == ids and ids[0] == 0 and ids[1] > 1
    screenshot(page, "choosing-grid")

    panel.get_by_label("on a map").check()
    drag = panel.locator(".nsewdrag")
    drag.wait_for()
    settled(page, "the map")
    drag.hover()  # once it lies still
    box = drag.bounding_box()
    corners = [(0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7), (0.3, 0.32)]
    for number, (x, y) in enumerate(corners):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=6)
        if not number:
            page.mouse.down()
    page.mouse.up()
    panel.locator(".uk-prose p", has_text="selected. By class").wait_for()
    chosen = json.loads(ask(page, "print(json.dumps(panel.selector.ids().tolist()))"))
    # The lasso is a rectangle: those inside it, and no others.
    inside = """
points = [(trace["customdata"][i], trace["x"][i], trace["y"][i])
          for trace in panel.selector.plot.view.spec["data"] for i in range(len(trace["x"]))]
print(json.dumps(points))
"""
    points = {i: (x, y) for i, x, y in json.loads(ask(page, inside))}
    picked = [points[i] for i in chosen]
    low, high = ([f(p[d] for p in picked) for d in (0, 1)] for f in (min, max))
    within = {i for i, p in points.items() if all(low[d] <= p[d] <= high[d] for d in (0, 1))}
    assert 20 < len(chosen) < len(points) - 20 and within == set(chosen)
    screenshot(page, "choosing-map")
    panel.get_by_role("button", name="Revoke", exact=True).click()
    panel.locator(".uk-prose p", has_text="None selected.").wait_for()
    assert pending(page) == sorted({*ids, *chosen})

    command(page, "application:toggle-left-area")
    page.set_viewport_size({"width": 640, "height": 900})
    set_theme(page, "dark")
    selectors = {
        "by query": panel.get_by_text("in the syntax of pandas"),
        "from a list": panel.get_by_text("Paste ids, or rows"),
        "from pictures": cells.first,
        "on a map": drag,
        "hardest examples": panel.locator("caption", has_text="Highest held-out loss first"),
        "suspicious labels": panel.locator(".uk-picker button[aria-label*='looks like']").first,
    }
    for selector, there in selectors.items():
        panel.get_by_label(selector).check()
        there.wait_for()
        settled(page, selector)
    assert page.locator(".uk-panel [role=alert]").count() == 0 and traffic.errors == []
