"""What a worker does with one submission: give it the release's form, make it harmless, evaluate it.

Light to import: a worker on another machine needs neither nbgrader nor a gradebook.
"""

from __future__ import annotations

import atexit
import functools
import sys
import threading

import nbformat
from nbformat import NotebookNode, from_dict

from grading import cells, clean, submissions
from grading.evaluate import Grader, Verdict

UNSAFE = "Grading WITHOUT the sandbox: the code of these submissions can do on this machine whatever you can."


_starting = threading.Lock()


def evaluate(release: bytes, submission: bytes, name: str, walls: bool, seed: int | None = None) -> list[dict]:
    """The verdicts on a submitted file, as plain values."""
    ours = nbformat.reads(release.decode(), as_version=4)
    return [verdict.plain() for verdict in judged(ours, restored(ours, read(submission, name)), walls, seed)]


def grader(walls: bool = True) -> Grader:
    """This process's grader, started on first use."""
    with _starting:
        return _grader(walls)


@functools.cache
def _grader(walls: bool) -> Grader:
    if not walls:
        print(UNSAFE, file=sys.stderr)
    made = Grader(walls=walls)
    atexit.register(made.stop)
    return made


def read(data: bytes, name: str) -> NotebookNode:
    """The notebook in `data`, the content of a file called `name`; of one that is none, an empty one that says why."""
    try:
        return submissions.parse(data, name)
    except submissions.Unreadable as error:
        return unreadable(str(error) if data.strip() else f"{name} cannot be read: the file is empty")


def unreadable(reason: str) -> NotebookNode:
    """What stands in for a submission that is no notebook."""
    return from_dict({"cells": [], "metadata": {"grading": {"reason": reason}}, "nbformat": 4, "nbformat_minor": 5})


def restored(release: NotebookNode, nb: NotebookNode) -> NotebookNode:
    """The submission in the release's form, clean, with a record of what was put right."""
    done = cells.restore(release, nb)
    clean.notebook(done.nb, {cell.source for cell in release.cells})
    reason = nb.metadata.get("grading", {}).get("reason", "")
    notes = [] if reason else [clean.text(note, 300) for note in done.notes]
    record = {"notes": notes, "reason": reason, "answers": answers(release), "own": own(release, done.nb)}
    done.nb.metadata["grading"] = record | {"missing": [] if reason else missing(release, nb)}
    return done.nb


def answers(release: NotebookNode) -> dict[str, list[str]]:
    """By check, the names of the answer cells that it judges."""
    places = [cell for cell in release.cells if cells.role(cell) == "answer"]
    return {
        task.name: [cells.grade_id(cell) for cell in places if cells.bound(cell.source) & set(task.functions)]
        for task in cells.tasks(release)
    }


def own(release: NotebookNode, nb: NotebookNode) -> list[str]:
    """The code cells of a restored notebook that the student wrote: answers, cells added, given cells changed."""
    given = {"".join(cell.source.split()) for cell in release.cells if cells.role(cell) != "answer"}
    return [
        cells.grade_id(cell) or cell.id
        for cell in nb.cells
        if cell.cell_type == "code" and "".join(cell.source.split()) not in given
    ]


def missing(release: NotebookNode, nb: NotebookNode) -> list[str]:
    """The release's cells for answers that a submission lacks."""
    there = {cells.grade_id(cell) for cell in nb.cells}
    names = [cells.grade_id(cell) for cell in release.cells if cells.role(cell) in ("answer", "manual")]
    return [name for name in names if name not in there]


def judged(release: NotebookNode, nb: NotebookNode, by: Grader | bool, seed: int | None = None) -> list[Verdict]:
    """The verdicts on a restored notebook, by a grader or by this process's with or without walls.

    One that could not be read is given none of the points.
    """
    if reason := nb.metadata["grading"]["reason"]:
        return [Verdict(task.name, task.points, reason=reason) for task in cells.tasks(release)]
    return (grader(by) if isinstance(by, bool) else by).evaluate(release, nb, seed)
