"""A machine as Colab gives it: an empty folder, the packages that Colab has installed, and no word about `helpers`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from grading.bundle import closure

IN_COLAB = ["ipykernel", "numpy", "torch", "scipy", "matplotlib", "tqdm", "pip", "setuptools"]


def share(distribution: Distribution, site: Path) -> None:
    """Let `site` see one distribution of this environment, by links to its files."""
    home = Path(distribution.locate_file("")).resolve()
    for top in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
        if not (site / top).exists():
            (site / top).symlink_to(home / top)


def machine(folder: Path, names: list[str] = IN_COLAB) -> Path:
    """Under `folder` a Python with these packages, in colab/, and the kernel `colab` that runs it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "colab"], check=True)
    (site,) = (folder / "colab").glob("lib/python*/site-packages")
    for distribution in closure(names):
        share(distribution, site)
    kernel = folder / "share/kernels/colab"
    kernel.mkdir(parents=True)
    python = str(folder / "colab/bin/python")
    spec = {"argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "", "language": ""}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    return folder


def move_in(folder: Path, repository: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on notebooks run on that machine, in `quick`, and find the course at `repository`."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "PYTHON", "COURSE_"))]:
        monkeypatch.delenv(name)
    # Nothing here asks an index: the build takes Colab's setuptools (0 is how pip spells "not isolated") ...
    for name, value in {"NO_INDEX": "1", "NO_BUILD_ISOLATION": "0", "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "share"))
    monkeypatch.setenv("COURSE_PROFILE", "quick")
    monkeypatch.setenv("COURSE_REPOSITORY", repository)


def run(notebook: NotebookNode, place: Path, **options: bool) -> NotebookNode:
    """The notebook with its outputs, after it ran in the folder `place`; raises at the first error."""
    options |= {"timeout": 600, "startup_timeout": 300, "kernel_name": "colab"}
    return NotebookClient(notebook, resources={"metadata": {"path": place}}, **options).execute()


def up_to_setup(notebook: NotebookNode) -> NotebookNode:
    """The notebook's first cells: parameters, installation, imports."""
    names = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells]
    notebook.cells = notebook.cells[: names.index("setup") + 1]
    return notebook


def said(cell: NotebookNode) -> str:
    """What a cell printed."""
    return "".join(output.get("text", "") for output in cell.outputs)
