"""The first program inside a box: imports what is slow, once, then forks one walled session after another.

Run as `python server.py ROLE UID CONTROL MODULE...`, CONTROL being the descriptor of a socket.  The server itself
never runs a line that a student wrote.  Each message on the control socket opens a session: a JSON order with
descriptors, first a lease (closing it ends the session; its last line tells how it ended), then the channels that the
session talks on.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from types import ModuleType

import calls
import walls

TICK = 0.05  # seconds between two looks at a session's memory


def main(role: str, uid: int, descriptor: int, modules: list[str]) -> None:
    """Serve sessions until the grader closes the control socket."""
    control = socket.socket(fileno=descriptor)
    if uid:
        walls.become(uid)
    player = importlib.import_module(role)
    for module in modules:
        importlib.import_module(module)
    player.warm_up()
    gc.collect()
    gc.freeze()  # or every session's collections would copy all that was imported
    walls.hide_from_siblings()
    control.send(b"ready")
    while True:
        order, descriptors = _receive(control)
        if order is None:
            return
        keeper = os.fork()
        if keeper == 0:
            control.close()
            _keep(player, order, *descriptors)
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)
        os.waitpid(keeper, 0)  # one session at a time: the next starts when nothing of the last is left


def _receive(control: socket.socket) -> tuple[dict | None, list[int]]:
    data, ancillary, _, _ = control.recvmsg(65536, socket.CMSG_SPACE(12))
    descriptors = array.array("i")
    for _, _, raw in ancillary:
        descriptors.frombytes(raw[: len(raw) - len(raw) % descriptors.itemsize])
    return (json.loads(data) if data else None), list(descriptors)


def _keep(player: ModuleType, order: dict, lease: int, *channels: int) -> None:
    """Wall off a child that plays the role, and watch it until it ends, grows too large, or the lease is closed."""
    try:
        walls.unshare(order)
        child = os.fork()
    except OSError as error:
        _report(lease, {"ended": f"the walls could not be raised: {error}"})
        return
    if child == 0:
        os.close(lease)
        _play(player, order, *channels)
        os._exit(0)
    for channel in channels:
        os.close(channel)
    ended = _watch(child, lease, order["memory"] if order["walls"] else 0)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)  # the first process of its namespace takes all others with it
    _, status, used = os.wait4(child, 0)
    how = ended or (f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "")
    _report(lease, {"ended": how, "cpu": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss * 1024})


def _play(player: ModuleType, order: dict, *channels: int) -> None:
    """The child: inside its walls, without privileges, deaf and mute but for its channels."""
    os.setsid()  # a signal to one's own group would reach the server: groups reach across namespaces
    taken = walls.address_space() if order["walls"] else 0
    walls.raise_walls(order)
    walls.limit(order, taken)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    sys.path[:] = [order["course"], *sys.path[1:]]
    if order["walls"]:
        calls.forbid()
    player.main(*(socket.socket(fileno=channel) for channel in channels))


def _watch(child: int, lease: int, most: int) -> str:
    """Why the session must end, or an empty string if it ended by itself."""
    exited = os.pidfd_open(child) if hasattr(os, "pidfd_open") else -1
    watched = [descriptor for descriptor in (lease, exited) if descriptor >= 0]
    nearby = {os.getpid(), os.getppid(), 1}
    while True:
        ready, _, _ = select.select(watched, [], [], TICK)
        if exited in ready or (exited < 0 and _gone(child)):
            return ""
        if lease in ready:
            return "closed"
        if most and _memory(nearby) > most:
            return f"it used more than {most >> 20} MiB of memory"


def _gone(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _memory(nearby: set[int]) -> int:
    """Bytes of memory that all processes of the session hold together, files on disk not counted."""
    total = 0
    for name in os.listdir("/proc"):
        if name.isdecimal() and int(name) not in nearby:
            with contextlib.suppress(OSError, ValueError), open(f"/proc/{name}/status") as status:
                parts = (line.split() for line in status if line.startswith(("RssAnon", "RssShmem", "VmSwap")))
                total += sum(int(part[1]) for part in parts) << 10
    return total


def _report(lease: int, outcome: dict) -> None:
    outcome["at"] = time.time()
    with contextlib.suppress(OSError):
        os.write(lease, json.dumps(outcome).encode())
    os.close(lease)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
