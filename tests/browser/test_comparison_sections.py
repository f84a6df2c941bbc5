"""The comparison's sections as a person meets them: opened by keyboard, saved, never cut off."""

import csv

import nbformat

from lab import command, open_and_run, set_theme, settled, write_notebook

CELL = """
import unlearnkit as uk
session = uk.Session("digits", model="mlp", epochs=6)
session.train()
session.revoke(count=12)
session.unlearn(0.4)
session.panel("comparison")
"""


def test_sections_open_save_and_fit(lab, page, screenshot, tmp_path, traffic):
    path = write_notebook(lab.root / "sections.ipynb", [CELL])
    open_and_run(page, lab, "sections.ipynb")
    page.locator(".uk-comparison button", has_text="Compare").click(timeout=60_000)
    heads = page.locator(".uk-section-head .uk-heading > button")
    heads.first.wait_for(timeout=60_000)
    assert page.locator(".uk-section .uk-plotview").count() == 0
    for i in range(heads.count()):
        heads.nth(i).focus()
        page.keyboard.press("Enter")
        section = page.locator(".uk-section").nth(i)
        section.locator(".uk-plotview .main-svg").first.wait_for()
        section.locator(".uk-code code", has_text="session.compare()").wait_for(state="attached")
        assert heads.nth(i).get_attribute("aria-expanded") == "true"
        assert section.locator(".uk-tools button", has_text="What does this mean?").is_visible()
    assert i == 7
    assert page.locator(".uk-panel [role=alert]").count() == 0

    # The threshold by keyboard: the sentence and the line follow.
    attack = page.locator(".uk-section").last
    attack.locator("input[type=range]").focus()
    before = attack.locator(".uk-prose p").first.inner_text()
    page.keyboard.press("End")
    attack.locator(".uk-prose p", has_text="100.0% of test").first.wait_for()
    assert attack.locator(".uk-prose p").first.inner_text() != before

    starts = {"HTML": b"<!doctype html>", "PNG": b"\x89PNG", "CSV": b"layer,index,original"}
    export = page.locator(".uk-section").first.locator(".uk-export").first
    for word, start in starts.items():
        with page.expect_download() as got:
            export.get_by_text(word, exact=True).click()
        assert got.value.suggested_filename == f"parameters.{word.lower()}"
        file = tmp_path / got.value.suggested_filename
        got.value.save_as(file)
        assert file.read_bytes().startswith(start)
    with (tmp_path / "parameters.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1500
    traffic.allowed.append("file://")
    page.context.new_page().goto(f"file://{tmp_path / 'parameters.html'}")
    alone = page.context.pages[-1]
    alone.locator(".scatterlayer .point").first.wait_for()
    assert alone.locator(".gtitle").text_content().startswith("Parameters of shard")
    alone.close()

    command(page, "application:toggle-left-area")
    for width, theme in ((640, "dark"), (1280, "light")):
        page.set_viewport_size({"width": width, "height": 900})
        set_theme(page, theme)
        settled(page, (width, theme))
        for i in range(heads.count()):
            heads.nth(i).evaluate("(node) => node.scrollIntoView()")
            screenshot(page, f"section-{i}-{width}-{theme}")
    assert traffic.errors == []

    command(page, "docmanager:save")
    assert nbformat.read(path, 4).cells[0].outputs  # it is saved
    assert path.stat().st_size < 20_000  # the figures' numbers are not in it
