"""Bring submissions into `submitted/`, from zips, tars, folders and single notebooks.

Only regular files that are notebooks of this course get through, under names that can do no harm. A student is the
part of a file's name before the first underscore (alice_2026-11-21-10-00-00_computation_graph.ipynb, as nbgrader has
it) or the folder that holds the file (alice/01_computation_graph/computation_graph.ipynb, alice/anything.ipynb).
"""

from __future__ import annotations

import datetime
import io
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from grading import submissions
from grading.course import STUDENT, Course

MOST_MEMBERS = 20_000
STAMP = re.compile(r"(?P<student>[^_]+)_(?:.*?_)??(?P<stamp>\d{4}-\d\d-\d\d[-_ ]\d\d-\d\d-\d\d)_(?P<rest>.+)")


@dataclass
class Collected:
    """What came in, and what did not and why."""

    taken: list[str] = field(default_factory=list)
    older: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def collect(course: Course, sources: list[Path], chapter: str = "") -> Collected:
    """Sort all notebooks of `sources` into the course; the latest of a student and chapter stays."""
    done = Collected()
    for source in sources:
        for name, data in _files(source, done):
            try:
                _take(course, name, data, chapter, done)
            except submissions.Unreadable as error:
                done.refused[name] = str(error)
    return done


def _files(source: Path, done: Collected) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the regular files in a folder or archive; the rest is refused by name."""
    if source.is_dir() and not source.is_symlink():
        for path in sorted(source.rglob("*")):
            inside = str(path.relative_to(source.parent))
            if path.is_symlink():
                done.refused[inside] = "it is a link"
            elif not path.is_dir():
                yield from _file(inside, path, done)
    else:
        yield from _file(source.name, source, done)


def _file(name: str, path: Path, done: Collected) -> Iterator[tuple[str, bytes]]:
    try:
        if path.suffix == ".zip" or path.name.endswith((".tar", ".tar.gz", ".tgz")):
            with path.open("rb") as file:
                yield from archive(name, file, done)
        elif path.suffix == ".ipynb":
            yield name, submissions.read_bytes(path)
        elif not stat.S_ISREG(path.lstat().st_mode):
            done.refused[name] = "it is not a regular file"
    except (submissions.Unreadable, OSError, zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        done.refused[name] = str(error) or type(error).__name__


def archive(name: str, file: io.BufferedIOBase, done: Collected, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """The notebooks in an archive, and in archives within it, as a learning platform may pack them."""
    members = _zipped(file) if name.endswith(".zip") else _tarred(file)
    for count, (inside, kind, read) in enumerate(members):
        shown = f"{name}/{inside}"
        path = PurePosixPath(inside.replace("\\", "/"))
        if count >= MOST_MEMBERS:
            done.refused[name] = f"it holds more than {MOST_MEMBERS:,} files"
            return
        if path.is_absolute() or ".." in path.parts:
            done.refused[shown] = "its name leads out of the folder"
        elif kind != "file":
            done.refused[shown] = f"it is a {kind}"
        elif path.suffix == ".zip" and depth < 2:
            yield from archive(f"{path.stem}.zip", io.BytesIO(read()), done, depth + 1)
        elif path.suffix == ".ipynb":
            try:
                yield str(path), read()
            except (submissions.Unreadable, RuntimeError, zipfile.BadZipFile, OSError, EOFError) as error:
                done.refused[shown] = str(error)


def _zipped(file: io.BufferedIOBase) -> Iterator[tuple]:
    with zipfile.ZipFile(file) as packed:
        for info in packed.infolist():
            mode = info.external_attr >> 16
            kind = "file" if not stat.S_IFMT(mode) or stat.S_ISREG(mode) else "link or special file"
            if not info.is_dir():
                yield info.filename, kind, lambda info=info: _bounded(packed.open(info), info.filename)


def _tarred(file: io.BufferedIOBase) -> Iterator[tuple]:
    with tarfile.open(fileobj=file) as packed:
        for info in packed:
            kind = "file" if info.isreg() else "link or special file"
            if not info.isdir():
                yield info.name, kind, lambda info=info: _bounded(packed.extractfile(info), info.name)


def _bounded(file: io.BufferedIOBase, name: str) -> bytes:
    """Its content, whatever size the archive announces."""
    with file:
        data = file.read(submissions.MOST_BYTES + 1)
    if len(data) > submissions.MOST_BYTES:
        raise submissions.Unreadable(f"it unpacks to more than {submissions.MOST_BYTES >> 20} MiB")
    return data


def _take(course: Course, name: str, data: bytes, chapter: str, done: Collected) -> None:
    student, stamp, chapter, word = _whose(course, PurePosixPath(name), chapter)
    folder = course.root / course.directory.submitted_directory / student / chapter
    label = f"{student}, {chapter}"
    target, mark = folder / f"{word}.ipynb", folder / "timestamp.txt"
    if any(path.is_symlink() for path in (folder.parent, folder, target, mark)):
        raise submissions.Unreadable(f"submitted/{student} holds a link")
    if stamp and mark.exists() and submissions.read_bytes(mark).decode(errors="replace").strip() > stamp:
        done.older.append(label)
        return
    folder.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    mark.write_text(
        f"{stamp or datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S}\n" if not stamp else f"{stamp}\n"
    )
    done.taken.append(label)


def _whose(course: Course, path: PurePosixPath, chapter: str) -> tuple[str, str, str, str]:
    """Student, time, chapter and word, from names alone."""
    words = course.chapters()
    named = STAMP.fullmatch(path.stem)
    student, stamp, stem = (named["student"], named["stamp"], named["rest"]) if named else ("", "", path.stem)
    folders = [part for part in path.parts[:-1] if part not in words]
    student = student or (folders[-1] if folders else "")
    if not STUDENT.fullmatch(student):
        raise submissions.Unreadable("its name tells no student: name it STUDENT_YYYY-MM-DD-HH-MM-SS_NOTEBOOK.ipynb")
    guess = [c for c in path.parts if c in words] + [c for c, word in words.items() if word in stem]
    chapter = chapter or next(iter(guess), "")
    if chapter not in words:
        raise submissions.Unreadable(f"its name tells no chapter of {', '.join(words)}")
    return student, _time(stamp), chapter, words[chapter]


def _time(stamp: str) -> str:
    digits = re.findall(r"\d+", stamp)
    return f"{'-'.join(digits[:3])} {':'.join(digits[3:])}" if digits else ""
