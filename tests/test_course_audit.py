"""Assignment 4 of the course: fair to ten ways of solving it, and to none of cheating.

What holds for every assignment is tested in test_course.py.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

import unlearnkit as uk
from audit_answers import CHEATS, RIGHT

COURSE = Path(__file__).resolve().parent.parent / "notebooks" / "course"
sys.path.insert(0, str(COURSE))

from marking import marker  # noqa: E402
from marking.student import Process  # noqa: E402

SECRET = "a secret of the tests"
SOURCE = nbformat.read(COURSE / "source" / "audit" / "audit.ipynb", as_version=4)


def hand_in(answers: dict[str, str], *, solved: bool) -> nbformat.NotebookNode:
    """A submission with these answers, and the instructor's (or none) for the other cells."""
    notebook = nbformat.read(COURSE / "release" / "audit" / "audit.ipynb", as_version=4)
    own = {cell.metadata.get("nbgrader", {}).get("grade_id"): cell.source for cell in SOURCE.cells}
    for cell in notebook.cells:
        about = cell.metadata.get("nbgrader", {})
        if about.get("solution"):
            usual = own[about.grade_id] if solved else cell.source
            cell.source = answers.get(about.grade_id, usual)
    return notebook


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    """The process that student code runs in."""
    with Process() as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_differently_written_solutions_get_full_marks(name: str, process: Process) -> None:
    marked = marker.mark(hand_in(RIGHT[name], solved=True), "audit", process, SECRET)
    assert marked.marks == marked.of == 20, [one for one in marked.outcomes if one.mark != one.of]


@pytest.mark.slow
@pytest.mark.parametrize("name", CHEATS)
def test_cheats_get_two_marks_at_most(name: str, process: Process) -> None:
    marked = marker.mark(hand_in(CHEATS[name], solved=False), "audit", process, SECRET)
    assert marked.certain <= 2, [one for one in marked.outcomes if one.mark]


@pytest.mark.slow
def test_what_the_notebook_says_is_what_it_shows() -> None:
    scope: dict[str, object] = {"__name__": "audit"}
    for cell in SOURCE.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id", cell.get("id"))
        if cell.cell_type == "code" and name != "command-look" and "HIDDEN" not in cell.source:
            exec(re.sub(r"^figure\.show\(\)$", "", cell.source, flags=re.M), scope)
        if name == "attack-look":  # withdrawn, then true and false of both attacks, by shard
            assert all(
                plain < 0.1 and calibrated > 0.5 for _, plain, _, calibrated, _ in scope["rows"]
            )
    leaks, judge, read_folder = scope["leaks"], scope["judge"], scope["read_folder"]
    assert leaks == {"north": [], "east": [], "south": [], "west": [], "harbour": [3]}
    verdicts = {name: judge(*read_folder(name)) for name in scope["NAMES"]}
    assert verdicts == {
        "north": "sound",
        "east": "damaged",
        "south": "broken",
        "west": "replaced",
        "harbour": "sound",
    }
    # Nothing in the records of harbour is wrong: its models are those of training on its own data.
    harbour = scope["COMPANIES"]["harbour"].dataset
    claims = list(uk.audit(scope["FOLDERS"]["harbour"], dataset=harbour, retrain=True))
    assert any("from scratch" in claim for claim in claims), claims
    # The toolkit agrees, and passes the rewritten ledger only if it is not told the head.
    for name, verdict in verdicts.items():
        folder, noted = scope["FOLDERS"][name], scope["NOTED"][name]
        if verdict == "sound":
            assert len(list(uk.audit(folder, noted))) > 5
            continue
        with pytest.raises(ValueError, match=r"head|damaged"):
            list(uk.audit(folder, noted))
        if verdict == "replaced":
            assert len(list(uk.audit(folder))) > 5
