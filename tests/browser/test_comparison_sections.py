"""The comparison's tabs as a person meets them: chosen by keyboard, saved, never cut off."""

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
    tabs = page.locator(".uk-section-tabs [role=tab]")
    tabs.nth(1).wait_for(timeout=60_000)
    assert page.locator(".uk-section .uk-plotview").count() == 0
    tabs.first.focus()
    sections = page.locator(".uk-section")
    for i in range(1, tabs.count()):
        page.keyboard.press("ArrowRight")
        section = sections.nth(i - 1)
        section.locator(".uk-body").wait_for()
        name = tabs.nth(i).inner_text()
        if name != "All metrics":
            section.locator(".uk-plotview .main-svg").first.wait_for()
            words = section.locator("[role=img]").first.get_attribute("aria-label")
            assert any(letter.isdigit() for letter in words), words
        section.locator(".uk-code code", has_text="session.compare()").wait_for(state="attached")
        assert tabs.nth(i).get_attribute("aria-selected") == "true"
        assert [section.is_visible() for section in sections.all()].count(True) == 1
    assert i == 12
    assert page.locator(".uk-panel [role=alert]").count() == 0

    # The threshold by keyboard: the sentence and the line follow.
    tabs.filter(has_text="Membership attack").click()
    attack = sections.nth(4)
    attack.locator("input[type=range]").wait_for()  # a hidden one takes no focus
    attack.locator("input[type=range]").focus()
    before = attack.locator(".uk-prose p").first.inner_text()
    page.keyboard.press("End")
    attack.locator(".uk-prose p", has_text="100.0% of test").first.wait_for()
    assert attack.locator(".uk-prose p").first.inner_text() != before

    starts = {"HTML": b"<!doctype html>", "PNG": b"\x89PNG", "CSV": b"layer,index,original"}
    tabs.filter(has_text="Parameters").click()
    export = sections.nth(6).locator(".uk-export").first
    export.wait_for()
    for word, start in starts.items():
        with page.expect_download() as got:
            if not export.get_by_text(word, exact=True).is_visible():
                export.locator("summary").click()
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
    # The file browser's width is left: as wide as a notebook beside JupyterLab's sidebar.
    for width, theme in ((850, "dark"), (640, "light")):
        page.set_viewport_size({"width": width, "height": 800})
        set_theme(page, theme)
        for i in range(tabs.count()):
            tabs.nth(i).click()
            shown = (
                sections.nth(i - 1).locator(".uk-body") if i else page.locator(".uk-scroll table")
            )
            shown.first.wait_for()
            settled(page, (width, theme, i))
            screenshot(page, f"tab-{i}-{width}-{theme}")
    assert traffic.errors == []

    command(page, "docmanager:save")
    assert nbformat.read(path, 4).cells[0].outputs  # it is saved
    assert path.stat().st_size < 300_000  # pictures are in it, the figures' numbers are not
