"""The lecturer's kit: slides whose sentences hold, answers, and ways to Moodle and Gradescope."""

import csv
import importlib.util
import json
import re
import subprocess
import sys
import zipfile
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

COURSE = Path(__file__).resolve().parent.parent / "notebooks" / "course"
KIT = COURSE / "kit"


def tool(name: str) -> ModuleType:
    """A script of the kit as a module."""
    spec = importlib.util.spec_from_file_location(f"kit_{name}", KIT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Slides


def slides() -> nbformat.NotebookNode:
    """The notebook of the slides."""
    return nbformat.read(KIT / "slides.ipynb", as_version=4)


def test_every_cell_of_the_slides_has_its_place_in_the_show() -> None:
    kinds = [cell.metadata.get("slideshow", {}).get("slide_type") for cell in slides().cells]
    assert set(kinds) <= {"slide", "fragment", "notes", "skip", "-"} and kinds[0] == "slide"
    assert 10 <= kinds.count("slide") <= 15
    for cell, kind in zip(slides().cells, kinds, strict=True):
        assert (kind == "slide") == cell.source.startswith("#"), cell.source[:40]
        lines = cell.source.splitlines()
        assert len(lines) <= 12, "more than fits on a slide"
        if cell.cell_type == "code":
            assert max(map(len, lines)) <= 78 and not cell.outputs


def test_the_notes_and_the_plan_fill_one_hour() -> None:
    plan = (KIT / "README.md").read_text()
    rows = re.findall(r"^\| (\d+) to (\d+) \|", plan, re.M)
    minutes = [(int(a), int(b)) for a, b in rows]
    assert minutes[0][0] == 0 and minutes[-1][1] == 60
    assert all(one[1] == other[0] for one, other in pairwise(minutes))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_what_the_slides_say_holds_for_other_seeds(seed: int, capsys) -> None:
    scope: dict[str, object] = {}
    for cell in slides().cells:
        if cell.cell_type == "code":
            exec(cell.source.replace("seed=0", f"seed={seed}"), scope)
    assert "bit-identical to retraining: True" in capsys.readouterr().out
    assert scope["gaps"]["unlearned"] < scope["gaps"]["original"]
    assert 0 < scope["workload"].share < 1
    decision = scope["session"].preview(0.3)
    assert decision.exact and decision.approximate


@pytest.mark.slow
def test_the_slides_become_a_page_with_drawn_figures(tmp_path: Path) -> None:
    page = tmp_path / "slides.html"
    subprocess.run([sys.executable, KIT / "slides.py", page], check=True)
    text = page.read_text()
    assert text.count("<section>") >= 12 and "reveal.js" in text
    assert text.count("Plotly.newPlot(") >= 2 and "Traceback" not in text


# Answers


@pytest.mark.parametrize("name", sorted(path.name for path in (COURSE / "source").iterdir()))
def test_answers_hold_solutions_and_no_hidden_test(name: str) -> None:
    source = nbformat.read(COURSE / "source" / name / f"{name}.ipynb", as_version=4)
    answers = tool("answers").answers(name)
    assert len(answers.cells) == len(source.cells)
    text = "\n".join(cell.source for cell in answers.cells)
    assert "SOLUTION" not in text and "HIDDEN" not in text and "NotImplementedError" not in text
    for cell in answers.cells:
        if cell.cell_type == "code":
            compile(cell.source, cell.id, "exec")


# Moodle

COLUMNS = ["Identifier", "Full name", "Grade", "Maximum Grade", "Grade can be changed"]


def moodle(folder: Path, marks: list[list[str]], sheet: list[list[str]], *options: str):
    """Run the script on tables; return its result and the rows of the worksheet."""
    for name, head, rows in (
        ("marks.csv", ["student", "assignment", "marks", "of", "why_blank", "remarks"], marks),
        ("sheet.csv", COLUMNS, sheet),
    ):
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows([head, *rows])
    command = [sys.executable, KIT / "moodle.py", "marks.csv", "sheet.csv", "out.csv", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    out = folder / "out.csv"
    return done, list(csv.DictReader(out.open())) if out.exists() else []


def test_marks_reach_their_participants_and_blank_ones_stay_blank(tmp_path: Path) -> None:
    marks = [
        ["Ada L_101_assignsubmission_file", "audit", "18", "20", "", "0"],
        ["Bob M_102_assignsubmission_file", "audit", "", "20", "the process ended", "1"],
        ["Cyd N_103_assignsubmission_file_audit", "audit", "7", "20", "", "0"],
        ["Eve P_105_assignsubmission_file", "audit", "20", "20", "", "0"],
    ]
    sheet = [
        ["Participant 103", "Cyd N", "", "20.00", "Yes"],
        ["Participant 101", "Ada L", "", "20.00", "Yes"],
        ["Participant 102", "Bob M", "", "20.00", "Yes"],
        ["Participant 104", "Dan O", "", "20.00", "Yes"],
    ]
    done, rows = moodle(tmp_path, marks, sheet)
    assert done.returncode == 0, done.stderr
    assert [row["Grade"] for row in rows] == ["7.00", "18.00", "", ""]
    assert [row["Identifier"] for row in rows] == [row[0] for row in sheet]
    assert "Participant 102: no mark yet (the process ended)" in done.stdout
    assert "participant 105: marked, but not in the worksheet" in done.stdout


def test_another_maximum_grade_is_refused_or_scaled(tmp_path: Path) -> None:
    marks = [["Ada L_101_assignsubmission_file", "audit", "18", "20", "", "0"]]
    sheet = [["Participant 101", "Ada L", "", "100.00", "Yes"]]
    done, rows = moodle(tmp_path, marks, sheet)
    assert done.returncode == 2 and "20 marks" in done.stderr and not rows
    _, rows = moodle(tmp_path, marks, sheet, "--scale")
    assert rows[0]["Grade"] == "90.00"


def test_a_folder_that_is_not_from_moodle_is_refused(tmp_path: Path) -> None:
    done, rows = moodle(tmp_path, [["ada", "audit", "18", "20", "", "0"]], [])
    assert done.returncode == 2 and "named by Moodle" in done.stderr and not rows


# Gradescope


@pytest.mark.slow
def test_the_packed_autograder_marks_where_gradescope_puts_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret of the tests\n")
    out = tmp_path / "audit.zip"
    command = [sys.executable, KIT / "gradescope.py", "audit", out, "--secret", secret]
    subprocess.run(command, check=True)
    source, submission = tmp_path / "autograder" / "source", tmp_path / "autograder" / "submission"
    with zipfile.ZipFile(out) as packed:
        modes = {entry.filename: entry.external_attr >> 16 for entry in packed.infolist()}
        packed.extractall(source)
    assert modes["run_autograder"] & 0o100 and modes["setup.sh"] & 0o100
    submission.mkdir()
    nbformat.write(tool("answers").answers("audit"), submission / "mine.ipynb")
    results = tmp_path / "autograder" / "results" / "results.json"
    run = [sys.executable, source / "results.py", tmp_path / "autograder"]
    subprocess.run(run, check=True, cwd=tmp_path)
    tests = json.loads(results.read_text())["tests"]
    assert sum(test["score"] for test in tests) == sum(test["max_score"] for test in tests) == 20
    assert {test["visibility"] for test in tests} == {"after_published"}
    # No notebook, no score: Gradescope is to say that the autograder failed.
    results.unlink()
    (submission / "mine.ipynb").unlink()
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 1 and "met 0" in done.stdout and not results.exists()
