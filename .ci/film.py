"""Film the boundary's line being dragged, for the top of the README.

    make film    # writes .github/dashboard.webp from the real dashboard in JupyterLab

The frames are screenshots of the page: the line is dragged with the mouse, Unlearn is pressed, and
the verdict is shown. Nothing is drawn by this script but the mouse's arrow, which screenshots lack.
"""

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from lab import Traffic, command, new_page, open_browser, open_notebook, serve, write_notebook

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / ".github" / "dashboard.webp"
MOST_BYTES = 900_000
WIDTH, FRAME, HOLD = 860, 90, 1800  # pixels, and milliseconds of a frame
SESSION = """
import unlearnkit as uk
session = uk.Session("shifted-digits", num_shards=6, num_slices=5, seed=0)
session.train()
session.revoke(count=9, by_group=True, seed=3)
session.dashboard()
"""
KNOB, UNLEARN = ".uk-instrument .handle .knob", ".uk-strip-bar .uk-unlearn"
ARROW = [(0, 0), (0, 17), (4, 13), (7, 19), (10, 18), (7, 12), (12, 12)]


def main() -> None:
    """Film the dashboard and write the animation."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Path(folder)) as lab,
        open_browser() as browser,
        new_page(browser, Traffic()) as page,
    ):
        write_notebook(lab.root / "film.ipynb", [SESSION])
        page.set_viewport_size({"width": 1000, "height": 900})
        open_notebook(page, lab, "film.ipynb")
        command(page, "application:toggle-left-area")
        command(page, "notebook:run-cell")
        page.locator(KNOB).wait_for(timeout=300_000)
        page.locator(".uk-dashboard").evaluate("(node) => node.scrollIntoView()")
        page.wait_for_timeout(1000)
        write(film(page))


def film(page: Any) -> list[tuple[Image.Image, int]]:
    """Return frames and how many milliseconds each is shown."""
    frames: list[tuple[Image.Image, int]] = []
    box = page.locator(".uk-dashboard").bounding_box()
    plot = page.locator(".uk-instrument").bounding_box()
    box["height"] = plot["y"] + plot["height"] + 8 - box["y"]

    def take(x: float, y: float, shown: int = FRAME) -> None:
        picture = Image.open(io.BytesIO(page.screenshot(clip=box))).convert("RGB")
        points = [(x - box["x"] + a, y - box["y"] + b) for a, b in ARROW]
        ImageDraw.Draw(picture).polygon(points, fill="white", outline="black")
        frames.append((picture, shown))

    knob = page.locator(KNOB).bounding_box()
    x, y = knob["x"] + knob["width"] / 2, knob["y"] + knob["height"] / 2
    left, right, end = x, plot["x"] + plot["width"] - 40, plot["x"] + plot["width"] * 0.26
    page.mouse.move(x, y)
    take(x, y, HOLD)
    page.mouse.down()
    there = [left + (right - left) * step / 16 for step in range(1, 17)]
    back = [right + (end - right) * step / 16 for step in range(1, 17)]
    for x in (*there, *back):
        page.mouse.move(x, y)
        take(x, y, FRAME)
    page.mouse.up()
    take(x, y, HOLD)
    button = page.locator(UNLEARN).bounding_box()
    x, y = button["x"] + button["width"] / 2, button["y"] + button["height"] / 2
    page.mouse.move(x, y)
    take(x, y, HOLD // 3)
    page.mouse.click(x, y)
    page.locator(".uk-strip-bar .uk-compare").wait_for(timeout=300_000)
    page.wait_for_timeout(1500)
    take(x, y, 2 * HOLD)
    return frames


def write(frames: list[tuple[Image.Image, int]]) -> None:
    """Write the animation and refuse a large one."""
    width, height = frames[0][0].size
    size = WIDTH, height * WIDTH // width
    first, *rest = (one.resize(size, Image.Resampling.LANCZOS) for one, _ in frames)
    made = io.BytesIO()
    durations = [shown for _, shown in frames]
    first.save(
        *(made, "WEBP"), save_all=True, append_images=rest, duration=durations, loop=0, quality=65
    )
    if made.tell() > MOST_BYTES:
        sys.exit(f"the animation has {made.tell():,} bytes; at most {MOST_BYTES:,} are wanted")
    TARGET.write_bytes(made.getvalue())
    print(f"{TARGET.relative_to(ROOT)}: {made.tell() / 1000:.0f} kB, {len(frames)} frames")


if __name__ == "__main__":
    main()
