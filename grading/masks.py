"""The `helpers` that a sandbox sees: one tree per exercise, in which its answers are not written down anywhere.

Each chapter module names, per exercise, what answers it or computes the same (`ANSWERS`). In that exercise's tree the
source of these functions is cut out and an error put in its place, so that no import, reload, reading of files or
search through memory finds them. Checks are cut out of every tree.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import py_compile
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

KEPT_CHECKS = {"__init__.py", "boundary.py", "wire.py"}
STUB = '''"""Checks run with the grader, not here."""


def __getattr__(name):
    return lambda *functions: 0.0
'''


class MaskError(ValueError):
    """A name in ANSWERS that no source defines."""


class Trees:
    """The trees of all exercises under `folder`, each made when it is first asked for; that of "" has no masks."""

    def __init__(self, helpers: Path, folder: Path, answers: Mapping[str, Iterable[str]]) -> None:
        self.folder, self.answers, self.made = folder, dict(answers), {"": "plain"}
        plain = folder / "plain"
        shutil.copytree(helpers, plain / "helpers", ignore=shutil.ignore_patterns("__pycache__", ".*"))
        for check in (plain / "helpers" / "checks").glob("*.py"):
            if check.name not in KEPT_CHECKS:
                check.write_text(STUB)
        for source in plain.rglob("*.py"):
            _compile(source)
        make_readable(folder)

    def __contains__(self, exercise: str) -> bool:
        return exercise in self.answers

    def __getitem__(self, exercise: str) -> str:
        """The name of its folder."""
        if exercise not in self.made:
            tree = f"{len(self.made):03}"
            shutil.copytree(self.folder / "plain", self.folder / tree, copy_function=os.link)
            mask(self.folder / tree, self.answers[exercise])
            make_readable(self.folder / tree)
            self.made[exercise] = tree
        return self.made[exercise]


def make_readable(folder: Path) -> None:
    """Let everyone read: as root's grader, the boxes' programs are nobody."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def mask(tree: Path, names: Iterable[str]) -> None:
    """Cut the functions, methods and classes called `names`, such as "graph.tape.backward", out of a tree."""
    places: dict[Path, set[str]] = {}
    for name in names:
        source, path = locate(tree / "helpers", name)
        places.setdefault(source, set()).add(path)
    for source, paths in places.items():
        text = ast.unparse(_Cut(paths).visit(ast.parse(source.read_text())))
        source.unlink()  # it is a link to the file of the plain tree
        source.write_text(text)
        _compile(source)


def locate(package: Path, name: str) -> tuple[Path, str]:
    """The file that defines helpers' `name`, and the name's path within it; imports are followed."""
    first, *rest = name.split(".")
    inner = package / first
    if inner.is_dir() and rest:
        return locate(inner, ".".join(rest))
    source = next((p for p in (inner.with_suffix(".py"), inner / "__init__.py") if p.exists()), None)
    if source is not None and rest and source.name != "__init__.py":
        return _defined(source, rest)
    return _defined(package / "__init__.py", [first, *rest])


def _defined(source: Path, path: list[str]) -> tuple[Path, str]:
    for node in ast.walk(ast.parse(source.read_text())):
        if path[0] in _binds(node):
            return source, ".".join(path)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == path[0]:
                    return locate(*_origin(source, node, [alias.name, *path[1:]]))
    raise MaskError(f"ANSWERS names {'.'.join(path)}, which {source.parent.name}/{source.name} does not define")


def _origin(source: Path, node: ast.ImportFrom, path: list[str]) -> tuple[Path, str]:
    """Where `from node import path[0]` looks: a package folder and a dotted name below it."""
    if node.level:
        folder = source.parent
        for _ in range(node.level - 1):
            folder = folder.parent
        module = node.module or ""
    else:
        folder, module = source.parent, node.module.removeprefix("helpers").removeprefix(".")
        while folder.name != "helpers":
            folder = folder.parent
    return folder, ".".join([*filter(None, [module]), *path])


def _binds(node: ast.AST) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


class _Cut(ast.NodeTransformer):
    """Replaces definitions by ones that raise; names are dotted paths within one file."""

    def __init__(self, paths: set[str], within: str = "") -> None:
        self.paths, self.within = paths, within

    def visit(self, node: ast.AST) -> ast.AST:
        name = next(iter(_binds(node)), None)
        if name is None:
            return self.generic_visit(node)
        if f"{self.within}{name}" in self.paths:
            return _raiser(node, name)
        if isinstance(node, ast.ClassDef):
            node.body = [_Cut(self.paths, f"{self.within}{name}.").visit(child) for child in node.body]
        return node


def _raiser(node: ast.AST, name: str) -> ast.AST:
    """A definition of `name` that says: write this one yourself."""
    line = f"raise RuntimeError('{name} is what this exercise asks for: write this one yourself')"
    made = ast.parse(f"def {name}(*args, **kwargs):\n    {line}").body[0]
    if isinstance(node, ast.ClassDef):
        made = ast.parse(f"class {name}:\n    def __init__(self, *args, **kwargs):\n        {line}").body[0]
    return ast.copy_location(made, node)


def _compile(source: Path) -> None:
    cache = Path(importlib.util.cache_from_source(str(source)))
    cache.unlink(missing_ok=True)
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    shown = f"/course/helpers/{str(source).rpartition('/helpers/')[2]}"
    py_compile.compile(str(source), dfile=shown, doraise=True, invalidation_mode=mode)
