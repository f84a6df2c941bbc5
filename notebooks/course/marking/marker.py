"""Marks for one submission: the checks of its assignment, one by one."""

import dataclasses
import hashlib
import importlib
import os
from functools import cache
from pathlib import Path
from types import FunctionType

import numpy as np
from nbformat import NotebookNode

from .student import COURSE, ROOT, NotStarted, Process, Student, Unmarked, Wrong
from .submission import Submission, assignment, read, submission

DEMO = "a public seed, for trying things out"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One check: its mark, or None where a person has to look."""

    check: str
    of: int
    mark: int | None
    why: str = ""


@dataclasses.dataclass(frozen=True)
class Marked:
    """A submission with its marks and what the lecturer should know."""

    student: str
    assignment: str
    outcomes: tuple[Outcome, ...]
    remarks: tuple[str, ...] = ()

    @property
    def of(self) -> int:
        """Marks that can be had."""
        return sum(one.of for one in self.outcomes)

    @property
    def certain(self) -> int:
        """Marks of the checks that came to an end."""
        return sum(one.mark or 0 for one in self.outcomes)

    @property
    def marks(self) -> int | None:
        """All marks, or None as long as one check has none."""
        return None if any(one.mark is None for one in self.outcomes) else self.certain


def assignments() -> list[str]:
    """Names of the assignments, in order of the alphabet: every file of `checks/` is one."""
    return sorted(path.stem for path in (COURSE / "checks").glob("[!_]*.py"))


@cache
def checks(name: str) -> tuple[dict[str, FunctionType], tuple[str, ...]]:
    """The checks of an assignment in their order, and the cells that the child is given."""
    module = importlib.import_module(f"checks.{name}")
    found = {key: value for key, value in vars(module).items() if key.startswith("test_")}
    points = assignment(name).points
    if found.keys() != points.keys():
        raise ValueError(
            f"checks/{name}.py and source/{name} have to name the same tests; "
            f"they differ in {sorted(found.keys() ^ points.keys())}"
        )
    return found, module.GIVEN


def secret_seed(path: Path | None = None) -> str | None:
    """The lecturer's secret: the text of a file, COURSE_SECRET, or the course's file `secret`."""
    if path is None and os.environ.get("COURSE_SECRET", "").strip():
        return os.environ["COURSE_SECRET"].strip()
    path = path or COURSE / "secret"
    if not path.exists():
        return None
    text = path.read_text().strip()
    if len(text) < 8:
        raise ValueError(f"{path} holds {len(text)} characters; a secret needs at least 8")
    return text


def generator(secret: str, name: str, check: str) -> np.random.Generator:
    """The hidden values of a check: the same for every student, and unknown without the secret."""
    digest = hashlib.sha256(f"{secret}/{name}/{check}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest))


def mark(
    notebook: NotebookNode | Path,
    name: str,
    process: Process,
    secret: str = DEMO,
    seconds: float = 60,
    student: str = "",
    secret_file: Path | None = None,
) -> Marked:
    """Mark a submission of an assignment.

    Args:
        notebook: the submission, or its file.
        name: the assignment.
        process: where student code runs.
        secret: the seed of the hidden values.
        seconds: of CPU, that each call of a student's function may take.
        student: a name for the table.
        secret_file: kept from the student's code, as the course's folder is.
    """
    functions, given = checks(name)
    task = assignment(name)
    try:
        found = submission(read(notebook) if isinstance(notebook, Path) else notebook, task)
    except Unmarked as reason:
        outcomes = [Outcome(check, of, None, str(reason)) for check, of in task.points.items()]
        return Marked(student, name, tuple(outcomes), (str(reason),))
    folders = [COURSE, ROOT / "tests", *([secret_file.resolve()] if secret_file else [])]
    if isinstance(notebook, Path):
        folders.append(notebook.resolve().parent)
    orders = {
        "given": [[key, task.given[key]] for key in given],
        "hidden": ["unlearnkit"],
        "folders": [*map(str, folders), str(ROOT / "unlearnkit")],
        "cells": found.cells,
    }
    answers = Student(process, orders, seconds)
    outcomes = []
    for check, function in functions.items():
        outcomes.append(
            _outcome(check, function, answers, found, generator(secret, name, check), task)
        )
    remarks = [*found.remarks]
    first = dict(reversed(answers.errors))  # of each cell, the first error
    remarks += [f"{label} raised {error}" for label, error in first.items()]
    remarks += [f"its code tried what it may not: {what}" for what in sorted(answers.denied)]
    remarks += [f"{one.check}: {one.why}" for one in outcomes if one.mark is None]
    return Marked(student, name, tuple(outcomes), tuple(remarks))


def _outcome(check, function, answers: Student, found: Submission, rng, task) -> Outcome:
    of = task.points[check]
    try:
        function(answers, rng)
    except Wrong as wrong:
        text = str(wrong)
        if any(text == f"there is no function {name}" for name in found.absent):
            return Outcome(check, of, None, f"{text}, and no cell for it")
        return Outcome(check, of, 0, text)
    except Unmarked as reason:
        return Outcome(check, of, None, str(reason))
    except NotStarted:
        raise
    except Exception as error:  # the answer was of a kind that the check did not foresee
        return Outcome(check, of, None, f"the check could not read the answer: {error!r:.300}")
    return Outcome(check, of, of)
