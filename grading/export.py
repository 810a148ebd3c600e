"""Grades in the two CSV forms that learning platforms import: Moodle's grade import and Canvas's gradebook import.

Both have a row per student and a column of points per chapter.  A grade that is missing, or that still waits for a
question in words, is an empty cell, which both platforms leave as it was.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from grading import clean
from grading.course import Course, CourseError

MATCH = {"moodle": "Username", "canvas": "SIS Login ID"}  # the platform's column that holds our names of students
CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
POINTS = "Points Possible"
Row = dict[str, str]


@dataclass
class Grades:
    """Points by chapter and student; None is a grade that is not there yet."""

    most: dict[str, float]
    points: dict[str, dict[str, float | None]]
    students: list[str] = field(default_factory=list)

    def cell(self, chapter: str, student: str) -> str:
        """The points as the CSV holds them."""
        points = self.points[chapter].get(student)
        return "" if points is None else f"{round(points, 6):g}"


def grades(course: Course, chapters: list[str], unfinished: bool = False) -> Grades:
    """What the gradebook holds, late penalties taken off; with `unfinished` also sums that lack a question in words."""
    found = Grades({}, {})
    with course.open() as book:
        found.students = sorted(student.id for student in book.students)
        for chapter in sorted({assignment.name for assignment in book.assignments} & set(chapters)):
            found.most[chapter] = book.find_assignment(chapter).max_score
            found.points[chapter] = {
                one.student_id: max(0.0, one.score - one.late_submission_penalty)
                if unfinished or not one.needs_manual_grade
                else None
                for one in book.assignment_submissions(chapter)
            }
    if not any(found.points.values()):
        raise CourseError("the gradebook holds no grades of these chapters yet: run python -m grading run first")
    return found


def roster(path: Path, match: str) -> list[Row]:
    """The students' rows of a CSV file that the platform exported, those without a name in column `match` left out."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, restval="")
            head = [name.strip() for name in table.fieldnames or ()]
            table.fieldnames = head
            rows = [{key: value.strip() for key, value in row.items() if isinstance(value, str)} for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CourseError(f"the roster {path} cannot be read as CSV in UTF-8: {error}") from None
    if match not in head:
        raise CourseError(f"the roster {path} has no column {match!r}; it has {', '.join(head) or 'none'} (--match)")
    rows = [row for row in rows if row[match] and row.get("Student", "") != POINTS]
    names = [row[match].casefold() for row in rows]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise CourseError(f"the roster {path} names {', '.join(twice)} more than once in its column {match!r}")
    return rows


def table(form: str, match: str, found: Grades, rows: list[Row]) -> Iterator[list[str]]:
    """The lines of the file: a head, for Canvas the points possible, then a line per student of `rows`."""
    ours = {student.casefold(): student for student in found.students}
    columns = [*CANVAS] if form == "canvas" else [match]
    yield [*columns, *(_title(chapter, rows) for chapter in found.points)]
    if form == "canvas":
        yield [f"    {POINTS}", *[""] * (len(columns) - 1), *(f"{found.most[chapter]:g}" for chapter in found.points)]
    for row in rows:
        student = ours.get(row[match].casefold(), "")
        yield [*(row.get(name, "") for name in columns), *(found.cell(chapter, student) for chapter in found.points)]


def _title(chapter: str, rows: list[Row]) -> str:
    """The chapter's column; where Canvas has that assignment already, under the title with its number."""
    known = (name for name in (rows[0] if rows else ()) if name.rpartition(" (")[0] == chapter)
    return next(known, chapter)


def write(form: str, out: Path, found: Grades, match: str = "", listed: Path | None = None) -> list[str]:
    """Write the CSV file and return sentences about whom it leaves out and what it holds."""
    match = match or MATCH[form]
    if form == "canvas" and match not in CANVAS[1:4]:
        raise CourseError(f"Canvas knows students by {', '.join(CANVAS[1:4])}, not by {match!r} (--match)")
    rows = roster(listed, match) if listed else [{"Student": name, match: name} for name in found.students]
    names = {row[match].casefold() for row in rows}
    if not names & set(map(str.casefold, found.students)):
        raise CourseError(f"no student of the gradebook is in the column {match!r} of {listed} (--match)")
    try:
        with out.open("w", encoding="utf-8", newline="") as file:
            for line in table(form, match, found, rows):
                csv.writer(file).writerow(map(clean.cell, line))
    except OSError as error:
        raise CourseError(f"{out} cannot be written: {error.strerror}") from None
    return [*_left_out(found, names), f"wrote {out}: {len(rows)} students, {', '.join(found.points)}"]


def _left_out(found: Grades, listed: set[str]) -> Iterator[str]:
    strangers = [student for student in found.students if student.casefold() not in listed]
    if strangers:
        yield f"not in the roster, so left out: {', '.join(strangers)}"
    for chapter, points in found.points.items():
        if waiting := sorted(student for student, value in points.items() if value is None):
            yield f"{chapter}: empty until a person has graded the question in words: {', '.join(waiting)}"
