"""What a class did: a page and a table of scores, the laws that failed most, timings, and all that is suspicious."""

from __future__ import annotations

import collections
import csv
import html
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grading import clean
from grading.course import Course, Work

CSP = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}.bar{background:#4477aa;height:1em;display:inline-block}"""


@dataclass
class Line:
    """One student's result in one chapter."""

    work: Work
    verdicts: list[dict[str, Any]]
    notes: list[str]
    reason: str

    @property
    def score(self) -> float:
        """Points of all checks together."""
        return float(sum(verdict["score"] for verdict in self.verdicts))

    @property
    def most(self) -> float:
        """Points that the checks are worth."""
        return float(sum(verdict["points"] for verdict in self.verdicts))

    def suspicious(self) -> Iterator[str]:
        """Everything that a person may want to look at."""
        if self.reason:
            yield self.reason
        yield from self.notes
        for verdict in self.verdicts:
            yield from (f"{verdict['name']}: {caught}" for caught in verdict["caught"])
            yield from (f"{verdict['name']}: {note}" for note in verdict["notes"] if "process: " in note)
            if verdict["reason"] and verdict["reason"] != self.reason:
                yield f"{verdict['name']}: {verdict['reason']}"
            yield from (f"{verdict['name']}: {law['message']}" for law in verdict["laws"] if law["defect"])


def lines(course: Course, chapters: list[str]) -> list[Line]:
    """All results that lie under autograded/, and submissions that have none."""
    found = []
    for work in course.submitted(chapters):
        record = course.record(work)
        reason = record.get("reason", "") if "verdicts" in record else course.trouble(work) or "not graded yet"
        found.append(Line(work, record.get("verdicts", []), list(record.get("notes", [])), reason))
    return found


def write(course: Course, chapters: list[str], folder: Path) -> tuple[Path, Path]:
    """The page report.html and the table report.csv in `folder`."""
    found = lines(course, chapters)
    folder.mkdir(parents=True, exist_ok=True)
    page, sheet = folder / "report.html", folder / "report.csv"
    page.write_text(_page(found, chapters), encoding="utf-8")
    with sheet.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["student", "chapter", "check", "score", "points", "seconds", "remark"])
        for line in found:
            out.writerows([clean.cell(value) for value in row] for row in _rows(line))
    return page, sheet


def _rows(line: Line) -> Iterator[list[Any]]:
    for verdict in line.verdicts:
        remark = verdict["reason"] or "; ".join(law["message"] for law in verdict["laws"] if law["message"])
        start = [line.work.student, line.work.chapter, verdict["name"]]
        yield [*start, verdict["score"], verdict["points"], round(verdict["seconds"], 2), remark]
    if not line.verdicts:
        yield [line.work.student, line.work.chapter, "", 0, 0, 0, line.reason]


def _page(found: list[Line], chapters: list[str]) -> str:
    parts = ["<!doctype html><html lang='en'><meta charset='utf-8'><title>Grading report</title>"]
    parts.append(
        f'<meta http-equiv="Content-Security-Policy" content="{CSP}"><style>{STYLE}</style><h1>Grading report</h1>'
    )
    for chapter in chapters:
        mine = [line for line in found if line.work.chapter == chapter]
        if mine:
            parts += [f"<h2>{_text(chapter)}</h2>", *_chapter(mine)]
    return "\n".join([*parts, "</html>\n"])


def _chapter(mine: list[Line]) -> Iterator[str]:
    names = list(dict.fromkeys(v["name"] for line in mine for v in line.verdicts))
    rows = []
    for line in mine:
        by_name = {v["name"]: v["score"] for v in line.verdicts}
        rows.append(
            [line.work.student, *(by_name.get(name, "") for name in names), line.score if line.verdicts else ""]
        )
    yield _table(["student", *(name.removesuffix("_check") for name in names), "sum"], rows)
    yield "<h3>How many have how many points</h3>" + _histogram(mine)
    yield "<h3>Laws that failed most</h3>" + _table(["law", "exercise", "failed", "of"], _failed(mine))
    seconds = sorted(sum(v["seconds"] for v in line.verdicts) for line in mine)
    cpu = sum(v["cpu"] for line in mine for v in line.verdicts) / len(mine)
    median, longest = seconds[len(seconds) // 2], seconds[-1]
    yield f"<p>Evaluation took {median:.1f} s in the median, {longest:.1f} s at most, answers {cpu:.1f} s of CPU.</p>"
    strange = [[line.work.student, what] for line in mine for what in line.suspicious()]
    yield "<h3>Worth a look</h3>" + (_table(["student", "what"], strange) if strange else "<p>Nothing.</p>")


def _failed(mine: Iterable[Line]) -> list[list[Any]]:
    seen, failed = collections.Counter(), collections.Counter()
    for line in mine:
        for verdict in line.verdicts:
            for law in verdict["laws"]:
                key = (law["title"], verdict["name"].removesuffix("_check"))
                seen[key] += 1
                failed[key] += law["earned"] < law["points"]
    return [[*key, count, seen[key]] for key, count in failed.most_common(15) if count]


def _histogram(mine: list[Line], bins: int = 8) -> str:
    most = max((line.most for line in mine), default=0.0) or 1.0
    counts = collections.Counter(min(int(line.score / most * bins), bins - 1) for line in mine)
    rows = []
    for k in range(bins):
        bar = f"<span class='bar' style='width:{20 * counts[k] / max(counts.values()):.1f}em'></span> {counts[k]}"
        rows.append(f"<tr><td class='n'>{k * most / bins:.1f} to {(k + 1) * most / bins:.1f}</td><td>{bar}</td></tr>")
    return f"<table>{''.join(rows)}</table>"


def _table(head: list[str], rows: list[list[Any]]) -> str:
    def entry(value: Any) -> str:
        return f"<td class='n'>{value:g}</td>" if isinstance(value, (int, float)) else f"<td>{_text(value)}</td>"

    body = "".join(f"<tr>{''.join(map(entry, row))}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{_text(name)}</th>' for name in head)}</tr>{body}</table>"


def _text(value: Any) -> str:
    return html.escape(clean.text(value, 1000))
