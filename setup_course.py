"""Make .venv, the course's own Python environment, from constraints.txt: `make lab` and `make test` begin here.

Run it again at any time: a finished .venv is left alone, changed pins are installed into it, and one that an
interruption left half-made is built anew (what was downloaded is still in pip's cache). Every trouble ends in one
sentence and exit code 1. Only the standard library, and no syntax newer than Python 3.6: an old Python must be able to
say its sentence too.
"""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 14)  # every pinned package has a ready-made file for these
SPACE, CUDA_SPACE = 2.5, 9.0  # GB: 1.6 of packages and pip's working room; on Linux torch may bring the CUDA libraries

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "course-stamp"  # empty while the environment is half-made, then what it was made of
LOG = VENV / "set-up.log"

TROUBLES = (  # what pip writes -> what a person needs to hear
    (r"No space left|Errno 28|not enough space", "the disk is full: the course needs {space}, the log {log}."),
    (
        r"NewConnectionError|Max retries|Name or service|name resolution|ConnectTimeout|ReadTimeout|ProxyError|SSLErr",
        "the package index does not answer: check the network or the proxy and run this again, what has arrived is"
        " kept (log: {log}).",
    ),
    (
        r"No matching distribution found for ([^\s;]+)",
        "the package index has no {match} for Python {version} on this system (log: {log}).",
    ),
    (r"Permission denied|Errno 13", "something under {root} may not be written by this user (log: {log})."),
)


def stop(sentence: str) -> None:
    """Leave with one sentence on stderr and exit code 1."""
    sys.exit("Set-up stopped: " + sentence)


def answers(command: list) -> bool:
    """Whether this command can be run and ends well."""
    try:
        return not subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError:
        return False


def space_needed() -> str:
    """The room to tell people about; only on Linux can the CUDA libraries come along."""
    return f"{SPACE:g} GB free" + (f", or {CUDA_SPACE:g} GB with CUDA," if sys.platform == "linux" else "")


def check_machine() -> None:
    """The right Python with its venv module, or a sentence about what is missing."""
    version = ".".join(map(str, sys.version_info[:3]))
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        others = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
        other = next((name for name in others if answers([name, "-c", ""])), None)
        advice = f"this machine has {other}: add PYTHON={other}" if other else "install one and name it with PYTHON="
        stop(f"{sys.executable} is Python {version}, and the course needs 3.{OLDEST[1]} to 3.{NEWEST[1]}; {advice}.")
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        package = f"python3.{sys.version_info[1]}-venv"
        stop(f"{sys.executable} lacks its venv module: on Debian and Ubuntu, sudo apt install {package} brings it.")


def wanted() -> list:
    """Two lines that describe the finished environment: its Python and its place, then a hash of the pins."""
    import tomllib  # Python 3.11 has it, and check_machine has been passed

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8") + json.dumps(project, sort_keys=True)
    return [f"Python {sys.version_info[0]}.{sys.version_info[1]} in {ROOT}", hashlib.sha256(pins.encode()).hexdigest()]


def can_be_kept(stamp: list, goal: list) -> bool:
    """Whether pip can install into the .venv that is there; one that is somebody's own is never removed."""
    if stamp is not None:
        return stamp[:1] == goal[:1] and PYTHON.exists()
    if not VENV.is_dir() or not any(VENV.iterdir()):
        return False
    ask = f"import pip, sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    if not answers([str(PYTHON), "-c", ask]):
        stop(f"{VENV} was not made by this course and has no Python 3.{sys.version_info[1]} with pip; move it away.")
    return True


def run(command: list, lock: object) -> None:
    """Run a command, its words into the log and a sign of life onto a terminal; one sentence if it fails."""
    environment = dict(os.environ, PIP_CONSTRAINT="constraints.txt", PIP_BUILD_CONSTRAINT="constraints.txt")
    held = {"pass_fds": [lock.fileno()]} if os.name == "posix" else {}  # an orphaned pip keeps the lock
    with LOG.open("w", encoding="utf-8") as log, subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        encoding="utf-8", errors="replace", **held
    ) as process:  # fmt: skip
        for line in process.stdout:
            log.write(line)
            if sys.stdout.isatty():
                print("\r\033[K  " + " ".join(line.split()[:2])[:70], end="", flush=True)
    if sys.stdout.isatty():
        print("\r\033[K", end="")
    if process.returncode:
        explain(process.returncode)


def explain(code: int) -> None:
    """Turn the log of a failed command into one sentence."""
    text = LOG.read_text(encoding="utf-8", errors="replace")
    known = {"space": space_needed(), "log": LOG, "root": ROOT, "version": f"3.{sys.version_info[1]}"}
    for pattern, sentence in TROUBLES:
        match = re.search(pattern, text)
        if match:
            stop(sentence.format(match=match.group(match.lastindex or 0), **known))
    error = re.search(r"^\s*ERROR: (.+?)\.?$", text, re.MULTILINE)
    stop(f"the environment could not be made ({error.group(1) if error else f'exit code {code}'}); log: {LOG}.")


def build(lock: object) -> None:
    """A new, empty .venv; its stamp is emptied first and never removed, so that a later run knows it for half-made."""
    VENV.mkdir(exist_ok=True)
    STAMP.write_text("")
    for entry in VENV.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(str(entry))
        elif entry != STAMP:
            entry.unlink()
    free = shutil.disk_usage(str(VENV)).free / 1e9
    if free < SPACE:
        stop(f"the course needs {space_needed()} on the disk of {ROOT}, and there are {free:.1f} GB.")
    run([sys.executable, "-m", "venv", str(VENV)], lock)


def set_up(lock: object) -> None:
    """Bring .venv to what constraints.txt and pyproject.toml ask for, with as little work as possible."""
    goal, begun = wanted(), time.monotonic()
    stamp = STAMP.read_text(encoding="utf-8").splitlines() if STAMP.exists() else None
    if stamp == goal and PYTHON.exists():
        return
    print(f"Setting up .venv with Python {sys.version.split()[0]}: a few minutes, once. Log: {LOG}", flush=True)
    if not can_be_kept(stamp, goal):
        build(lock)
    elif stamp:
        STAMP.write_text("")
    pip = [str(PYTHON), "-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    pip += ["--no-compile"]  # compiling all would take most of the time
    run([*pip, "--editable", ".[lab,grading,dev,site]"], lock)
    silence_news()
    STAMP.write_text("\n".join(goal) + "\n", encoding="utf-8")
    print(f"Set-up finished in {time.monotonic() - begun:.0f} s.", flush=True)


def silence_news() -> None:
    """JupyterLab asks every new user about news, over the corner of the first notebook: not here."""
    settings = VENV / "share" / "jupyter" / "lab" / "settings"
    settings.mkdir(parents=True, exist_ok=True)
    choice = {"fetchNews": "false", "checkForUpdates": False}
    overrides = {"@jupyterlab/apputils-extension:notification": choice}
    (settings / "overrides.json").write_text(json.dumps(overrides, indent=2), encoding="utf-8")


def wait_for_lock(lock: object) -> None:
    """Let only one set-up of this folder work at a time, where the system has such locks."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another set-up of this folder is at work; waiting for it.", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:
        return  # some network disks


def main() -> None:
    """Check the machine, then set up while no other set-up of this folder is at work."""
    check_machine()
    with open(__file__, encoding="utf-8") as lock:
        wait_for_lock(lock)
        set_up(lock)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        stop("interrupted; the same command starts over, and what was downloaded is kept.")
    except OSError as error:
        stop(f"{error.strerror or error}: {error.filename or ROOT}.")
