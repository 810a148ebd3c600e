"""What the course asks of a kernel, and the one sentence for each thing that is missing."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

PYTHON = (3, 11)
PACKAGES = {"numpy": (2, 0), "torch": (2, 4), "scipy": (1, 13), "matplotlib": (3, 9), "tqdm": (4, 66)}
KERNEL = "Python 3 (ipykernel)"  # as JupyterLab's list shows that of its own environment


class SetUpError(RuntimeError):
    """A fault of the machine or the kernel, not of the code: a notebook shows its sentence and no traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


def check() -> None:
    """Raise SetUpError if this Python, or a package that every chapter needs, is missing or too old; imports none."""
    kernel = f"This kernel, {sys.executable}, "
    elsewhere = f"or choose {KERNEL} under Kernel, Change Kernel, in the JupyterLab of {_way_in()}."
    if sys.version_info < PYTHON:
        raise SetUpError(f"{kernel}is Python {sys.version.split()[0]}; the course needs 3.11: install it, {elsewhere}")
    for name, oldest in PACKAGES.items():
        found = _version(name)
        if found is None or _numbers(found) < oldest:
            has = f"has {name} {found}" if found else f"has no {name}"
            wish = f'"{name}>={".".join(map(str, oldest))}"'
            cure = f"run %pip install --upgrade {wish} in a cell and restart the kernel, {elsewhere}"
            raise SetUpError(f"{kernel}{has}; the course needs {wish}: {cure}")


def _way_in() -> str:
    """What starts the course's JupyterLab: the page START.md in a folder that was handed out, else `make lab`."""
    here = Path.cwd()
    return "START.md" if any((folder / "START.md").is_file() for folder in (here, *here.parents[:2])) else "`make lab`"


def _version(name: str) -> str | None:
    """Version of a package, loaded or installed; "99" for one that is there and does not say; None for one that is not.

    One that is loaded answers at once; an installed one has its metadata read, which takes milliseconds.
    """
    if loaded := getattr(sys.modules.get(name), "__version__", None):
        return str(loaded)
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "99" if find_spec(name) else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))
