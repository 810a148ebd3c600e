"""The grades reach Moodle and Canvas as they stand in the gradebook, and nobody gets another's or half a one."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from grading.__main__ import main
from grading.course import Course
from tests.attacks import toy

CHAPTER = toy.CHAPTER
SCORES = {"ada": (2.0, 3.0, 1.0), "bob": (0.5, 0.0, 0.25), "cleo": (2.0, 1.0, None), "dan": None}
ROSTER = """Student,ID,SIS User ID,SIS Login ID,Section,07_toy (4711),Final Score
    Points Possible,,,,,6,(read only)
"Lovelace, Ada",101,u1,Ada,A,,
"=HYPERLINK(""http://evil"")",102,u2,bob,A,,
"Curie, Ève",104,u4,eve,B,,
"Student, Test",103,,,A,,
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course whose gradebook holds a full grade, a part of one, one that waits for a person, and a mere name."""
    root = toy.course(tmp_path_factory.mktemp("template"))
    with Course(root).open() as book:
        for student, points in SCORES.items():
            book.update_or_create_student(student)
            if points is None:
                continue
            for grade in book.update_or_create_submission(CHAPTER, student).notebooks[0].grades:
                one = dict(zip(("square_check", "total_check", "words"), points, strict=True))[grade.name]
                grade.needs_manual_grade = one is None
                if grade.name == "words":
                    grade.manual_score = one
                else:
                    grade.auto_score = one
        book.db.commit()
    return root


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "course")


def export(root: Path, form: str, *options: str) -> list[list[str]]:
    """The lines of the file that the command writes."""
    assert main(["--course", str(root), "export", "--form", form, "--out", str(root / "out.csv"), *options]) == 0
    with (root / "out.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_moodle_gets_a_name_and_the_points_and_no_unfinished_grade(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = export(root, "moodle")
    assert lines == [["Username", CHAPTER], ["ada", "6"], ["bob", "0.75"], ["cleo", ""], ["dan", ""]]
    assert "07_toy: empty until a person has graded the question in words: cleo\n" in capsys.readouterr().out


def test_unfinished_grades_are_sent_when_asked_for(root: Path) -> None:
    head, *_, cleo, _ = export(root, "moodle", "--unfinished", "--match", "ID number")
    assert (head, cleo) == (["ID number", CHAPTER], ["cleo", "3"])


def test_canvas_gets_its_five_columns_and_the_points_possible(root: Path) -> None:
    head, possible, ada, *_ = export(root, "canvas")
    assert head == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", CHAPTER]
    assert possible == ["    Points Possible", "", "", "", "", "6"]
    assert ada == ["ada", "", "", "ada", "", "6"]


def test_with_canvas_own_list_grades_meet_its_students_and_its_assignment(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = root / "canvas.csv"
    listed.write_text("\ufeff" + ROSTER, encoding="utf-8")
    head, _, *lines = export(root, "canvas", "--roster", str(listed))
    assert head[-1] == "07_toy (4711)"
    assert lines == [
        ["Lovelace, Ada", "101", "u1", "Ada", "A", "6"],
        ['\'=HYPERLINK("http://evil")', "102", "u2", "bob", "A", "0.75"],
        ["Curie, Ève", "104", "u4", "eve", "B", ""],
    ]
    assert "not in the roster, so left out: cleo, dan\n" in capsys.readouterr().out


def test_late_penalties_are_taken_off(root: Path) -> None:
    with Course(root).open() as book:
        book.find_submission(CHAPTER, "ada").notebooks[0].late_submission_penalty = 1.5
        book.find_submission(CHAPTER, "bob").notebooks[0].late_submission_penalty = 5.0
        book.db.commit()
    assert export(root, "moodle")[1:3] == [["ada", "4.5"], ["bob", "0"]]


@pytest.mark.parametrize(
    ("roster", "options", "heard"),
    [
        (None, ["--roster", "nowhere.csv"], "the roster nowhere.csv cannot be read as CSV in UTF-8"),
        ("First name;Username\n", [], "has no column 'Username'; it has First name;Username (--match)"),
        ("", [], "has no column 'Username'; it has none"),
        ("Username\nada\nADA\n", [], "names ada more than once in its column 'Username'"),
        ("Username\nzoe\n", [], "no student of the gradebook is in the column 'Username'"),
        ("Username\n\xff\n", [], "cannot be read as CSV in UTF-8"),
        (None, ["--form", "canvas", "--match", "Email"], "Canvas knows students by ID, SIS User ID, SIS Login ID, not"),
        (None, ["--out", "no/such/folder.csv"], "no/such/folder.csv cannot be written: No such file or directory"),
        (None, ["08_absent"], "no chapter 08_absent; there are 07_toy"),
    ],
)
def test_bad_input_is_answered_by_one_sentence(
    root: Path, roster: str | None, options: list[str], heard: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if roster is not None:
        (root / "list.csv").write_bytes(roster.encode("latin-1"))
        options = [*options, "--roster", str(root / "list.csv")]
    command = ["--course", str(root), "export", "--form", "moodle", "--out", str(root / "out.csv"), *options]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert heard in said
    assert said.count("\n") == 1


def test_an_empty_gradebook_is_answered_by_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = toy.course(tmp_path)
    assert main(["--course", str(root), "export", "--form", "moodle", "--out", str(root / "out.csv")]) == 1
    assert "the gradebook holds no grades of these chapters yet" in capsys.readouterr().err
