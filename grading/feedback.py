"""What a student reads: the lines under each check, and the points on the page of `nbgrader generate_feedback`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jinja2.filters import do_float, do_round
from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.preprocessors import GetGrades

from grading.evaluate import Verdict

NOT_WRITTEN = "not written yet"  # what a check says of a function that still raises NotImplementedError


def lines(verdict: Verdict, record: dict[str, Any], above: set[str]) -> Iterator[str]:
    """The cause first, then the laws with their messages, then errors in the student's other cells."""
    if verdict.score == verdict.points and not verdict.reason:
        yield verdict.text.rstrip()
        return
    answers, own = record["answers"].get(verdict.name, []), record["own"]
    gone = [name for name in answers if name in record["missing"]]
    first = errors(verdict.notes, answers)
    yield from (f"The cell {name} is missing from the notebook." for name in gone)
    yield from first[:5]
    yield verdict.text.rstrip().replace(NOT_WRITTEN, "missing" if gone and gone == answers else NOT_WRITTEN)
    repeated = verdict.reason in above and not verdict.text
    yield "No points: see above." if repeated else _sentence(verdict.reason)
    yield from errors(verdict.notes, [name for name in own if name not in answers])[: 5 - len(first[:5])]
    yield from (_sentence(note) for note in verdict.notes if note.startswith("its process: "))


def _sentence(reason: str) -> str:
    """With a capital and a full stop; a file's name at the beginning stays as it is."""
    first = reason.partition(" ")[0].rstrip(":")
    return reason and f"{reason[:1].upper() if first.isalpha() else reason[:1]}{reason[1:]}."


def errors(notes: list[str], names: list[str]) -> list[str]:
    """Sentences about those of a verdict's notes that are errors of the cells called `names`."""
    parts = (note.partition(": ") for note in notes)
    return [f"The cell {name} ended with {what}" for name, _, what in parts if name in names]


class Words(str):
    """What stands in nbgrader's template where it expects points."""


class Grades(GetGrades):
    """Instead of nbgrader's GetGrades, which shows points that nobody has given yet as 0."""

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        """The notebook with its points; a sum that lacks some says so."""
        nb, resources = super().preprocess(nb, resources)
        names = resources["nbgrader"]
        if any(isinstance(cell.metadata.get("nbgrader", {}).get("score"), Words) for cell in nb.cells):
            names["score"] = Words(f"{round(names['score'], 2)} so far")
        return nb, resources

    def _get_score(self, cell: NotebookNode, resources: ResourcesDict) -> None:
        super()._get_score(cell, resources)
        place = (self.notebook_id, self.assignment_id, self.student_id)
        if self.gradebook.find_grade(cell.metadata.nbgrader["grade_id"], *place).needs_manual_grade:
            cell.metadata.nbgrader["score"] = Words("waits for a person")


def _number(value: Any, default: float = 0.0) -> Any:
    return value if isinstance(value, Words) else do_float(value, default)


def _rounded(value: Any, precision: int = 0, method: str = "common") -> Any:
    return value if isinstance(value, Words) else do_round(value, precision, method)


FILTERS = {"float": _number, "round": _rounded}  # nbgrader's templates put points through these two
