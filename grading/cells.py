"""From a submitted notebook to the one that is graded, and from that to what runs where.

Whatever a submission says of its own tags, points, ids, cell types and check cells is forgotten: these come from the
release.  What a student may write is kept: the text of answers, cells of their own, and outputs for the reader.
"""

from __future__ import annotations

import ast
import copy
import functools
import re
import symtable
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from nbformat import NotebookNode, from_dict

KINDS = ("code", "markdown", "raw")
NONE: frozenset[str] = frozenset()


def role(cell: NotebookNode) -> str:
    """What a released cell is: "answer", "manual", "check", "demo" or "given"."""
    grader = cell.metadata.get("nbgrader", {})
    if grader.get("solution"):
        return "manual" if grader.get("grade") else "answer"
    if grader.get("grade"):
        return "check"
    return "demo" if "demo" in cell.metadata.get("tags", []) else "given"


def grade_id(cell: NotebookNode) -> str | None:
    """The id by which nbgrader knows a cell; None if it has none or not a proper one."""
    metadata = cell.get("metadata")
    grader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    name = grader.get("grade_id") if isinstance(grader, dict) else None
    return name if isinstance(name, str) else None


@dataclass
class Restored:
    """A notebook fit for grading, and what had to be put right."""

    nb: NotebookNode
    notes: list[str] = field(default_factory=list)


def restore(release: NotebookNode, submitted: NotebookNode) -> Restored:
    """The submission in the release's form: roles, points, tags and checks of the release, answers of the student."""
    given = {cell.metadata.nbgrader["grade_id"]: cell for cell in release.cells if grade_id(cell)}
    demos = {cell.source for cell in release.cells if role(cell) == "demo"}
    done = Restored(copy.deepcopy(release))
    cells: list[NotebookNode] = []
    seen: set[str] = set()
    for cell in submitted.cells:
        name = grade_id(cell)
        if name in given and name not in seen:
            cells.append(_as_released(given[name], cell, done.notes))
            seen.add(name)
        else:
            if name in seen:
                done.notes.append(f"cell {name} occurs more than once; every copy runs, the first is graded")
            cells.append(_as_own(cell, demos, len(cells)))
    for missing in (name for name in given if name not in seen):
        if role(given[missing]) in ("check", "answer", "manual"):
            done.notes.append(f"cell {missing} had been removed")
        cells.insert(_place(list(given), missing, cells), copy.deepcopy(given[missing]))
    done.nb.cells = cells
    return done


def _as_released(given: NotebookNode, cell: NotebookNode, notes: list[str]) -> NotebookNode:
    made, source = copy.deepcopy(given), text(cell)
    name, editable = given.metadata.nbgrader["grade_id"], role(given) in ("answer", "manual")
    if cell.cell_type != given.cell_type:
        notes.append(f"cell {name} had been turned into {cell.cell_type}")
    if editable:
        made.source = source
    elif _essence(source) != _essence(given.source):
        notes.append(f"cell {name} had been edited, though it is {'a check' if role(given) == 'check' else 'locked'}")
    if given.cell_type == "code":
        made.outputs = [] if role(given) == "check" else cell.get("outputs", [])
        made.execution_count = None
    elif editable and isinstance(cell.get("attachments"), dict):
        made.attachments = cell.attachments
    claimed = cell.metadata.nbgrader.get("points", given.metadata.nbgrader.get("points"))
    if claimed != given.metadata.nbgrader.get("points"):
        notes.append(f"cell {name} claimed {str(claimed)[:20]} points")
    return made


def _as_own(cell: NotebookNode, demos: set[str], position: int) -> NotebookNode:
    """A cell of the student's own, or one of the release that nobody grades."""
    kind = cell.cell_type if cell.cell_type in KINDS else "raw"
    metadata = cell.get("metadata")
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    demo = text(cell) in demos or (isinstance(tags, list) and "demo" in tags)
    made = {"cell_type": kind, "id": f"cell-{position}", "source": text(cell), "metadata": {}}
    if demo:
        made["metadata"] = {"tags": ["demo"]}
    if kind == "code":
        made |= {"outputs": cell.get("outputs", []), "execution_count": None}
    elif isinstance(cell.get("attachments"), dict):
        made["attachments"] = cell.attachments
    return from_dict(made)


def text(cell: NotebookNode) -> str:
    """A cell's source, which a file may also hold as a list of lines."""
    source = cell.get("source", "")
    return "".join(map(str, source)) if isinstance(source, list) else str(source)


def _essence(source: str) -> str:
    """What remains of a cell's text if an editor only touched its white space."""
    return "\n".join(line.rstrip() for line in source.strip().splitlines())


def _place(order: list[str], missing: str, cells: list[NotebookNode]) -> int:
    """Where a removed cell goes: behind the nearest one that precedes it in the release."""
    where = {grade_id(cell): position for position, cell in enumerate(cells)}
    before = (where[name] + 1 for name in reversed(order[: order.index(missing)]) if name in where)
    return next(before, 0)


# ------------------------------------------------------------------------------------------------ what runs where


@dataclass(frozen=True)
class Task:
    """One check of the release: its source, what it needs, and the student's functions that it asks for."""

    name: str
    points: float
    check: str
    functions: tuple[str, ...]
    setup: tuple[str, ...]
    calls: tuple[str, ...]  # names of the exercises that it may be


def tasks(release: NotebookNode) -> list[Task]:
    """The checks of a release, in order."""
    answered = set().union(*(bound(cell.source) for cell in release.cells if role(cell) == "answer"))
    given = [cell.source for cell in release.cells if cell.cell_type == "code" and role(cell) == "given"]
    found = []
    for cell in release.cells:
        if cell.cell_type == "code" and role(cell) == "check":
            names = used(cell.source)
            setup = tuple(needed(given, names - answered))
            functions = tuple(sorted(names & answered))
            grader = cell.metadata.nbgrader
            found.append(
                Task(grader["grade_id"], float(grader["points"]), cell.source, functions, setup, _called(cell.source))
            )
    return found


def _called(source: str) -> tuple[str, ...]:
    attributes = (node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute))
    return tuple(dict.fromkeys(attributes))


def programme(release: NotebookNode, nb: NotebookNode) -> Iterator[tuple[str, str]]:
    """The cells to run before a student's functions can be called, as (name, source).

    Answers and cells of the student's own always run; cells of the release that nobody grades run if something that
    does run uses what they bind; checks and demos do not run.
    """
    ours = {_essence(cell.source) for cell in release.cells if role(cell) == "given"}
    code = [cell for cell in nb.cells if cell.cell_type == "code" and role(cell) != "check" and cell.source.strip()]
    optional = [
        cell.source
        for cell in code
        if role(cell) == "demo" or (role(cell) == "given" and _essence(cell.source) in ours)
    ]
    always = [cell.source for cell in code if cell.source not in optional]
    wanted = set(needed(optional, set().union(*map(used, always))))
    released = {cell.source for cell in release.cells if role(cell) == "demo"}
    for cell in code:
        if (cell.source in wanted and cell.source not in released) or cell.source not in optional:
            yield (grade_id(cell) or cell.id, cell.source)


def needed(sources: Iterable[str], names: set[str]) -> list[str]:
    """Those of `sources` that bind one of `names`, or a name that such a cell uses, in order."""
    sources, names, chosen = list(sources), set(names), set()
    while new := {s for s in sources if s not in chosen and bound(s) & names}:
        chosen |= new
        names |= set().union(*map(used, new))
    return [source for source in sources if source in chosen]


@functools.lru_cache(2048)
def bound(source: str) -> frozenset[str]:
    """Global names that a cell binds."""
    table = _table(source)
    return frozenset(s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()) if table else NONE


@functools.lru_cache(2048)
def used(source: str) -> frozenset[str]:
    """Global names that a cell reads, within functions too; every word of a cell that is not Python."""
    table = _table(source)
    if table is None:
        return frozenset(re.findall(r"[^\W\d]\w*", source))

    def nested(inner: symtable.SymbolTable) -> Iterator[str]:
        for child in inner.get_children():
            yield from (s.get_name() for s in child.get_symbols() if s.is_global() and s.is_referenced())
            yield from nested(child)

    return frozenset({s.get_name() for s in table.get_symbols() if s.is_referenced()} | set(nested(table)))


def _plain(source: str) -> str:
    """The source as Python: magics and shell commands become nothing."""
    return re.sub(r"^([ \t]*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)


def _table(source: str) -> symtable.SymbolTable | None:
    try:
        return symtable.symtable(_plain(source), "cell", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
