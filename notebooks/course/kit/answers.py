"""Write model answers for lecturers and tutors: ``python answers.py build/answers``.

Each assignment becomes a notebook with its solutions, without the hidden tests, executed, and the
same as a page of HTML. They are made from ``source/``, so they are never behind it.
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from nbconvert.preprocessors import ExecutePreprocessor

SOURCE = Path(__file__).resolve().parent.parent / "source"
HIDDEN = re.compile(r"^### BEGIN HIDDEN TESTS\n.*?^### END HIDDEN TESTS\n?", re.M | re.S)
MARKERS = re.compile(r"^ *### (BEGIN|END) SOLUTION\n?", re.M)


def answers(name: str) -> nbformat.NotebookNode:
    """The model answers of an assignment: its source without markers and hidden tests."""
    notebook = nbformat.read(SOURCE / name / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = MARKERS.sub("", HIDDEN.sub("", cell.source)).rstrip()
    return notebook


def main() -> None:
    """Read the command line and write the answers."""
    known = sorted(folder.name for folder in SOURCE.iterdir() if folder.is_dir())
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("folder", type=Path, help="the folder to write to")
    parser.add_argument("names", nargs="*", metavar="ASSIGNMENT", help=f"of {', '.join(known)}")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(known):
        parser.error(f"no assignment {', '.join(sorted(unknown))}; choose from {', '.join(known)}")
    chosen.folder.mkdir(parents=True, exist_ok=True)
    for name in chosen.names or known:
        notebook = answers(name)
        ExecutePreprocessor(timeout=300).preprocess(notebook, {"metadata": {"path": "."}})
        nbformat.write(notebook, chosen.folder / f"{name}.ipynb")
        html, _ = HTMLExporter().from_notebook_node(notebook)
        (chosen.folder / f"{name}.html").write_text(html, encoding="utf-8")
        print(f"{chosen.folder / name}.ipynb and .html", file=sys.stderr)


if __name__ == "__main__":
    main()
