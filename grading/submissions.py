"""Read submitted notebooks, which may be anything, and releases, which are ours."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import nbformat
from nbformat import NotebookNode

MOST_BYTES = 32 << 20  # read into memory in the grader's own process
MOST_CELLS = 2000


class Unreadable(ValueError):
    """A file that is no notebook; the message is the reason."""


def read_bytes(path: Path) -> bytes:
    """The bytes of a regular file of bearable size; links and pipes are not followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        reason = "it is a link" if path.is_symlink() else error.strerror.lower()
        raise Unreadable(f"{path.name} cannot be opened: {reason}") from None
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        raise Unreadable(f"{path.name} is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        if about.st_size > MOST_BYTES:
            raise Unreadable(f"{path.name} takes {about.st_size >> 20} MiB; at most {MOST_BYTES >> 20} MiB are read")
        return file.read(MOST_BYTES + 1)


def read(path: Path) -> NotebookNode:
    """A submitted notebook in today's format, with cells that are cells; Unreadable with the reason otherwise."""
    return parse(read_bytes(path), path.name)


def parse(data: bytes, name: str) -> NotebookNode:
    """The notebook in `data`, the content of a file called `name`."""
    try:
        found = json.loads(data)
        if not isinstance(found, dict) or type(found.get("nbformat")) is not int:
            raise ValueError("it is not a notebook")
        if found["nbformat"] != 4:
            found = nbformat.convert(nbformat.from_dict(found), 4)
        cells = found.get("cells")
        if not isinstance(cells, list) or len(cells) > MOST_CELLS:
            raise ValueError(f"it holds no list of at most {MOST_CELLS} cells")
        good = [_cell(cell, f"cell-{n}") for n, cell in enumerate(cells) if isinstance(cell, dict)]
        return nbformat.from_dict({"cells": good, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    except Unreadable:
        raise
    except RecursionError:
        raise Unreadable(f"{name} cannot be read: it is nested too deep") from None
    except Exception as error:  # noqa: BLE001 - a hostile file may fail anywhere in a parser
        raise Unreadable(f"{name} cannot be read: {str(error)[:200] or type(error).__name__}") from None


def _cell(cell: dict, name: str) -> dict:
    """A cell whose parts have the types that the format asks for."""
    source, metadata = cell.get("source", ""), cell.get("metadata")
    joined = "".join(part for part in source if isinstance(part, str)) if isinstance(source, list) else source
    kind = cell.get("cell_type")
    return {
        "id": name,
        "cell_type": kind if kind in ("code", "markdown", "raw") else "raw",
        "source": joined if isinstance(joined, str) else "",
        "metadata": metadata if isinstance(metadata, dict) else {},
        "outputs": cell.get("outputs") if isinstance(cell.get("outputs"), list) else [],
        "attachments": cell.get("attachments") if isinstance(cell.get("attachments"), dict) else {},
    }


def digest(*parts: bytes) -> str:
    """One name for these bytes."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()
