"""`make links`: addresses from git's remotes in all their forms, and one place that keeps them."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


def load(root: Path) -> ModuleType:
    """The script, as it lies in the repository at `root`."""
    spec = importlib.util.spec_from_file_location("links", root / ".ci" / "links.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with what the script reads, without a remote."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "links.py", tmp_path / ".ci")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, root / ".ci" / "links.py", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True)


def add_remote(root: Path, address: str) -> None:
    subprocess.run(["git", "remote", "add", "origin", address], cwd=root, check=True)


@pytest.mark.parametrize(
    "remote",
    [
        "https://github.com/some-one/unlearnkit",
        "https://github.com/some-one/unlearnkit.git",
        "https://token:secret@github.com/some-one/unlearnkit.git/",
        "git@github.com:some-one/unlearnkit.git",
        "github.com:some-one/unlearnkit",
        "ssh://git@github.com/some-one/unlearnkit.git",
        "ssh://git@github.com:22/some-one/unlearnkit.git",
        "git://github.com/some-one/unlearnkit.git",
    ],
)
def test_every_form_of_a_remote_is_the_same_address(remote: str) -> None:
    assert load(ROOT).https_address(remote) == "https://github.com/some-one/unlearnkit"


@pytest.mark.parametrize("remote", ["/srv/unlearnkit.git", "../other", "file:///srv/x.git", "x"])
def test_a_remote_that_is_on_no_server_is_refused(remote: str) -> None:
    with pytest.raises(SystemExit, match="expected a repository on a server") as caught:
        load(ROOT).https_address(remote)
    assert repr(remote) in str(caught.value)


def test_without_a_remote_the_way_out_is_named(clone: Path) -> None:
    done = run(clone)
    assert done.returncode == 1 and not done.stdout
    assert "no git remote named origin" in done.stderr and "git remote add origin" in done.stderr


def test_all_links_are_of_this_remote_and_lead_to_files(clone: Path) -> None:
    add_remote(clone, "git@github.com:some-one/unlearnkit.git")
    shown = run(clone).stdout
    binder = "https://mybinder.org/v2/gh/some-one/unlearnkit/main?urlpath=lab/tree/notebooks/00-index.ipynb"
    assert f"[![Binder](https://mybinder.org/badge_logo.svg)]({binder})" in shown
    colab = re.findall(r"/github/some-one/unlearnkit/blob/main/(\S+\.ipynb)$", shown, re.MULTILINE)
    assert len(colab) == len(list(ROOT.glob("notebooks/[0-9]*.ipynb"))) - 1
    assert all((ROOT / path).is_file() for path in ["notebooks/00-index.ipynb", *colab])
    assert (ROOT / ".devcontainer" / "devcontainer.json").is_file() and "codespaces.new" in shown


@pytest.mark.parametrize(
    ("remote", "name"),
    [
        ("https://gitlab.com/group/part/kit.git", "gl/group%2Fpart%2Fkit/main"),
        ("https://git.example.org/a/kit", "git/https%3A%2F%2Fgit.example.org%2Fa%2Fkit/main"),
    ],
)
def test_other_servers_get_binder_alone(clone: Path, remote: str, name: str) -> None:
    add_remote(clone, remote)
    shown = run(clone).stdout
    assert f"https://mybinder.org/v2/{name}?" in shown
    assert "colab.research.google.com" not in shown and "github.com only" in shown


def test_the_address_is_written_down_once_and_replaced(clone: Path) -> None:
    before = (clone / "pyproject.toml").read_text()
    add_remote(clone, "https://github.com/first/unlearnkit")
    assert run(clone, "--write").returncode == 0
    subprocess.run(
        ["git", "remote", "set-url", "origin", "https://github.com/second/unlearnkit"],
        cwd=clone,
        check=True,
    )
    assert run(clone, "--write").returncode == 0
    links = load(clone)
    assert links.address() == "https://github.com/second/unlearnkit"
    text = (clone / "pyproject.toml").read_text()
    assert text.count("[project.urls]") == 1
    if "[project.urls]" not in before:
        assert len(text) == len(before) + len(
            f'\n[project.urls]\nRepository = "{links.address()}"\n'
        )
    for path in (clone / "notebooks").glob("[0-9]*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            if "setup" in cell["metadata"].get("tags", []):
                assert "".join(cell["source"]) == links.SETUP.format(
                    address=links.address()
                ).rstrip("\n")


def test_the_setup_cell_asks_for_an_address_and_installs_from_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "unlearnkit" else find(name)
    )
    monkeypatch.delenv("UNLEARNKIT_REPOSITORY", raising=False)
    shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    installed: list[str] = []
    shell.register_magic_function(installed.append, magic_name="pip")
    cell = load(ROOT).SETUP
    error = shell.run_cell(cell.format(address="")).error_in_exec
    assert isinstance(error, ModuleNotFoundError) and "UNLEARNKIT_REPOSITORY" in str(error)
    assert not installed
    address = "https://github.com/some-one/unlearnkit"
    assert shell.run_cell(cell.format(address=address)).success
    monkeypatch.setenv("UNLEARNKIT_REPOSITORY", f"{address}-of-mine")
    assert shell.run_cell(cell.format(address=address)).success
    assert installed == [f"install --quiet git+{address}{end}" for end in ("", "-of-mine")]
