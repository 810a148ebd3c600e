"""A hostile class in a real browser: formgrader, feedback and report open, and no script of a student runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook
from playwright.sync_api import Browser, Page

from grading import report, run
from grading.course import Course, Work
from grading.evaluate import Verdict
from grading.release import ROOT
from tests import test_instructor
from tests.attacks import toy
from tests.test_browser import pytestmark, serving  # noqa: F401 - when to skip
from tests.test_grading import SCRIPT, hostile_page


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A class of one whose notebook and messages hold scripts wherever they can, graded, with feedback."""
    course = Course(toy.course(tmp_path_factory.mktemp("hostile")))
    shutil.copy(ROOT / "Makefile", course.root)
    toy.hand_in(course.root, "mallory", hostile_page())
    law = {"title": "a law", "points": 2.0, "earned": 0.0, "message": SCRIPT, "defect": False}
    verdicts = [
        Verdict("square_check", 2.0, 0.0, text=f"no  {SCRIPT}", laws=[law], caught=[SCRIPT], notes=[SCRIPT]),
        Verdict("total_check", 3.0, 3.0, text="ok  the sum"),
    ]
    run.run(course, [toy.CHAPTER], lambda jobs: ((one, [v.plain() for v in verdicts]) for one, _ in jobs))
    command = [sys.executable, "-m", "nbgrader", "generate_feedback", toy.CHAPTER]
    subprocess.run(command, cwd=course.root, check=True, capture_output=True)
    report.write(course, [toy.CHAPTER], course.root)
    return course


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page on which a dialog, like a script that ran, is a failure."""
    made = browser.new_page()
    made.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
    yield made
    assert made.title() != "owned"
    made.close()


def test_report_and_feedback_show_everything_and_run_nothing(graded: Course, page: Page) -> None:
    feedback = graded.root / "feedback" / "mallory" / toy.CHAPTER / f"{toy.WORD}.html"
    for path, words in ((graded.root / "report.html", "mallory"), (feedback, "the sum")):
        page.goto(path.as_uri())
        page.wait_for_timeout(500)
        assert words in page.content()
        assert page.title() != "owned", path.name
    text = feedback.read_text()
    assert toy.SECRET not in text
    assert "mistakes=" not in text


def test_formgrader_opens_on_the_result_and_runs_nothing(graded: Course, page: Page, tmp_path: Path) -> None:
    with Gradebook(graded.directory.db_url, graded.directory.course_id) as book:
        (submission,) = (n.id for n in book.notebook_submissions(toy.WORD, toy.CHAPTER))
    with serving(graded.root, tmp_path) as address:
        server, _, token = address.partition("/lab/")[0], None, address.rpartition("=")[2]
        pages = ["manage_assignments", f"gradebook/{toy.CHAPTER}/{toy.WORD}", f"submissions/{submission}/"]
        for name, words in zip(pages, (toy.CHAPTER, "Submission #1", "the sum")):
            page.goto(f"{server}/formgrader/{name}?token={token}")
            page.get_by_text(words).first.wait_for()
            page.wait_for_timeout(500)
            assert page.title() != "owned", name
        (ROOT / "build" / "screenshots").mkdir(parents=True, exist_ok=True)
        page.screenshot(path=ROOT / "build" / "screenshots" / "formgrader.png", full_page=True)


def test_formgraders_button_grades_in_the_box(page: Page, tmp_path: Path) -> None:
    chapter, word = test_instructor.CHAPTER, test_instructor.CHAPTER.partition("_")[2]
    root = tmp_path / "course"
    for kind in ("solutions", "notebooks"):
        shutil.copytree(ROOT / kind / chapter, root / kind / chapter)
    for name in ("nbgrader_config.py", "course.toml", "Makefile"):
        shutil.copy(ROOT / name, root)
    course = Course(root)
    course.prepare(chapter)
    nb, points = test_instructor.sample_class()["carl"]
    path = root / "submitted" / "carl" / chapter / f"{word}.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(nb, path)
    with serving(root, tmp_path) as address:
        server = address.partition("/lab/")[0]
        page.goto(address)  # logs in: formgrader's own requests carry no token
        page.goto(f"{server}/formgrader/manage_submissions/{chapter}")
        page.locator("td.autograde a").click()
        page.get_by_text(f"Successfully autograded '{chapter}' for student 'carl'.").wait_for(timeout=120_000)
        log = page.content()
    assert "Execute" not in log.replace("TrustedExecute", ""), "nbgrader's own way to run a notebook was taken"
    assert sum(score or 0 for score in course.scores(chapter)["carl"].values()) == points


def test_the_report_is_never_wider_than_its_window(page: Page, tmp_path: Path) -> None:
    columns = {f"an_exercise_with_a_long_name_{k}_check": 2.0 for k in range(20)}
    law = {"title": "a law", "points": 2.0, "earned": 0.0, "message": "no" * 400, "defect": True}
    verdicts = [Verdict(name, 2.0, laws=[law], caught=["x" * 400]).plain() for name in columns]
    work = Work("s" * 60, toy.CHAPTER, toy.WORD, tmp_path)
    chapters = [report.Chapter(f"0{k}_chapter", columns, [report.Line(work, verdicts, [], "")]) for k in range(9)]
    (tmp_path / "report.html").write_text(report._page(chapters))
    page.set_viewport_size({"width": 700, "height": 900})
    page.goto((tmp_path / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    boxes = page.locator(".wide").evaluate_all("boxes => boxes.map(box => box.scrollWidth - box.clientWidth)")
    assert max(boxes) > 0, "nothing was too wide, so nothing was tested"
    page.get_by_role("link", name="07_chapter").click()
    assert page.url.endswith("#07_chapter")
