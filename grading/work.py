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
    try:
        nb = submissions.parse(submission, name)
    except submissions.Unreadable as error:
        nb = unreadable(str(error))
    return [verdict.plain() for verdict in judged(ours, restored(ours, nb), walls, seed)]


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


def unreadable(reason: str) -> NotebookNode:
    """What stands in for a submission that is no notebook."""
    return from_dict({"cells": [], "metadata": {"grading": {"reason": reason}}, "nbformat": 4, "nbformat_minor": 5})


def restored(release: NotebookNode, nb: NotebookNode) -> NotebookNode:
    """The submission in the release's form, clean, with a record of what was put right."""
    done = cells.restore(release, nb)
    clean.notebook(done.nb, {cell.source for cell in release.cells})
    reason = nb.metadata.get("grading", {}).get("reason", "")
    notes = [] if reason else [clean.text(note, 300) for note in done.notes]
    done.nb.metadata["grading"] = {"notes": notes, "reason": reason}
    return done.nb


def judged(release: NotebookNode, nb: NotebookNode, by: Grader | bool, seed: int | None = None) -> list[Verdict]:
    """The verdicts on a restored notebook, by a grader or by this process's with or without walls.

    One that could not be read is given none of the points.
    """
    if reason := nb.metadata["grading"]["reason"]:
        return [Verdict(task.name, task.points, reason=reason) for task in cells.tasks(release)]
    return (grader(by) if isinstance(by, bool) else by).evaluate(release, nb, seed)
