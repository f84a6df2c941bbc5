"""How quickly the dashboard responds, in JupyterLab and a real Chromium.

    make bench NAME=latency [ARGS="--quick"]

JupyterLab and Chromium are started on this machine, and the boundary's line is moved by arrow key
and by mouse, with the kernel idle and with it busy. A move is timed in the page, from the time
stamp of the input to the first animation frame in which the sentence and the label of the line
show the new threshold. Beside that: how soon a dashboard is visible, how large a notebook with one
is when saved, and while a training runs how long another cell waits, how often the progress is
updated, and how soon Cancel takes effect. ``--quick`` leaves out the 60,000 examples. Run it on an
idle machine: the raw file has the load average.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import report

sys.path.insert(0, str(Path(__file__).parent.parent / "browser"))

from lab import Traffic, ask, command, open_notebook, open_page, serve, write_notebook

MOVES = 80
SETTINGS = {
    "digits, S=20 R=10": ("digits", 20, 10, 40),
    "Fashion-MNIST 60,000, S=50 R=20": ("fashion-mnist", 50, 20, 200),
}
CELL = """
import unlearnkit as uk
session = uk.Session({data!r}, model="logistic", num_shards={shards}, num_slices={slices},
                     epochs={slices})
session.train()
session.revoke(count={count})
"""
LONG = """
import unlearnkit as uk
other = uk.Session("digits", model="mlp", num_shards=10, num_slices=5, epochs=20_000)
other.panel("training")
"""
BUSY = "import time\nend = time.time() + 3600\nwhile time.time() < end: sum(range(10000))"
HOST = ".uk-boundary .uk-instrument"
# Without a cell, which would take the focus and, with a tall instrument, scroll it away.
RUN_BUSY = """(code) => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const future = kernel.requestExecute({ code });
  future.onIOPub = (message) => {
    if (message.header.msg_type === 'execute_input') window.busy = true;
  };
  future.done.finally(() => { window.busy = false; });
}"""
# Resolves with milliseconds from the next input of a kind to the first frame that shows it.
WATCH = """(kind) => { window.painted = new Promise((resolve) => {
  const root = document.querySelector('.uk-boundary .uk-instrument').shadowRoot;
  const tags = [...root.querySelectorAll('svg > .now')];
  const tag = tags.find((node) => node.textContent.endsWith('%'));
  const sentence = root.querySelector('.sentence');
  const before = tag.textContent;
  window.addEventListener(kind, (event) => {
    const start = event.timeStamp;
    const look = () => requestAnimationFrame(() => {
      const there = tag.textContent !== before
        && sentence.textContent.startsWith(`At a threshold of ${tag.textContent},`);
      if (there) resolve(performance.now() - start);
      else look();
    });
    look();
  }, { once: true, capture: true });
}); }"""
# Counts how often the progress of a training is written anew.
COUNT = """() => {
  window.written = [];
  const label = document.querySelector('.uk-training .uk-row .widget-label:last-child');
  new MutationObserver(() => window.written.push([performance.now(), label.textContent]))
    .observe(label, { childList: true, characterData: true, subtree: true });
}"""


def run_cell(page: Any, number: int, seconds: float = 600) -> None:
    """Run the next cell and wait for the end of it."""
    command(page, "notebook:run-cell-and-select-next")
    page.wait_for_function(
        f"() => document.querySelectorAll('.jp-InputPrompt')[{number}]?.textContent"
        f".includes('[{number + 1}]')",
        timeout=1000 * seconds,
    )


def by_keys(page: Any) -> list[float]:
    """Milliseconds of every move by arrow key."""
    page.locator(f"{HOST} .handle").press("Home")
    waits = []
    for _ in range(MOVES):
        page.evaluate(WATCH, "keydown")
        page.keyboard.press("ArrowRight")
        waits.append(page.evaluate("() => window.painted"))
        page.wait_for_timeout(30)
    return waits


def by_mouse(page: Any) -> list[float]:
    """Milliseconds of every move by mouse."""
    page.locator(f"{HOST} .handle").press("Home")
    knob = page.locator(f"{HOST} .knob").bounding_box()
    plot = page.locator(f"{HOST} .plot").bounding_box()
    x, y = knob["x"] + knob["width"] / 2, knob["y"] + knob["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    waits = []
    for move in range(1, MOVES + 1):
        page.evaluate(WATCH, "pointermove")
        page.mouse.move(x + (plot["width"] - 60) * move / MOVES, y)
        waits.append(page.evaluate("() => window.painted"))
        page.wait_for_timeout(30)
    page.mouse.up()
    return waits


def moves(page: Any) -> dict[str, Any]:
    """Milliseconds by keys and by mouse, with the kernel idle and with it busy."""
    page.locator(HOST).evaluate("(node) => node.scrollIntoView({ block: 'center' })")
    page.wait_for_timeout(1500)
    found: dict[str, Any] = {"moves": MOVES}
    for kernel in ("idle", "busy"):
        if kernel == "busy":
            page.evaluate(RUN_BUSY, BUSY)
            page.wait_for_function("() => window.busy")
        for name, measure in (("key", by_keys), ("mouse", by_mouse)):
            waits = sorted(measure(page))
            found[f"{name}, kernel {kernel}, median ms"] = round(statistics.median(waits), 1)
            found[f"{name}, kernel {kernel}, 95th percentile ms"] = round(
                waits[int(0.95 * len(waits))], 1
            )
    assert page.evaluate("window.busy")  # it was throughout
    command(page, "notebook:interrupt-kernel")
    page.wait_for_function("() => !window.busy")
    return found


def dashboard(page: Any, server: Any, setting: tuple[Any, ...]) -> dict[str, Any]:
    """A dashboard of one session: visible, moved, saved."""
    data, shards, slices, count = setting
    cell = CELL.format(data=data, shards=shards, slices=slices, count=count)
    cells = [cell, "session.boundary = uk.FixedBoundary(0.1)\nsession.dashboard()"]
    path = write_notebook(server.root / f"{data}.ipynb", cells)
    open_notebook(page, server, path.name)
    run_cell(page, 0)
    begun = time.perf_counter()
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell-and-select-next')")
    page.locator(f"{HOST} .handle").wait_for(timeout=60_000)
    visible = time.perf_counter() - begun
    found = moves(page)
    inside = ask(
        page,
        "import time\n"
        "panel = session.panel('boundary')\n"
        "begun = time.process_time()\n"
        "for half in range(20, 60): panel.instrument.threshold = half / 200\n"
        "print((time.process_time() - begun) / 40 * 1000)",
    )
    command(page, "docmanager:save")
    page.wait_for_timeout(1000)
    return {
        **found,
        "kernel CPU ms a gesture": round(float(inside), 2),
        "instrument visible s": round(visible, 2),
        "saved notebook kB": round(path.stat().st_size / 1000, 1),
    }


def training(page: Any, server: Any) -> dict[str, Any]:
    """What goes on beside a training."""
    path = write_notebook(server.root / "training.ipynb", [LONG])
    open_notebook(page, server, path.name)
    run_cell(page, 0)
    ask(page, "1")
    page.evaluate(COUNT)
    page.locator(".uk-training button", has_text="Train").first.click()
    page.wait_for_function("() => window.written.length > 3", timeout=60_000)
    answers = []
    begun = time.perf_counter()
    first = page.evaluate("() => window.written.length")
    while time.perf_counter() - begun < 6:
        asked = time.perf_counter()
        ask(page, "1 + 1")
        answers.append(1000 * (time.perf_counter() - asked))
        page.wait_for_timeout(200)
    seconds = time.perf_counter() - begun
    updates = page.evaluate("() => window.written.length") - first
    begun = time.perf_counter()
    cancel = page.locator(".uk-training button", has_text="Cancel")  # each kind of work has one
    cancel.locator("visible=true").click()
    page.wait_for_function("() => /cancelled/.test(window.written.at(-1)[1])", timeout=60_000)
    cancelled = time.perf_counter() - begun
    answers.sort()
    return {
        "another cell waits, median ms": round(statistics.median(answers), 1),
        "at most ms": round(answers[-1], 1),
        "updates a second": round(updates / seconds, 1),
        "cancel s": round(cancelled, 2),
    }


def table_of(results: dict[str, Any]) -> str:
    """As Markdown, a row a figure."""
    rows = [(setting, what, value) for setting, by in results.items() for what, value in by.items()]
    return report.markdown(pd.DataFrame(rows, columns=["setting", "figure", "value"]))


def published(rows: list[report.Row]) -> str:
    """Return the table of the rows that are kept."""
    return table_of({row["setting"]: {k: row[k] for k in row if k != "setting"} for row in rows})


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="without the 60,000 examples")
    options = parser.parse_args()
    names = list(SETTINGS)[: 1 if options.quick else None]
    results: dict[str, Any] = {}
    traffic = Traffic()
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Path(folder), "lab") as server,
        open_page(traffic) as page,
    ):
        for name in names:
            results[name] = dashboard(page, server, SETTINGS[name])
            print(name, json.dumps(results[name]), flush=True)
        results["during a training"] = training(page, server)
        print("during a training", json.dumps(results["during a training"]))
    if traffic.outside or traffic.errors:
        raise SystemExit(f"outside: {traffic.outside}; errors: {traffic.errors}")
    command = report.command(__file__, "--quick" if options.quick else "")
    report.keep("latency-quick" if options.quick else "latency", command, results)
    if not options.quick:
        shown = [{"setting": name, **found} for name, found in results.items()]
        report.publish("latency", shown, published, command, file=__file__, seeds="seed 0")


if __name__ == "__main__":
    main()
