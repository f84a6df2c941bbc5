"""The boundary's adaptive mode and the study viewer as a person meets them."""

from lab import command, open_and_run, set_theme, settled, write_notebook

BOUNDARY = """
import unlearnkit as uk
session = uk.Session("digits", model="logistic", num_shards=6, num_slices=3, epochs=4)
session.train()
session.revoke(count=12)
session.panel("boundary")
"""
STUDY = """
uk.explore(uk.study("digits", models=("logistic",), num_shards=(3, 5), num_slices=(2,), epochs=2,
                    revoked=(2, 9)))
"""


def test_an_override_by_keyboard_and_a_click_that_rings(lab, page, screenshot, traffic):
    write_notebook(lab.root / "say.ipynb", [BOUNDARY, STUDY])
    open_and_run(page, lab, "say.ipynb")
    page.locator(".uk-boundary").get_by_text("adaptive", exact=True).click(timeout=60_000)
    sentence = page.locator(".uk-boundary .uk-instrument .sentence")
    sentence.filter(has_text="With the adaptive boundary").wait_for()
    page.get_by_text("Shard by shard: costs").click()
    override = page.locator(".uk-routes select").first
    override.focus()
    shard = override.get_attribute("aria-label").split()[-1]
    page.keyboard.press("ArrowDown")
    code = f"uk.OverriddenBoundary(uk.AdaptiveBoundary(), {{{shard}: 'exact'}})"
    page.locator(".uk-boundary .uk-code code", has_text=code).wait_for(state="attached")
    assert page.evaluate("document.activeElement.value") == "exact"  # the focus stays

    study = page.locator(".uk-study")
    frontier = study.locator(".uk-plotview").nth(2)
    point = frontier.locator(".scatterlayer path.point").first
    point.wait_for(timeout=60_000)
    settled(page, "the study")
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    centre = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*centre)
    frontier.locator(".hoverlayer .hovertext").first.wait_for()  # before it, plotly takes no click
    page.mouse.click(*centre)
    study.locator("caption", has_text="Clicked rows").wait_for()
    command(page, "application:toggle-left-area")
    for width, theme in ((640, "dark"), (1280, "light")):
        page.set_viewport_size({"width": width, "height": 900})
        set_theme(page, theme)
        settled(page, (width, theme))
        for name in ("boundary", "study"):
            page.locator(f".uk-{name}").evaluate("(node) => node.scrollIntoView()")
            screenshot(page, f"{name}-{width}-{theme}")
    assert page.locator(".uk-panel [role=alert]").count() == 0 and traffic.errors == []
