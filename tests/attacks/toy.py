"""The tiny course: its folder, its release, and submissions to it."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from grading.course import Course
from grading.release import ROOT

HERE = Path(__file__).resolve().parent
CHAPTER, WORD = "07_toy", "toy"
SECRET = "the-word-that-no-student-may-read"
SQUARE = "def square(x):\n    return x * x"
TOTAL = "def total(x):\n    return float((x * x).sum())"
WRONG = "def square(x):\n    return x + 1\n\n\ndef total(x):\n    return 0.0"
STUB = "def {0}(x):\n    raise NotImplementedError"


def helpers(folder: Path) -> Path:
    """The tiny course's helpers, with the law framework of the real one."""
    checks = folder / "helpers" / "checks"
    checks.mkdir(parents=True)
    (folder / "helpers" / "__init__.py").write_text('"""The tiny course."""\n')
    shutil.copy(HERE / "course" / "toy.py", folder / "helpers")
    shutil.copy(HERE / "course" / "check_toy.py", checks / "toy.py")
    for name in ("__init__.py", "boundary.py", "wire.py", "report.py", "observe.py", "expect.py", "laws.py"):
        shutil.copy(ROOT / "helpers" / "checks" / name, checks)
    return folder / "helpers"


def cell(name: str, source: str, *, points: float | None = None, solution: bool = False) -> NotebookNode:
    """A cell with nbgrader's metadata: a check if it has points, an answer if `solution`, else locked."""
    role = {"grade": points is not None, "solution": solution, "locked": not solution, "task": False}
    role |= {"grade_id": name, "schema_version": 3} | ({} if points is None else {"points": points})
    made = nbformat.v4.new_code_cell(source, id=name, metadata={"nbgrader": role})
    if points is not None and solution:
        made = nbformat.v4.new_markdown_cell(source, id=name, metadata={"nbgrader": role})
    return made


def release() -> NotebookNode:
    """The notebook that students of the tiny course get."""
    demo = nbformat.v4.new_code_cell("raise SystemError('a demo ran')", id="film", metadata={"tags": ["demo"]})
    given = nbformat.v4.new_code_cell("three = 3", id="three")
    cells = [
        cell("setup", "import numpy as np\n\nfrom helpers import toy\nfrom helpers.checks import toy as check"),
        given,
        cell("square", STUB.format("square"), solution=True),
        cell("square_check", "check.square(square)", points=2),
        demo,
        cell("total", STUB.format("total"), solution=True),
        cell("total_check", "check.total(total)", points=3),
        cell("words", "*Your answer here.*", points=1, solution=True),
    ]
    metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def submission(square: str = SQUARE, total: str = TOTAL, *, first: str = "", last: str = "") -> NotebookNode:
    """The release with answers, and cells of the student's own at either end."""
    nb = release()
    for made in nb.cells:
        made.source = {"square": square, "total": total}.get(made.id, made.source)
    if first:
        nb.cells.insert(1, nbformat.v4.new_code_cell(first, id="first"))
    if last:
        nb.cells.append(nbformat.v4.new_code_cell(last, id="last"))
    return nb


def find(nb: NotebookNode, name: str) -> NotebookNode:
    """The cell of that id."""
    return next(made for made in nb.cells if made.id == name)


def course(folder: Path) -> Path:
    """A course folder with the tiny chapter released, as an instructor has it."""
    root = folder / "course"
    for kind in ("solutions", "notebooks"):
        (root / kind / CHAPTER).mkdir(parents=True)
    for name in ("nbgrader_config.py", "course.toml"):
        shutil.copy(ROOT / name, root)
    nb = release()
    for name, answer in (("square", SQUARE), ("total", TOTAL)):
        first, body = answer.split("\n", 1)
        find(nb, name).source = f"{first}\n    ### BEGIN SOLUTION\n{body}\n    ### END SOLUTION"
    nbformat.write(nb, root / "solutions" / CHAPTER / f"{WORD}.ipynb")
    nbformat.write(release(), root / "notebooks" / CHAPTER / f"{WORD}.ipynb")
    Course(root).prepare(CHAPTER)
    return root


def hand_in(root: Path, student: str, nb: NotebookNode | bytes) -> Path:
    """Put a notebook where collected ones lie."""
    path = root / "submitted" / student / CHAPTER / f"{WORD}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(nb if isinstance(nb, bytes) else nbformat.writes(nb).encode())
    return path
