"""nbgrader with the marks of the marking script: what `nbgrader_config.py` puts in.

`nbgrader autograde` runs the marking script instead of a kernel. Each message becomes the output of
its test cell, so that feedback and formgrader show it there. A mark that could not be found waits
for a person to enter it, and `nbgrader export` leaves it blank.
"""

import csv
import os
import shlex
import warnings
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.plugins import CsvExportPlugin
from nbgrader.preprocessors import NbGraderPreprocessor, SaveAutoGrades
from traitlets import Float, Unicode

from .marker import DEMO, mark, secret_seed
from .student import Process, bubblewrap
from .submission import assignment, ids_of


class Mark(NbGraderPreprocessor):
    """Takes the place of `Execute`: outputs of test cells come from the marking script."""

    seconds = Float(60, help="of CPU, for one call of a function").tag(config=True)
    sandbox = Unicode("", help="bwrap, or a command put before Python's").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Mark a notebook and write what was found into its test cells."""
        name = resources["nbgrader"]["assignment"]
        secret = secret_seed()
        if secret is None:
            warnings.warn(
                "no secret: hidden values come from the public demonstration seed", stacklevel=1
            )
        sandbox = bubblewrap([]) if self.sandbox == "bwrap" else shlex.split(self.sandbox)
        with Process(sandbox) as process:
            marked = mark(nb, name, process, secret or DEMO, self.seconds)
        for text in marked.remarks:
            self.log.warning("%s, %s: %s", resources["nbgrader"]["student"], name, text)
        self._add_missing(nb, resources)
        outcomes = {one.check: one for one in marked.outcomes}
        for cell in nb.cells:
            one = outcomes.get(cell.metadata.get("nbgrader", {}).get("grade_id"))
            if one is None:
                continue
            cell.outputs = []
            if one.mark is None:
                cell.metadata["unmarked"] = True
                cell.outputs.append(new_output("stream", text=f"Not marked yet: {one.why}\n"))
            elif not one.mark:
                text = [f"Wrong: {one.why}"]
                cell.outputs.append(
                    new_output("error", ename="Wrong", evalue=one.why, traceback=text)
                )
        return nb, resources

    def _add_missing(self, nb: NotebookNode, resources: dict) -> None:
        """Put test cells that are gone back at the end, since marks belong to them."""
        about = resources["nbgrader"]
        there = set(ids_of(nb))
        with Gradebook(resources["nbgrader"]["db_url"]) as gradebook:
            notebook = gradebook.find_notebook(about["notebook"], about["assignment"])
            for cell in notebook.source_cells:
                if cell.name in assignment(about["assignment"]).tests and cell.name not in there:
                    nb.cells.append(
                        NotebookNode(
                            cell_type="code",
                            id=cell.name[:64].replace(".", "-"),
                            metadata=NotebookNode(
                                nbgrader=NotebookNode(
                                    grade=True,
                                    grade_id=cell.name,
                                    locked=True,
                                    solution=False,
                                    task=False,
                                    schema_version=3,
                                    cell_type="code",
                                    points=assignment(about["assignment"]).points[cell.name],
                                    checksum=cell.checksum,
                                )
                            ),
                            source=cell.source,
                            outputs=[],
                            execution_count=None,
                        )
                    )


class SaveMarks(SaveAutoGrades):
    """Saves marks as nbgrader does, and leaves those open that could not be found."""

    def _add_score(self, cell: NotebookNode, resources: dict) -> None:
        super()._add_score(cell, resources)
        if cell.metadata.pop("unmarked", False):
            grade = self.gradebook.find_grade(
                cell.metadata["nbgrader"]["grade_id"],
                self.notebook_id,
                self.assignment_id,
                self.student_id,
            )
            grade.auto_score, grade.needs_manual_grade = None, grade.manual_score is None
            self.gradebook.db.commit()


class ExportMarks(CsvExportPlugin):
    """Exports what nbgrader exports, with blanks instead of zeros where nothing was marked."""

    def export(self, gradebook: Gradebook) -> None:
        """Write the table."""
        super().export(gradebook)
        path = Path(self.to or "grades.csv")
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            try:
                submission = gradebook.find_submission(row["assignment"], row["student_id"])
                why = "marks are open" if submission.needs_manual_grade else ""
                if not any(
                    n.grades and any(g.auto_score is not None for g in n.grades)
                    for n in submission.notebooks
                ):
                    why = why or "autograde did not end"
            except MissingEntry:
                why = "nothing handed in"
            if why:
                row |= {"raw_score": "", "score": ""}
            row["why_blank"] = why
        temporary = path.with_suffix(".part")
        with temporary.open("w", newline="") as file:
            table = csv.DictWriter(file, rows[0].keys() if rows else ["assignment"])
            table.writeheader()
            table.writerows(rows)
        os.replace(temporary, path)
