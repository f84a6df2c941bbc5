"""The shape of the repository: who imports whom, what lies where, what a notebook carries."""

import ast
import json
import subprocess
import sys
from collections.abc import Container, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "unlearnkit"

# The wings of the package from the ground up: folders, and modules that stand by themselves.
# A module imports from its own wing and from those before it.
WINGS = (
    *(
        "torch_settings",
        "interrupts",
        "threads",
        "progress",
        "seeding",
        "display",
        "registry",
        "store",
        "data",
        "models",
        "metrics",
    ),
    *("training", "approximate", "unlearning", "records"),
    *("evaluation", "estimators", "selection", "figures", "session", "studies"),
    *("widgets", "notebook", "__main__"),
)
# A reader takes in a folder of this many entries at a glance.
MOST_IN_A_WING, MOST_AT_THE_TOP = 15, 25

# Tests of what no single module does; all others lie as the module that they test.
CROSS_CUTTING = {
    *("test_course_audit.py", "test_course_kit.py"),
    *("test_binder.py", "test_course.py", "test_devices.py", "test_exactness.py"),
    *("test_benchmarks.py", "test_docstrings.py", "test_groups.py", "test_layout.py"),
    "test_package.py",
    *("test_prose.py", "test_regression.py", "evaluation/test_own_metrics.py"),
    *("store/test_durability.py", "store/test_strangers.py", "store/test_stored_factors.py"),
    *("store/test_copies.py", "training/test_any_module.py"),
    "widgets/test_groups_in_panels.py",
    *("test_links.py", "test_notebooks.py"),
}

# Modules of more than this many lines have a test file at their place, except for those here: parts
# of panels, which the panels' own tests use as a person does; figures and the parts of still
# pictures; methods' settings and one method. The tests of example maps, of whole pictures, of
# staged influence and the contract of methods cover these; those of what all estimators share
# cover the regressor.
MOST_UNTESTED = 100
TESTED_ELSEWHERE = {
    "__main__.py",
    *("approximate/baselines/trajectory.py", "approximate/influence/settings.py"),
    "estimators/regressor.py",
    *(
        f"figures/still/{name}.py"
        for name in ("axes", "bars", "canvas", "cells", "colors", "frame")
    ),
    *(f"figures/still/{name}.py" for name in ("furniture", "lines", "markers", "values")),
    *("figures/example_map.py", "widgets/boundary/route_table.py", "widgets/boundary/controls.py"),
    *("widgets/ledger/sections.py", "widgets/parts/export.py", "widgets/parts/html.py"),
    *("widgets/revocation/picker.py", "widgets/parts/plot.py", "widgets/parts/runner.py"),
    *("widgets/parts/section.py", "widgets/parts/shared.py", "widgets/parts/view.py"),
    *("widgets/revocation/base.py", "widgets/parts/elements/head.py", "widgets/workbench/strip.py"),
    "widgets/instrument/still.py",
}

TOP_LEVEL = {
    *("unlearnkit", "notebooks", "tests", "binder"),
    *("pyproject.toml", "README.md", "LICENSE", "Makefile"),
}

NOTEBOOKS = sorted((ROOT / "notebooks").glob("**/*.ipynb"))


def package_modules() -> dict[str, Path]:
    """All modules of the package by their full names; a folder goes by its own name."""
    modules = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return modules


def imports(source: str, name: str, is_folder: bool, known: Container[str]) -> set[str]:
    """Return those of the known modules that `source`, the text of the module `name`, imports.

    Imports under TYPE_CHECKING and inside functions count too.
    """
    package = name.split(".") if is_folder else name.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base += node.module.split(".") if node.module else []
            for alias in node.names:
                full = ".".join([*base, alias.name])
                found.add(full if full in known else ".".join(base))
    return {module for module in found if module in known and module != name}


def import_graph() -> dict[str, set[str]]:
    """For each module of the package, the modules of the package that it imports."""
    modules = package_modules()
    return {
        name: imports(file.read_text(), name, file.stem == "__init__", modules)
        for name, file in modules.items()
    }


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the names along one circle of `graph`, or none where there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        names: list[str] = error.args[1]
        return names
    return []


def level(module: str) -> int:
    """Return the place of a module's wing in WINGS; the package itself stands above all."""
    return WINGS.index(module.split(".")[1]) if "." in module else len(WINGS)


@pytest.mark.parametrize(
    ("source", "name", "expected"),
    [
        ("from .plan import Plan", "p.train", {"p.plan"}),
        ("from . import plan, spec", "p.train", {"p.plan", "p.spec"}),
        ("from ..plan import Plan", "p.store.disk", {"p.plan"}),
        ("from .memory import Memory", "p.store", {"p.store.memory"}),
        ("from .memory import Memory", "p.store.disk", {"p.store.memory"}),
        ("from p.store import memory, Store", "p.plan", {"p.store.memory", "p.store"}),
        ("import p.store.memory as m\nimport numpy", "p.plan", {"p.store.memory"}),
        ("from p import Session", "p.plan", {"p"}),
        ("import p", "p.plan", {"p"}),
        ("from p.plan import Stage", "p.plan", set()),
        ("def f():\n    from p.store.disk import x", "p.plan", {"p.store.disk"}),
        ("if TYPE_CHECKING:\n    from p.spec import Spec", "p.plan", {"p.spec"}),
    ],
)
def test_imports_are_read_as_python_reads_them(source, name, expected):
    known = {"p", "p.plan", "p.spec", "p.train", "p.store", "p.store.disk", "p.store.memory"}
    assert imports(source, name, name == "p.store", known) == expected


def test_a_circle_is_found_and_its_absence_too():
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": {"b"}})) == {"b", "c", "d"}


def test_a_module_imports_only_from_its_own_wing_and_those_below():
    wrong = [
        f"{name} imports {target}"
        for name, targets in import_graph().items()
        for target in sorted(targets)
        if level(target) > level(name)
    ]
    assert not wrong


def test_every_wing_has_its_place():
    wings = {name.split(".")[1] for name in package_modules() if "." in name}
    assert not wings - set(WINGS), "give the new wing a place in WINGS"


def test_no_modules_import_each_other_in_a_circle():
    assert not circle(import_graph())


def test_a_wing_is_taken_in_at_a_glance():
    for folder in {file.parent for file in package_modules().values()}:
        most = MOST_AT_THE_TOP if folder == PACKAGE else MOST_IN_A_WING
        names = {path.name for path in folder.iterdir()} - {"__init__.py", "__pycache__"}
        assert len(names) <= most, f"{folder.relative_to(ROOT)}: give some a folder of their own"


def test_tests_lie_as_the_package_does():
    tests = ROOT / "tests"
    places = {file.relative_to(tests) for file in tests.rglob("test_*.py")}
    places = {place for place in places if place.parts[0] != "browser"}
    assert CROSS_CUTTING <= {place.as_posix() for place in places}
    for place in places:
        module = PACKAGE / place.with_name(place.name.removeprefix("test_"))
        assert module.exists() or place.as_posix() in CROSS_CUTTING, (
            f"tests/{place} tests no {module.relative_to(ROOT)}"
        )


def test_a_module_of_some_length_has_its_tests_at_its_place():
    without = set()
    for module in package_modules().values():
        place = module.relative_to(PACKAGE)
        test = ROOT / "tests" / place.with_name(f"test_{place.name}")
        long = len(module.read_text().splitlines()) > MOST_UNTESTED
        if long and place.name != "__init__.py" and not test.exists():
            without.add(place.as_posix())
    assert without <= TESTED_ELSEWHERE
    assert all((PACKAGE / name).exists() for name in TESTED_ELSEWHERE)


IMPORTS = """
import sys
import unlearnkit
print(*sorted({name.split(".")[0] for name in sys.modules}))
unlearnkit.models.architecture.as_architecture("mlp", (4,), 2)
print("torch._dynamo" in sys.modules)
"""


def test_importing_the_package_needs_neither_widgets_nor_plotly_nor_tables():
    result = subprocess.run(
        [sys.executable, "-c", IMPORTS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    imported, compiler = result.stdout.splitlines()
    slow = {"ipywidgets", "plotly", "anywidget", "matplotlib", "pandas", "scipy", "sklearn"}
    assert not slow & set(imported.split())
    assert compiler == "False", "building a model imports torch's compiler, which takes seconds"


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
