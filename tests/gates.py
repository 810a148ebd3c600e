"""What a notebook must be before it may be handed out: each gate returns its complaints, an empty list means open."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import symtable
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from grading.cells import role as kind
from grading.release import MARK, ROOT, marked, notebook_path
from helpers.checks.laws import NOT_WRITTEN

LONGEST_CELL, LONGEST_LINE = 30, 100  # what a laptop shows without scrolling
QUICK = {**os.environ, "COURSE_PROFILE": "quick", "COURSE_DEVICE": "cpu"}
SOLUTION = re.compile(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", re.DOTALL)
MARK_SCHEME = re.compile(r"=== BEGIN MARK SCHEME ===\n(.*?)=== END MARK SCHEME ===", re.DOTALL)


def code(nb: NotebookNode) -> Iterator[NotebookNode]:
    """The code cells."""
    return (cell for cell in nb.cells if cell.cell_type == "code")


# ------------------------------------------------------------------------------------------------ reading


def clean(nb: NotebookNode, solution: bool) -> list[str]:
    """No outputs, counts or stray metadata in git; ids are words, unique, and equal to the grade_id."""
    complaints, seen = [], set()
    if set(nb.metadata) - {"kernelspec", "language_info"}:
        complaints.append(f"notebook metadata holds {sorted(set(nb.metadata) - {'kernelspec', 'language_info'})}")
    for cell in nb.cells:
        complaints += [f"{cell.id}: {complaint}" for complaint in _cell_complaints(cell, solution)]
        if cell.id in seen:
            complaints.append(f"{cell.id}: this id occurs twice")
        seen.add(cell.id)
    return complaints


def _cell_complaints(cell: NotebookNode, solution: bool) -> Iterator[str]:
    if not re.fullmatch(r"[a-z][a-z0-9_]{2,}", cell.id):
        yield "the id should be words in lower case"
    if cell.metadata.get("nbgrader", {}).get("grade_id", cell.id) != cell.id:
        yield "the id differs from the grade_id"
    if stray := set(cell.metadata) - {"nbgrader", "tags", "deletable", "editable"}:
        yield f"metadata holds {sorted(stray)}"
    if cell.cell_type != "code":
        return
    if len(cell.source.splitlines()) > LONGEST_CELL:
        yield f"more than {LONGEST_CELL} lines"
    if longest := max((line for line in cell.source.splitlines() if len(line) > LONGEST_LINE), key=len, default=""):
        yield f"a line of more than {LONGEST_LINE} characters: {longest.strip()[:40]}..."
    if marked(cell) and solution:
        if not cell.outputs or cell.execution_count is None:
            yield "is marked but keeps no output and count: nbval would skip it (python -m grading.release --outputs)"
    elif cell.outputs or cell.execution_count is not None:
        yield "holds a stored output or count"


def names(nb: NotebookNode) -> list[str]:
    """Only check and answer cells use what answers bind; only demo cells use what demo cells bind."""
    bound_by_answers = set().union(*(_bound(cell) for cell in code(nb) if kind(cell) == "answer"))
    complaints, binder = [], {}
    for cell in code(nb):
        used, bound = _used(cell), _bound(cell)
        if kind(cell) not in ("answer", "check"):
            students = sorted((used | bound) & bound_by_answers)
            complaints += [f"{cell.id}: uses the student's {name}" for name in students]
        if kind(cell) != "demo":
            from_demo = {name for name in used - bound if binder.get(name) == "demo"}
            complaints += [f"{cell.id}: uses {name}, which only a demo cell binds" for name in sorted(from_demo)]
        binder.update(dict.fromkeys(bound, kind(cell)))
    return complaints


def _table(cell: NotebookNode) -> symtable.SymbolTable:
    source = re.sub(r"^(\s*)[%!].*$", r"\1pass", cell.source, flags=re.MULTILINE)
    return symtable.symtable(source, cell.id, "exec")


def _bound(cell: NotebookNode) -> set[str]:
    return {s.get_name() for s in _table(cell).get_symbols() if s.is_assigned() or s.is_imported()}


def _used(cell: NotebookNode) -> set[str]:
    def nested(table: symtable.SymbolTable) -> Iterator[str]:
        for child in table.get_children():
            yield from (s.get_name() for s in child.get_symbols() if s.is_global() and s.is_referenced())
            yield from nested(child)

    table = _table(cell)
    return {s.get_name() for s in table.get_symbols() if s.is_referenced()} | set(nested(table))


def points(nb: NotebookNode, chapter: str) -> list[str]:
    """Every check cell is worth what its laws are worth, and the chapter is worth 18 to 24 points."""
    checks = importlib.import_module(f"helpers.checks.{chapter.partition('_')[2]}")
    complaints, total = [], 0.0
    for cell in nb.cells:
        role = cell.metadata.get("nbgrader", {})
        total += role.get("points", 0)
        if kind(cell) == "check":
            name = re.fullmatch(r"check\.(\w+)\(.*\)", cell.source.strip(), re.DOTALL)
            check = getattr(checks, name[1], None) if name else None
            if check is None or check.points != role["points"]:
                complaints.append(f"{cell.id}: should call one check worth {role['points']} points")
    if not 18 <= total <= 24:
        complaints.append(f"the chapter is worth {total:g} points; 18 to 24 were agreed")
    return complaints


def leaks(solution: NotebookNode, released: str) -> list[str]:
    """No line of an answer or of a mark scheme occurs in the released text."""
    lines = {line.strip() for line in released.splitlines()}
    secret = [
        line.strip()
        for cell in solution.cells
        for pattern in (SOLUTION, MARK_SCHEME)
        for block in pattern.findall(cell.source)
        for line in block.splitlines()
    ]
    return [f"leaked: {line}" for line in secret if len(line) > 12 and line in lines]


def sources(nb: NotebookNode) -> str:
    """All cells' text."""
    return "\n".join(cell.source for cell in nb.cells)


def stale(chapter: str, course: Path, scratch: Path) -> list[str]:
    """The release in `course` is what nbgrader makes of its solution today."""
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", chapter, "--create", "--force", "--no-db"]
    where = [f"--CourseDirectory.root={course}", f"--CourseDirectory.release_directory={scratch}"]
    done = subprocess.run([*command, *where], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        return [f"{chapter}: nbgrader cannot release it: {done.stderr.strip().splitlines()[-1]}"]
    made = {p.relative_to(scratch / chapter): p.read_bytes() for p in (scratch / chapter).rglob("*") if p.is_file()}
    kept_in = course / "notebooks" / chapter
    kept = {p.relative_to(kept_in): p.read_bytes() for p in kept_in.rglob("*") if p.suffix == ".ipynb" or p in made}
    return [] if made == kept else [f"{chapter}: the release differs from its solution (make release)"]


# ------------------------------------------------------------------------------------------------ running


def runs(nb: NotebookNode, folder: Path) -> list[str]:
    """Top to bottom in the quick profile without one error (nbclient); outputs stay in `nb`."""
    before = dict(os.environ)
    os.environ.update(QUICK)
    try:
        NotebookClient(nb, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        return [str(error).strip().splitlines()[-1]]
    finally:
        os.environ.clear()
        os.environ.update(before)
    return []


def unwritten(nb: NotebookNode) -> list[str]:
    """After a run of the unsolved release every check says so and ends with 0."""
    complaints = []
    for cell in code(nb):
        if kind(cell) == "check":
            text = "".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in cell.outputs)
            if NOT_WRITTEN not in text or not text.endswith("0.0"):
                complaints.append(f"{cell.id}: says {text!r}")
    return complaints


def pictures(nb: NotebookNode) -> list[str]:
    """After a run every cell that draws shows an image or an animation."""
    complaints = []
    for cell in code(nb):
        kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
        if re.search(r"\b(draw|figures)\.(?!use_style)[a-z_]+\(", cell.source) and not kinds & {
            "image/png",
            "text/html",
        }:
            complaints.append(f"{cell.id}: draws, and shows nothing")
    return complaints


def papermill(path: Path, scratch: Path, profile: str = "quick") -> list[str]:
    """papermill executes the file with the profile as a parameter."""
    command = [sys.executable, "-m", "papermill", str(path), str(scratch / "papermill.ipynb")]
    options = ["-p", "profile", profile, "-p", "device", "cpu", "--no-progress-bar", "--cwd", str(scratch)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [done.stderr.strip()[-1500:]]


def nbval(path: Path, *options: str) -> list[str]:
    """nbval executes the file in the quick profile and compares the outputs of marked cells."""
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-o", "addopts=", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--rootdir", str(path.parent), *options, str(path)],
        cwd=path.parent, env=QUICK, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return [] if done.returncode == 0 else [done.stdout.strip()[-3000:]]


def without_demos(nb: NotebookNode) -> NotebookNode:
    """The notebook as the grader runs it: demo cells left out."""
    nb.cells = [cell for cell in nb.cells if kind(cell) != "demo"]
    return nb


def read(folder: str, chapter: str) -> NotebookNode:
    """The chapter's notebook under "solutions" or "notebooks"."""
    return nbformat.read(notebook_path(folder, chapter), as_version=4)


def spoil_marked_output(nb: NotebookNode) -> NotebookNode:
    """Change one character in the stored output of the first marked cell."""
    cell = next(cell for cell in code(nb) if MARK in cell.source)
    cell.outputs[0]["text"] = cell.outputs[0]["text"].replace("1", "7", 1)
    return nb
