"""What is written beside the code: links lead somewhere, the index is whole, citations agree."""

import json
import re
from pathlib import Path

import pytest
import yaml

import unlearnkit

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
REPORT = ROOT / "tests" / "benchmarks" / "README.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / ".github").glob("*.md")), REPORT, *NOTEBOOKS]
LINK = re.compile(r"\]\(([^)\s]+)\)")
ELSEWHERE = re.compile(r"[a-z]+:")  # https: and the like


def text_of(path: Path) -> str:
    """Its Markdown, without code."""
    if path.suffix != ".ipynb":
        return re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    cells = json.loads(path.read_text())["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def anchors(path: Path) -> set[str]:
    """Names of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text_of(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def dead_links(path: Path) -> list[str]:
    """Relative links that lead to no file or no heading."""
    dead = []
    for link in LINK.findall(text_of(path)):
        name, _, heading = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if ELSEWHERE.match(link):
            continue
        if not target.exists() or (heading and heading not in anchors(target)):
            dead.append(link)
    return dead


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_relative_links_lead_somewhere(path: Path) -> None:
    assert not dead_links(path)


def test_the_readme_stays_within_two_screens() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One, two\n[a](page.md#one-two) [b](gone.md) [c](#three) [d](https://x.org)")
    assert dead_links(page) == ["gone.md", "#three"]


def test_the_index_leads_to_every_notebook_and_says_how_long_it_takes() -> None:
    index = ROOT / "notebooks" / "00-index.ipynb"
    rows = re.findall(r"\]\(([\w-]+\.ipynb)\) \|.*\| (\d+) \|$", text_of(index), re.MULTILINE)
    assert sorted(name for name, _ in rows) == [p.name for p in NOTEBOOKS if p != index]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_has_one_title_and_few_code_cells(path: Path) -> None:
    assert len(re.findall(r"^# ", text_of(path), flags=re.MULTILINE)) == 1
    cells = json.loads(path.read_text())["cells"]
    assert sum(cell["cell_type"] == "code" for cell in cells) < 15


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / ".github" / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["authors"]
    assert citation["version"] == unlearnkit.__version__
    assert f'license = "{citation["license"]}"' in (ROOT / "pyproject.toml").read_text()
