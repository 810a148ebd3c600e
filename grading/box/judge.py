"""A session's trusted side: runs one check on functions that live in another box, and reports law by law.

It holds no gradebook, no file of the course but `helpers`, and no network; what a student's process returns is
decoded here, within the limits of this session.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import json
import math
import os
import pkgutil
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import frames
from IPython.core.inputtransformer2 import TransformerManager

GRACE = 1.0  # seconds beyond a call's own limit until its process is given up
MOST_NOTES = 65536
DEFINITIONS = "the cells of this notebook"


_original: Callable[..., Any]  # Exercise.judge as helpers has it


def warm_up() -> None:
    """Import every chapter, and run every check once on functions that are not written: that fills its caches."""
    global _original
    sys.path.insert(0, os.environ["COURSE"])
    for name in _modules("helpers"):
        importlib.import_module(name)
    exercise = importlib.import_module("helpers.checks.laws").Exercise
    _original = exercise.judge
    for name in _modules("helpers.checks"):
        for check in vars(importlib.import_module(name)).values():
            if isinstance(check, exercise):
                with contextlib.suppress(Exception):
                    check.judge(*[_unwritten] * len(check.functions))


def _unwritten(*_: Any, **__: Any) -> None:
    raise NotImplementedError


def _modules(package: str) -> list[str]:
    """All modules of helpers, without those that only a command line runs."""
    folders = importlib.import_module(package).__path__
    names = (module.name for module in pkgutil.walk_packages(folders, f"{package}."))
    return [name for name in names if not name.endswith("__main__")]


def _answers() -> dict[str, list[str]]:
    """Exercise -> the names in helpers that answer it, as all chapters tell."""
    found: dict[str, list[str]] = {}
    for name in _modules("helpers"):
        for exercise, names in getattr(importlib.import_module(name), "ANSWERS", {}).items():
            found[exercise] = sorted({*found.get(exercise, []), *names})
    return found


class Remote:
    """The transport to a student's process: one reply for each request, in time, in turn and in form, or none."""

    def __init__(self, channel: socket.socket, deadline: float, longest: float) -> None:
        self.channel, self.deadline, self.longest = channel, deadline, longest
        self.gone, self.caught = "", []

    def define(self, cells: list) -> list:
        """Have the notebook's cells run there; the errors they ended with, as (cell, kind, text)."""
        try:
            frames.write(self.channel, json.dumps(cells).encode(), self.deadline)
            notes = json.loads(frames.read(self.channel, self.deadline, MOST_NOTES))
            return [[str(part)[:300] for part in (name, kind, text)] for name, kind, text in notes[:100]]
        except (frames.Broken, ValueError, TypeError, KeyError, RecursionError) as error:
            self._lose(f"the process that ran {DEFINITIONS} gave no answer: {error}")
            return []

    def __call__(self, name: str, request: bytes, seconds: float) -> bytes:
        """Send one request and return its reply."""
        if not self.gone and frames.waiting(self.channel):
            self._lose("its process ended or spoke out of turn", caught=self._speaks())
        if self.gone:
            _refuse(self.gone)
        nonce, now = os.urandom(16), time.monotonic()
        seconds = max(0.05, min(seconds, self.longest, self.deadline - now))
        head = json.dumps({"name": name, "seconds": seconds, "nonce": nonce.hex()}).encode()
        try:
            for part in (head, request):
                frames.write(self.channel, part, now + seconds + GRACE)
            reply = frames.read(self.channel, now + seconds + GRACE)
        except frames.Broken as error:
            self._lose(str(error))
            _refuse(self.gone)
        if reply[:16] != nonce:
            self._lose("it answered a question that was not asked", caught=True)
            _refuse(self.gone)
        return reply[16:]

    def _speaks(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.channel.recv(1, socket.MSG_PEEK))
        return False

    def _lose(self, reason: str, caught: bool = False) -> None:
        self.gone = reason
        if caught:
            self.caught.append(f"a reply out of turn: {reason}")
        with contextlib.suppress(OSError):
            self.channel.shutdown(socket.SHUT_RDWR)


def _refuse(reason: str) -> None:
    from helpers.checks.boundary import BoundaryError

    raise BoundaryError(f"your function's answer does not count: {reason}")


def main(channel: socket.socket) -> None:
    """Answer one order after another: which names answer an exercise, or what a check says of a student's process."""
    while True:
        task = json.loads(frames.read(channel))
        if not task:
            outcome = _answers()
        else:
            _, (descriptor, *_), _, _ = socket.recv_fds(channel, 1, 1)
            with socket.socket(fileno=descriptor) as students:
                outcome = _outcome(task, students)
        frames.write(channel, json.dumps(outcome).encode())


def _outcome(task: dict, students: socket.socket) -> dict:
    """Points, laws and notes; a check that fails in itself is reported as a defect."""
    start = time.monotonic()
    remote = Remote(students, start + task["seconds"], task["call"])
    notes = remote.define(task["cells"])
    outcome = {"score": 0.0, "text": "", "laws": [], "defect": ""}
    try:
        outcome |= _judge(task, remote)
    except Exception as error:  # noqa: BLE001 - reported by name, costs this exercise only
        outcome["defect"] = f"{type(error).__name__}: {error}"[:300]
    return outcome | {"notes": notes, "gone": remote.gone, "caught": remote.caught, "seconds": time.monotonic() - start}


def _judge(task: dict, remote: Remote) -> dict:
    from helpers.checks import laws
    from helpers.checks.boundary import Answer

    reports: list[laws.Report] = []

    def listening(self: laws.Exercise, *functions: Any, seed: int | None = None) -> laws.Report:
        reports.append(_original(self, *functions, seed=task["seed"] if seed is None else seed))
        return reports[-1]

    laws.Exercise.judge = listening
    space: dict[str, Any] = {"__name__": "__check__"}
    printed = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for source in task["setup"]:
            _value(source, space)
    space |= {name: Answer(name, remote) for name in task["names"]}
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        score = _value(task["check"], space)
    found = [
        {"title": law.title, "points": law.points, "earned": law.earned, "message": law.message, "defect": law.defect}
        for report in reports
        for law in report.laws
    ]
    return {"score": _points(score, task["points"]), "text": printed.getvalue(), "laws": found}


def _value(source: str, space: dict[str, Any]) -> Any:
    """Run `source`; the value of its last line if that is an expression."""
    tree = ast.parse(TransformerManager().transform_cell(source))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<check>", "exec"), space)
    return eval(compile(ast.Expression(last.value), "<check>", "eval"), space) if last else None


def _points(score: Any, most: float) -> float:
    if type(score) not in (int, float) or not math.isfinite(score) or not 0 <= score <= most:
        raise ValueError(f"the check ended with {score!r}, not with points between 0 and {most:g}")
    return float(score)
