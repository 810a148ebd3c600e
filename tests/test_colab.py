"""A Colab student's day: an empty folder, what Colab has installed, one notebook, and no word about `helpers`."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks/01_computation_graph/computation_graph.ipynb"
TAG = tomllib.loads((ROOT / "course.toml").read_text())["course"]["tag"]
IN_COLAB = ["ipykernel", "numpy", "torch", "scipy", "matplotlib", "tqdm", "pip", "setuptools"]


def closure(names):
    """The installed distributions that these names bring, themselves included."""
    found, waiting = {}, list(names)
    while waiting:
        one = metadata.distribution(waiting.pop())
        if one.name not in found:
            found[one.name] = one
            wishes = map(Requirement, one.requires or [])
            waiting += [wish.name for wish in wishes if not wish.marker or wish.marker.evaluate({"extra": ""})]
    return found.values()


def share(distribution, site):
    """Let `site` see one distribution of this environment, by links to its files."""
    home = Path(distribution.locate_file("")).resolve()
    for top in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
        if not (site / top).exists():
            (site / top).symlink_to(home / top)


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """A folder with Colab's Python under colab/ and the kernel `colab` that runs it."""
    folder = tmp_path_factory.mktemp("colab")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "colab"], check=True)
    (site,) = (folder / "colab").glob("lib/python*/site-packages")
    for distribution in closure(IN_COLAB):
        share(distribution, site)
    kernel = folder / "share/kernels/colab"
    kernel.mkdir(parents=True)
    python = str(folder / "colab/bin/python")
    spec = {"argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "", "language": ""}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    return folder


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The address of a git repository that holds the installable part of this course under its release tag."""
    work = tmp_path_factory.mktemp("origin")
    for name in ("helpers", "grading"):
        shutil.copytree(ROOT / name, work / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, work)
    me = ["-c", "user.name=course", "-c", "user.email=course@example.org"]
    for command in (["init"], ["add", "."], [*me, "commit", "-m", "release"], ["tag", TAG]):
        subprocess.run(["git", *command], cwd=work, check=True, capture_output=True)
    return work.as_uri()


@pytest.fixture
def student(colab, repository, tmp_path, monkeypatch):
    """A function that runs a notebook in an empty folder as Colab would, and returns it with its outputs."""
    steering = [name for name in os.environ if name.startswith(("PIP_", "PYTHON", "COURSE_"))]
    for name in steering:
        monkeypatch.delenv(name)
    # Nothing here asks an index: the build takes Colab's setuptools (0 is how pip spells "not isolated") ...
    for name, value in {"NO_INDEX": "1", "NO_BUILD_ISOLATION": "0", "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("JUPYTER_PATH", str(colab / "share"))
    monkeypatch.setenv("COURSE_PROFILE", "quick")
    monkeypatch.setenv("COURSE_REPOSITORY", repository)

    def run(notebook):
        patience = {"timeout": 600, "startup_timeout": 300}
        client = NotebookClient(notebook, kernel_name="colab", resources={"metadata": {"path": tmp_path}}, **patience)
        return client.execute()

    return run


def up_to_setup(notebook):
    """The notebook's first cells: parameters, installation, imports."""
    names = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells]
    notebook.cells = notebook.cells[: names.index("setup") + 1]
    return notebook


def said(cell):
    """What a cell printed."""
    return "".join(output.get("text", "") for output in cell.outputs)


def test_the_notebook_alone_brings_helpers_and_runs_and_a_second_run_installs_nothing(student, colab, monkeypatch):
    empty = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("from importlib.util import find_spec")])
    empty.cells.append(
        nbformat.v4.new_code_cell("print([find_spec(name) for name in ('helpers', 'grading', 'pytest')])")
    )
    assert said(student(empty).cells[-1]) == "[None, None, None]\n"

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("import helpers; print(helpers.__file__)"))
    whole = student(notebook)  # raises at the first error
    assert said(whole.cells[-1]).startswith(str(colab / "colab"))

    (record,) = (colab / "colab").glob("lib/python*/site-packages/deep_learning_quantum_many_body-*.dist-info/RECORD")
    before = record.stat().st_mtime_ns
    monkeypatch.setenv("COURSE_REPOSITORY", "file:///nowhere")
    again = student(up_to_setup(nbformat.read(NOTEBOOK, as_version=4)))
    assert [said(cell) for cell in again.cells if cell.cell_type == "code"][:-1] == ["", ""]
    assert record.stat().st_mtime_ns == before
