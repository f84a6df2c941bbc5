"""The state of the code that a benchmark's results depend on, as a digest."""

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parents[1] / "unlearnkit"
SCREEN = ("figures", "widgets", "notebook.py")  # entries of the package that only draw
BROWSER = ("latency", "soak")  # benchmarks of what is drawn
APART = ("report", "renewal", "code_state", "run", "tables", "drawings")  # measure nothing
SHOWING = ("table_of",)  # functions that only lay out what was measured


@functools.cache
def code_of(file: str | Path) -> str:
    """Return a digest of the benchmark, what it imports from its folder, and the package.

    Comments, docstrings, layout and what only makes tables do not count, so the digest stays as it
    is when prose changes. It is computed once, so a run does not notice a later change.
    Figures and panels count for the benchmarks that time them.
    """
    file = Path(file)
    found = hashlib.sha256(_package(file.stem in BROWSER).encode())
    for path in sorted(_imported(file, set())):
        found.update(path.name.encode() + meaning(path.read_text()).encode())
    return found.hexdigest()[:12]


@functools.cache
def _package(screen: bool) -> str:
    found = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE)
        if screen or name.parts[0] not in SCREEN:
            found.update(str(name).encode() + meaning(path.read_text()).encode())
    return found.hexdigest()


def _imported(file: Path, known: set[Path]) -> set[Path]:
    """Add the file and the files of its folder that it imports, directly or not; return all."""
    known.add(file.resolve())
    for name in _imports(ast.parse(file.read_text())):
        path = file.resolve().parent / f"{name}.py"
        if name not in APART and path.exists() and path not in known:
            _imported(path, known)
    return known


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def meaning(text: str) -> str:
    """Return what a file of code does: its syntax tree, without docstrings and ``SHOWING``.

    >>> meaning('x = 1  # one') == meaning('x=1'), meaning('x = 1') == meaning('x = 2')
    (True, False)
    """
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
        if isinstance(node, ast.Module):
            node.body = [each for each in node.body if getattr(each, "name", "") not in SHOWING]
    return ast.dump(tree)
