"""What a kernel lacks is said in one helpful sentence by the first cells of the notebook, without a traceback."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import nbformat
import pytest
from ipykernel.kernelspec import get_kernel_dict
from packaging.requirements import Requirement

from grading.release import ROOT
from helpers import device, needs
from tests.colab import IN_COLAB, machine, move_in, run, up_to_setup

NOTEBOOK = ROOT / "notebooks/01_computation_graph/computation_graph.ipynb"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WITHOUT_TORCH = [name for name in IN_COLAB if name not in ("torch", "setuptools", "pip")]


@pytest.fixture(scope="module")
def no_torch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kernel that is not the course's: Python with everything but torch."""
    return machine(tmp_path_factory.mktemp("other"), WITHOUT_TORCH)


@pytest.fixture(scope="module")
def colab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return machine(tmp_path_factory.mktemp("colab"))


def first_error(place: Path, before: str = "") -> tuple[str, list[str]]:
    """Cell and traceback lines of the first error when the notebook's first cells run after the line `before`."""
    notebook = up_to_setup(nbformat.read(NOTEBOOK, 4))
    notebook.cells[1].source += f"\n{before}"
    for cell in run(notebook, place, allow_errors=True).cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return cell.id, [*"\n".join(output.traceback).splitlines(), output.evalue]
    raise AssertionError("the kernel was content")


def test_needs_are_those_of_the_package_and_of_the_oldest_environment() -> None:
    wishes = {Requirement(line).name: Requirement(line).specifier for line in PROJECT["dependencies"]}
    assert {name: f">={'.'.join(map(str, oldest))}" for name, oldest in needs.PACKAGES.items()} == {
        name: str(wish) for name, wish in wishes.items()
    }
    assert PROJECT["requires-python"] == f">={'.'.join(map(str, needs.PYTHON))}"
    pins = (ROOT / "constraints-oldest.txt").read_text().splitlines()[1:]
    assert sorted(pins) == sorted(f"{name}=={'.'.join(map(str, v))}.*" for name, v in needs.PACKAGES.items())


@pytest.mark.parametrize(
    ("installed", "heard"),
    [
        (
            {"torch": "2.1.0+cu118"},
            r'has torch 2\.1\.0\+cu118; the course needs "torch>=2\.4": run %pip install --upgrade',
        ),
        ({"torch": None}, r'has no torch; the course needs "torch>=2\.4"'),
        ({"numpy": "1.26.4"}, r'has numpy 1\.26\.4; the course needs "numpy>=2\.0"'),
    ],
)
def test_old_and_missing_packages(
    installed: dict[str, str | None], heard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = needs._version
    monkeypatch.setattr(needs, "_version", lambda name: installed.get(name, real(name)))
    with pytest.raises(needs.SetUpError, match=heard) as found:
        needs.check()
    wish = "choose Python 3 (ipykernel) under Kernel, Change Kernel, in the JupyterLab of `make lab`."
    assert str(found.value).endswith(wish)


def test_the_kernel_has_the_name_that_jupyterlab_shows() -> None:
    assert get_kernel_dict()["display_name"] == needs.KERNEL


def test_the_page_that_was_handed_out_is_named_only_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "_version", lambda name: None)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    for heard in ("in the JupyterLab of `make lab`.", "in the JupyterLab of START.md."):
        with pytest.raises(needs.SetUpError, match=re.escape(heard) + "$"):
            needs.check()
        (tmp_path / "START.md").touch()


def test_newer_packages_and_those_that_do_not_say_are_welcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "_version", lambda name: {"torch": "2.10.1", "numpy": "99"}.get(name, "2027.1rc1"))
    needs.check()


def test_a_kernel_without_the_course_is_named(no_torch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    move_in(no_torch, "file:///nowhere", monkeypatch)
    cell, lines = first_error(tmp_path)
    assert cell == "install"
    assert f"This kernel, {no_torch}/colab/bin/python, is not the course's" in lines[-1]
    assert lines[-1].endswith("Kernel, Change Kernel.")


def test_a_kernel_with_helpers_and_without_torch_is_named(
    no_torch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_in(no_torch, "file:///nowhere", monkeypatch)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    cell, lines = first_error(tmp_path)
    assert (cell, len(lines)) == ("install", 2)
    assert lines[0] == f"SetUpError: {lines[1]}"
    assert 'has no torch; the course needs "torch>=2.4"' in lines[1]


def test_an_old_python_is_named(colab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    move_in(colab, "file:///nowhere", monkeypatch)
    old = "import sys; sys.version_info = (3, 10, 4, 'final', 0)"
    assert "is not the course's (Python 3.11 or newer, torch)" in first_error(tmp_path, old)[1][-1]
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    cell, lines = first_error(tmp_path, old)
    assert (cell, len(lines)) == ("install", 2)
    assert "the course needs 3.11" in lines[1]


def test_helpers_that_cannot_be_fetched_are_named(colab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    move_in(colab, "file:///nowhere", monkeypatch)
    cell, lines = first_error(tmp_path)
    assert cell == "install"
    assert "helpers did not come from git+file:///nowhere@" in lines[-1]
    assert "put the course's .whl file beside this notebook" in lines[-1]


def test_a_missing_gpu_is_one_sentence(colab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    move_in(colab, "file:///nowhere", monkeypatch)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    lacking = next(name for name in ("cuda", "mps") if name not in device.available())
    cell, lines = first_error(tmp_path, f"device = '{lacking}'")
    assert (cell, len(lines)) == ("setup", 2)
    assert lines[1].startswith(f"This machine has no {lacking} device")
    assert 'set device = "auto" in the first code cell' in lines[1]
