"""What Binder builds: its files agree with each other and with the package, and its scripts run.

Tried by hand with repo2docker 2026.4, whose parsing needs no container engine::

    jupyter-repo2docker --no-build --debug .
"""

import importlib.metadata
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from published import needs_fashion

ROOT = Path(__file__).resolve().parent.parent
BINDER = ROOT / "binder"
SCRIPTS = ["postBuild", "start"]


def lines(name: str) -> list[str]:
    """Of a file of requirements, comments aside."""
    text = (line.partition(" #")[0].strip() for line in (BINDER / name).read_text().splitlines())
    return [line for line in text if line and not line.startswith("#")]


PINS = {
    canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
    for pin in map(Requirement, lines("constraints.txt"))
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def extras() -> set[str]:
    """Of this package, as the requirements ask for it."""
    (line,) = [line for line in lines("requirements.txt") if line.startswith("-e ")]
    assert line.startswith("-e .[")  # repo2docker installs from the root of the repository
    return Requirement(line.replace("-e .", PROJECT["name"])).extras


def needed() -> Iterator[tuple[str, Requirement]]:
    """All that this package brings along on this machine, and who asks for it."""
    own = [*PROJECT["dependencies"]]
    own += [text for extra in extras() for text in PROJECT["optional-dependencies"][extra]]
    waiting = [(PROJECT["name"], Requirement(text), frozenset[str]()) for text in own]
    seen: set[str] = set()
    while waiting:
        parent, found, asked = waiting.pop()
        marks = ({"extra": extra} for extra in ("", *asked))
        if found.marker and not any(found.marker.evaluate(mark) for mark in marks):
            continue
        yield parent, found
        if str(found) not in seen:
            seen.add(str(found))
            for text in importlib.metadata.requires(found.name) or []:
                waiting.append((found.name, Requirement(text), frozenset(found.extras)))


def test_python_is_one_that_the_package_takes() -> None:
    name, _, version = (BINDER / "runtime.txt").read_text().strip().partition("-")
    assert name == "python" and version in SpecifierSet(PROJECT["requires-python"])


def test_torch_is_the_cpu_build_of_the_pinned_version() -> None:
    requirements = lines("requirements.txt")
    assert f"torch=={PINS['torch']}+cpu" in requirements
    assert any("whl/cpu" in line for line in requirements if "index-url" in line)
    assert "-c constraints.txt" in requirements  # read from beside the requirements


def test_every_package_that_binder_installs_is_pinned_and_the_pins_fit() -> None:
    assert {"lab", "app"} == extras()
    packages = list(needed())
    assert len({canonicalize_name(found.name) for _, found in packages}) > 100  # Lab, for one
    for parent, found in packages:
        pin = PINS.get(canonicalize_name(found.name))
        assert pin is not None, f"{found.name}, which {parent} needs, is not pinned"
        assert found.specifier.contains(pin, prereleases=True), f"{parent} needs {found}, not {pin}"


def test_every_lower_bound_is_in_the_set_that_was_run_together() -> None:
    lowest = {canonicalize_name(pin.name): pin for pin in map(Requirement, lines("lowest.txt"))}
    linters = {"ruff", "mypy", "codespell", "pandas-stubs", "types-tqdm", "pdoc"}
    extras = PROJECT["optional-dependencies"].values()
    asked = {}
    for need in map(Requirement, [*PROJECT["dependencies"], *(t for e in extras for t in e)]):
        name = canonicalize_name(need.name)
        if name not in {PROJECT["name"], *linters}:
            bounds = [each for each in need.specifier if each.operator == ">="]
            assert len(bounds) == 1, f"{need} states no lower bound"
            [bound] = bounds
            assert lowest[name].specifier.contains(bound.version), f"{need}, not {lowest[name]}"
            asked[name] = need
    assert set(asked) == set(lowest)


def test_apt_has_the_pictures() -> None:
    assert lines("apt.txt") == ["dataset-fashion-mnist"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_executable_and_its_syntax_is_right(name: str) -> None:
    script = BINDER / name
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    subprocess.run(["bash", "-n", script], check=True)


def test_start_hands_over_to_the_server_with_one_thread() -> None:
    assert (BINDER / "start").read_text().endswith('\nexec "$@"\n')
    code = "import os, sys; print(os.environ['OMP_NUM_THREADS'], sys.argv[1:]); sys.exit(7)"
    command = [BINDER / "start", sys.executable, "-c", code, "a b", "c"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (7, "1 ['a b', 'c']\n")


def test_lab_opens_on_the_index() -> None:
    config = json.loads((BINDER / "jupyter_server_config.json").read_text())
    url = config["ServerApp"]["default_url"]
    assert (ROOT / url.removeprefix("/lab/tree/")).is_file()


@needs_fashion
@pytest.mark.slow
def test_post_build_settles_lab_and_finds_the_data(tmp_path: Path) -> None:
    """In an environment of its own, with the packages of this one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path], check=True)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
    }
    command = [BINDER / "postBuild"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert "60000 train" in done.stdout
    settings = tmp_path / "share/jupyter/lab/settings/overrides.json"
    assert settings.read_bytes() == (BINDER / "overrides.json").read_bytes()
    config = tmp_path / "etc/jupyter/jupyter_server_config.json"
    assert config.read_bytes() == (BINDER / "jupyter_server_config.json").read_bytes()
