"""The benchmarks can be listed, started and published; what they measure is not tested here."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = next(p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").exists())
FOLDER = ROOT / "tests" / "benchmarks"


@pytest.fixture
def imported(monkeypatch):
    """Import a file of the folder, as a benchmark does that runs as a script."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(FOLDER)):
            del sys.modules[name]


def test_every_benchmark_imports_and_is_listed_with_a_line_of_its_own(imported):
    command = [sys.executable, FOLDER / "run.py"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = imported("run").benchmarks()
    assert {"engine", "gap", "study", "rivals", "streams", "peer"} <= set(names)
    for name, title in names.items():
        assert f"{name} " in listed and title in listed and len(title) > 20
        if name not in ("latency", "soak"):  # they import the browser tests' Playwright
            assert callable(imported(name).main)


def test_an_unknown_benchmark_is_refused():
    command = [sys.executable, FOLDER / "run.py", "speed"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "no benchmark is called 'speed'; there are" in done.stderr


def test_every_place_in_the_report_begins_once_and_ends_once():
    text = (FOLDER / "README.md").read_text()
    begins = re.findall(r"^<!-- (?!end of)(.+) -->$", text, re.MULTILINE)
    assert len(set(begins)) == len(begins) > 15
    assert re.findall(r"^<!-- end of (.+) -->$", text, re.MULTILINE) == begins


def test_a_table_replaces_the_one_before_and_needs_a_place(imported, tmp_path):
    report = imported("report")
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- gap -->\nold\n<!-- end of gap -->\nafter\n")
    report.put("gap", "| new |\n", "make bench NAME=gap", page)
    lines = page.read_text().splitlines()
    assert lines[2].startswith("`make bench NAME=gap`, 20") and "torch" in lines[2]
    del lines[2]
    assert lines == ["before", "<!-- gap -->", "", "| new |", "<!-- end of gap -->", "after"]
    with pytest.raises(KeyError, match="has no place for 'guard'"):
        report.put("guard", "| new |\n", "make bench NAME=guard", page)


@pytest.mark.weekly
@pytest.mark.parametrize(
    "name",
    ["accuracy", "bounds", "engine", "frontier", "gap", "klom", "rivals", "streams", "study"],
)
def test_the_short_form_of_a_benchmark_runs_and_leaves_the_report_alone(name):
    report = (FOLDER / "README.md").read_bytes()
    subprocess.run([sys.executable, FOLDER / "run.py", name, "--quick"], check=True)
    assert (FOLDER / "README.md").read_bytes() == report
