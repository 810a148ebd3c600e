"""Every chapter's notebooks pass every gate, and every gate closes on the fault that it is there for."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from grading.release import ROOT, chapters, notebook_path
from tests import gates

CHAPTERS = chapters()
FIRST = CHAPTERS[0]
each_chapter = pytest.mark.parametrize("chapter", CHAPTERS)


@each_chapter
def test_solution_and_release_are_clean(chapter: str) -> None:
    assert gates.clean(gates.read("solutions", chapter), solution=True) == []
    assert gates.clean(gates.read("notebooks", chapter), solution=False) == []


@each_chapter
def test_all_notebooks_begin_alike(chapter: str) -> None:
    def opening(name: str) -> list[str]:
        return [cell.source for cell in gates.read("solutions", name).cells if cell.id in ("parameters", "install")]

    assert opening(chapter) == opening(FIRST)
    assert len(opening(chapter)) == 2


@each_chapter
def test_students_names_are_used_by_checks_only(chapter: str) -> None:
    assert gates.names(gates.read("solutions", chapter)) == []


@each_chapter
def test_points_are_those_of_the_laws(chapter: str) -> None:
    assert gates.points(gates.read("solutions", chapter), chapter) == []


@each_chapter
def test_no_answer_leaks(chapter: str) -> None:
    released = [
        p.read_text() for p in (ROOT / "notebooks" / chapter).rglob("*") if p.suffix != ".ipynb" and p.is_file()
    ]
    text = "\n".join([gates.sources(gates.read("notebooks", chapter)), *released])
    assert gates.leaks(gates.read("solutions", chapter), text) == []


@each_chapter
def test_release_is_up_to_date(chapter: str, tmp_path: Path) -> None:
    assert gates.stale(chapter, ROOT, tmp_path) == []


@each_chapter
def test_unsolved_release_runs_under_papermill(chapter: str, tmp_path: Path) -> None:
    assert gates.papermill(notebook_path("notebooks", chapter), tmp_path) == []
    nb = nbformat.read(tmp_path / "papermill.ipynb", as_version=4)
    assert gates.unwritten(nb) == []
    assert gates.pictures(nb) == []


@each_chapter
def test_unsolved_release_passes_nbval(chapter: str, tmp_path: Path) -> None:
    assert gates.nbval(Path(shutil.copy(notebook_path("notebooks", chapter), tmp_path))) == []


@each_chapter
def test_solution_passes_nbval(chapter: str, tmp_path: Path) -> None:
    assert gates.nbval(Path(shutil.copy(notebook_path("solutions", chapter), tmp_path))) == []


@each_chapter
def test_solution_without_demo_cells_scores_full(chapter: str, tmp_path: Path) -> None:
    nb = gates.without_demos(gates.read("solutions", chapter))
    assert gates.runs(nb, tmp_path) == []
    for cell in gates.code(nb):
        if gates.kind(cell) == "check":
            assert float(cell.outputs[-1]["data"]["text/plain"]) == cell.metadata.nbgrader.points, cell.id


@pytest.mark.slow
@each_chapter
def test_solution_runs_in_class_profile(chapter: str, tmp_path: Path) -> None:
    assert gates.papermill(notebook_path("solutions", chapter), tmp_path, profile="class") == []


# ------------------------------------------------------------------------- faults planted on purpose, one a gate


@pytest.fixture
def release() -> NotebookNode:
    return gates.read("notebooks", FIRST)


@pytest.fixture
def solution() -> NotebookNode:
    return gates.read("solutions", FIRST)


def after_setup(nb: NotebookNode, source: str, tags: tuple[str, ...] = ()) -> NotebookNode:
    """The notebook with one more code cell behind the last exercise."""
    position = max(i for i, cell in enumerate(nb.cells) if gates.kind(cell) == "check") + 1
    cell = nbformat.v4.new_code_cell(source, id="planted", metadata={"tags": list(tags)} if tags else {})
    nb.cells.insert(position, cell)
    return nb


def test_a_planted_name_error_fails(release: NotebookNode, tmp_path: Path) -> None:
    position = next(i for i, cell in enumerate(release.cells) if cell.id == "setup") + 1
    release.cells.insert(position, nbformat.v4.new_code_cell("prnt('hello')", id="planted"))
    assert "NameError" in gates.runs(release, tmp_path)[0]
    path = tmp_path / "planted.ipynb"
    nbformat.write(release, path)
    assert "NameError" in gates.papermill(path, tmp_path)[0]
    assert "NameError" in gates.nbval(path, "-x")[0]


def test_a_demo_cell_that_uses_a_students_name_fails(solution: NotebookNode) -> None:
    nb = after_setup(solution, "print(linear_backward)", tags=("demo",))
    assert gates.names(nb) == ["planted: uses the student's linear_backward"]


def test_a_plain_cell_that_uses_a_demo_name_fails(solution: NotebookNode) -> None:
    nb = after_setup(solution, "from_demo = 1", tags=("demo",))
    position = next(i for i, cell in enumerate(nb.cells) if cell.id == "planted") + 1
    nb.cells.insert(position, nbformat.v4.new_code_cell("def f():\n    return from_demo", id="later"))
    assert gates.names(nb) == ["later: uses from_demo, which only a demo cell binds"]


def test_a_leaked_solution_line_fails(solution: NotebookNode, release: NotebookNode) -> None:
    line = gates.SOLUTION.search(gates.sources(solution))[1].splitlines()[-2].strip()
    assert gates.leaks(solution, gates.sources(after_setup(release, line))) == [f"leaked: {line}"]


def test_a_stored_output_fails(release: NotebookNode) -> None:
    nb = after_setup(release, "1 + 1")
    nb.cells[-1].pop("outputs", None)
    planted = next(cell for cell in nb.cells if cell.id == "planted")
    planted.outputs = [nbformat.v4.new_output("stream", text="2")]
    assert gates.clean(nb, solution=False) == ["planted: holds a stored output or count"]


def test_a_duplicate_id_and_a_long_cell_fail(solution: NotebookNode) -> None:
    nb = after_setup(after_setup(solution, "x = 1\n" * 31), "y = 1")
    assert sorted(gates.clean(nb, solution=True)) == ["planted: more than 30 lines", "planted: this id occurs twice"]


def test_a_wrong_marked_output_fails(solution: NotebookNode, tmp_path: Path) -> None:
    path = tmp_path / "planted.ipynb"
    nbformat.write(gates.spoil_marked_output(solution), path)
    assert "mismatch" in gates.nbval(path, "-x")[0]


def test_an_out_of_date_release_fails(solution: NotebookNode, tmp_path: Path) -> None:
    course = tmp_path / "course"
    for folder in ("solutions", "notebooks"):
        shutil.copytree(ROOT / folder / FIRST, course / folder / FIRST)
    solution.cells[0].source += "\nA new sentence."
    nbformat.write(solution, notebook_path("solutions", FIRST, course))
    assert gates.stale(FIRST, course, tmp_path / "made") == [
        f"{FIRST}: the release differs from its solution (make release)"
    ]


def test_other_files_beside_a_solution_stay_home(solution: NotebookNode, tmp_path: Path) -> None:
    course = tmp_path / "course"
    for folder in ("solutions", "notebooks"):
        shutil.copytree(ROOT / folder / FIRST, course / folder / FIRST)
    for name in ("INSTRUCTOR_NOTES.md", "data.csv", ".hidden", "answers.npz"):
        (course / "solutions" / FIRST / name).write_text("secret")
    assert gates.stale(FIRST, course, tmp_path / "made") == []
