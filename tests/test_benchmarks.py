"""The benchmarks can be listed, started and published; what they measure is not tested here."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
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


@pytest.fixture
def report(imported, monkeypatch, tmp_path):
    """The report's module, with a page, rows and raw rows of its own."""
    module = imported("report")
    page = tmp_path / "README.md"
    page.write_text("<!-- gap -->\n<!-- end of gap -->\n")
    for name, path in (("REPORT", page), ("ROWS", tmp_path / "rows"), ("OUTPUT", tmp_path / "raw")):
        monkeypatch.setattr(module, name, path)
    return module


def test_a_run_of_some_rows_keeps_the_others_and_says_what_measured_each(report):
    def publish(rows, command, by=None):
        file = str(FOLDER / "gap.py")
        report.publish("gap", rows, report.table, command, file=file, seeds="seed 0", by=by)
        return report.REPORT.read_text().splitlines()

    publish([{"model": m, "value": v} for m, v in (("a", 1), ("b", 2), ("c", 3))], "first")
    lines = publish([{"model": "b", "value": 20}, {"model": "b", "value": 21}], "second", by_model)
    table = ["| model | value |", "| --- | --- |"]
    table += ["| a | 1 |", "| b | 20 |", "| b | 21 |", "| c | 3 |"]
    assert lines[4:] == [*table, "<!-- end of gap -->"]
    assert lines[1].startswith("`first`, seed 0, 20") and lines[2].startswith(
        "`second`, seed 0, 20"
    )
    lines = publish([{"model": m, "value": 0} for m in "abc"], "third", by_model)
    assert lines[1].startswith("`third`") and lines[2] == "" and len(report.runs_of("gap")) == 1
    assert [row["model"] for row in report.rows_of("gap")] == list("abc")


def by_model(row):
    return row["model"]


def test_rows_survive_values_that_json_lacks(report):
    rows = [{"a": np.int64(3), "b": float("nan"), "c": np.float32(1 / 3), "d": [np.bool_(True)]}]
    report.publish(
        "gap", rows, report.table, "command", file=str(FOLDER / "gap.py"), seeds="seed 0"
    )
    assert report.rows_of("gap") == [{"a": 3, "b": None, "c": 0.333333, "d": [True]}]


def test_a_part_is_measured_once_and_again_after_a_line_that_a_kill_cut(report):
    made = []

    def measure(name, seed):
        made.append((name, seed))
        yield {"name": name, "value": len(made)}

    file = str(FOLDER / "gap.py")
    first = report.once(file, measure, "a", 0)
    assert report.once(file, measure, "a", 0) == first == [{"name": "a", "value": 1}]
    path = report.log(file, "gap-parts.jsonl")
    path.write_text(path.read_text()[:-9])
    assert report.once(file, measure, "a", 0) == report.once(file, measure, "a", 0) != first
    report.once(file, measure, "a", 1)
    assert made == [("a", 0), ("a", 0), ("a", 1)]


def test_the_state_of_the_code_is_what_it_does_not_how_it_reads(imported, tmp_path):
    code_state = imported("code_state")
    meaning = code_state.meaning
    assert meaning('def f(x):\n    """Say."""\n    return x  # so') == meaning("def f(x): return x")
    assert meaning("def f(x): return x") != meaning("def f(x): return -x")
    assert meaning("x = 1\ndef table_of(rows): return 2") == meaning("x = 1")
    files = {"a": "import b\n", "b": "from c import x\n", "c": "import a\nx = 1\n", "d": "y = 1\n"}
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    before = code_state.code_of(tmp_path / "a.py")
    for name, changes in (("d", False), ("c", True)):
        (tmp_path / f"{name}.py").write_text("x = 2\n")
        code_state.code_of.cache_clear()
        assert (code_state.code_of(tmp_path / "a.py") != before) == changes


@pytest.mark.parametrize(
    ("info", "name"),
    [
        ("model name\t: AMD EPYC\nflags: a\n", "AMD EPYC"),
        (
            "vendor_id : GenuineIntel\ncpu family : 6\nmodel : 207\nmodel name : unknown\n"
            "stepping : unknown\n",
            "Intel x86_64 family 6 model 207",
        ),
        ("", "x86_64"),
    ],
)
def test_a_processor_that_hides_its_name_is_described(report, monkeypatch, info, name):
    monkeypatch.setattr(report.platform, "machine", lambda: "x86_64")
    assert report.processor(info) == name


def test_the_renewal_covers_every_table_and_figure_of_the_report(imported):
    renewal = imported("renewal")
    parts = renewal.all_parts()
    text = (FOLDER / "README.md").read_text()
    places = re.findall(r"^<!-- (?!end of)(.+) -->$", text, re.MULTILINE)
    empty = re.findall(r"^<!-- (.+) -->\n<!-- end of", text, re.MULTILINE)
    figures = re.findall(r"\]\((figures/.+?)\)", text)
    covered = [table for part in parts for table in part.tables]
    tables = {each for each in covered if "/" not in each}
    assert len(set(covered)) == len(covered)
    assert set(places) - set(empty) <= tables <= set(places)
    assert figures and set(figures) <= set(covered)
    assert all(part.file.exists() for part in parts) and set(renewal.PARTS) <= set(parts)


def test_what_a_table_states_is_renewed_without_being_listed(renewal, report):
    report.REPORT.write_text(
        '<!-- a -->\n`make bench NAME=good ARGS="--x 1"`, seed 0, 2026\n<!-- end of a -->\n'
        '<!-- b -->\n`make bench NAME=good ARGS="--x 1"`, 2026\n<!-- end of b -->\n'
        "<!-- gap -->\n`make bench NAME=late`, 2026\n<!-- end of gap -->\n"
        "<!-- c -->\nNot measured yet.\n<!-- end of c -->\n"
    )
    more = set(renewal.all_parts()) - set(renewal.PARTS)
    assert more == {renewal.Part("good", "--x 1", ("a", "b"))}


def test_figures_are_small(imported):
    drawings = imported("drawings")
    for path in drawings.FOLDER.iterdir():
        assert path.suffix == ".svg" and path.stat().st_size <= drawings.MOST_BYTES


@pytest.fixture
def renewal(report, imported, monkeypatch, tmp_path):
    """The renewal, of three benchmarks: one that ends well, one that fails, one that ends well."""
    module = imported("renewal")
    (tmp_path / "good.py").write_text("print('fine')\n")
    (tmp_path / "bad.py").write_text("raise SystemExit('this does not work')\n")
    (tmp_path / "late.py").write_text(
        "import pathlib, sys\nwith open(sys.argv[1], 'a') as file: file.write('run ')\n"
    )
    monkeypatch.setattr(module, "HERE", tmp_path)
    parts = (
        *(module.Part("good"), module.Part("bad")),
        module.Part("late", str(tmp_path / "late.txt"), ("gap",)),
    )
    monkeypatch.setattr(module, "PARTS", parts)
    return module


def test_the_renewal_goes_on_after_a_failure_and_leaves_out_what_is_done(renewal, tmp_path, capsys):
    assert renewal.main(["--list"]) == 0
    assert "3 of 3 to run" in capsys.readouterr().out and not (tmp_path / "late.txt").exists()
    assert renewal.main([]) == 1
    told = capsys.readouterr().out
    assert (
        "failed: this does not work" in told and "missing: make bench NAME=bad: ended with" in told
    )
    assert (tmp_path / "late.txt").read_text() == "run "
    assert renewal.main(["--list"]) == 0
    told = capsys.readouterr().out
    assert "1 of 3 to run" in told and told.count("done ") == 2 and "to run  no run known" in told
    assert renewal.main([]) == 1
    assert (tmp_path / "late.txt").read_text() == "run "
    assert renewal.main(["--only", "late", "--again"]) == 0
    assert (tmp_path / "late.txt").read_text() == "run run "
    (tmp_path / "late.py").write_text("x = 1\n")
    renewal.code_of.cache_clear()
    assert renewal.main(["--only", "late"]) == 0
    assert "1 of 1 to run" in capsys.readouterr().out


def test_the_renewal_refuses_what_it_does_not_know(renewal, capsys):
    for arguments, error in (
        (["--only", "speed"], "has nothing of speed"),
        (["--hours", "0"], "leaves no time"),
    ):
        with pytest.raises(SystemExit):
            renewal.main(arguments)
        assert error in capsys.readouterr().err


def test_no_benchmark_is_begun_after_the_time_is_up(renewal, tmp_path):
    failed = renewal.renew(renewal.PARTS, renewal.Records(), until=0)
    assert set(failed.values()) == {"not begun, the time is up"} and len(failed) == 3
    assert not (tmp_path / "late.txt").exists()


@pytest.mark.weekly
@pytest.mark.parametrize(
    "name",
    [
        "accuracy",
        "bounds",
        "engine",
        "frontier",
        "gap",
        "kinds",
        "klom",
        "deltagrad",
        "easydub",
        "frozen",
        "rivals",
        "shadow",
        "streams",
        "study",
    ],
)
def test_the_short_form_of_a_benchmark_runs_and_leaves_the_report_alone(name):
    report = (FOLDER / "README.md").read_bytes()
    subprocess.run([sys.executable, FOLDER / "run.py", name, "--quick"], check=True)
    assert (FOLDER / "README.md").read_bytes() == report
