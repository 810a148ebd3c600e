"""A Colab student's day: an empty folder, what Colab has installed, one notebook, and no word about `helpers`."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import nbformat
import pytest

from tests.colab import machine, move_in, run, said, up_to_setup

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks/01_computation_graph/computation_graph.ipynb"
TAG = tomllib.loads((ROOT / "course.toml").read_text())["course"]["tag"]


@pytest.fixture(scope="module")
def colab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return machine(tmp_path_factory.mktemp("colab"))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> str:
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


def test_the_notebook_alone_brings_helpers_and_runs_and_a_second_run_installs_nothing(
    colab: Path, repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_in(colab, repository, monkeypatch)
    empty = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("from importlib.util import find_spec")])
    empty.cells.append(
        nbformat.v4.new_code_cell("print([find_spec(name) for name in ('helpers', 'grading', 'pytest')])")
    )
    assert said(run(empty, tmp_path).cells[-1]) == "[None, None, None]\n"

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("import helpers; print(helpers.__file__)"))
    whole = run(notebook, tmp_path)
    assert said(whole.cells[-1]).startswith(str(colab / "colab"))

    (record,) = (colab / "colab").glob("lib/python*/site-packages/deep_learning_quantum_many_body-*.dist-info/RECORD")
    before = record.stat().st_mtime_ns
    monkeypatch.setenv("COURSE_REPOSITORY", "file:///nowhere")
    again = run(up_to_setup(nbformat.read(NOTEBOOK, as_version=4)), tmp_path)
    assert [said(cell) for cell in again.cells if cell.cell_type == "code"][:-1] == ["", ""]
    assert record.stat().st_mtime_ns == before
