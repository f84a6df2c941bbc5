"""Run every benchmark of the report, one after the other, and go on after a stop or a failure.

A part is done for the state of the code if its tables were measured by its command in that state,
as the committed rows of the tables say, or if it ended well here before. The state is a digest of
the package, of the benchmark and of what it imports, without comments and docstrings.
"""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import report
import torch
from code_state import code_of

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Part:
    """A benchmark as the report states it.

    Attributes:
        name: of the benchmark.
        arguments: of its command.
        tables: the tables that it publishes, and the figures (``figures/NAME.svg``).
        needs: what must be given by an option to run it, if anything.
    """

    name: str
    arguments: str = ""
    tables: tuple[str, ...] = ()
    needs: str = ""

    @property
    def file(self) -> Path:
        """The benchmark's script."""
        return HERE / f"{self.name}.py"

    @property
    def command(self) -> str:
        """The command that runs it."""
        return report.command(self.name, self.arguments)


DRAWINGS = "drawings"  # they are of the rows of other parts
# What later parts draw or refer to comes first, then short ones, and the longest last.
PARTS = (
    Part("frontier", "", ("frontier", "frontier rates")),
    Part("kinds", "", ("kinds",)),
    Part("bounds", "", ("bounds",)),
    Part("gap", "", ("gap",)),
    Part("shadow", "", ("shadow", "shadow attack")),
    Part("batches", "", ("batches",)),
    Part("deltagrad", "", ("deltagrad",)),
    Part("easydub", "", ("easydub",)),
    Part("latency", "", ("latency",)),
    Part("frozen", "", ("frozen",)),
    Part("frozen", "--memory 1000000", ("frozen memory",)),
    Part("engine", "", ("engine speed", "engine")),
    Part("streams", "--seeds 3", ("streams fashion-mnist-10000",)),
    Part("rivals", "", ("rivals digits-1297",)),
    Part("rivals", "--data fashion-mnist", ("rivals fashion-mnist-10000",)),
    Part("klom", "--seeds 200 --parallel 2", ("klom", "klom attacks", "klom cost")),
    Part("guard", "", ("guard", "guard by data", "guard by request")),
    Part(
        "study",
        "--seeds 3",
        ("study fashion-mnist-10000", "study fashion-mnist-10000, every cell"),
    ),
    Part("accuracy", "", ("accuracy",)),
    Part("streams", "--whole --models logistic mlp", ("streams fashion-mnist-60000",)),
    Part("study", "--whole --activations --seeds 3", ("activations fashion-mnist-60000",)),
    Part("study", "--whole --rates --seeds 3", ("rates fashion-mnist-60000",)),
    Part(
        "study",
        "--whole --seeds 3",
        ("study fashion-mnist-60000", "study fashion-mnist-60000, every cell"),
    ),
    Part("peer", "folder", ("peer",), "--peer"),
    Part(DRAWINGS, "", ("figures/frontier.svg", "figures/kinds.svg", "figures/bounds.svg")),
)


def all_parts() -> tuple[Part, ...]:
    """Return ``PARTS``, and before the drawings what else the report states by its commands."""
    known = {table for part in PARTS for table in part.tables}
    head = r'^<!-- (?!end of)(.+) -->\n`make bench NAME=(\w+)(?: ARGS="(.*?)")?`'
    others: dict[tuple[str, str], list[str]] = {}
    for table, name, arguments in re.findall(head, report.REPORT.read_text(), re.MULTILINE):
        if table not in known:
            others.setdefault((name, arguments), []).append(table)
    more = [Part(*command, tuple(tables)) for command, tables in others.items()]
    last = [part for part in PARTS if part.name == DRAWINGS]
    return (*(part for part in PARTS if part.name != DRAWINGS), *more, *last)


@dataclass(frozen=True)
class Known:
    """What is known of a part's last run: empty, 0 and "" where nothing is."""

    code: str = ""
    seconds: float = 0
    date: str = ""


class Records:
    """How parts ended in this checkout, by command; in ``.bench/report.json``."""

    def __init__(self) -> None:
        self.path = report.output() / "report.json"
        text = self.path.read_text() if self.path.exists() else "{}"
        self.rows: dict[str, dict[str, Any]] = json.loads(text)

    def add(self, part: Part, seconds: float) -> None:
        """Note that a part ended well."""
        earlier = self.rows.get(part.command, {})
        code = state_of(part)
        # A part that was stopped went on from where it was.
        begun = earlier.get("stopped", 0) if earlier.get("stopped code") == code else 0
        date = datetime.now(UTC).date().isoformat()
        self.rows[part.command] = {"code": code, "seconds": seconds + begun, "date": date}
        self._write()

    def stopped(self, part: Part, seconds: float) -> None:
        """Note for how long a part ran that did not end well."""
        row, code = self.rows.setdefault(part.command, {}), state_of(part)
        begun = row.get("stopped", 0) if row.get("stopped code") == code else 0
        row |= {"stopped": seconds + begun, "stopped code": code}
        self._write()

    def _write(self) -> None:
        """Replace the file as a whole, so that a kill leaves the one before."""
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.rows, indent=1) + "\n")
        new.replace(self.path)

    def last(self, part: Part) -> Known:
        """Return what is known of the last run, here or, from the committed rows, elsewhere."""
        here, there = self.here(part), committed(part)
        return here if here.date and here.date >= there.date else there

    def here(self, part: Part) -> Known:
        """Return what is known of the last run in this checkout."""
        row = self.rows.get(part.command, {})
        return Known(row["code"], row["seconds"], row["date"]) if "code" in row else Known()


def committed(part: Part) -> Known:
    """Return what the committed rows of a part's tables say."""
    runs = [report.runs_of(table) for table in part.tables]
    if not runs or not all(runs):
        return Known()
    every = [run for some in runs for run in some]
    states = {f"{run['code']} {run['torch']}" for run in every}
    state = states.pop() if len(states) == 1 else ""
    return Known(state, max(run["seconds"] for run in every), min(run["date"] for run in every))


def state_of(part: Part) -> str:
    """Return the state that a part's results depend on: of the code, and torch's version."""
    return f"{code_of(part.file)} {torch.__version__}"


def is_done(part: Part, records: Records) -> bool:
    """Whether the part's tables are those of the present code."""
    if part.name == DRAWINGS:  # fast, and of rows that may be new
        return False
    return state_of(part) in (records.here(part).code, committed(part).code)


def renew(parts: Sequence[Part], records: Records, until: float = float("inf")) -> dict[str, str]:
    """Run parts one after the other, each in a separate process.

    Args:
        parts: what to run.
        records: gets how they ended.
        until: no part is begun after this time, in seconds of ``time.monotonic``.

    Returns:
        For each part that failed or was not begun, why, by its command.

    Raises:
        KeyboardInterrupt: the run was stopped; the next call goes on.
    """
    failed = {}
    for number, part in enumerate(parts, 1):
        if time.monotonic() > until:
            failed[part.command] = "not begun, the time is up"
            continue
        log = logs() / f"{part.name}-{number}.log"
        seconds = records.last(part).seconds
        took = f"; the last run took {duration(seconds)}" if seconds else ""
        print(f"[{number} of {len(parts)}] {part.command}{took}; output in {log}", flush=True)
        begun, code = time.monotonic(), 1
        try:
            code = run(part, log)
        finally:  # noted as well if this process is stopped
            seconds = time.monotonic() - begun
            if code == 0:
                records.add(part, seconds)
            else:
                records.stopped(part, seconds)
        if code:
            failed[part.command] = f"ended with {code} after {duration(seconds)}; see {log}"
            print(f"    failed: {last_line(log)}", flush=True)
        else:
            print(f"    done in {duration(seconds)}", flush=True)
    return failed


def logs() -> Path:
    """Return the folder of the parts' output."""
    folder = report.output() / "logs"
    folder.mkdir(exist_ok=True)
    return folder


def run(part: Part, log: Path) -> int:
    """Run a part, with its output in a file, and return its exit status."""
    with log.open("w") as file:
        child = subprocess.Popen(
            [sys.executable, str(part.file), *shlex.split(part.arguments)],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            return child.wait()
        except BaseException:
            child.terminate()
            child.wait()
            raise


def last_line(log: Path) -> str:
    """Return the last line of a log that says something."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"


def duration(seconds: float) -> str:
    """Return a time in words.

    >>> duration(40), duration(130), duration(8000)
    ('40 s', '2 min', '2 h 13 min')
    """
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def listed(parts: Sequence[Part], records: Records) -> Iterator[str]:
    """Yield a line for each part: its state, its last run, its command, its tables."""
    for part in parts:
        known = records.last(part)
        state = "done" if is_done(part, records) else "to run"
        took = duration(known.seconds) if known.seconds else "measured"
        last = f"{took} on {known.date}" if known.date else "no run known"
        yield f"{state:7} {last:26} {part.command}: {'; '.join(part.tables)}"


def main(arguments: Sequence[str]) -> int:
    """Renew the report, or list what would be run."""
    parser = argparse.ArgumentParser(
        prog="make bench NAME=report", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--list", action="store_true", help="only say what would be run")
    parser.add_argument("--only", nargs="+", default=[], help="names of benchmarks")
    parser.add_argument("--skip", nargs="+", default=[], help="names of benchmarks")
    parser.add_argument("--again", action="store_true", help="what is done as well")
    parser.add_argument("--hours", type=float, help="begin no benchmark after so many hours")
    parser.add_argument("--peer", type=Path, help="a checkout of the published SISA code")
    given = parser.parse_args(arguments)
    parts = all_parts()
    names = {part.name for part in parts}
    if unknown := sorted({*given.only, *given.skip} - names):
        parser.error(f"the report has nothing of {', '.join(unknown)}; {', '.join(sorted(names))}")
    if given.hours is not None and not given.hours > 0:
        parser.error(f"--hours {given.hours:g} leaves no time; give a number above 0")
    records = Records()
    chosen = [
        part
        for part in parts
        if (not given.only or part.name in given.only) and part.name not in given.skip
    ]
    without = [part for part in chosen if part.needs and given.peer is None]
    if given.peer is not None:
        chosen = [
            Part(part.name, shlex.quote(str(given.peer.resolve())), part.tables)
            if part.needs
            else part
            for part in chosen
        ]
    chosen = [part for part in chosen if part not in without]
    waiting = [part for part in chosen if given.again or not is_done(part, records)]
    if given.list:
        print("\n".join(listed(chosen, records)))
    for part in without:
        print(f"left out: {part.command}, which needs {part.needs}")
    expected = sum(records.last(part).seconds for part in waiting)
    unknown_time = sum(not records.last(part).seconds for part in waiting)
    print(
        f"{len(waiting)} of {len(chosen)} to run; their last runs took {duration(expected)}"
        + (f", and {unknown_time} have no known run" if unknown_time else "")
    )
    if given.list:
        return 0
    signal.signal(signal.SIGTERM, _stop)
    until = time.monotonic() + 3600 * given.hours if given.hours else float("inf")
    try:
        failed = renew(waiting, records, until)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here")
        return 130
    for command, why in failed.items():
        print(f"missing: {command}: {why}")
    return 1 if failed else 0


def _stop(*_: object) -> None:
    raise KeyboardInterrupt
