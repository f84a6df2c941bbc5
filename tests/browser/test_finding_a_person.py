"""Finding a person and forgetting them as one does it: by name, by keyboard, in grid and map."""

import json

from lab import ask, command, open_and_run, set_theme, settled, write_notebook

CELL = """
import json
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
import unlearnkit as uk
pixels, labels = load_digits(return_X_y=True)
names = np.array(["Ann", "Anna", "Bob", *(f"guest {n}" for n in range(57))])
person = pd.Series(names[np.arange(1200) // 20], name="person")
pictures = np.float32(pixels[:1200].reshape(-1, 8, 8))
data = uk.from_arrays(pictures, labels[:1200], groups=person, scale=16, num_classes=10)
session = uk.Session(data, model="logistic", num_shards=3, num_slices=2, epochs=2)
session.train()
panel = session.panel("revocation")
panel
"""


def pending(page):
    return json.loads(ask(page, "print(json.dumps(session.pending.tolist()))"))


def test_a_person_is_found_by_name_and_followed_in_grid_and_map(lab, page, screenshot, traffic):
    write_notebook(lab.root / "person.ipynb", [CELL])
    open_and_run(page, lab, "person.ipynb")
    panel = page.locator(".uk-revocation")
    panel.get_by_label("by person").check(timeout=60_000)
    panel.get_by_label("person", exact=True).fill("ann")
    found = panel.get_by_role("group", name="Persons;").get_by_role("button")
    panel.locator(".uk-prose p", has_text="2 persons found").wait_for()
    assert found.count() == 2
    assert found.nth(1).get_attribute("aria-label").startswith("person Anna, 20 examples, costs ")
    found.first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    panel.locator(".uk-code code", has_text="session.revoke(group='Anna')").wait_for(
        state="attached"
    )
    assert panel.locator(".uk-strip:visible img").count() == 20
    panel.get_by_role("button", name="Revoke", exact=True).click()
    panel.locator(".uk-prose p", has_text="20 examples of 1 person to forget").wait_for()
    assert pending(page) == list(range(20, 40))
    screenshot(page, "person-found")
    panel.get_by_role("button", name="Withdraw all").click()
    panel.locator(".uk-prose p", has_text="The request is empty").wait_for()

    panel.get_by_label("from pictures").check()
    pictures = panel.get_by_role("group", name="Examples;").get_by_role("button")
    pictures.nth(47).wait_for()
    first = pictures.first
    first.hover()
    whose = first.get_attribute("aria-label").split("person ")[1]
    kin = panel.locator(".uk-picker:visible .uk-kin")
    kin.first.wait_for()  # those of the same person, while one of them is pointed at
    labels = [kin.nth(i).get_attribute("aria-label") for i in range(kin.count())]
    assert labels and all(label.endswith(f"person {whose}") for label in labels)
    first.click()
    panel.locator(".uk-prose p", has_text=f"From 1 person: {whose}. 19 other").wait_for()
    panel.get_by_role("button", name="Pick whole persons").click()
    panel.locator(".uk-code code", has_text=f"session.revoke(group='{whose}')").wait_for(
        state="attached"
    )
    screenshot(page, "person-picked")

    panel.get_by_label("on a map").check()
    dot = panel.locator(".scatterlayer path.point").nth(50)
    dot.wait_for()
    settled(page, "the map")
    dot.scroll_into_view_if_needed()
    box = dot.bounding_box()
    centre = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*centre)
    hover = panel.locator(".hoverlayer .hovertext", has_text=", person ")
    hover.wait_for()
    whose = hover.text_content().split("person ")[1]
    page.mouse.click(*centre)
    panel.locator(".uk-prose p", has_text=f"From 1 person: {whose}. 19 other").wait_for()
    panel.locator(".uk-legend:visible", has_text="belong together").wait_for()
    panel.get_by_role("button", name="Select whole persons").click()
    panel.locator(".uk-code code", has_text=f"session.revoke(group='{whose}')").wait_for(
        state="attached"
    )
    panel.get_by_role("button", name="Revoke", exact=True).click()
    panel.locator(".uk-prose p", has_text="20 examples of 1 person to forget").wait_for()
    names = "print(json.dumps(person[session.pending].unique().tolist()))"
    assert json.loads(ask(page, names)) == [whose] and len(pending(page)) == 20

    command(page, "application:toggle-left-area")
    for width, theme in ((800, "dark"), (1280, "light")):
        page.set_viewport_size({"width": width, "height": 900})
        set_theme(page, theme)
        for mode in ("by person", "from pictures", "on a map"):
            panel.get_by_label(mode).check()
            settled(page, (mode, width, theme))
    assert page.locator(".uk-panel [role=alert]").count() == 0 and traffic.errors == []
