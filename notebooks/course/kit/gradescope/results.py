"""Mark the submission in Gradescope's folder and write ``results/results.json``.

If a mark could not be found, nothing is written: Gradescope then says that the autograder failed
and gives no score, so that a person looks, instead of a 0.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "notebooks" / "course"))

from marking.marker import Marked, mark
from marking.student import Process


def results(marked: Marked) -> dict[str, object]:
    """Marks as Gradescope reads them.

    The messages name hidden values, so students see them only when the grades are published.
    """
    tests = [
        {
            "name": check.check,
            "score": check.mark,
            "max_score": check.of,
            "output": check.why or "right",
            "visibility": "after_published",
        }
        for check in marked.outcomes
    ]
    return {"tests": tests, "visibility": "visible", "stdout_visibility": "hidden"}


def main() -> int:
    """Read the command line, mark, and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("place", type=Path, help="Gradescope's folder: /autograder")
    parser.add_argument("--sandbox", default="", help="a command put before Python's")
    chosen = parser.parse_args()
    name, secret = (HERE / "assignment").read_text().strip(), HERE / "secret"
    found = sorted((chosen.place / "submission").rglob("*.ipynb"))
    if len(found) != 1:
        print(f"expected one notebook, met {len(found)}: {[path.name for path in found]}")
        return 1
    with Process(shlex.split(chosen.sandbox)) as process:
        marked = mark(found[0], name, process, secret.read_text().strip(), secret_file=secret)
    for remark in marked.remarks:
        print("to look at:", remark)
    if marked.marks is None:
        print("a mark could not be found, so no score is reported")
        return 1
    (chosen.place / "results").mkdir(exist_ok=True)
    (chosen.place / "results" / "results.json").write_text(json.dumps(results(marked)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
