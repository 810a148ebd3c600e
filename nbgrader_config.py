"""nbgrader's settings: solutions/ is its source, notebooks/ its release; grading/ plugs in where nbgrader trusts."""

import os
import sys
from pathlib import Path

from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor
from nbgrader import preprocessors as stock

from grading import feedback
from grading.plugins import Restore, SubmissionExporter, TrustedExecute
from grading.release import StampAddress
from grading.strict import StrictResults

# nbgrader calls alembic by name: find the one beside this Python, whether or not its environment is activated
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])

c = get_config()  # noqa: F821 - traitlets provides it

c.CourseDirectory.root = str(Path(__file__).resolve().parent)
c.CourseDirectory.course_id = "deep-learning-quantum-many-body"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "notebooks"
# generate_assignment copies whatever lies beside a notebook: let nothing but notebooks through
c.CourseDirectory.ignore = [".*", "__pycache__", "INSTRUCTOR*", "*.[!i]*"]
c.CourseDirectory.ignore += ["*[!b]", "*[!n]b", "*[!y]nb", "*[!p]ynb", "*[!i]pynb", "*[!.]ipynb"]

c.ClearSolutions.code_stub = {"python": "raise NotImplementedError"}
c.ClearSolutions.text_stub = "*Your answer here.*"
c.GenerateAssignment.preprocessors = [
    StampAddress,
    stock.LockCells,
    stock.ClearSolutions,
    stock.ClearOutput,
    stock.CheckCellMetadata,
    stock.ComputeChecksums,
    stock.SaveCells,
    stock.ClearMarkScheme,
    stock.ComputeChecksums,
    stock.CheckCellMetadata,
]

# submissions as max_power_2026-11-21-10-00-00_computation_graph.ipynb, matched against the full path
c.FileNameCollectorPlugin.named_regexp = (
    r".*/(?P<student_id>[^/]+?)_(?P<timestamp>\d{4}(?:-\d\d){5})_(?P<file_id>[^/]+)"
)

# Student code runs in a sandbox, checks beside it; every field but the student's own comes from the release.
c.Autograde.exporter_class = SubmissionExporter
c.Autograde.sanitize_preprocessors = [Restore]
c.Autograde.autograde_preprocessors = [TrustedExecute, StrictResults, stock.SaveAutoGrades, stock.AssignLatePenalties]

# A question that nobody has graded yet says so on the student's page, instead of 0.
c.GenerateFeedback.preprocessors = [feedback.Grades, CSSHTMLHeaderPreprocessor]
c.HTMLExporter.filters = feedback.FILTERS
