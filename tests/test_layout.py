"""The shape of the repository: who imports whom, what lies where, what a notebook carries."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "unlearnkit"

# From dataset to notebook; a module imports only from modules before it.
ORDER = (
    *("progress", "registry", "seeding", "losses", "spec"),
    *("sources", "intake", "examples", "arrays", "encoding", "frames"),
    *("torch_data", "hugging_face", "named_images", "named_tables", "datasets"),
    *("models", "defaults", "partition", "revocation", "deadlines"),
    *("plan", "store", "schedule"),
    *("kernels", "clock", "calibration", "stopwatch", "workers", "training", "ensemble"),
    *("metrics", "tasks", "curvature", "looks"),
    *("workload", "forecast", "boundary", "adaptive", "override", "approximate"),
    *("modification", "assessment", "unlearning", "repayment"),
    *("ledger", "history", "resumption"),
    *("certificate", "audit", "script"),
    *("attacks", "comparison", "relearn"),
    *("parameters", "seed_distances", "representations", "agreement", "exposure"),
    *("hardness", "selection"),
    *("session", "choosing", "milestones", "stream", "study", "population", "estimator"),
    *("figures",),
    *("widgets",),
)
# `session.dashboard()` is the one door from the core to the widgets; it imports them when called.
LOOKS_AHEAD = {("session", "widgets")}
# They gather the modules for the outside.
EXEMPT = ("__init__", "__main__")

TOP_LEVEL = {
    *("unlearnkit", "notebooks", "tests", "binder"),
    *("pyproject.toml", "README.md", "LICENSE", "Makefile"),
}

NOTEBOOKS = sorted((ROOT / "notebooks").glob("**/*.ipynb"))


def module_files() -> list[Path]:
    """All files of the package but those directly in it that are exempt."""
    files = sorted(PACKAGE.glob("**/*.py"))
    return [file for file in files if not (file.parent == PACKAGE and file.stem in EXEMPT)]


def entry(file: Path) -> str:
    """Name the entry of ORDER that `file` belongs to; a package's files share one."""
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_entries(source: str, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Yield (line, entry) of all that `source`, a module of `package`, imports of unlearnkit.

    Imports under TYPE_CHECKING and inside functions count too.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            targets = [(*base, alias.name) for alias in node.names]
        else:
            continue
        for target in targets:
            if target[0] == "unlearnkit":
                yield node.lineno, target[1] if len(target) > 1 else ""


@pytest.mark.parametrize(
    ("source", "package", "expected"),
    [
        ("from .plan import Stage", ("unlearnkit",), ["plan"]),
        ("from . import plan, spec", ("unlearnkit",), ["plan", "spec"]),
        ("from ..plan import Stage", ("unlearnkit", "kernels"), ["plan"]),
        ("from .loop import run", ("unlearnkit", "kernels"), ["kernels"]),
        ("import unlearnkit.training.plan as p\nimport numpy", ("unlearnkit",), ["plan"]),
        ("from unlearnkit import Session", ("unlearnkit",), ["Session"]),
        ("import unlearnkit", ("unlearnkit",), [""]),
        ("def f():\n    from unlearnkit.store.disk import x", ("unlearnkit",), ["store"]),
    ],
)
def test_imports_are_read_as_python_reads_them(source, package, expected):
    assert [name for _, name in imported_entries(source, package)] == expected


@pytest.mark.parametrize("file", module_files(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_module_imports_only_from_earlier_ones(file):
    own = entry(file)
    assert own in ORDER, f"{own} has no place in ORDER yet; give it one"
    allowed = ORDER[: ORDER.index(own)]
    if (PACKAGE / own).is_dir():
        allowed += (own,)
    package = ("unlearnkit", *file.parent.relative_to(PACKAGE).parts)
    wrong = [
        f"line {line}: unlearnkit.{name}"
        for line, name in imported_entries(file.read_text(), package)
        if name not in allowed and (own, name) not in LOOKS_AHEAD
    ]
    assert not wrong, f"{file.name} may import only from {allowed}"


def test_importing_the_package_needs_neither_widgets_nor_plotly_nor_tables():
    code = "import sys, unlearnkit; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    slow = {"ipywidgets", "plotly", "anywidget", "matplotlib", "pandas", "scipy", "sklearn"}
    assert not slow & set(result.stdout.split())


def test_the_top_level_holds_the_agreed_entries_only():
    # Files not committed yet count, so that a stray one shows before the commit.
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        pytest.skip(f"not a git checkout: {result.stderr.strip()}")
    names = result.stdout.rstrip("\0").split("\0")
    present = {Path(name).parts[0] for name in names if (ROOT / name).exists()}
    assert {name for name in present if not name.startswith(".")} == TOP_LEVEL


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_committed_without_outputs(path):
    notebook = json.loads(path.read_text())
    assert "widgets" not in notebook["metadata"], "widget state; turn off its saving and clear it"
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            assert not cell["outputs"], f"cell {number} has outputs; clear all outputs"
            assert cell["execution_count"] is None, f"cell {number} was run; clear all outputs"
