"""Close the gap through which nbgrader gives full marks: a check cell without a proper result scores nothing."""

from __future__ import annotations

import math

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import is_grade, is_solution


def result(cell: NotebookNode) -> float | None:
    """The points a check cell ended with: its only result, finite and between 0 and the cell's points, else None."""
    results = [output for output in cell.outputs if output.output_type == "execute_result"]
    failed = any(output.output_type == "error" for output in cell.outputs)
    if failed or len(results) != 1:
        return None
    try:
        points = float(results[0].data["text/plain"])
    except (KeyError, ValueError):
        return None
    most = float(cell.metadata.nbgrader["points"])
    return points if math.isfinite(points) and 0 <= points <= most else None


class StrictResults(NbGraderPreprocessor):
    """Runs after Execute: a check cell must end with one number between 0 and its points, or it scores 0.

    Warnings on stderr are dropped from check cells, since nbgrader would score an honest answer that warns with 0.
    """

    def preprocess_cell(
        self, cell: NotebookNode, resources: ResourcesDict, cell_index: int
    ) -> tuple[NotebookNode, ResourcesDict]:
        """Replace the result of a check cell that has no proper one by 0.0, with a sentence for the feedback."""
        if cell.cell_type == "code" and is_grade(cell) and not is_solution(cell):
            cell.outputs = [o for o in cell.outputs if not (o.output_type == "stream" and o.name == "stderr")]
            if result(cell) is None:
                shown = [o for o in cell.outputs if o.output_type != "execute_result"]
                note = new_output("stream", name="stdout", text="This check did not end with its points: 0.\n")
                zero = new_output("execute_result", data={"text/plain": "0.0"}, execution_count=cell.execution_count)
                cell.outputs = [*shown, note, zero]
        return cell, resources
