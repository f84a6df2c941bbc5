"""A submitted notebook: which of its cells hold the student's work, and what is odd about it."""

import ast
import dataclasses
import re
from collections import Counter
from functools import cache
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from .student import COURSE, Unmarked

# Names that no answer needs and that the lecturer should see. Only a list to read: a mark depends
# on values alone.
UNUSUAL = {
    *("uk", "unlearnkit", "get_ipython", "ast_transformers", "input_transformers_post"),
    *("input_transformers_cleanup", "modules", "_getframe", "f_globals", "f_back", "f_locals"),
    *(
        "builtins",
        "__builtins__",
        "ctypes",
        "gc",
        "subprocess",
        "socket",
        "_exit",
        "system",
        "open",
    ),
    *("read_text", "write_text", "settrace", "setprofile", "addaudithook", "__eq__", "__float__"),
    *("eval", "exec", "importlib", "__import__", "inspect", "getsource", "tracemalloc"),
}
TAKEN = re.compile(r"^\s*%%(time|capture|prun)\b.*$")  # cell magics whose body is run


@dataclasses.dataclass(frozen=True)
class Assignment:
    """The instructor's and the released version of an assignment."""

    name: str
    points: dict[str, int]  # of every check
    given: dict[str, str]  # locked cells without marks
    answers: dict[str, tuple[str, ...]]  # functions that each answer cell defines
    released: dict[str, str]  # source to cell id, as handed out
    tests: dict[str, str]  # released source of each cell with marks


def ids_of(notebook: NotebookNode) -> list[str]:
    """Names that nbgrader gives to cells, in order."""
    found = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells]
    return [name for name in found if name]


def functions(code: str) -> set[str]:
    """Functions that a cell defines; none where it has a syntax error."""
    try:
        body = ast.parse(plain(code)).body
    except (SyntaxError, ValueError):
        return set(re.findall(r"^def (\w+)", code, flags=re.MULTILINE))
    made = {part.name for part in body if isinstance(part, ast.FunctionDef)}
    targets = [one for part in body if isinstance(part, ast.Assign) for one in part.targets]
    return made | {one.id for one in targets if isinstance(one, ast.Name)}  # such as a lambda


@cache
def assignment(name: str) -> Assignment:
    """Read an assignment of the course."""
    source, release = (
        nbformat.read(COURSE / kind / name / f"{name}.ipynb", as_version=4)
        for kind in ("source", "release")
    )
    about = [(cell, cell.metadata.get("nbgrader", {})) for cell in source.cells]
    code = [cell for cell in release.cells if cell.cell_type == "code"]
    names = [cell.metadata.get("nbgrader", {}).get("grade_id", "") for cell in code]
    tests = {one["grade_id"]: "" for _, one in about if one.get("grade")}
    return Assignment(
        name,
        points={one["grade_id"]: one["points"] for _, one in about if one.get("grade")},
        given={
            one["grade_id"]: cell.source
            for cell, one in about
            if one and not one["grade"] and not one["solution"] and cell.cell_type == "code"
        },
        answers={
            one["grade_id"]: tuple(sorted(functions(cell.source)))
            for cell, one in about
            if one.get("solution")
        },
        released={cell.source.strip(): name for cell, name in zip(code, names, strict=True)},
        tests={name: cell.source for cell, name in zip(code, names, strict=True) if name in tests},
    )


def plain(code: str) -> str:
    """Python without the notebook's magics: they run nothing that an answer needs."""
    lines = code.splitlines()
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith("%%") and not TAKEN.match(first):
        return ""
    return "\n".join(
        re.sub(r"\S.*", "pass", line) if re.match(r"\s*[%!?]", line) else line for line in lines
    )


@dataclasses.dataclass
class Submission:
    """The cells of a notebook to be run, and remarks for the lecturer."""

    cells: list[tuple[str, str]]
    absent: set[str]  # functions whose cell is gone
    remarks: list[str]


def read(path: Path) -> NotebookNode:
    """Read a notebook, or say why it cannot be read."""
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:
        raise Unmarked(
            f"the notebook cannot be read: {type(error).__name__}: {error!s:.200}"
        ) from None


def which(notebook: NotebookNode, known: list[str]) -> str | None:
    """Which assignment a notebook answers, by its cells."""
    ids, text = set(ids_of(notebook)), "\n".join(cell.source for cell in notebook.cells)
    defined = set(re.findall(r"^def (\w+)", text, flags=re.MULTILINE))
    scores = {
        name: 2 * len(ids & set(assignment(name).points))
        + len(defined & {one for names in assignment(name).answers.values() for one in names})
        for name in known
    }
    best = max(scores, key=scores.get)
    return best if scores[best] else None


def submission(notebook: NotebookNode, task: Assignment) -> Submission:
    """Take the student's own cells from a notebook.

    Those are the answer cells, and whatever else is neither given nor a test. Where the metadata
    were lost, released cells are known by their text and answers by the functions they define.
    """
    ids, remarks, cells, seen = ids_of(notebook), [], [], set()
    if not ids:
        remarks.append("no cell has nbgrader's metadata; answers were found by their names")
    elif lost := [name for name in task.tests if name not in ids]:
        remarks.append(f"test cells are gone (marked all the same): {', '.join(lost)}")
    if twice := [name for name, count in Counter(ids).items() if count > 1]:
        remarks.append(f"cells that occur twice: {', '.join(twice)}")
    for number, cell in enumerate(notebook.cells):
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if cell.cell_type != "code":
            if name in task.points or name in task.answers:
                remarks.append(f"the cell {name} is no code cell any more")
            continue
        if name in task.tests or name in task.given:
            if cell.source.strip() not in task.released and "HIDDEN TESTS" not in cell.source:
                remarks.append(
                    f"the locked cell {name} was changed; the published version was used"
                )
            continue
        if task.released.get(cell.source.strip(), "") not in task.answers and (
            cell.source.strip() in task.released
        ):
            continue
        code = plain(cell.source)
        seen |= functions(cell.source)
        label = f"cell {name or number}"
        cells.append((label, code))
        if unusual := _unusual(code):
            remarks.append(f"{label} uses {', '.join(sorted(unusual))}")
        try:
            ast.parse(code)
        except (SyntaxError, ValueError) as error:
            remarks.append(f"{label} has a syntax error: {error}")
    present = {one for name in ids if name in task.answers for one in task.answers[name]}
    needed = {one for names in task.answers.values() for one in names}
    absent = needed - seen - present
    if absent:
        remarks.append(f"no cell answers {', '.join(sorted(absent))}")
    return Submission(cells, absent, remarks)


def _unusual(code: str) -> set[str]:
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return set()
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            found |= {name.split(".")[0] for name in [*names, getattr(node, "module", "") or ""]}
    return found & UNUSUAL
