"""What is written about graded work: students read the cause in their own cells, instructors what waits."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbgrader.converters import GenerateFeedback
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config

from grading import export, feedback, report, run, work
from grading.__main__ import main
from grading.course import Course
from grading.evaluate import Grader, Verdict
from tests.attacks import toy

CHAPTER = toy.CHAPTER
BROKEN = "def square(x:\n    return x"
SYNTAX = "square: SyntaxError: '(' was never closed (<ipython>, line 1)"
UNWRITTEN = "square: not written yet, 0 of 2 points"


def law(message: str, title: str = "a law", points: float = 2.0) -> dict:
    """A law that failed, unless there is no message."""
    return {"title": title, "points": points, "earned": 0.0 if message else points, "message": message, "defect": False}


def squares(student: str) -> Verdict:
    """What came of the first check."""
    undefined = "your function raised NameError: square is not defined: did its cell run?"
    unwritten = Verdict("square_check", 2.0, text=UNWRITTEN, laws=[law(feedback.NOT_WRITTEN)] * 2)
    return {
        "ada": Verdict("square_check", 2.0, 2.0, laws=[law("")]),
        "bob": unwritten,
        "cleo": Verdict("square_check", 2.0, text=undefined, laws=[law(undefined)], notes=[SYNTAX]),
        "dan": unwritten,
    }[student]


def judge(jobs: Iterator) -> Iterator:
    """Verdicts without boxes; the files of eve and fay are no notebooks, for which no box is needed."""
    for one, job in jobs:
        if one.student in ("eve", "fay"):
            yield one, work.evaluate(*job)
        else:
            verdicts = [squares(one.student), Verdict("total_check", 3.0, 1.5, text="no")]
            yield one, [verdict.plain() for verdict in verdicts]


def hand_in(root: Path, student: str) -> None:
    """One of six ways to hand something in."""
    nb = toy.submission(BROKEN if student == "cleo" else toy.SQUARE)
    if student in ("ada", "cleo"):
        toy.find(nb, "words").source = "It is so because it is."
    if student == "dan":
        nb.cells.remove(toy.find(nb, "square"))
    path = toy.hand_in(root, student, b"" if student == "eve" else nb)
    if student == "fay":
        path.unlink()
        path.symlink_to("/etc/passwd")


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A graded class of six, in which a person has graded one of two answers in words."""
    made = Course(toy.course(tmp_path_factory.mktemp("class")))
    for student in ("ada", "bob", "cleo", "dan", "eve", "fay"):
        hand_in(made.root, student)
    run.run(made, [CHAPTER], judge)
    with made.open() as book:
        grade = book.find_grade("words", toy.WORD, CHAPTER, "cleo")
        grade.manual_score, grade.needs_manual_grade = 0.5, False
        book.find_submission_notebook(toy.WORD, CHAPTER, "bob").late_submission_penalty = 1.0
        book.db.commit()
    return made


@pytest.fixture(scope="module")
def page(course: Course) -> str:
    return report.write(course, [CHAPTER], course.root)[0].read_text()


def said(course: Course, student: str) -> list[str]:
    """The lines under each check of a graded notebook."""
    path = course.root / "autograded" / student / CHAPTER / f"{toy.WORD}.ipynb"
    cells = nbformat.read(path, as_version=4).cells
    return [cell.outputs[0].text for cell in cells if cell.get("id", "").endswith("_check")]


def student_page(course: Course, student: str) -> str:
    """The page of `nbgrader generate_feedback`."""
    config = Config(course.config)
    config.CourseDirectory.student_id, config.CourseDirectory.assignment_id = student, CHAPTER
    GenerateFeedback(coursedir=CourseDirectory(config=config), config=config, force=True).start()
    return (course.root / "feedback" / student / CHAPTER / f"{toy.WORD}.html").read_text()


def rows(page: str, heading: str) -> list[list[str]]:
    """The text of the first table behind a heading."""
    table = page.partition(f">{heading}</h")[2].partition("</table>")[0]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in table.split("<tr>")[1:]]


# ------------------------------------------------------------------------------------------------ what a student reads


def test_errors_of_the_courses_own_cells_are_not_shown_to_students() -> None:
    nb = toy.submission(BROKEN, first="1 / 0")
    given = next(k for k, cell in enumerate(nb.cells) if cell.id == "three")
    record = work.restored(toy.release(), nb).metadata["grading"]
    assert record["own"] == ["cell-1", "square", "total"]
    masked = f"cell-{given}: RuntimeError: square is what this exercise asks for: write this one yourself"
    notes = [masked, "setup: RuntimeError: x", "cell-1: ZeroDivisionError: division by zero", SYNTAX]
    verdict = Verdict("square_check", 2.0, text="the laws", notes=[*notes, "its process: signal 9"])
    assert list(filter(None, feedback.lines(verdict, record, set()))) == [
        "The cell square ended with SyntaxError: '(' was never closed (<ipython>, line 1)",
        "the laws",
        "The cell cell-1 ended with ZeroDivisionError: division by zero",
        "Its process: signal 9.",
    ]


def test_a_given_cell_that_a_mask_stops_is_not_blamed_on_the_student(tmp_path: Path) -> None:
    release, nb = toy.release(), toy.submission(BROKEN, total="def total(x):\n    return three")
    for one in (release, nb):
        toy.find(one, "three").source = "three = toy.square(3)"
    done = work.restored(release, nb)
    with Grader(toy.helpers(tmp_path), walls=False) as grader:
        verdict = work.judged(release, done, grader)[0]
    assert any("write this one yourself" in note for note in verdict.notes)
    first, *others = feedback.lines(verdict, done.metadata["grading"], set())
    assert first.startswith("The cell square ended with SyntaxError")
    assert "write this one yourself" not in "\n".join(others)


def test_a_cell_that_the_student_changed_is_the_students() -> None:
    nb = toy.submission()
    toy.find(nb, "three").source = "three = 1 / 0"
    assert work.restored(toy.release(), nb).metadata["grading"]["own"] == ["cell-1", "square", "total"]


def test_a_removed_answer_cell_is_called_missing(course: Course) -> None:
    assert said(course, "dan")[0] == ("The cell square is missing from the notebook.\nsquare: missing, 0 of 2 points\n")
    assert said(course, "bob")[0] == f"{UNWRITTEN}\n"


def test_a_reason_keeps_the_files_name_and_is_given_once(course: Course) -> None:
    assert said(course, "eve") == ["toy.ipynb cannot be read: the file is empty.\n", "No points: see above.\n"]
    assert said(course, "fay")[0] == "toy.ipynb cannot be opened: it is a link.\n"


def test_a_reason_of_one_exercise_begins_with_a_capital() -> None:
    verdict = Verdict("square_check", 2.0, reason="this check was not run")
    record = {"answers": {}, "own": [], "missing": []}
    assert "This check was not run." in list(feedback.lines(verdict, record, set()))


def test_a_page_says_that_an_answer_in_words_waits(course: Course) -> None:
    text = student_page(course, "ada")
    assert text.count("Score: waits for a person / 1.0") == 2
    assert "toy (Score: 3.5 so far / 6.0)" in text
    text = student_page(course, "cleo")
    assert "Score: 0.5 / 1.0" in text
    assert "toy (Score: 2.0 / 6.0)" in text
    assert "waits" not in text


# --------------------------------------------------------------------------------------------- what an instructor reads


def test_questions_have_a_column_and_sums_are_the_gradebooks(course: Course, page: str) -> None:
    head, *lines = rows(page, CHAPTER)
    assert head == ["student", "square (2)", "total (3)", "words (1)", "late", "sum (6)"]
    assert lines[0] == ["ada", "2", "1.5", "waits", "0", "3.5"]
    assert lines[2] == ["cleo", "0", "1.5", "0.5", "0", "2"]
    book = export.grades(course, [CHAPTER], unfinished=True).points[CHAPTER]
    assert {line[0]: float(line[-1]) for line in lines} == book
    assert book["bob"] == 0.5, "his penalty is taken off"


def test_who_waits_is_on_the_page_and_on_the_terminal(
    course: Course, page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "<p>words: ada</p>" in page
    assert main(["--course", str(course.root), "report"]) == 0
    assert "07_toy: words waits for a person to grade it: ada\n" in capsys.readouterr().out


def test_the_page_begins_with_students_by_chapters(page: str) -> None:
    head, ada, *_ = rows(page, "Grading report")
    assert head == ["student", f"<a href='#{CHAPTER}'>{CHAPTER}</a> (6)"]
    assert ada == ["ada", "3.5 (1 waiting)"]
    assert f"<h2 id='{CHAPTER}'>" in page


def test_laws_count_those_who_wrote_the_exercise(page: str) -> None:
    assert rows(page, "Laws that failed most")[1:] == [["a law", "square", "1 of the 2 who wrote it"]]
    assert rows(page, "Left unwritten")[1:] == [["square", "2"]]


def test_every_failed_law_is_listed() -> None:
    verdict = Verdict("square_check", 2.0, laws=[law("no", f"law {k}") for k in range(40)]).plain()
    assert len(report._failed([report.Line(None, [verdict], [], "")])) == 40


def test_an_answer_cell_that_ended_with_an_error_is_worth_a_look(page: str) -> None:
    wanted = [
        "cleo",
        "The cell square ended with SyntaxError: &#x27;(&#x27; was never closed (&lt;ipython&gt;, line 1)",
    ]
    assert wanted in rows(page, "Worth a look")


@pytest.mark.parametrize(("most", "last"), [(24.0, "21 to 24"), (5.0, "4 to 5"), (2.0, "1.5 to 2"), (23.0, "21 to 23")])
def test_bins_have_whole_or_half_borders(most: float, last: str) -> None:
    line = report.Line(None, [Verdict("a", most, most).plain()], [], "")
    found = rows(">x</h" + report._histogram(report.Chapter("c", {"a": most}, [line])), "x")
    assert found[-1][0] == last
    assert found[-1][1].endswith(" 1")
    assert all(float(border) % 0.5 == 0 for row in found for border in re.findall(r"[\d.]+", row[0]))


def test_the_table_holds_the_questions_too(course: Course, page: str) -> None:
    with (course.root / "report.csv").open(encoding="utf-8", newline="") as file:
        table = {row["student"]: row for row in csv.DictReader(file) if row["check"] == "words"}
    assert table["ada"]["remark"] == "waits for a person to grade it"
    assert (table["cleo"]["score"], table["cleo"]["points"], table["cleo"]["remark"]) == ("0.5", "1.0", "")


def test_a_remark_says_each_thing_once(course: Course, page: str) -> None:
    with (course.root / "report.csv").open(encoding="utf-8", newline="") as file:
        remarks = {row["student"]: row["remark"] for row in csv.DictReader(file) if row["check"] == "square_check"}
    assert remarks["bob"] == "not written yet"
    assert remarks["dan"] == "the cell square is missing from the notebook"
    assert remarks["cleo"].startswith("The cell square ended with SyntaxError")
    assert remarks["eve"] == "toy.ipynb cannot be read: the file is empty"
