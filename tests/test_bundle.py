"""What a department hands out holds all that a student needs, runs on its own, and gives nothing away."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import nbformat
import pytest

from grading import bundle
from grading.release import ROOT, chapters, notebook_path
from tests import gates
from tests.colab import machine, move_in, run, said, up_to_setup

WHEEL = f"deep_learning_quantum_many_body-{bundle.project()['version']}-py3-none-any.whl"


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked bundle."""
    folder = tmp_path_factory.mktemp("bundle")
    with zipfile.ZipFile(bundle.build(folder)) as zipped:
        zipped.extractall(folder)
    return folder / f"{bundle.project()['name']}-{bundle.project()['version']}"


@pytest.fixture
def student(handed_out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clean machine like Colab's with no way to the course's repository, and the wheel where notebooks run."""
    move_in(machine(tmp_path), "file:///nowhere", monkeypatch)
    place = tmp_path / "content"
    place.mkdir()
    (place / WHEEL).write_bytes((handed_out / WHEEL).read_bytes())
    return place


def members(handed_out: Path) -> list[str]:
    return sorted(path.relative_to(handed_out).as_posix() for path in handed_out.rglob("*") if path.is_file())


def test_the_bundle_holds_the_releases_the_wheel_and_one_page(handed_out: Path) -> None:
    released = [f"notebooks/{chapter}/{notebook_path('notebooks', chapter).name}" for chapter in chapters()]
    assert members(handed_out) == sorted(["LICENSE", "START.md", WHEEL, *released])
    for name in released:
        assert (handed_out / name).read_bytes() == (ROOT / name).read_bytes()


def test_the_wheel_holds_helpers_whole_and_nothing_else(handed_out: Path) -> None:
    with zipfile.ZipFile(handed_out / WHEEL) as wheel:
        names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    ours = [p for p in (ROOT / "helpers").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    documents = {"helpers/data/mnist/README.md"}
    assert set(names) | documents == {p.relative_to(ROOT).as_posix() for p in ours} | documents


@pytest.mark.parametrize("chapter", chapters())
def test_no_line_of_a_solution_is_handed_out(handed_out: Path, chapter: str) -> None:
    notebooks = (nbformat.read(path, 4) for path in handed_out.glob(f"notebooks/{chapter}/*.ipynb"))
    text = "\n".join([(handed_out / "START.md").read_text(), *map(gates.sources, notebooks)])
    assert gates.leaks(gates.read("solutions", chapter), text) == []


def test_the_page_is_one_page_names_the_wheel_and_tells_measured_sizes(handed_out: Path) -> None:
    page = (handed_out / "START.md").read_text()
    assert len(page.splitlines()) < 60
    assert page.count(WHEEL) >= 3
    assert not re.search(r"\{\w+\}", page)
    megabytes = int(re.search(r"You send (\d+) MB \(the wheel\)", page)[1])
    assert abs(megabytes - (handed_out / WHEEL).stat().st_size / 1e6) < 1
    gigabytes = float(re.search(r"it then takes ([\d.]+) GB", page)[1])
    assert 0.3 < gigabytes < 12  # torch alone is 0.3


def test_the_wheel_beside_a_notebook_brings_helpers_without_a_network(student: Path, handed_out: Path) -> None:
    notebook = up_to_setup(nbformat.read(next(handed_out.glob("notebooks/01_*/*.ipynb")), 4))
    notebook.cells.append(nbformat.v4.new_code_cell("import helpers; print(helpers.__file__)"))
    done = run(notebook, student)
    assert said(done.cells[-1]).startswith(str(student.parent / "colab"))


@pytest.mark.slow
def test_every_released_notebook_runs_unsolved_beside_the_wheel(student: Path, handed_out: Path) -> None:
    for path in sorted(handed_out.glob("notebooks/*/*.ipynb")):
        notebook = run(nbformat.read(path, 4), student)
        assert gates.unwritten(notebook) == []
        assert gates.pictures(notebook) == []
