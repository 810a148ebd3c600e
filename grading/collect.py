"""Bring submissions into `submitted/`, from zips, tars, folders and single notebooks.

Only regular files that are notebooks of this course get through, under names that can do no harm. A student is what
stands before the time in a file's name (max_power_2026-11-21-10-00-00_computation_graph.ipynb), or the folder that
holds the file (alice/01_computation_graph/computation_graph.ipynb, alice/anything.ipynb), or the name in what Moodle
packs (`Ann Lee_12345_assignsubmission_file_/anything.ipynb` is Ann.Lee's).
"""

from __future__ import annotations

import datetime
import io
import re
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from grading import submissions
from grading.course import STUDENT, Course

MOST_MEMBERS = 20_000
MOST_NESTED = 2  # archives around an archive
MOST_NAMED = 5  # of the files that are passed over
STAMP = re.compile(r"(?P<student>.+?)_(?P<stamp>\d{4}-\d\d-\d\d[-_ ]\d\d-\d\d-\d\d)_(?P<rest>.+)")
MOODLE = re.compile(r"(?P<owner>(?P<name>.+?)_\d+)_assignsubmission_file(?:_.*)?")
PACKED = (".zip", ".tar", ".tar.gz", ".tgz")
NBGRADERS = {"archive", "extracted"}  # folders that `nbgrader zip_collect` makes under downloaded/
BROKEN = (submissions.Unreadable, RuntimeError, zipfile.BadZipFile, tarfile.TarError, zlib.error, OSError, EOFError)


@dataclass(frozen=True)
class Claim:
    """Which work a file says it is, as far as names tell."""

    student: str
    chapter: str
    word: str
    owner: str  # the student as the file's name has it, before it was made harmless
    stamp: str  # when it was handed in; empty if the name does not tell

    def __str__(self) -> str:
        return f"{self.student}, {self.chapter}"


@dataclass
class Collected:
    """What came in, and what did not and why; each list names student and chapter."""

    taken: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)  # lay in submitted/ already, byte by byte
    older: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)  # files that are hidden or no notebooks
    claims: dict[str, tuple[str, Claim, str]] = field(default_factory=dict)  # file, claim and digest of what stays

    def sentences(self) -> Iterator[str]:
        """What a person should read, the counts last."""
        for name, reason in self.refused.items():
            yield f"refused {name!r}: {reason}"
        if self.ignored:
            named = ", ".join(map(repr, self.ignored[:MOST_NAMED]))
            more = f" and {len(self.ignored) - MOST_NAMED} more" if len(self.ignored) > MOST_NAMED else ""
            yield f"ignored, as hidden or no notebook: {named}{more}"
        parts = [f"{len(self.taken)} new", f"{len(self.before)} as before"]
        parts += [f"{len(self.older)} older than what is there"] if self.older else []
        yield ", ".join([*parts, f"{len(self.refused)} refused"])


def collect(course: Course, sources: list[Path], chapter: str = "") -> Collected:
    """Sort all notebooks of `sources` into the course; the latest of a student and chapter stays."""
    done = Collected()
    for source in sources:
        for shown, path, data in _files(source, done):
            try:
                _take(course, shown, _claim(course, path, chapter), data, done)
            except submissions.Unreadable as error:
                done.refused[shown] = str(error)
    return done


# ------------------------------------------------------------------------------------------------ what is there

# the name to show, the path that may tell whose it is, and the content
Found = Iterator[tuple[str, PurePosixPath, bytes]]


def _files(source: Path, done: Collected) -> Found:
    """The notebooks in a folder or archive; the rest is refused by name. The folder's own name tells nothing."""
    if source.is_dir() and not source.is_symlink():
        for path in sorted(source.rglob("*")):
            shown = str(path.relative_to(source.parent))
            if path.is_symlink():
                done.refused[shown] = "it is a link"
            elif not path.is_dir():
                yield from _file(shown, PurePosixPath(path.relative_to(source).as_posix()), path, done)
    else:
        yield from _file(source.name, PurePosixPath(source.name), source, done)


def _file(shown: str, inside: PurePosixPath, path: Path, done: Collected) -> Found:
    try:
        if _hidden(inside):
            done.ignored.append(shown)
        elif not stat.S_ISREG(path.stat().st_mode) and path.suffix != ".ipynb":
            done.refused[shown] = "it is not a regular file"
        elif path.name.endswith(PACKED):
            with path.open("rb") as file:
                yield from archive(shown, inside.parent, file, done)
        elif path.suffix == ".ipynb":
            yield shown, inside, submissions.read_bytes(path)
        else:
            done.ignored.append(shown)
    except BROKEN as error:
        done.refused[shown] = str(error) or type(error).__name__


def _hidden(path: PurePosixPath) -> bool:
    """Whether Jupyter or macOS put it there, such as .ipynb_checkpoints/toy-checkpoint.ipynb."""
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def archive(name: str, folder: PurePosixPath, file: io.BufferedIOBase, done: Collected, depth: int = 0) -> Found:
    """The notebooks in an archive from `folder`, and in archives within it, as a learning platform may pack them."""
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
        elif path.suffix not in (".zip", ".ipynb") or _hidden(path):
            done.ignored.append(shown)
        elif path.suffix == ".zip" and depth >= MOST_NESTED:
            done.refused[shown] = "it is an archive within too many others"
        else:
            try:
                if path.suffix == ".ipynb":
                    yield shown, folder / path, read()
                else:
                    yield from archive(shown, folder / path.parent, io.BytesIO(read()), done, depth + 1)
            except BROKEN as error:
                done.refused[shown] = str(error) or type(error).__name__


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


# ------------------------------------------------------------------------------------------------ whose it is


def _claim(course: Course, path: PurePosixPath, chapter: str) -> Claim:
    """Student, chapter and time, from names alone."""
    words = course.chapters()
    owner, student, stamp, stem = _owner(path, set(words))
    if not student:
        raise submissions.Unreadable("its name tells no student: name it STUDENT_YYYY-MM-DD-HH-MM-SS_NOTEBOOK.ipynb")
    if not STUDENT.fullmatch(student):
        raise submissions.Unreadable(f"{owner!r} is no name for a student: it holds letters, digits and ._@+- only")
    guess = [c for c in path.parts if c in words] + [c for c, word in words.items() if word in stem]
    chapter = chapter or next(iter(guess), "")
    if chapter not in words:
        raise submissions.Unreadable(f"its name tells no chapter of {', '.join(words)}")
    return Claim(student, chapter, words[chapter], owner, _time(stamp))


def _owner(path: PurePosixPath, chapters: set[str]) -> tuple[str, str, str, str]:
    """The student as named and made harmless, the time, and the rest of the file's name.

    What Moodle wrote counts most, and no time beside it: in Moodle's folder the file's name is the student's own word.
    """
    for part in (*path.parts[:-1], path.stem):
        if moodle := MOODLE.fullmatch(part):
            return moodle["owner"], harmless(moodle["name"]), "", path.stem
    if named := STAMP.fullmatch(path.stem):
        return named["student"], named["student"], named["stamp"], named["rest"]
    folders = [part for part in path.parts[:-1] if part not in chapters | NBGRADERS]
    return (folders[-1], folders[-1], "", path.stem) if folders else ("", "", "", path.stem)


def harmless(name: str) -> str:
    """A person's name as a student's: spaces to dots, accents and punctuation dropped, other letters as uNUMBER."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    dotted = ".".join(plain.split())
    kept = (c if c.isascii() else f"u{ord(c):04x}" for c in dotted if c.isalnum() or c in "._@+-")
    return "".join(kept).strip("._@+-")


def _time(stamp: str) -> str:
    digits = re.findall(r"\d+", stamp)
    return f"{'-'.join(digits[:3])} {':'.join(digits[3:])}" if digits else ""


# ------------------------------------------------------------------------------------------------ taking it in


def _take(course: Course, shown: str, claim: Claim, data: bytes, done: Collected) -> None:
    """Put it where graders look, unless that holds the same or a later one, or this collection is at odds about it."""
    label, digest = str(claim), submissions.digest(data)
    again = label in done.claims
    if again:
        _agree(claim, digest, *done.claims[label])
    folder = course.root / course.directory.submitted_directory / claim.student / claim.chapter
    target, mark = folder / f"{claim.word}.ipynb", folder / "timestamp.txt"
    if any(path.is_symlink() for path in (folder.parent, folder, target, mark)):
        raise submissions.Unreadable(f"submitted/{claim.student} holds a link")
    known = submissions.read_bytes(mark).decode(errors="replace").strip() if mark.exists() else ""
    if claim.stamp and known > claim.stamp:
        done.older.append(label)
        done.claims.setdefault(label, (shown, claim, digest))
        return
    done.claims[label] = (shown, claim, digest)
    if target.is_file() and submissions.read_bytes(target) == data and claim.stamp in ("", known):
        done.before += [] if again and label in done.taken + done.before else [label]
        return
    for earlier in (done.taken, done.before):
        if again and label in earlier:  # of two in this collection only the one that stays counts
            earlier.remove(label)
            done.older.append(label)
    folder.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    mark.write_text(f"{claim.stamp or f'{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S}'}\n")
    done.taken.append(label)


def _agree(claim: Claim, digest: str, name: str, other: Claim, other_digest: str) -> None:
    """Unreadable if an earlier file of this collection, `name`, is as good a claim to the same student and chapter."""
    if claim.owner != other.owner:
        raise submissions.Unreadable(f"{name!r} came first and is called {claim.student}, too: rename one of them")
    ordered = claim.stamp and other.stamp and claim.stamp != other.stamp
    if digest != other_digest and not ordered:
        raise submissions.Unreadable(f"{name!r} came first, is {claim}, too, and no time in their names orders them")
