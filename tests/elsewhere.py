"""A second process that holds a suite's functions and serves calls over a pipe: what a trusted grader will do.

Run as `python -m tests.elsewhere CHAPTER`: reads and writes frames on stdin and stdout.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from typing import BinaryIO

import torch

from helpers.checks.boundary import Answer, serve
from tests.suite import Case, load


def _write(stream: BinaryIO, *parts: bytes) -> None:
    for part in parts:
        stream.write(len(part).to_bytes(8, "big") + part)
    stream.flush()


def _read(stream: BinaryIO) -> bytes:
    head = stream.read(8)
    if len(head) < 8:
        raise EOFError
    return stream.read(int.from_bytes(head, "big"))


def here(case: Case) -> list[Answer]:
    """The case's functions in this process; an answer that draws by itself draws as it would elsewhere."""
    calls = itertools.count()

    def transport(name: str, request: bytes, seconds: float) -> bytes:
        torch.manual_seed(next(calls))
        return serve(case.functions[int(name)], request, seconds)

    return [Answer(str(k), transport) for k in range(len(case.functions))]


class Elsewhere:
    """Starts the process and makes `Answer`s whose functions live there."""

    def __init__(self, chapter: str) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.elsewhere", chapter],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self.cases = load(chapter).cases

    def answers(self, case: Case) -> list[Answer]:
        """The case's functions, reached through the pipe."""

        calls = itertools.count()

        def transport(name: str, request: bytes, seconds: float) -> bytes:
            head = json.dumps([self.cases.index(case), int(name), seconds, next(calls)]).encode()
            _write(self.process.stdin, head, request)
            return _read(self.process.stdout)

        return [Answer(str(k), transport) for k in range(len(case.functions))]

    def stop(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


def main(chapter: str) -> None:
    """Serve until stdin closes.  Replies go to the real stdout, which nothing else can reach."""
    cases = load(chapter).cases
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            index, function, seconds, call = json.loads(_read(sys.stdin.buffer))
        except EOFError:
            return
        request = _read(sys.stdin.buffer)
        torch.manual_seed(call)
        _write(replies, serve(cases[index].functions[function], request, seconds))


if __name__ == "__main__":
    main(sys.argv[1])
