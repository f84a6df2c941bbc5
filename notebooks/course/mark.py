"""Mark submissions outside their notebooks. These marks are the record.

    python mark.py submitted --out marks.csv

reads every notebook below a folder and writes three files: `marks.csv` with a line for each
submission, `marks-checks.csv` with a line for each check, and `marks-report.md` with all that a
lecturer should read. A mark that could not be found stays blank, with the reason beside it.

The student's functions are called in another process, which sends back values; this script compares
them. So it does not matter what a submission does to its notebook, to the tests in it or to Python.
Student code still runs on this machine: see "A sandbox" in README.md.
"""

import argparse
import csv
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from marking.marker import DEMO, Marked, assignments, mark, secret_seed
from marking.student import NotStarted, Process, Unmarked, bubblewrap
from marking.submission import read, which


def found(folder: Path) -> list[tuple[str, Path]]:
    """Notebooks below a folder, each with the student: the first folder, or the file's own name."""
    paths = [folder] if folder.is_file() else sorted(folder.rglob("*.ipynb"))
    paths = [path for path in paths if ".ipynb_checkpoints" not in path.parts]
    names = [path.relative_to(folder).parts if path != folder else (path.name,) for path in paths]
    return [(n[0] if len(n) > 1 else Path(n[0]).stem, p) for n, p in zip(names, paths, strict=True)]


def assignment_of(path: Path) -> str | None:
    """The assignment that a notebook answers: by its name, else by its cells."""
    if path.stem in assignments():
        return path.stem
    try:
        return which(read(path), assignments())
    except Unmarked:
        return None


def mark_all(folder: Path, only: str | None, **settings: object) -> tuple[list[Marked], list[str]]:
    """Mark every notebook below a folder; also return what could not even be assigned."""
    done, odd, seen = [], [], {}
    for student, path in found(folder):
        name = assignment_of(path)
        if name is None:
            odd.append(f"{path}: no assignment of this course, or no notebook at all")
        elif only not in (None, name):
            continue
        elif (student, name) in seen:
            odd.append(f"{path}: a second {name} of {student}; marked was {seen[student, name]}")
        else:
            seen[student, name] = path
            done.append(mark(path, name, student=student, **settings))
            shown = "blank" if done[-1].marks is None else done[-1].marks
            print(f"{student} {name}: {shown} of {done[-1].of}", flush=True)
    handed_in = {student for student, _ in seen}
    for one in sorted(folder.iterdir()) if folder.is_dir() else ():
        if one.is_dir() and one.name not in handed_in and not one.name.startswith("."):
            odd.append(f"{one}: no notebook that could be marked")
    return done, odd


def write(out: Path, done: list[Marked], odd: list[str], secret: str) -> None:
    """Write the table, the checks and the report."""
    with out.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["student", "assignment", "marks", "of", "why_blank", "remarks"])
        for one in done:
            blank = [f"{check.check}: {check.why}" for check in one.outcomes if check.mark is None]
            marks = "" if one.marks is None else one.marks
            row = [one.student, one.assignment, marks, one.of, "; ".join(blank), len(one.remarks)]
            table.writerow([_cell(value) for value in row])
    with out.with_name(f"{out.stem}-checks.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["student", "assignment", "check", "mark", "of", "why"])
        for one in done:
            for check in one.outcomes:
                marked = "" if check.mark is None else check.mark
                row = [one.student, one.assignment, check.check, marked, check.of, check.why]
                table.writerow([_cell(value) for value in row])
    lines = ["# Report of the marking", ""]
    if secret == DEMO:
        lines += ["Hidden values came from the public demonstration seed: not for real marks.", ""]
    lines += [f"* {text}" for text in odd]
    for one in done:
        shown = f"blank, {one.certain} so far" if one.marks is None else one.marks
        lines += ["", f"## {one.student}, {one.assignment}: {shown} of {one.of}", ""]
        lost = [check for check in one.outcomes if check.mark is not None and check.mark < check.of]
        lines += [f"* `{check.check}` 0 of {check.of}: {_line(check.why)}" for check in lost]
        lines += [f"* to look at: {_line(text)}" for text in one.remarks]
    out.with_name(f"{out.stem}-report.md").write_text("\n".join(lines) + "\n")


def _cell(value: object) -> object:
    """Keep a spreadsheet from reading a student's text as a formula."""
    text = str(value)
    return "'" + text if text[:1] in ("=", "+", "-", "@") else value


def _line(text: str) -> str:
    return " ".join(text.split())


def main() -> None:
    """Read the command line, mark, and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("submissions", type=Path, help="a folder with one folder for each student")
    parser.add_argument("--out", type=Path, default=Path("marks.csv"), help="the table to write")
    parser.add_argument("--assignment", choices=assignments(), help="mark only this one")
    parser.add_argument("--secret", type=Path, help="a file with the seed of the hidden values")
    parser.add_argument(
        "--seconds", type=float, default=60, help="seconds of CPU for one call of a function"
    )
    parser.add_argument("--sandbox", default="", help="bwrap, or a command put before Python's")
    parser.add_argument("--python", default=sys.executable, help="the sandbox's Python")
    chosen = parser.parse_args()
    if not chosen.submissions.exists():
        parser.error(f"{chosen.submissions} does not exist; name the folder of the submissions")
    if chosen.secret and not chosen.secret.exists():
        parser.error(f"{chosen.secret} does not exist; write a line of your own choice into it")
    secret = secret_seed(chosen.secret)
    if secret is None:
        print(
            "Warning: no secret. Hidden values come from a public demonstration seed, which anyone "
            "can read. Write a line of at least 8 characters to a file and pass it as --secret.",
            file=sys.stderr,
        )
        secret = DEMO
    sandbox = shlex.split(chosen.sandbox)
    if sandbox == ["bwrap"]:
        hidden = [chosen.submissions, *([chosen.secret] if chosen.secret else [])]
        sandbox = bubblewrap([path for path in hidden if path.exists()])
    with Process(sandbox, chosen.python) as process:
        done, odd = mark_all(
            chosen.submissions,
            chosen.assignment,
            process=process,
            secret=secret,
            seconds=chosen.seconds,
            secret_file=chosen.secret,
        )
    write(chosen.out, done, odd, secret)
    blank = sum(one.marks is None for one in done)
    print(f"{len(done)} submissions, {blank} with blank marks, {len(odd)} set aside: {chosen.out}")


if __name__ == "__main__":
    try:
        main()
    except NotStarted as error:
        sys.exit(f"Nothing was marked: {error}")
