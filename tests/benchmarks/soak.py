"""Whether the memory of kernel or page grows over an hour's worth of interaction.

    make bench NAME=soak [ARGS="--rounds 50"]

In a real Chromium: each round moves the boundary's slider 40 times by arrow key, revokes two
examples, unlearns them with the button, and trains a fresh session in another cell. Prints the
kernel's resident memory and the page's heap (after a collection of garbage in both) every few
rounds, and what they grow by in a round over the second half.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "browser"))

from lab import Traffic, ask, open_and_run, open_page, serve, write_notebook

MOVES = 40  # a round
CELL = """
import unlearnkit as uk
session = uk.Session("digits", model="mlp", num_shards=20, num_slices=10, epochs=10)
session.train()
session.revoke(count=20, seed=1000)
session.dashboard()
"""
FRESH = "uk.Session('digits', model='mlp', num_shards=5, num_slices=2, epochs=2).train(); None"
SENTENCE = ".uk-boundary .uk-instrument .sentence"
RESIDENT = """
import ctypes, gc
gc.collect()
ctypes.CDLL(None).malloc_trim(0)
print(int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6)
"""


def memory(page: Any, browser: Any) -> tuple[float, float]:
    """MB of the kernel and of the page's heap."""
    resident = float(ask(page, RESIDENT))
    browser.send("HeapProfiler.collectGarbage")
    return resident, browser.send("Runtime.getHeapUsage")["usedSize"] / 1e6


def round_trip(page: Any, number: int) -> None:
    """Move, revoke, unlearn, train."""
    handle = page.locator(".uk-boundary .uk-instrument .handle")
    handle.focus()
    key = "ArrowRight" if number % 2 else "ArrowLeft"
    for _ in range(MOVES):
        before = handle.get_attribute("aria-valuenow")
        page.keyboard.press(key)
        page.wait_for_timeout(30)
        assert handle.get_attribute("aria-valuenow") != before
    page.locator(".uk-strip-bar .uk-unlearn").click()
    page.locator(SENTENCE, has_text="The request is empty").wait_for(timeout=60_000)
    ask(page, FRESH)
    ask(page, f"session.revoke(count=2, seed={number})")
    page.locator(SENTENCE, has_text="At a threshold of").wait_for()


def main() -> None:
    """Run the rounds and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=50)
    rounds = parser.parse_args().rounds
    traffic, found = Traffic(), []
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Path(folder), "lab") as server,
        open_page(traffic) as page,
    ):
        write_notebook(server.root / "soak.ipynb", [CELL])
        open_and_run(page, server, "soak.ipynb")
        page.locator(SENTENCE, has_text="At a threshold of").wait_for(timeout=60_000)
        browser = page.context.new_cdp_session(page)
        for number in range(1, rounds + 1):
            round_trip(page, number)
            if number % 5 == 0 or number == 1:
                found.append((number, *memory(page, browser)))
                number, kernel, heap = found[-1]
                print(f"round {number}: kernel {kernel:.1f} MB, page {heap:.1f} MB", flush=True)
    if traffic.errors:
        raise SystemExit(f"errors: {traffic.errors}")
    late = np.array(found[len(found) // 2 :])
    for column, what in ((1, "kernel"), (2, "page")):
        slope = np.polyfit(late[:, 0], late[:, column], 1)[0]
        print(f"{what}: {slope:+.2f} MB a round over the second half")
    print(f"{rounds * MOVES:,} slider moves, {rounds} unlearnings, {rounds} trainings")


if __name__ == "__main__":
    main()
