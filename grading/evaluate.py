"""Grade one submission: every check on a fresh pair of sessions, the student's behind walls, the judge's beside them.

This process starts the boxes, hands each pair of sessions the two ends of one socket, and reads the judge's outcome.
It never reads a byte that a student's process wrote.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from nbformat import NotebookNode

from grading import cells, clean, masks
from grading.box import frames
from grading.sandbox import STUDENTS_MODULES, Box, Limits, Session, folder

# a course may keep its helpers elsewhere
HELPERS = Path(os.environ.get("COURSE_HELPERS") or Path(__file__).resolve().parent.parent / "helpers")
SESSIONS = 400  # after so many a box is renewed, so that no memory can creep
MOST_OUTCOME = 4 << 20


@dataclass
class Verdict:
    """What came of one check: points, the laws as judged, and what the student and the instructor should read."""

    name: str
    points: float
    score: float = 0.0
    text: str = ""
    laws: list[dict] = field(default_factory=list)
    reason: str = ""  # why there are no laws to show
    notes: list[str] = field(default_factory=list)  # cells that ended with an error
    caught: list[str] = field(default_factory=list)  # attempts at the grader
    seconds: float = 0.0
    cpu: float = 0.0

    def plain(self) -> dict:
        """As a dict that JSON takes."""
        return asdict(self)


class Grader:
    """A pair of boxes for one course.  Use as a context manager, or stop() it."""

    def __init__(self, helpers: Path = HELPERS, *, walls: bool = True, limits: Limits | None = None) -> None:
        self.walls, self.limits, self.helpers = walls, limits or Limits(), helpers
        self.home = folder()
        self.boxes: dict[str, Box] = {}
        self.judge: tuple[Session, socket.socket] | None = None
        self.opened, self.lock = 0, threading.Lock()
        try:
            full, masked = self.home / "judge", self.home / "student"
            shutil.copytree(helpers, full / "full" / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
            masked.mkdir()
            masks.make_readable(full)
            answers = self._ask({}, None, time.monotonic() + 60)
            always = answers.pop("*", [])
            self.trees = masks.Trees(helpers, masked, {name: found + always for name, found in answers.items()})
            self._dismiss()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the boxes and remove what they saw."""
        self._drop()
        shutil.rmtree(self.home, ignore_errors=True)

    def evaluate(self, release: NotebookNode, nb: NotebookNode, seed: int | None = None) -> list[Verdict]:
        """A verdict for every check of `release` on the restored notebook `nb`; random inputs come from `seed`."""
        with self.lock:  # a Dask worker may have several threads, a box has one session at a time
            return self._evaluate(release, nb, seed)

    def _evaluate(self, release: NotebookNode, nb: NotebookNode, seed: int | None) -> list[Verdict]:
        end, slow = time.monotonic() + self.limits.submission, set()
        programme = list(cells.programme(release, nb))
        verdicts = []
        try:
            for task in cells.tasks(release):
                todo = [cell for cell in programme if cell[0] not in slow]
                verdict = self._judge(task, todo, end, seed)
                slow |= {note.split(":")[0] for note in verdict.notes if ": OutOfTime" in note}
                verdicts.append(verdict)
        finally:
            self._dismiss()
        return verdicts

    def _judge(self, task: cells.Task, programme: list, end: float, seed: int | None) -> Verdict:
        for _ in range(2):  # a box may end under us, say when the system is short of memory: once more in a new one
            left = min(self.limits.exercise, end - time.monotonic())
            if left <= 0:
                reason = f"this notebook had used up its {self.limits.submission:g} seconds"
                return Verdict(task.name, task.points, reason=reason)
            if verdict := self._attempt(task, programme, left, seed):
                return verdict
            self._drop()
        return Verdict(task.name, task.points, reason="this exercise could not be judged: its box ended twice")

    def _attempt(self, task: cells.Task, programme: list, seconds: float, seed: int | None) -> Verdict | None:
        verdict = Verdict(task.name, task.points)
        order = {"check": task.check, "setup": task.setup, "names": task.functions, "points": task.points}
        order |= {"cells": [[*cell, self.limits.cell] for cell in programme], "seconds": seconds, "seed": seed}
        order["call"], start = self.limits.call, time.monotonic()
        ours, judges = socket.socketpair()
        with ours, judges, self._student(self._tree(task), ours) as student:
            ours.close()
            try:
                _fill(verdict, clean.tree(self._ask(order, judges, start + 2 * seconds + 5)))
            except (frames.Broken, ValueError, TypeError, KeyError, RecursionError) as error:
                how = self._dismiss().get("ended") or str(error)
                verdict.reason = f"this exercise could not be judged: {how}"
        verdict.seconds, verdict.cpu = time.monotonic() - start, student.outcome.get("cpu", 0.0)
        if (ended := student.outcome.get("ended", "")) not in ("", "closed"):
            verdict.notes.append(f"its process: {ended}")
        return verdict if student.outcome else None

    def _ask(self, order: dict, students: socket.socket | None, deadline: float) -> Any:
        """Have the judge carry out an order; it keeps its session until the submission is done."""
        if self.judge is None:
            ours, judges = socket.socketpair()
            with judges:
                self.judge = self._box("judge").open("full", judges), ours
        line = self.judge[1]
        frames.write(line, json.dumps(order).encode(), deadline)
        if students is not None:
            socket.send_fds(line, [b"+"], [students.fileno()])
        return json.loads(frames.read(line, deadline, MOST_OUTCOME))

    def _dismiss(self) -> dict:
        """End the judge's session: none outlives a submission."""
        session, self.judge = self.judge, None
        if session is None:
            return {}
        session[1].close()
        return session[0].close()

    def _student(self, tree: str, channel: socket.socket) -> Session:
        self._renew()
        return self._box("student").open(tree, channel)

    def _tree(self, task: cells.Task) -> str:
        named = (self.trees[name] for name in task.calls if name in self.trees)
        return next(named, self.trees[""])

    def _box(self, role: str) -> Box:
        if role not in self.boxes:
            modules = STUDENTS_MODULES if role == "student" else ()
            self.boxes[role] = Box(role, self.home / role, modules, walls=self.walls, limits=self.limits)
        return self.boxes[role]

    def _renew(self) -> None:
        self.opened += 1
        if self.opened % SESSIONS == 0 or any(box.process.poll() is not None for box in self.boxes.values()):
            self._drop()

    def _drop(self) -> None:
        self._dismiss()
        for box in self.boxes.values():
            box.stop()
        self.boxes = {}


def _fill(verdict: Verdict, outcome: dict) -> None:
    """Take over what the judge found; a defect or a lost process gives a reason."""
    verdict.score = min(max(float(outcome["score"]), 0.0), verdict.points)
    verdict.text, verdict.laws, verdict.caught = str(outcome["text"]), list(outcome["laws"]), list(outcome["caught"])
    verdict.notes = [f"{name}: {kind}" + (f": {said}" if said else "") for name, kind, said in outcome["notes"]]
    if outcome["defect"]:
        verdict.score, verdict.reason = 0.0, f"this exercise could not be judged: {outcome['defect']}"
    elif outcome["gone"] and verdict.score < verdict.points:
        verdict.reason = outcome["gone"]
