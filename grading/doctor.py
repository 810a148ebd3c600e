"""What this machine offers a grader, and what follows from it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator

from grading import sandbox
from grading.run import cores

MARKS = {True: "ok", False: "no", None: "note"}
ROOM = 3 << 30  # bytes of memory per worker: two boxes and what a session may add


def lines() -> Iterator[tuple[bool | None, str]]:
    """(whether it is well, None where it does no harm, and one sentence) for everything that matters."""
    yield sys.platform.startswith("linux"), f"system: {platform.system()} {platform.release()}"
    bwrap = shutil.which("bwrap")
    version = subprocess.run([bwrap, "--version"], capture_output=True, text=True, check=False).stdout if bwrap else ""
    yield bool(bwrap), f"bubblewrap: {version.strip() or 'not installed (apt-get install bubblewrap)'}"
    reason = sandbox.walls_missing()
    yield not reason, f"sandbox: {reason or 'works; student code runs in it'}"
    yield from _rights()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    workers = max(1, min(cores(), memory // ROOM))
    yield memory >= ROOM, f"memory: {memory >> 30} GiB, {cores()} cores: up to {workers} workers at a time"
    filtered = platform.machine() in ("x86_64", "aarch64")
    yield filtered, f"system calls: {'filtered' if filtered else 'no filter for ' + platform.machine()}"
    dask = importlib.util.find_spec("distributed") is not None
    yield dask, f"dask.distributed: {'there' if dask else 'missing, so grading runs on one core'}"


def _rights() -> Iterator[tuple[bool | None, str]]:
    root = hasattr(os, "getuid") and os.getuid() == 0
    yield (
        None if root else True,
        f"user: {'root; a normal user would do, and is safer' if root else 'a normal user, as it should be'}",
    )
    release = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2] if part.isdigit())
    counted = release >= (5, 14)
    said = "counted per session" if counted else "counted per user before Linux 5.14: few other processes should run"
    yield counted, f"limit on processes: {said}"


def report() -> bool:
    """Print all lines; True if strangers' submissions can be graded here."""
    for well, line in lines():
        print(f"{MARKS[well]:4}  {line}")
    reason = sandbox.walls_missing()
    if reason:
        print("Submissions of strangers cannot be graded safely here: see docs/grading.md.")
    return not reason
