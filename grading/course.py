"""A course folder as nbgrader sees it: its settings, its releases, what was submitted, and what the gradebook holds."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import nbgrader.api
import sqlalchemy
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde, GenerateAssignment
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import parse_utc
from sqlalchemy import create_engine
from traitlets.config import Config, PyFileConfigLoader

from grading import clean, plugins, submissions

STUDENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
ATTEMPTS = 5  # at a database that another grader is writing to

# nbgrader opens its gradebook seven times for one submission: with one engine per address queries are compiled once
nbgrader.api.create_engine = functools.cache(nbgrader.api.create_engine)


class CourseError(ValueError):
    """The course folder or gradebook is not as it must be; the message is one sentence."""


@dataclass(frozen=True)
class Work:
    """One student's notebook of one chapter."""

    student: str
    chapter: str
    word: str
    path: Path

    def __str__(self) -> str:
        return f"{self.student}, {self.chapter}"


class Course:
    """Settings and paths of one course."""

    def __init__(self, root: Path, db_url: str = "") -> None:
        self.root = root.resolve()
        if not (self.root / "nbgrader_config.py").exists():
            raise CourseError(f"{self.root} holds no nbgrader_config.py: is it the course's folder?")
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        self.config: Config = PyFileConfigLoader("nbgrader_config.py", path=str(self.root)).load_config()
        self.config.CourseDirectory.root = str(self.root)
        if db_url:
            self.config.CourseDirectory.db_url = db_url
        self.directory = CourseDirectory(config=self.config)
        self.notes = self.root / ".grading"

    def chapters(self) -> dict[str, str]:
        """Released chapters and the word that names their notebook."""
        found = sorted((self.root / self.directory.release_directory).glob("*/*.ipynb"))
        if not found:
            raise CourseError(
                f"there are no releases under {self.directory.release_directory}/: run make release first"
            )
        return {path.parent.name: path.stem for path in found}

    def release(self, chapter: str) -> Path:
        """The released notebook of a chapter."""
        return self.root / self.directory.release_directory / chapter / f"{self.chapters()[chapter]}.ipynb"

    def submitted(self, chapters: list[str]) -> Iterator[Work]:
        """What was handed in for these chapters, by student."""
        words = self.chapters()
        folder = self.root / self.directory.submitted_directory
        for student in sorted(folder.iterdir()) if folder.is_dir() else ():
            for chapter in chapters:
                path = student / chapter / f"{words[chapter]}.ipynb"
                if path.parent.exists() and STUDENT.fullmatch(student.name):
                    yield Work(student.name, chapter, words[chapter], path)

    def strangers(self) -> list[str]:
        """Names of folders under submitted/ that no student may have."""
        folder = self.root / self.directory.submitted_directory
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        return [name for name in names if not STUDENT.fullmatch(name) and not name.startswith(".")]

    def autograded(self, work: Work) -> Path:
        """Where nbgrader puts the graded notebook."""
        folder = self.root / self.directory.autograded_directory
        return folder / work.student / work.chapter / f"{work.word}.ipynb"

    def record(self, work: Work) -> dict[str, Any]:
        """What the graded notebook says of its grading; empty if there is none, or a torn one."""
        with contextlib.suppress(OSError, ValueError, KeyError, AttributeError):
            return dict(nbformat.read(self.autograded(work), as_version=4).metadata["grading"])
        return {}

    def digest(self, work: Work) -> str:
        """One name for this submission graded by this release."""
        return plugins.digest(self.release(work.chapter), work.path)

    def trouble(self, work: Work) -> str:
        """Why nbgrader must not even look at this folder; empty if it may."""
        folders = (work.path.parent.parent, work.path.parent)
        if any(folder.is_symlink() for folder in folders):
            return "the folder is a link"
        if not os.path.lexists(work.path):
            others = sorted(path.name for path in work.path.parent.glob("*.ipynb"))
            return f"there is no {work.path.name}" + (f", only {clean.text(others[0], 80)}" if others else "")
        stamp = work.path.parent / "timestamp.txt"
        try:
            if os.path.lexists(stamp):
                parse_utc(submissions.read_bytes(stamp)[:100].decode().strip())
        except (submissions.Unreadable, ValueError, OverflowError):
            return "its timestamp.txt holds no time"
        return ""

    # -------------------------------------------------------------------------------------------- the gradebook

    def prepare(self, chapter: str) -> None:
        """Make the chapter known to the gradebook, which nbgrader does while it releases: into a folder thrown away."""
        with self.open() as book:
            known = {assignment.name for assignment in book.assignments}
        if chapter not in known:
            config = copy.deepcopy(self.config)
            config.CourseDirectory.assignment_id = chapter
            with tempfile.TemporaryDirectory() as scratch:
                config.CourseDirectory.release_directory = scratch
                made = GenerateAssignment(coursedir=CourseDirectory(config=config), config=config, force=True)
                made.log.setLevel(logging.CRITICAL)
                made.start()

    def zero(self, work: Work) -> None:
        """No points for a submission that is no notebook, whatever an earlier one had earned."""
        with self.open() as book:
            book.update_or_create_student(work.student)
            book.update_or_create_submission(work.chapter, work.student)
            for grade in book.find_submission_notebook(work.word, work.chapter, work.student).grades:
                grade.auto_score, grade.needs_manual_grade = 0.0, False
            book.db.commit()
        shutil.rmtree(self.autograded(work).parent, ignore_errors=True)

    def open(self) -> Gradebook:
        """The gradebook, with this course's chapters known to it."""
        try:
            book = Gradebook(self.directory.db_url, self.directory.course_id)
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise CourseError(f"the gradebook cannot be opened: {str(error).splitlines()[0]}") from None
        return book

    def scores(self, chapter: str) -> dict[str, dict[str, float | None]]:
        """Automatic scores in the gradebook, by student and check."""
        query = """
            SELECT s.student_id, b.name, g.auto_score FROM grade g
            JOIN submitted_notebook n ON g.notebook_id = n.id JOIN submitted_assignment s ON n.assignment_id = s.id
            JOIN base_cell b ON g.cell_id = b.id JOIN assignment a ON s.assignment_id = a.id WHERE a.name = :chapter
        """
        engine = create_engine(self.directory.db_url)
        found: dict[str, dict[str, float | None]] = {}
        try:
            with engine.connect() as connection:
                for student, check, score in connection.execute(sqlalchemy.text(query), {"chapter": chapter}):
                    found.setdefault(student, {})[check] = score
        except sqlalchemy.exc.SQLAlchemyError:
            return {}  # a gradebook that has no tables yet
        finally:
            engine.dispose()
        return found

    def done(self, work: Work, scores: dict[str, dict[str, float | None]]) -> bool:
        """Whether this very submission has been graded by this very release, in full and in the gradebook."""
        record = self.record(work)
        if record.get("digest") != self.digest(work) or "verdicts" not in record:
            return False
        mine = scores.get(work.student, {})
        return all(mine.get(verdict["name"]) == verdict["score"] for verdict in record["verdicts"])

    def write(self, work: Work, verdicts: list[plugins.Verdict]) -> None:
        """Enter verdicts through nbgrader's own autograde; once more if another grader was writing."""
        plugins.known[self.digest(work)] = verdicts
        config = Config(self.config)
        config.CourseDirectory.student_id, config.CourseDirectory.assignment_id = work.student, work.chapter
        try:
            for attempt in range(ATTEMPTS):
                converter = Autograde(coursedir=CourseDirectory(config=config), config=config, force=True)
                converter.log.setLevel(logging.CRITICAL)
                with contextlib.suppress(Exception), warnings.catch_warnings():  # the gradebook tells, by what it lacks
                    warnings.simplefilter("ignore", sqlalchemy.exc.SAWarning)
                    converter.start()
                if self.done(work, self.scores(work.chapter)):
                    return
                logging.getLogger(__name__).debug("attempt %d at %s", attempt + 1, work)
        finally:
            del plugins.known[self.digest(work)]
        raise CourseError(f"the gradebook did not take the grades of {work}; `nbgrader autograde` will say why")

    # -------------------------------------------------------------------------------------------- between graders

    @contextlib.contextmanager
    def claim(self, work: Work) -> Iterator[bool]:
        """Whether this grader may grade `work` now; a claim ends with its process, however that ends."""
        name = hashlib.sha256(f"{self.directory.course_id}/{work}".encode()).digest()
        if self.directory.db_url.startswith("postgresql"):
            engine = create_engine(self.directory.db_url, poolclass=sqlalchemy.NullPool)
            with engine.connect() as connection:
                number = int.from_bytes(name[:8], "big", signed=True)
                yield connection.execute(sqlalchemy.select(sqlalchemy.func.pg_try_advisory_lock(number))).scalar()
            return
        locks = self.notes / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with (locks / name.hex()[:32]).open("w") as lock:
            try:
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def keep(self, work: Work, verdicts: list[plugins.Verdict]) -> None:
        """Remember verdicts until they are in the gradebook, so that no interruption costs a second evaluation."""
        place = self._place(work)
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_suffix(".draft")
        draft.write_text(json.dumps({"digest": self.digest(work), "verdicts": [v.plain() for v in verdicts]}))
        draft.replace(place)

    def kept(self, work: Work) -> list[plugins.Verdict] | None:
        """Verdicts on this very submission that were found but perhaps not entered."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            kept = json.loads(self._place(work).read_text())
            if kept["digest"] == self.digest(work):
                return [plugins.Verdict(**verdict) for verdict in kept["verdicts"]]
        return None

    def forget(self, work: Work) -> None:
        """Nothing of it waits any more."""
        for path in (self._place(work), self._place(work).with_suffix(".draft")):
            path.unlink(missing_ok=True)

    def _place(self, work: Work) -> Path:
        """Where its verdicts wait, those of the latest submission only."""
        return self.notes / "verdicts" / f"{submissions.digest(str(work).encode())}.json"


def contents(work: Work) -> bytes:
    """The submitted file; for one that must not be opened, nothing: its reason is found again when it is read."""
    try:
        return submissions.read_bytes(work.path)
    except submissions.Unreadable:
        return b""
