"""A session's untrusted side: runs a notebook's definitions and then answers calls.  Nothing it says is believed."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable
from typing import Any

import frames

_shell: Any = None


def warm_up() -> None:
    """Build the shell once, so that a session need not."""
    global _shell
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    quiet = Config({"HistoryManager": {"enabled": False}, "InteractiveShell": {"colors": "nocolor"}})
    _shell = InteractiveShell.instance(config=quiet)
    _shell.showtraceback = _shell.showsyntaxerror = lambda *_, **__: None


def main(channel: socket.socket) -> None:
    """Run the cells that arrive in the first frame, tell what went wrong, then serve."""
    from helpers.checks.boundary import serve

    cells = json.loads(frames.read(channel))
    frames.write(channel, json.dumps([[name, *trouble] for name, *cell in cells if (trouble := _run(*cell))]).encode())
    while True:
        head = json.loads(frames.read(channel))
        request = frames.read(channel)
        reply = serve(_named(head["name"]), request, head["seconds"])
        frames.write(channel, bytes.fromhex(head["nonce"]) + reply)


def _named(name: str) -> Callable[..., Any]:
    function = _shell.user_ns.get(name)
    if callable(function):
        return function

    def missing(*_: Any, **__: Any) -> None:
        raise NameError(f"{name} is not defined: did its cell run?")

    return missing


def _run(source: str, seconds: float) -> tuple[str, str] | None:
    """The kind and text of the error that a cell ended with."""
    from helpers.checks.boundary import time_limit

    try:
        with time_limit(seconds), open(os.devnull, "w") as sink:  # noqa: SIM117
            with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
                done = _shell.run_cell(source, store_history=False)
        error = done.error_before_exec or done.error_in_exec
    except BaseException as raised:  # noqa: BLE001 - whatever a cell does, the next one runs
        error = raised
    return error and (type(error).__name__, _text(error))


def _text(error: BaseException) -> str:
    try:
        return str(error)[:300]
    except Exception:  # noqa: BLE001 - a hostile __str__
        return ""
