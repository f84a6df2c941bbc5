"""Renew all that the report states, or list what is out of date: tables in README.md, and figures.

    make bench NAME=report [ARGS="--list | --only gap klom | --again | --hours 9 | --peer FOLDER"]

Imported, this module is where benchmarks leave their results. A table stands in README.md between
two comments that name it, and is replaced as a whole. The rows that it was made of are committed in
``rows/``, with the command, the date, the machine and the state of the code. Raw rows go to
``.bench/``, which git ignores.
"""

import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from code_state import code_of

HERE = Path(__file__).resolve().parent
REPORT = HERE / "README.md"
ROWS = HERE / "rows"
OUTPUT = HERE.parents[1] / ".bench"
BEGUN = time.perf_counter()
Row = dict[str, Any]


def output() -> Path:
    """Return the folder of raw rows and figures; it is created where it is missing."""
    OUTPUT.mkdir(exist_ok=True)
    return OUTPUT


def log(file: str, name: str) -> Path:
    """Return the path of a log of rows that only this state of the code goes on with."""
    folder = output() / code_of(file)
    folder.mkdir(exist_ok=True)
    return folder / name


def command(file: str, arguments: str = "") -> str:
    """Return the command that runs the benchmark in ``file``."""
    return f"make bench NAME={Path(file).stem}" + (f' ARGS="{arguments}"' if arguments else "")


def conditions() -> Row:
    """Return what the figures depend on: date, machine, versions and commit."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    capability = torch.backends.cpu.get_cpu_capability()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True
    ).stdout.strip()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{processor(text)}, {capability}, {cores()}",
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "commit": commit,
    }


def processor(info: str) -> str:
    """Return the processor's name from ``/proc/cpuinfo``.

    Some virtual machines hide the name; then its maker, family and model stand for it.
    """
    fields: dict[str, str] = {}
    for line in info.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip().lower(), value.strip())
    name = fields.get("model name", "")
    if name and name.lower() not in ("unknown", platform.machine().lower()):
        return name
    makers = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD"}
    maker = fields.get("vendor_id", fields.get("cpu implementer", ""))
    numbers = [
        f"{word} {fields[key]}"
        for word, key in (
            ("family", "cpu family"),
            ("model", "model"),
            ("stepping", "stepping"),
            ("part", "cpu part"),
        )
        if fields.get(key, "unknown") != "unknown"
    ]
    parts = [makers.get(maker, maker), platform.machine(), " ".join(numbers)]
    return " ".join(part for part in parts if part)


def cores() -> str:
    """Return the number of cores that this process may use."""
    count = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    return f"{count} cores" if usable == count else f"{usable} of {count} cores"


def keep(name: str, command: str, rows: Any) -> Path:
    """Write raw rows and the conditions to ``.bench/NAME.json`` and return its path."""
    path = output() / f"{name}.json"
    record = {"command": command, **conditions(), "rows": rows}
    path.write_text(json.dumps(plain(record)) + "\n")
    return path


def plain(value: Any) -> Any:
    """Return the value as JSON gives it back; what is not finite becomes None."""
    return json.loads(json.dumps(value, default=_number), parse_constant=lambda _: None)


def _number(value: Any) -> Any:
    """Return a number of numpy's or torch's as one of Python's."""
    return value.item() if hasattr(value, "item") else float(value)


def once(file: str, make: Callable[..., Iterable[Row]], *arguments: Any) -> list[Row]:
    """Return the rows of a part of a benchmark; it is measured only once in a state of the code.

    Args:
        file: the benchmark's.
        make: measures the rows.
        arguments: its arguments, whose texts tell the part from the others.
    """
    key = [make.__name__, *arguments]
    path, name = log(file, f"{Path(file).stem}-parts.jsonl"), plain(list(map(str, key)))
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            known = json.loads(line)
        except ValueError:  # a run that was killed left it incomplete
            continue
        if known["key"] == name:
            rows: list[Row] = known["rows"]
            return rows
    rows = plain(list(make(*arguments)))
    begins = "" if not path.exists() or path.read_bytes().endswith(b"\n") else "\n"
    with path.open("a") as file_:
        file_.write(begins + json.dumps({"key": name, "rows": rows}) + "\n")
    return rows


def publish(
    name: str,
    rows: Sequence[Row],
    table_of: Callable[[list[Row]], str],
    command: str,
    *,
    file: str,
    seeds: str,
    by: Callable[[Row], object] | None = None,
    about: Row | None = None,
) -> None:
    """Replace a table of the report, and the rows that it is made of.

    Args:
        name: of the table.
        rows: new rows.
        table_of: makes the table from all rows, in Markdown.
        command: the command that measured them.
        file: the benchmark's.
        seeds: the seeds, in words.
        by: the key of a row, for a run of some rows only: rows of other keys stay as they are. None
            replaces all rows.
        about: the conditions of an earlier run, as :func:`keep` wrote them, whose rows these are.

    Raises:
        KeyError: the report has no place for the table.
    """
    old = _record(name)
    run = {"command": command, "seeds": seeds, **conditions(), "code": code_of(file)}
    run["seconds"] = round(time.perf_counter() - BEGUN)
    if about is not None:
        run |= {"code": "", "seconds": 0, **about}
    runs = [*(old["runs"] if by is not None else []), run]
    new = [{**_rounded(plain(row)), "run": len(runs) - 1} for row in rows]
    if by is not None:
        new = _merged(old["rows"], new, by)
    used = sorted({row["run"] for row in new})
    new = [{**row, "run": used.index(row["run"])} for row in new]
    runs = [runs[number] for number in used]
    shown = [{key: value for key, value in row.items() if key != "run"} for row in new]
    lines = dict.fromkeys(measured(each["command"], each, each["seeds"]) for each in runs)
    _replace(name, "".join(lines), table_of(shown), REPORT)
    ROWS.mkdir(exist_ok=True)
    head = ",\n".join(json.dumps(each) for each in runs)
    body = ",\n".join(json.dumps(row) for row in new)
    _path(name).write_text(f'{{"runs": [\n{head}\n],\n"rows": [\n{body}\n]}}\n')


def rows_of(name: str) -> list[Row]:
    """Return the rows that a table of the report was made of; none if it has not been published."""
    return [
        {key: value for key, value in row.items() if key != "run"} for row in _record(name)["rows"]
    ]


def runs_of(name: str) -> list[Row]:
    """Return the runs that measured the rows of a table."""
    runs: list[Row] = _record(name)["runs"]
    return runs


def _path(name: str) -> Path:
    return ROWS / f"{re.sub('[^a-z0-9]+', '-', name)}.json"


def _record(name: str) -> dict[str, list[Row]]:
    path = _path(name)
    record: dict[str, list[Row]] = {"runs": [], "rows": []}
    return json.loads(path.read_text()) if path.exists() else record


def _rounded(value: Any) -> Any:
    """Return the value with six digits of every number."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


def _merged(old: list[Row], new: list[Row], by: Callable[[Row], object]) -> list[Row]:
    """Return all rows; new ones stand where the old ones of their key stood, or at the end."""
    keys = list(dict.fromkeys(by(row) for row in [*old, *new]))
    renewed = {by(row) for row in new}
    return [row for key in keys for row in (new if key in renewed else old) if by(row) == key]


def put(name: str, table: str, command: str, report: Path = REPORT, seeds: str = "") -> None:
    """Replace the table called ``name`` in the report, with the conditions of this run above it.

    Raises:
        KeyError: the report has no place for it.
    """
    _replace(name, measured(command, conditions(), seeds), table, report)


def _replace(name: str, heading: str, table: str, report: Path) -> None:
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, found, rest = report.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise KeyError(f"{report} has no place for {name!r}; add the lines {begin!r} and {end!r}")
    report.write_text(f"{before}{begin}{heading}\n{table}{end}{after}")


def measured(command: str, about: Row, seeds: str = "") -> str:
    """Return the line above a table: the command, the seeds, the date and the machine."""
    which = f", {seeds}" if seeds else ""
    return f"`{command}`{which}, {about['date']}; {about['machine']}, torch {about['torch']}.\n"


def markdown(frame: pd.DataFrame) -> str:
    """Return a table of texts as Markdown."""
    rows = [list(frame.columns), ["---"] * frame.shape[1], *frame.to_numpy().tolist()]
    return "".join(f"| {' | '.join(str(cell) for cell in row)} |\n" for row in rows)


def table(rows: Sequence[Row]) -> str:
    """Return rows of texts and whole numbers as Markdown."""
    return markdown(pd.DataFrame(rows))


def counted(count: int, first: int = 0) -> str:
    """Return seeds in words.

    >>> counted(3), counted(1, 43)
    ('seeds 0 to 2', 'seed 43')
    """
    return f"seeds {first} to {first + count - 1}" if count > 1 else f"seed {first}"


def main() -> None:
    """Renew the report."""
    import sys

    import renewal

    sys.exit(renewal.main(sys.argv[1:]))


if __name__ == "__main__":
    main()
