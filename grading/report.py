"""What a class did: a page and a table of scores, who waits, laws that failed, timings, and all that is suspicious."""

from __future__ import annotations

import collections
import csv
import html
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import sqlalchemy

from grading import clean
from grading.course import Course, Work
from grading.feedback import NOT_WRITTEN, errors
from grading.work import answers

CSP = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:left}
td,p{overflow-wrap:anywhere}.wide{overflow-x:auto}.wide td{overflow-wrap:normal}
td.n{text-align:right;font-variant-numeric:tabular-nums}.bar{background:#4477aa;height:1em;display:inline-block}"""
GRADES = """
    SELECT s.student_id, b.name, g.auto_score, g.manual_score, g.extra_credit, g.needs_manual_grade,
           n.late_submission_penalty
    FROM grade g
    JOIN submitted_notebook n ON g.notebook_id = n.id JOIN submitted_assignment s ON n.assignment_id = s.id
    JOIN base_cell b ON g.cell_id = b.id JOIN assignment a ON s.assignment_id = a.id WHERE a.name = :chapter
"""


@dataclass
class Grades:
    """What the gradebook holds of one student's chapter: points, what waits for a person, what lateness costs."""

    points: dict[str, float] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    penalty: float = 0.0


@dataclass
class Line:
    """One student's result in one chapter."""

    work: Work
    verdicts: list[dict[str, Any]]
    notes: list[str]
    reason: str
    grades: Grades = field(default_factory=Grades)
    answers: dict[str, list[str]] = field(default_factory=dict)  # check -> the answer cells that it judges
    missing: list[str] = field(default_factory=list)  # cells that the student removed

    @property
    def score(self) -> float:
        """The gradebook's sum; where it holds none, the points of all checks together."""
        if self.grades.points:
            return max(0.0, sum(self.grades.points.values()) - self.grades.penalty)
        return float(sum(verdict["score"] for verdict in self.verdicts))

    @property
    def graded(self) -> bool:
        """Whether there are points at all."""
        return bool(self.verdicts or self.grades.points)

    @property
    def waiting(self) -> list[str]:
        """Questions that a person has yet to grade."""
        return sorted(self.grades.waiting) if self.verdicts else []

    def entry(self, name: str) -> float | str:
        """The points of one check or question, as a table shows them."""
        points = self.grades.points.get(name)
        if name in self.waiting:
            return f"waits ({points:g})" if points else "waits"
        judged = (verdict["score"] for verdict in self.verdicts if verdict["name"] == name)
        return next(judged, "") if points is None else points

    def errors(self, verdict: dict[str, Any]) -> list[str]:
        """How the answer cells of one check ended, for those that ended with an error."""
        return errors(verdict["notes"], self.answers.get(verdict["name"], []))

    def remark(self, verdict: dict[str, Any]) -> str:
        """Why a check gave less than its points, each reason once."""
        lacking = self.missing if verdict["score"] < verdict["points"] else []
        gone = [name for name in self.answers.get(verdict["name"], []) if name in lacking]
        said = [f"the cell {name} is missing from the notebook" for name in gone] + self.errors(verdict)
        said += [law["message"] for law in verdict["laws"] if law["message"] and not (said and _unwritten(law))]
        return verdict["reason"] or "; ".join(dict.fromkeys(said))

    def suspicious(self) -> Iterator[str]:
        """Everything that a person may want to look at."""
        if self.reason:
            yield self.reason
        yield from dict.fromkeys(error for verdict in self.verdicts for error in self.errors(verdict))
        yield from self.notes
        for verdict in self.verdicts:
            yield from (f"{verdict['name']}: {caught}" for caught in verdict["caught"])
            yield from (f"{verdict['name']}: {note}" for note in verdict["notes"] if "process: " in note)
            if verdict["reason"] and verdict["reason"] != self.reason:
                yield f"{verdict['name']}: {verdict['reason']}"
            yield from (f"{verdict['name']}: {law['message']}" for law in verdict["laws"] if law["defect"])


@dataclass
class Chapter:
    """All results of one chapter, and the points of its checks and questions in the release's order."""

    name: str
    columns: dict[str, float]
    lines: list[Line]

    @property
    def most(self) -> float:
        """Points that the chapter is worth."""
        return float(sum(self.columns.values()))

    def waiting(self) -> dict[str, list[str]]:
        """By question, the students whose answer a person has yet to grade."""
        found = {name: [line.work.student for line in self.lines if name in line.waiting] for name in self.columns}
        return {name: students for name, students in found.items() if students}


def read(course: Course, chapters: list[str]) -> list[Chapter]:
    """The chapters that have submissions: what lies under autograded/, and the points of the gradebook."""
    found = []
    for name in chapters:
        release = nbformat.read(course.release(name), as_version=4)
        graded = (cell.metadata.nbgrader for cell in release.cells if cell.metadata.get("nbgrader", {}).get("grade"))
        columns = {grader["grade_id"]: float(grader["points"]) for grader in graded}
        if works := list(course.submitted([name])):
            known, cells = _grades(course, name), answers(release)
            found.append(Chapter(name, columns, [_line(course, work, known, cells) for work in works]))
    return found


def lines(course: Course, chapters: list[str]) -> list[Line]:
    """All results that lie under autograded/, and submissions that have none."""
    return [line for chapter in read(course, chapters) for line in chapter.lines]


def _line(course: Course, work: Work, known: dict[str, Grades], cells: dict[str, list[str]]) -> Line:
    record = course.record(work)
    reason = record.get("reason", "") if "verdicts" in record else course.trouble(work) or "not graded yet"
    made = Line(work, record.get("verdicts", []), list(record.get("notes", [])), reason, answers=cells)
    made.grades, made.missing = known.get(work.student, Grades()), list(record.get("missing", []))
    return made


def _grades(course: Course, chapter: str) -> dict[str, Grades]:
    """By student, what the gradebook holds of a chapter."""
    found: dict[str, Grades] = collections.defaultdict(Grades)
    with course.open() as book:
        for student, name, *scores, waits, penalty in book.db.execute(sqlalchemy.text(GRADES), {"chapter": chapter}):
            automatic, manual, extra = scores
            own = automatic if manual is None else manual
            one = found[student]
            one.points[name] = 0.0 if own is None else own + (extra or 0.0)
            one.waiting |= {name} if waits else set()
            one.penalty = penalty or 0.0
    return found


def write(course: Course, chapters: list[str], folder: Path) -> tuple[Path, Path]:
    """The page report.html and the table report.csv in `folder`; who waits for a person is also printed."""
    found = read(course, chapters)
    folder.mkdir(parents=True, exist_ok=True)
    page, sheet = folder / "report.html", folder / "report.csv"
    page.write_text(_page(found), encoding="utf-8")
    with sheet.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["student", "chapter", "check", "score", "points", "seconds", "remark"])
        for chapter in found:
            for line in chapter.lines:
                out.writerows([clean.cell(value) for value in row] for row in _rows(line, chapter.columns))
    for chapter in found:
        for name, students in chapter.waiting().items():
            print(f"{chapter.name}: {name} waits for a person to grade it: {', '.join(students)}")
    return page, sheet


def _rows(line: Line, columns: dict[str, float]) -> Iterator[list[Any]]:
    start = [line.work.student, line.work.chapter]
    if not line.verdicts:
        yield [*start, "", 0, 0, 0, line.reason]
        return
    for verdict in line.verdicts:
        seconds = round(verdict["seconds"], 2)
        yield [*start, verdict["name"], verdict["score"], verdict["points"], seconds, line.remark(verdict)]
    checks = {verdict["name"] for verdict in line.verdicts}
    for question in (name for name in columns if name not in checks):
        remark = "waits for a person to grade it" if question in line.waiting else ""
        yield [*start, question, line.grades.points.get(question, 0.0), columns[question], "", remark]


# ------------------------------------------------------------------------------------------------ the page


def _page(found: list[Chapter]) -> str:
    parts = ["<!doctype html><html lang='en'><meta charset='utf-8'><title>Grading report</title>"]
    parts.append(
        f'<meta http-equiv="Content-Security-Policy" content="{CSP}"><style>{STYLE}</style><h1>Grading report</h1>'
    )
    parts += [_overview(found)] if found else ["<p>Nothing has been handed in.</p>"]
    for chapter in found:
        parts += [f"<h2 id='{_text(chapter.name)}'>{_text(chapter.name)}</h2>", *_chapter(chapter)]
    return "\n".join([*parts, "</html>\n"])


def _overview(found: list[Chapter]) -> str:
    """Points of every student in every chapter."""
    links = (f"<a href='#{_text(chapter.name)}'>{_text(chapter.name)}</a> ({chapter.most:g})" for chapter in found)
    by_student = [{line.work.student: line for line in chapter.lines} for chapter in found]
    students = sorted(set().union(*by_student))
    rows = [[student, *(_sum(known.get(student)) for known in by_student)] for student in students]
    return _grid(["student", *links], rows)


def _sum(line: Line | None) -> float | str:
    if line is None or not line.graded:
        return "" if line is None else "no grade"
    return f"{line.score:g} ({len(line.waiting)} waiting)" if line.waiting else line.score


def _chapter(chapter: Chapter) -> Iterator[str]:
    mine = chapter.lines
    yield _scores(chapter)
    if waiting := chapter.waiting():
        yield "<h3>Waits for a person</h3><p>The sums hold no points yet for these answers in words.</p>"
        yield from (f"<p>{_text(name)}: {', '.join(map(_text, students))}</p>" for name, students in waiting.items())
    yield "<h3>How many have how many points</h3>" + _histogram(chapter)
    yield "<h3>Laws that failed most</h3>"
    yield _table(["law", "exercise", "failed"], failed) if (failed := _failed(mine)) else "<p>None.</p>"
    if unwritten := _left_unwritten(mine):
        yield "<h3>Left unwritten</h3>" + _table(["exercise", "students"], unwritten)
    seconds = sorted(sum(v["seconds"] for v in line.verdicts) for line in mine)
    cpu = sum(v["cpu"] for line in mine for v in line.verdicts) / len(mine)
    median, longest = seconds[len(seconds) // 2], seconds[-1]
    yield f"<p>Evaluation took {median:.1f} s in the median, {longest:.1f} s at most, answers {cpu:.1f} s of CPU.</p>"
    strange = [[line.work.student, what] for line in mine for what in line.suspicious()]
    yield "<h3>Worth a look</h3>" + (_table(["student", "what"], strange) if strange else "<p>Nothing.</p>")


def _scores(chapter: Chapter) -> str:
    """A row per student, a column per check and question with its points."""
    late = any(line.grades.penalty for line in chapter.lines)
    head = [f"{_exercise(name)} ({points:g})" for name, points in chapter.columns.items()]
    rows = []
    for line in chapter.lines:
        penalty = [0.0 - line.grades.penalty] if late else []
        entries = [line.entry(name) for name in chapter.columns]
        rows.append([line.work.student, *entries, *penalty, line.score if line.graded else ""])
    return _table(["student", *head, *(["late"] if late else []), f"sum ({chapter.most:g})"], rows)


def _exercise(check: str) -> str:
    return check.removesuffix("_check")


def _unwritten(law: dict[str, Any]) -> bool:
    return law["message"] == NOT_WRITTEN


def _failed(mine: Iterable[Line]) -> list[list[Any]]:
    """Laws by how many of those who wrote the exercise failed them."""
    seen, failed = collections.Counter(), collections.Counter()
    for verdict in (verdict for line in mine for verdict in line.verdicts):
        for law in (law for law in verdict["laws"] if not _unwritten(law)):
            key = (law["title"], _exercise(verdict["name"]))
            seen[key] += 1
            failed[key] += law["earned"] < law["points"]
    return [[*key, f"{count} of the {seen[key]} who wrote it"] for key, count in failed.most_common() if count]


def _left_unwritten(mine: Iterable[Line]) -> list[list[Any]]:
    verdicts = (verdict for line in mine for verdict in line.verdicts)
    named = (_exercise(v["name"]) for v in verdicts if v["laws"] and all(map(_unwritten, v["laws"])))
    return [list(pair) for pair in collections.Counter(named).most_common()]


def _histogram(chapter: Chapter, most_bins: int = 8) -> str:
    """Bars over bins whose borders are whole or half points."""
    width = max(0.5, math.ceil(2 * chapter.most / most_bins) / 2)
    bins = max(1, math.ceil(chapter.most / width))
    counts = collections.Counter(min(int(line.score / width), bins - 1) for line in chapter.lines if line.graded)
    rows = []
    for k in range(bins):
        end = f"to {chapter.most:g}" if k == bins - 1 else f"to under {(k + 1) * width:g}"
        bar = f"<span class='bar' style='width:{20 * counts[k] / max([1, *counts.values()]):.1f}em'></span> {counts[k]}"
        rows.append(f"<tr><td class='n'>{k * width:g} {end}</td><td>{bar}</td></tr>")
    return f"<table>{''.join(rows)}</table>"


def _table(head: list[str], rows: list[list[Any]]) -> str:
    return _grid([_text(name) for name in head], rows)


def _grid(head: list[str], rows: list[list[Any]]) -> str:
    """A table that scrolls in its own box; `head` is HTML, the rows are not."""

    def entry(value: Any) -> str:
        return f"<td class='n'>{value:g}</td>" if isinstance(value, (int, float)) else f"<td>{_text(value)}</td>"

    body = "".join(f"<tr>{''.join(map(entry, row))}</tr>" for row in rows)
    return f"<div class='wide'><table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{body}</table></div>"


def _text(value: Any) -> str:
    return html.escape(clean.text(value, 1000))
