"""The grader's places in nbgrader: what reads a submission, restores it, and gives its checks their points.

`nbgrader autograde`, the formgrader's button and `python -m grading run` all pass through here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbconvert.exporters import NotebookExporter
from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import compute_checksum
from traitlets import Bool

from grading import cells, clean, feedback, submissions, work
from grading.evaluate import Verdict

known: dict[str, list[Verdict]] = {}  # verdicts that other processes found, by digest


class SubmissionExporter(NotebookExporter):
    """Reads any file as a notebook: one that is none becomes an empty one that says why."""

    def from_filename(
        self, filename: str, resources: ResourcesDict | None = None, **options: Any
    ) -> tuple[str, ResourcesDict]:
        """Read, preprocess and write one notebook."""
        path = Path(filename)
        submitted = self.parent._sanitizing
        try:
            nb = work.read(submissions.read_bytes(path), path.name) if submitted else _ours(path)
        except submissions.Unreadable as error:
            nb = work.unreadable(str(error))
        resources = self._init_resources(resources)
        resources["metadata"]["name"], resources["metadata"]["path"] = path.stem, str(path.parent)
        return self.from_notebook_node(nb, resources=resources, **options)


class Restore(NbGraderPreprocessor):
    """Tags, points, ids, types and checks as released; the student's text, outputs and attachments made harmless."""

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        """The notebook that is graded."""
        course, names = self.parent.parent.coursedir, resources["nbgrader"]
        release = released(course, names["assignment"], names["notebook"])
        done = work.restored(release, nb)
        for cell in release.cells:
            if name := cells.grade_id(cell):
                mine = next(made for made in done.cells if cells.grade_id(made) == name)
                mine.metadata.nbgrader["checksum"] = compute_checksum(cell)
        submitted = place(course, course.submitted_directory, names["student"], names)
        done.metadata["grading"]["digest"] = digest(place(course, course.release_directory, ".", names), submitted)
        for note in done.metadata["grading"]["notes"]:
            self.log.warning("%s, %s: %s", names["student"], names["assignment"], note)
        return done, resources


class TrustedExecute(NbGraderPreprocessor):
    """Instead of nbgrader's Execute: the students' functions run in a box, the release's checks beside it."""

    sandbox = Bool(True, help="Whether student code runs in a sandbox; without one, only grade whom you trust.").tag(
        config=True
    )

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        """Give every check its points and its messages as outputs."""
        names = resources["nbgrader"]
        record = nb.metadata["grading"]
        verdicts = known.get(record["digest"])
        if verdicts is None:
            release = released(self.parent.parent.coursedir, names["assignment"], names["notebook"])
            verdicts = work.judged(release, nb, self.sandbox)
        for verdict in verdicts:
            verdict.reason = record["reason"] or verdict.reason
        by_name, above = {verdict.name: verdict for verdict in verdicts}, set()
        for cell in nb.cells:
            if cells.role(cell) == "check" and cell.cell_type == "code":
                name = cells.grade_id(cell) or ""
                show(cell, by_name.get(name) or Verdict(name, 0.0, reason="this check was not run"), record, above)
        record["verdicts"] = [verdict.plain() for verdict in verdicts]
        return nb, resources


def show(cell: NotebookNode, verdict: Verdict, record: dict[str, Any], above: set[str]) -> None:
    """Put a verdict into its check cell: what to read, then the points; `above` collects reasons given before."""
    said = clean.text("\n".join(line for line in feedback.lines(verdict, record, above) if line))
    cell.outputs = [new_output("stream", name="stdout", text=said + "\n")]
    cell.outputs.append(new_output("execute_result", data={"text/plain": repr(verdict.score)}, execution_count=None))
    above.add(verdict.reason)


def place(course: CourseDirectory, folder: str, student: str, names: dict[str, str]) -> Path:
    """Where a notebook lies in one of nbgrader's folders."""
    return Path(course.format_path(folder, student, names["assignment"])) / f"{names['notebook']}.ipynb"


def released(course: CourseDirectory, assignment: str, notebook: str) -> NotebookNode:
    """The release of a chapter, which says what is graded."""
    names = {"assignment": assignment, "notebook": notebook}
    return _ours(place(course, course.release_directory, ".", names))


def _ours(path: Path) -> NotebookNode:
    import nbformat

    if not path.exists():
        raise FileNotFoundError(f"there is no release {path}: run make release first")
    return nbformat.read(path, as_version=4)


def digest(release: Path, submitted: Path) -> str:
    """One name for what is graded and by which checks; an unreadable submission counts as empty."""
    try:
        data = submissions.read_bytes(submitted)
    except submissions.Unreadable as error:
        data = str(error).encode()
    return submissions.digest(release.read_bytes(), data)
