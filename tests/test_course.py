"""The course: its student versions are current, and its marks go to those who earned them.

The marking script is the instrument of record, so most tests ask it. One process serves them all,
as it does a class. nbgrader itself generates, grades and exports once, as an instructor would.
"""

import csv
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from traitlets.config import PyFileConfigLoader

import course_influence
import course_retraining
import course_workload
from course_answers import MISTAKES, WRONG
from course_cheats import CHEATS, REFIT, THIEF

COURSE = Path(__file__).resolve().parent.parent / "notebooks" / "course"
sys.path.insert(0, str(COURSE))

from marking import marker  # noqa: E402
from marking.student import Process  # noqa: E402

OTHERS = {
    "workload": course_workload.ANSWERS,
    "retraining": course_retraining.ANSWERS,
    "influence": course_influence.ANSWERS,
}
ASSIGNMENTS = (*OTHERS, "audit")  # whose other solutions and cheats test_course_audit.py tries
SECRET = "a secret of the tests"


def read(kind: str, name: str) -> NotebookNode:
    """Read an assignment as the instructor (`source`) or the student (`release`) has it."""
    return nbformat.read(COURSE / kind / name / f"{name}.ipynb", as_version=4)


def graded(notebook: NotebookNode) -> dict[str, int]:
    """Marks of every cell that has some."""
    cells = [cell.metadata.get("nbgrader", {}) for cell in notebook.cells]
    return {cell["grade_id"]: cell["points"] for cell in cells if cell.get("grade")}


def hand_in(name: str, answers: dict[str, str]) -> NotebookNode:
    """Return the student version with these sources in its solution cells."""
    notebook = read("release", name)
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = answers.get(cell.metadata.nbgrader.grade_id, cell.source)
    return notebook


def solutions(name: str) -> dict[str, str]:
    """Sources of the instructor's solution cells."""
    cells = [cell for cell in read("source", name).cells if "nbgrader" in cell.metadata]
    return {c.metadata.nbgrader.grade_id: c.source for c in cells if c.metadata.nbgrader.solution}


def with_mistake(name: str, mistake: tuple[str, str, str]) -> dict[str, str]:
    """Return the instructor's solutions, one line of one of them replaced."""
    cell, right, wrong = mistake
    answers = solutions(name)
    assert answers[cell].count(right) == 1, f"{cell} holds {right!r} not once; renew the mistake"
    return answers | {cell: answers[cell].replace(right, wrong)}


@pytest.fixture(scope="session")
def process() -> Iterator[Process]:
    """The process that student code runs in."""
    with Process() as running:
        yield running


def mark(notebook: NotebookNode, name: str, process: Process, seconds: float = 60):
    """Mark a notebook with the secret of the tests."""
    return marker.mark(notebook, name, process, SECRET, seconds)


def lost(marked) -> dict[str, str]:
    """Checks that failed, and why."""
    return {one.check: one.why for one in marked.outcomes if one.mark == 0}


# The marking script


def other(name: str, number: int) -> dict[str, str]:
    """One of the ten differently written solutions of an assignment."""
    assert OTHERS[name].keys() == solutions(name).keys()
    return {cell: codes[number % len(codes)] for cell, codes in OTHERS[name].items()}


def check_full(name: str, answers: dict[str, str], process: Process) -> None:
    marked = mark(hand_in(name, answers), name, process)
    assert marked.marks == marked.of, [one for one in marked.outcomes if one.mark != one.of]


@pytest.mark.slow
@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_the_published_solution_gets_full_marks(name: str, process: Process) -> None:
    check_full(name, solutions(name), process)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("name", OTHERS)
def test_other_correct_solutions_get_full_marks(name: str, number: int, process: Process) -> None:
    check_full(name, other(name, number), process)


@pytest.mark.weekly
@pytest.mark.parametrize("number", range(3, 10))
@pytest.mark.parametrize("name", OTHERS)
def test_more_correct_solutions_get_full_marks(name: str, number: int, process: Process) -> None:
    check_full(name, other(name, number), process)


@pytest.mark.slow
@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_an_untouched_assignment_gets_no_marks(name: str, process: Process) -> None:
    marked = mark(hand_in(name, {}), name, process)
    assert lost(marked).keys() == graded(read("source", name)).keys()
    assert all("NotImplementedError" in why for why in lost(marked).values())


CASES = [
    (name, mistake, cost)
    for name in ASSIGNMENTS
    for mistake, cost in (WRONG[name], *MISTAKES[name])
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mistake", "cost"), CASES)
def test_mistakes_cost_the_marks_of_their_task_and_say_why(
    name: str, mistake: tuple[str, str, str], cost: tuple[str, ...], process: Process
) -> None:
    found = lost(mark(hand_in(name, with_mistake(name, mistake)), name, process))
    assert found.keys() == set(cost), found
    assert all(len(why) > 20 for why in found.values()), "a message that does not say why"


@pytest.mark.slow
def test_the_secret_decides_the_hidden_values_and_nothing_else(process: Process) -> None:
    wrong = hand_in("workload", with_mistake("workload", WRONG["workload"][0]))
    one, again, other = (
        lost(marker.mark(wrong, "workload", process, secret))
        for secret in (SECRET, SECRET, "other")
    )
    assert one == again
    assert one.keys() == other.keys() and one != other


# No mark without work


def functions(name: str) -> dict[str, list[str]]:
    """Names of the functions that each answer cell defines."""
    cells = solutions(name).items()
    return {cell: re.findall(r"^def (\w+)", code, flags=re.MULTILINE) for cell, code in cells}


def cheating(name: str, how: str, out: Path) -> NotebookNode:
    """Return a submission without work."""
    cheat = CHEATS[how]
    answers = {
        cell: cheat.answers.get(cell) or "\n\n".join(cheat.every.format(name=one) for one in names)
        for cell, names in functions(name).items()
    }
    notebook = hand_in(name, answers)
    places = f"COURSE, OUT = {str(COURSE)!r}, {str(out)!r}\n"
    notebook.cells.insert(1, nbformat.v4.new_code_cell(places + cheat.first))
    return notebook


TRIES = [(how, name) for how, cheat in CHEATS.items() for name in cheat.only]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "name"),
    [
        pytest.param(how, name, marks=() if name == "workload" else pytest.mark.weekly)
        for how, name in TRIES
    ],
)
def test_cheats_get_at_most_a_tenth_of_the_marks(
    how: str, name: str, process: Process, tmp_path: Path
) -> None:
    (tmp_path / "marks.csv").write_text("as it was")
    marked = mark(cheating(name, how, tmp_path), name, process, seconds=20)
    assert marked.certain <= marked.of / 10, [one for one in marked.outcomes if one.mark]
    assert (tmp_path / "marks.csv").read_text() == "as it was"
    assert not (COURSE / "marks.csv").exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", REFIT)
def test_retraining_is_no_influence_update(how: str, process: Process) -> None:
    answers = solutions("influence") | {"influence_update": REFIT[how]}
    found = lost(mark(hand_in("influence", answers), "influence", process))
    own = ("test_influence", "test_influence_squared", "test_influence_logistic")
    assert found.keys() == {*own, "test_influence_ends"}


@pytest.mark.slow
def test_lent_functions_cannot_be_kept(process: Process) -> None:
    answers = solutions("retraining") | THIEF
    found = lost(mark(hand_in("retraining", answers), "retraining", process))
    own = ("test_stage", "test_stage_hidden", "test_key", "test_key_hidden", "test_together")
    assert found.keys() == set(own)


@pytest.mark.slow
def test_attempts_are_reported(process: Process, tmp_path: Path) -> None:
    files = cheating("workload", "looks for the tests in files", tmp_path)
    text = "\n".join(mark(files, "workload", process).remarks)
    assert "tried what it may not" in text and str(COURSE) in text
    toolkit = cheating("workload", "imports the toolkit", tmp_path)
    text = "\n".join(mark(toolkit, "workload", process).remarks)
    assert "import unlearnkit" in text and "gc.get_objects" in text and "uses" in text


# Nothing is 0 by accident


def stripped(notebook: NotebookNode) -> NotebookNode:
    """A notebook without any metadata of its cells, as some tools leave it."""
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
    return notebook


@pytest.mark.slow
def test_stripped_metadata_and_deleted_tests_cost_nothing_and_are_listed(process: Process) -> None:
    bare = mark(stripped(hand_in("workload", solutions("workload"))), "workload", process)
    assert bare.marks == bare.of and "no cell has nbgrader's metadata" in bare.remarks[0]
    notebook = hand_in("workload", solutions("workload"))
    tests = graded(notebook)
    notebook.cells = [
        cell
        for cell in notebook.cells
        if cell.metadata.get("nbgrader", {}).get("grade_id") not in tests
    ]
    fewer = mark(notebook, "workload", process)
    assert fewer.marks == fewer.of and "test cells are gone" in fewer.remarks[0]
    for test in tests:
        assert test in fewer.remarks[0]


BROKEN = {
    "dies": ("import os\ndef largest_request(*a):\n    os._exit(0)", "the process ended", None),
    "hangs": (
        "def largest_request(*a):\n    while True: pass",
        "no answer within 3 seconds of CPU",
        None,
    ),
    "is gone": (None, "no function largest_request", None),
    "does not parse": ("def largest_request(*a):\n    return 1 +", "no function", 0),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", BROKEN)
def test_marks_that_cannot_be_found_stay_blank_with_the_reason(how: str, process: Process) -> None:
    code, why, mark_of_it = BROKEN[how]
    notebook = hand_in("workload", solutions("workload"))
    for cell in list(notebook.cells):
        if cell.metadata.get("nbgrader", {}).get("grade_id") == "largest_request":
            cell.source = code or ""
            if code is None:
                notebook.cells.remove(cell)
    marked = mark(notebook, "workload", process, seconds=3)
    outcomes = {one.check: one for one in marked.outcomes}
    for check, one in outcomes.items():
        hit = check in ("test_largest", "test_largest_hidden")
        assert one.mark == (mark_of_it if hit else one.of), one
        assert not hit or why in one.why
    assert any("largest_request" in text or "test_largest" in text for text in marked.remarks)
    assert marked.marks == (None if mark_of_it is None else 21) and marked.certain == 21


@pytest.mark.slow
def test_the_script_writes_marks_checks_and_a_report(tmp_path: Path) -> None:
    class_of = tmp_path / "submitted"
    for student, notebook in (
        ("ada", hand_in("workload", solutions("workload"))),
        ("bob", hand_in("workload", {})),
    ):
        (class_of / student / "workload").mkdir(parents=True)
        nbformat.write(notebook, class_of / student / "workload" / "workload.ipynb")
    (class_of / "cyd").mkdir()
    (class_of / "cyd" / "workload.ipynb").write_text("{ not a notebook")
    (class_of / "dan").mkdir()
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    subprocess.run(
        [sys.executable, COURSE / "mark.py", class_of, "--out", "marks.csv", "--secret", secret],
        cwd=tmp_path,
        check=True,
    )
    rows = {row["student"]: row for row in csv.DictReader((tmp_path / "marks.csv").open())}
    assert [(s, row["marks"]) for s, row in rows.items()] == [
        ("ada", "24"),
        ("bob", "0"),
        ("cyd", ""),
    ]
    assert "cannot be read" in rows["cyd"]["why_blank"]
    checks = list(csv.DictReader((tmp_path / "marks-checks.csv").open()))
    assert len(checks) == 3 * len(graded(read("source", "workload")))
    report = (tmp_path / "marks-report.md").read_text()
    assert "dan: no notebook that could be marked" in report and "NotImplementedError" in report


def test_a_short_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("abc\n")
    with pytest.raises(ValueError, match="holds 3 characters; a secret needs at least 8"):
        marker.secret_seed(tmp_path / "secret")


# nbgrader


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nbgrader's commands in an empty course folder, apart from this machine's Jupyter settings."""
    from nbgrader.apps import NbGraderAPI

    # It calls alembic by name, and its kernels need the package under test.
    programs = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", programs, prepend=":")
    monkeypatch.setenv("PYTHONPATH", str(COURSE.parent.parent), prepend=":")
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / ".jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / ".ipython"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("COURSE_SECRET", SECRET)
    config = PyFileConfigLoader("nbgrader_config.py", path=str(COURSE)).load_config()
    config.CourseDirectory.root = str(tmp_path)
    config.Mark.seconds = 20
    return NbGraderAPI(config=config)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_nbgrader_generates_the_student_version(name: str, tmp_path: Path, course) -> None:
    (tmp_path / "source" / name).mkdir(parents=True)
    nbformat.write(read("source", name), tmp_path / "source" / name / f"{name}.ipynb")
    done = course.generate_assignment(name)
    assert done["success"], done
    released = nbformat.read(tmp_path / "release" / name / f"{name}.ipynb", as_version=4)
    assert released == read("release", name), "the student version is old; run `make course`"


@pytest.mark.slow
@pytest.mark.timeout(600)  # a process for each submission, and each imports torch
def test_nbgrader_shows_and_exports_the_marks_of_the_script(tmp_path: Path, course) -> None:
    from marking.gradebook import ExportMarks

    name, marks = "workload", graded(read("source", "workload"))
    (tmp_path / "source" / name).mkdir(parents=True)
    nbformat.write(read("source", name), tmp_path / "source" / name / f"{name}.ipynb")
    assert course.generate_assignment(name)["success"]
    mistake, cost = WRONG[name]
    dies = solutions(name) | {"largest_request": BROKEN["dies"][0]}
    wrong = hand_in(name, with_mistake(name, mistake))
    for cell in list(wrong.cells):
        if cell.metadata.get("nbgrader", {}).get("grade_id") == cost[0]:
            wrong.cells.remove(cell)  # deleting a failing test does not help
    submissions = {
        "solution": (hand_in(name, solutions(name)), {}),
        "wrong": (wrong, dict.fromkeys(cost, 0)),
        "stripped": (stripped(hand_in(name, solutions(name))), {}),
        "dies": (hand_in(name, dies), {"test_largest": None, "test_largest_hidden": None}),
    }
    for student, (notebook, _) in submissions.items():
        folder = tmp_path / "submitted" / student / name
        folder.mkdir(parents=True)
        nbformat.write(notebook, folder / f"{name}.ipynb")
        done = course.autograde(name, student)
        assert done["success"], done
    with course.gradebook as gradebook:
        for student, (_, found) in submissions.items():
            submission = gradebook.find_submission(name, student)
            grades = {grade.name: grade.auto_score for grade in submission.notebooks[0].grades}
            assert grades == {cell: found.get(cell, marks[cell]) for cell in marks}, student
            assert submission.needs_manual_grade == (student == "dies")
        gradebook.update_or_create_student("absent")
        ExportMarks(to=str(tmp_path / "grades.csv")).export(gradebook)
    rows = {row["student_id"]: row for row in csv.DictReader((tmp_path / "grades.csv").open())}
    scores = {student: row["score"] for student, row in rows.items()}
    whole = float(sum(marks.values()))
    assert scores == {
        "absent": "",
        "dies": "",
        "solution": str(whole),
        "stripped": str(whole),
        "wrong": str(whole - sum(marks[cell] for cell in cost)),
    }
    assert rows["absent"]["why_blank"] == "nothing handed in"
    done = course.generate_feedback(name, "wrong")
    assert done["success"], done
    page = (tmp_path / "feedback" / "wrong" / name / f"{name}.html").read_text()
    assert "expected_visits" in page and "Wrong" in page


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_student_versions_hold_no_solutions_and_the_guide_holds_the_marks(name: str) -> None:
    source, release = read("source", name), read("release", name)
    marks = graded(source)
    assert graded(release) == marks
    text = "\n".join(cell.source for cell in release.cells)
    assert "HIDDEN TESTS" not in text and "SOLUTION" not in text
    assert text.count("raise NotImplementedError()") >= len(solutions(name))
    guide = (COURSE / "README.md").read_text()
    for cell, points in marks.items():
        assert f"| `{cell}` | {points} |" in guide, f"the rubric lacks {cell}: {points}"
    assert f"**Marks:** {sum(marks.values())}." in text
