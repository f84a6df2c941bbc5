"""What every tutorial carries: a seed, hidden checks of its statements, and answers folded away.

The weekly tests execute the tutorials with other seeds and beside busy loops; the hidden checks
fail where a statement does not hold. ``nbmake`` executes all notebooks as they are (``make test``).
"""

import importlib.util
import io
import json
import multiprocessing
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from published import needs_fashion

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
TUTORIALS = sorted(NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))[1:]  # without the index
SEED_LINE = re.compile(r"^SEED = 0$", re.MULTILINE)
tutorials = pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)


def script(name: str) -> ModuleType:
    """Load a script of the folder .ci."""
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cells(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text())["cells"]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def tagged(path: Path, tag: str) -> list[dict[str, Any]]:
    return [cell for cell in cells(path) if tag in cell["metadata"].get("tags", [])]


def with_seed(path: Path, seed: int) -> Any:
    """Return the notebook for execution, with another seed."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = SEED_LINE.sub(f"SEED = {seed}", cell.source)
    return notebook


def execute(notebook: Any) -> None:
    """Execute in the folder of the notebooks; an error in a cell is raised."""
    from nbclient import NotebookClient

    resources = {"metadata": {"path": str(NOTEBOOKS)}}
    NotebookClient(notebook, timeout=1800, resources=resources).execute()


def spin() -> None:
    while True:
        pass


@pytest.fixture
def busy() -> Iterator[None]:
    """One busy loop for each core that the tests may use."""
    context = multiprocessing.get_context("spawn")
    loops = [context.Process(target=spin, daemon=True) for _ in os.sched_getaffinity(0)]
    for loop in loops:
        loop.start()
    yield
    for loop in loops:
        loop.kill()


def test_the_tutorials_are_numbered_as_the_index_lists_them() -> None:
    index = "\n".join(map(source, cells(NOTEBOOKS / "00-index.ipynb")))
    listed = re.findall(r"^\| *(\d+) *\| \[[^]]+\]\((\d\d)-[\w-]+\.ipynb\)", index, re.MULTILINE)
    assert [int(number) for number, _ in listed] == list(range(1, len(TUTORIALS) + 1))
    assert [number for _, number in listed] == [path.stem[:2] for path in TUTORIALS]


@tutorials
def test_its_title_has_the_number_of_its_file(path: Path) -> None:
    assert source(cells(path)[0]).startswith(f"# {int(path.stem[:2])}. ")


@tutorials
def test_all_its_randomness_comes_from_one_line(path: Path) -> None:
    code = [source(cell) for cell in cells(path) if cell["cell_type"] == "code"]
    assert len(SEED_LINE.findall("\n".join(code))) == 1
    fixed = re.compile(r"\bseeds?=\[?\d|random_state=\d|default_rng\(\d")
    assert not [line for line in "\n".join(code).splitlines() if fixed.search(line)]


@tutorials
def test_its_statements_are_checked_by_a_folded_cell(path: Path) -> None:
    checks = tagged(path, "check")
    assert checks
    for cell in checks:
        assert cell["metadata"]["jupyter"] == {"source_hidden": True}
        assert "assert " in source(cell)


@pytest.mark.parametrize(
    "path", [*TUTORIALS, NOTEBOOKS / "concepts.ipynb"], ids=lambda path: path.stem
)
def test_its_first_code_cell_installs_from_the_one_address(path: Path) -> None:
    links = script("links")
    first = next(cell for cell in cells(path) if cell["cell_type"] == "code")
    assert tagged(path, "setup") == [first]
    assert first["metadata"]["jupyter"] == {"source_hidden": True}
    assert source(first) == links.SETUP.format(address=links.address()).rstrip("\n")


@tutorials
def test_it_ends_with_things_to_try_and_their_answers(path: Path) -> None:
    end = source(cells(path)[-1])
    assert re.match(r"## (Two|Three|Four) things to try\n", end)
    tries = re.split(r"^\d\. ", end, flags=re.MULTILINE)[1:]
    assert len(tries) == ["Two", "Three", "Four"].index(end.split()[1]) + 2
    for text in tries:
        (answer,) = re.findall(
            r"\n   <details><summary>Answer</summary>\n\n(.+?)\n\n   </details>", text, re.DOTALL
        )
        assert len(answer.split()) >= 10


def test_pictures_are_small_and_of_the_code_as_it_is() -> None:
    image = pytest.importorskip("PIL.Image")
    previews = script("previews")
    shown = "\n".join(map(source, cells(NOTEBOOKS / "00-index.ipynb")))
    pictures = sorted((NOTEBOOKS / "pictures").iterdir())
    expected = [previews.notebook_path(number).stem for number in sorted(previews.FIGURES)]
    assert [picture.stem for picture in pictures] == expected
    for picture in pictures:
        content = picture.read_bytes()
        assert len(content) <= previews.MOST_BYTES and f"(pictures/{picture.name})" in shown
        digest = image.open(io.BytesIO(content)).text["code"]
        notebook = NOTEBOOKS / f"{picture.stem}.ipynb"
        assert digest == previews.code_digest(notebook), (
            f"run `make previews NAME={picture.stem[:2]}`"
        )


@needs_fashion
@pytest.mark.weekly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2])
@tutorials
def test_its_statements_hold_for_another_seed(path: Path, seed: int) -> None:
    execute(with_seed(path, seed))


@needs_fashion
@pytest.mark.weekly
@pytest.mark.timeout(1800)
@tutorials
def test_its_statements_hold_beside_busy_loops(path: Path, busy: None) -> None:
    execute(with_seed(path, 0))
