"""Grade one submission: every check on a fresh pair of sessions, the student's behind walls, the judge's beside them.

This process starts the boxes, hands each pair of sessions the two ends of one socket, and reads the judge's outcome.
It never reads a byte that a student's process wrote.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nbformat import NotebookNode

from grading import cells, masks
from grading.box import frames
from grading.sandbox import STUDENTS_MODULES, Box, Limits, Session

HELPERS = Path(__file__).resolve().parent.parent / "helpers"
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
        self.home = Path(tempfile.mkdtemp(prefix="grading-"))
        self.boxes: dict[str, Box] = {}
        self.opened = 0
        try:
            full, masked = self.home / "judge", self.home / "student"
            shutil.copytree(helpers, full / "full" / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
            masked.mkdir()
            self.trees = masks.build(helpers, masked, self._answers())
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Grader:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the boxes and remove what they saw."""
        for box in self.boxes.values():
            box.stop()
        self.boxes = {}
        shutil.rmtree(self.home, ignore_errors=True)

    def evaluate(self, release: NotebookNode, nb: NotebookNode, seed: int | None = None) -> list[Verdict]:
        """A verdict for every check of `release` on the restored notebook `nb`; random inputs come from `seed`."""
        end, slow = time.monotonic() + self.limits.submission, set()
        programme = list(cells.programme(release, nb))
        verdicts = []
        for task in cells.tasks(release):
            if time.monotonic() >= end:
                reason = f"this notebook had used up its {self.limits.submission:g} seconds"
                verdicts.append(Verdict(task.name, task.points, reason=reason))
                continue
            todo = [cell for cell in programme if cell[0] not in slow]
            verdict = self._judge(task, todo, end, seed)
            slow |= {note.split(":")[0] for note in verdict.notes if ": OutOfTime" in note}
            verdicts.append(verdict)
        return verdicts

    def _judge(self, task: cells.Task, programme: list, end: float, seed: int | None) -> Verdict:
        verdict = self._attempt(task, programme, end, seed)
        if verdict is None:  # a box has ended under us, say by a system short of memory: once more in a new one
            self._drop()
            verdict = self._attempt(task, programme, end, seed)
        return verdict or Verdict(task.name, task.points, reason="this exercise could not be judged: its box ended twice")

    def _attempt(self, task: cells.Task, programme: list, end: float, seed: int | None) -> Verdict | None:
        verdict = Verdict(task.name, task.points)
        seconds = min(self.limits.exercise, max(1.0, end - time.monotonic()))
        order = {"check": task.check, "setup": task.setup, "names": task.functions, "points": task.points}
        order |= {"cells": [[*cell, self.limits.cell] for cell in programme], "seconds": seconds, "seed": seed}
        order["call"], start = self.limits.call, time.monotonic()
        with self._pair(self._tree(task)) as (channel, student, judge):
            try:
                frames.write(channel, json.dumps(order).encode(), time.monotonic() + seconds)
                outcome = frames.read(channel, time.monotonic() + 2 * seconds + 5, MOST_OUTCOME)
                _fill(verdict, json.loads(outcome))
            except frames.Broken as error:
                verdict.reason = f"this exercise could not be judged: {error}"
        if not student.outcome or not judge.outcome:
            return None
        verdict.seconds, verdict.cpu = time.monotonic() - start, student.outcome.get("cpu", 0.0)
        for session, whose in ((student, "its process"), (judge, "the judge's process")):
            if session.outcome.get("ended", "") not in ("", "closed"):
                verdict.notes.append(f"{whose}: {session.outcome['ended']}")
        return verdict

    def _tree(self, task: cells.Task) -> str:
        named = (self.trees[name] for name in task.calls if name in self.trees)
        return next(named, self.trees[""])

    @contextlib.contextmanager
    def _pair(self, tree: str) -> Iterator[tuple[socket.socket, Session, Session]]:
        """A student's session and a judge's that share a socket, and our line to the judge."""
        self._renew()
        (ours, judges), (one, other) = socket.socketpair(), socket.socketpair()
        with ours, judges, one, other:
            student = self._box("student").open(tree, one)
            judge = self._box("judge").open("full", judges, other)
            for end in (judges, one, other):
                end.close()
            with student, judge:
                yield ours, student, judge

    def _answers(self) -> dict[str, list[str]]:
        ours, judges = socket.socketpair()
        with ours, judges, self._box("judge").open("full", judges):
            judges.close()
            frames.write(ours, b"{}")
            return json.loads(frames.read(ours, time.monotonic() + 30))

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
