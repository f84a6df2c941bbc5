"""Settings of the course for nbgrader; see README.md in this folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from marking.gradebook import ExportMarks, Mark, SaveMarks
from nbgrader.preprocessors import AssignLatePenalties, CheckCellMetadata, LimitOutput

c = get_config()

c.CourseDirectory.course_id = "unlearning"
# Marks come from the marking script (mark.py), not from a kernel in which students' code decides.
c.Autograde.autograde_preprocessors = [
    Mark,
    LimitOutput,
    SaveMarks,
    AssignLatePenalties,
    CheckCellMetadata,
]
c.ExportApp.plugin_class = ExportMarks
