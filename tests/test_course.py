"""The course: its student versions are current, and its marks go to those who earned them.

`nbgrader` itself generates and grades, as an instructor would have it do. Whether other correct
solutions get full marks, and other mistakes the marks that they should, is tried cell by cell in
this process, which is much faster than a kernel each.
"""

import os
import sys
from pathlib import Path

import nbformat
import pytest
import torch
from nbformat import NotebookNode
from traitlets.config import PyFileConfigLoader

from course_answers import MISTAKES, OTHERS, WRONG

COURSE = Path(__file__).resolve().parent.parent / "notebooks" / "course"
ASSIGNMENTS = ("workload", "retraining", "influence")


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


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nbgrader's commands in an empty course folder, apart from this machine's Jupyter settings."""
    from nbgrader.apps import NbGraderAPI

    # It calls alembic by name, and its kernels need the package under test.
    programs = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", programs, prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(COURSE.parent.parent), prepend=os.pathsep)
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / ".jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / ".ipython"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    config = PyFileConfigLoader("nbgrader_config.py", path=str(COURSE)).load_config()
    config.CourseDirectory.root = str(tmp_path)
    return NbGraderAPI(config=config)


@pytest.mark.slow
@pytest.mark.timeout(600)  # three kernels, each of which imports torch
@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_nbgrader_generates_the_student_version_and_gives_the_right_marks(
    name: str, tmp_path: Path, course
) -> None:
    (tmp_path / "source" / name).mkdir(parents=True)
    nbformat.write(read("source", name), tmp_path / "source" / name / f"{name}.ipynb")
    done = course.generate_assignment(name)
    assert done["success"], done
    released = nbformat.read(tmp_path / "release" / name / f"{name}.ipynb", as_version=4)
    assert released == read("release", name), "the student version is old; run `make course`"

    submissions: dict[str, tuple[dict[str, str], set[str]]] = {"solution": (solutions(name), set())}
    if name == ASSIGNMENTS[0]:  # the others are marked in this process below
        mistake, lost = WRONG[name]
        submissions["untouched"] = {}, set(graded(released))
        submissions["wrong"] = with_mistake(name, mistake), set(lost)
    for student, (answers, _) in submissions.items():
        folder = tmp_path / "submitted" / student / name
        folder.mkdir(parents=True)
        nbformat.write(hand_in(name, answers), folder / f"{name}.ipynb")
        done = course.autograde(name, student)
        assert done["success"], done

    marks = graded(read("source", name))
    with course.gradebook as gradebook:
        for student, (_, lost) in submissions.items():
            submission = gradebook.find_submission(name, student)
            assert not submission.needs_manual_grade
            found = {grade.name: grade.score for grade in submission.notebooks[0].grades}
            assert found == {cell: 0 if cell in lost else marks[cell] for cell in marks}, student
            assert submission.max_score == sum(marks.values())


def mark(notebook: NotebookNode, source: NotebookNode) -> dict[str, Exception]:
    """Run the cells of an assignment in this process; return the test cells that failed.

    As nbgrader does, take all cells but the solutions from the source, and go on after an error.
    """
    answers = {cell.metadata.get("nbgrader", {}).get("grade_id"): cell for cell in notebook.cells}
    scope, failed = {"__name__": "assignment"}, {}
    for cell in source.cells:
        about = cell.metadata.get("nbgrader")
        if about is None:  # prose, and the figures, which no mark depends on
            continue
        code = answers[about.grade_id].source if about.solution else cell.source
        try:
            exec(compile(code, about.grade_id, "exec"), scope)
        except Exception as error:
            failed[about.grade_id] = error
    return {cell: error for cell, error in failed.items() if cell in graded(source)}


@pytest.fixture
def undisturbed(monkeypatch: pytest.MonkeyPatch):
    """Put back what the notebooks set: the error stream and torch's threads."""
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_other_correct_solutions_get_full_marks(name: str) -> None:
    assert OTHERS[name].keys() == solutions(name).keys()
    assert mark(hand_in(name, OTHERS[name]), read("source", name)) == {}


@pytest.mark.slow
@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_an_untouched_assignment_gets_no_marks(name: str) -> None:
    source = read("source", name)
    assert mark(hand_in(name, {}), source).keys() == graded(source).keys()


CASES = [
    (name, mistake, lost)
    for name in ASSIGNMENTS
    for mistake, lost in (WRONG[name], *MISTAKES[name])
]


@pytest.mark.slow
@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize(("name", "mistake", "lost"), CASES)
def test_mistakes_cost_the_marks_of_their_task_and_say_why(
    name: str, mistake: tuple[str, str, str], lost: tuple[str, ...]
) -> None:
    failed = mark(hand_in(name, with_mistake(name, mistake)), read("source", name))
    assert failed.keys() == set(lost), failed
    assert all(len(str(error)) > 20 for error in failed.values()), "a test that does not say why"


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
