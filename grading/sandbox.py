"""Boxes: programs under bubblewrap that see Python, one course tree and nothing else of this machine.

A `Box` is started once and imports what is slow; each `Session` in it is a forked child behind walls of its own (see
box/walls.py), so a submission costs a fork and not a start of Python.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PROGRAMS = Path(__file__).resolve().parent / "box"
NOBODY = 65534
THIRD_PARTY = ("numpy", "torch", "scipy", "IPython", "matplotlib")
STUDENTS_MODULES = ("numpy", "torch", "scipy.stats", "scipy.sparse.linalg", "matplotlib.pyplot", "tqdm.auto")


class SandboxError(RuntimeError):
    """This machine cannot hold a box, or the box broke; the message is one sentence."""


@dataclass(frozen=True)
class Limits:
    """What one session may use; seconds are of wall time unless said otherwise."""

    memory: int = 2 << 30  # bytes beyond what Python and its libraries take
    disk: int = 64 << 20  # bytes in its scratch folder
    processes: int = 32  # processes and threads
    cpu: int = 60  # processor seconds of one process
    cell: float = 5.0  # for one cell of definitions
    call: float = 10.0  # for one call of a student's function
    exercise: float = 40.0  # for all cells and all calls of one exercise
    submission: float = 150.0


class Session:
    """A child of a box.  Leaving the block ends it and everything it started."""

    def __init__(self, lease: socket.socket) -> None:
        self.lease, self.outcome = lease, {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> dict:
        """End the session, wait until nothing of it is left, and tell how it ended."""
        if self.lease.fileno() >= 0:
            with contextlib.suppress(OSError):
                self.lease.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError, ValueError):
                self.lease.settimeout(20)
                self.outcome = json.loads(self.lease.recv(4096) or b"{}")
            self.lease.close()
        return self.outcome


class Box:
    """A running fork server for one role, "student" or "judge"."""

    def __init__(self, role: str, trees: Path, modules: Sequence[str], *, walls: bool = True, limits: Limits) -> None:
        if walls:
            require_walls()
        elif not hasattr(socket, "send_fds"):
            raise SandboxError("this system cannot hand open sockets to processes: on Windows grade within WSL 2")
        self.role, self.trees, self.modules, self.walls, self.limits = role, trees, tuple(modules), walls, limits
        self.home = None if walls else str(folder())
        self.control, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            self._command(theirs.fileno()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={} if walls else self._environment(),
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        theirs.close()
        self.control.settimeout(120)
        if self.control.recv(16) != b"ready":
            said = self.process.stderr.read(2000).decode(errors="replace").strip().splitlines() or ["nothing"]
            self.stop()
            raise SandboxError(f"the {role}'s box did not start; it said: {said[-1]}")

    def open(self, tree: str, *channels: socket.socket) -> Session:
        """Start a session that sees course tree `tree` and holds `channels`."""
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = [theirs.fileno(), *(channel.fileno() for channel in channels)]
            try:
                socket.send_fds(self.control, [json.dumps(self._order(tree)).encode()], descriptors)
            except OSError:
                raise SandboxError(f"the {self.role}'s box has ended") from None
        return Session(ours)

    def stop(self) -> None:
        """End the box and whatever runs in it."""
        self.control.close()
        self.process.kill()  # the first process of a box dies with bubblewrap, and takes all others with it
        self.process.wait()
        self.process.stderr.close()
        if self.home:
            shutil.rmtree(self.home, ignore_errors=True)

    def _order(self, tree: str) -> dict:
        limits = self.limits
        cpu = int(limits.submission) if self.role == "judge" else limits.cpu
        sizes = {"memory": limits.memory, "disk": limits.disk, "cpu": cpu, "processes": limits.processes}
        places = {"tree": f"/trees/{tree}", "course": "/course", "scratch": scratch()}
        places["hidden"] = [] if self.role == "judge" else ["/trees"]
        if not self.walls:
            places = {"course": str(self.trees / tree), "scratch": self.home}
        return {"walls": self.walls, "box_processes": 4 * limits.processes, **sizes, **places}

    def _command(self, control: int) -> list[str]:
        uid = NOBODY if self.walls and os.getuid() == 0 else 0
        server = PROGRAMS / "server.py" if not self.walls else "/box/server.py"
        run = [sys.executable, "-B", str(server), self.role, str(uid), str(control), *self.modules]
        return [*bubblewrap(self.trees, self._environment()), *run] if self.walls else run

    def _environment(self) -> dict[str, str]:
        variables = environment(self.home or scratch())
        if self.role == "judge":
            variables["COURSE"] = "/trees/full" if self.walls else str(self.trees / "full")
        return variables


def require_walls() -> None:
    """SandboxError with the reason if this machine offers no sandbox."""
    if reason := walls_missing():
        raise SandboxError(reason)


@functools.cache
def walls_missing() -> str:
    """Why no box can be built here, as a sentence with the way out; empty if one can."""
    if not sys.platform.startswith("linux"):
        return "the sandbox needs Linux; --no-sandbox grades without it, for submissions that you trust"
    if shutil.which("bwrap") is None:
        return "the sandbox needs bubblewrap: install the package of that name (apt-get install bubblewrap)"
    probe = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "unshare", "--user", "--net", "true"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return f"this kernel forbids the namespaces that the sandbox needs ({said}); docs/grading.md says how to allow"
    return ""


def folder() -> Path:
    """A new folder for what boxes see; folders of graders that were killed are removed."""
    for old in Path(tempfile.gettempdir()).glob("grading-[0-9]*-*"):
        owner = old.name.split("-")[1]
        if owner.isdecimal() and not Path(f"/proc/{owner}").exists() and Path("/proc/self").exists():
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"grading-{os.getpid()}-"))


def bubblewrap(trees: Path, variables: Mapping[str, str]) -> list[str]:
    """The outer walls: no network, no process of others, a read-only system, an empty environment."""
    command = [
        shutil.which("bwrap") or "bwrap",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        "--cap-drop",
        "ALL",
    ]
    if os.getuid() == 0:  # root gives itself up inside: limits on processes would not bind it
        command += ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        command += ["--unshare-all"]
    sources = list(system_folders())
    for folder in sorted({str(parent) for source in sources for parent in Path(source).parents}, key=len)[1:]:
        command += ["--dir", folder]  # or its parents would be closed to everyone but root
    for source in sources:
        link = os.path.islink(source)
        command += ["--symlink", os.readlink(source), source] if link else ["--ro-bind", source, source]
    for folder in installed_courses():  # a course installed beside the libraries holds the answers
        command += ["--tmpfs", folder, "--remount-ro", folder]
    command += ["--ro-bind", str(PROGRAMS), "/box", "--ro-bind", str(trees), "/trees", "--dir", "/course"]
    command += ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", scratch(), "--perms", "1777"]
    command += ["--tmpfs", "/dev/shm", "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", scratch()]
    for name, value in variables.items():
        command += ["--setenv", name, value]
    return [*command, "--"]


def environment(home: str) -> dict[str, str]:
    """All that a box knows of the grader's environment."""
    return {
        "HOME": home, "TMPDIR": home, "USER": "student", "LANG": "C.UTF-8", "PATH": os.defpath, "MPLBACKEND": "agg",
        "OMP_NUM_THREADS": "1", "COURSE_PROFILE": "quick", "COURSE_DEVICE": "cpu", "NBGRADER_EXECUTION": "autograde",
        "PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1", "PYTHONPATH": os.pathsep.join(libraries()),
    }  # fmt: skip


def scratch() -> str:
    """The one folder that a box may write: /tmp, unless Python itself lies there and would be covered by it."""
    return "/scratch" if any(Path(folder).is_relative_to("/tmp") for folder in system_folders()) else "/tmp"


def libraries() -> list[str]:
    """The folders that hold the libraries which this very process would import."""
    found = (importlib.util.find_spec(name) for name in THIRD_PARTY)
    return list(dict.fromkeys(str(Path(spec.origin).parent.parent) for spec in found if spec))


def installed_courses() -> list[str]:
    """Folders of this course among the libraries."""
    return [str(path) for lib in libraries() for path in (Path(lib, "helpers"), Path(lib, "grading")) if path.is_dir()]


def system_folders() -> Iterator[str]:
    """What Python needs to run: its own folders, shared libraries, fonts; no /home, /var, /srv, /usr/share or /etc."""
    system = ["/usr/lib", "/usr/lib64", "/usr/bin", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives"]
    prefixes = [Path(p) for p in dict.fromkeys((sys.prefix, sys.base_prefix)) if p != "/usr"]
    wanted = [*system, *(str(p / part) for p in prefixes for part in ("bin", "lib", "lib64", "pyvenv.cfg"))]
    wanted += [folder for folder in libraries() if not any(Path(folder).is_relative_to(w) for w in wanted)]
    chain = Path(sys.executable)
    while chain.is_symlink():  # a virtual environment's python points at the real one, often in steps
        chain = chain.parent / chain.readlink()
        wanted += [str(chain.parent)] if not any(chain.is_relative_to(w) for w in wanted) else []
    wanted += [sysconfig.get_config_var("LIBDIR") or "/usr/lib"]
    return (path for path in dict.fromkeys(wanted) if os.path.lexists(path))
