"""Where benchmarks leave their results: tables in README.md beside this file, raw rows in .bench/.

A table stands between two comments that name it and is replaced as a whole. Raw rows go to a folder
that git ignores.
"""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch

HERE = Path(__file__).resolve().parent
REPORT = HERE / "README.md"
OUTPUT = HERE.parents[1] / ".bench"


def output() -> Path:
    """Return the folder of raw rows and figures; it is created where it is missing."""
    OUTPUT.mkdir(exist_ok=True)
    return OUTPUT


def command(file: str, arguments: str = "") -> str:
    """Return the command that runs the benchmark in ``file``."""
    return f"make bench NAME={Path(file).stem}" + (f' ARGS="{arguments}"' if arguments else "")


def conditions() -> dict[str, Any]:
    """Return what the figures depend on: date, machine, versions and commit."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.processor() or platform.machine()
    capability = torch.backends.cpu.get_cpu_capability()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True
    ).stdout.strip()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{processor}, {capability}, {os.cpu_count()} cores",
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "commit": commit,
    }


def keep(name: str, command: str, rows: Any) -> Path:
    """Write raw rows and the conditions to ``.bench/NAME.json`` and return its path."""
    path = output() / f"{name}.json"
    record = {"command": command, **conditions(), "rows": rows}
    text = json.dumps(json.loads(json.dumps(record, default=float), parse_constant=lambda _: None))
    path.write_text(text + "\n")
    return path


def kept(name: str) -> list[dict[str, Any]]:
    """Return the raw rows that :func:`keep` wrote last; none if it never did."""
    path = output() / f"{name}.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []
    return rows


def put(name: str, table: str, command: str, report: Path = REPORT) -> None:
    """Replace the table called ``name`` in the report, with the conditions of this run above it.

    Raises:
        KeyError: the report has no place for it.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, found, rest = report.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise KeyError(f"{report} has no place for {name!r}; add the lines {begin!r} and {end!r}")
    report.write_text(f"{before}{begin}{measured(command, conditions())}\n{table}{end}{after}")


def measured(command: str, about: dict[str, Any]) -> str:
    """Return the line above a table: the command, the date and the machine."""
    return f"`{command}`, {about['date']}; {about['machine']}, torch {about['torch']}.\n"


def markdown(frame: pd.DataFrame) -> str:
    """Return a table of texts as Markdown."""
    rows = [list(frame.columns), ["---"] * frame.shape[1], *frame.to_numpy().tolist()]
    return "".join(f"| {' | '.join(str(cell) for cell in row)} |\n" for row in rows)
