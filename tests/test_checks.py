"""Every check against every answer of its suite: right ones score full, wrong ones lose and are told why."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from helpers.checks import computation_graph
from helpers.checks.boundary import Answer, Local
from helpers.checks.laws import Exercise
from helpers.checks.report import AGAIN, NOT_WRITTEN
from tests.colab import said
from tests.elsewhere import Elsewhere, here
from tests.suite import SEEDS, Case, chapters, load

CASES = [pytest.param(chapter, case, id=f"{chapter}-{case}") for chapter in chapters() for case in load(chapter).cases]
EXERCISES = [
    pytest.param(chapter, check, id=f"{chapter}-{check.name}")
    for chapter in chapters()
    for check in load(chapter).checks.values()
]
_elsewhere: dict[str, Elsewhere] = {}


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[dict[str, Elsewhere]]:
    """One process per chapter that holds the answers of its suite."""
    yield _elsewhere
    while _elsewhere:
        _elsewhere.popitem()[1].stop()


@pytest.mark.parametrize(("chapter", "case"), CASES)
def test_an_answer_gets_what_it_deserves(chapter: str, case: Case, elsewhere: dict[str, Elsewhere]) -> None:
    check = load(chapter).checks[case.exercise]
    there = elsewhere.get(chapter) or elsewhere.setdefault(chapter, Elsewhere(chapter))
    for attempt in range(SEEDS):
        seed = secrets.randbits(32)
        report = check.judge(*here(case), seed=seed)
        if attempt == 0:
            away = check.judge(*there.answers(case), seed=seed)
            assert str(report) == str(away), f"seed {seed}: the report differs in another process"
        context = f"seed {seed}, {attempt} seeds before it passed\n{report}"
        assert not [law for law in report.laws if law.defect], f"the check stumbled, {context}"
        assert sum(law.points for law in report.laws) == pytest.approx(check.points), context
        if case.says is None:
            assert report.score == check.points, context
        else:
            told = "\n".join(law.message for law in report.laws if law.earned < law.points)
            most = check.points / 2 if case.degenerate else check.points - 0.25
            assert report.score <= most, f"a wrong answer keeps too much, {context}"
            assert re.search(case.says, told, re.IGNORECASE), f"{case.says!r} is not what the student reads, {context}"


@pytest.mark.parametrize(("chapter", "check"), EXERCISES)
def test_an_exercise_has_a_full_suite(chapter: str, check: Exercise) -> None:
    cases = [case for case in load(chapter).cases if case.exercise == check.name]
    wrong = [case for case in cases if case.says is not None and not case.degenerate]
    assert len(wrong) >= 5, "at least five typical wrong answers"
    assert all(case.says for case in wrong), "each names the fault that the student must read"
    assert sum(case.says is None for case in cases) >= 2, "at least two right answers, written differently"


@pytest.mark.parametrize(("chapter", "check"), EXERCISES)
def test_an_unwritten_answer_is_not_an_error(chapter: str, check: Exercise) -> None:
    def stub(*_: object, **__: object) -> None:
        raise NotImplementedError

    report = check.judge(*[stub] * len(check.functions))
    assert report.score == 0.0
    assert NOT_WRITTEN in str(report)
    assert "\n" not in str(report)


def test_an_error_is_told_once() -> None:
    def linear_backward(x: np.ndarray, W: np.ndarray, delta: np.ndarray) -> None:
        raise ValueError(f"sizes {len(x)} and {len(W)} differ")

    told = [law.message for law in computation_graph.linear_backward.judge(linear_backward).laws]
    assert re.fullmatch(r"your function raised ValueError: sizes \d and \d differ", told[0])
    waits = "counts once “dx is the gradient with respect to the input” holds"
    assert told[1:] == [AGAIN, AGAIN, waits]


def test_a_second_error_is_told_too() -> None:
    def forward(*_: object) -> None:
        raise KeyError("one")

    def backward(*_: object) -> None:
        raise KeyError("two")

    told = [law.message for law in computation_graph.softmax_cross_entropy.judge(forward, backward).laws]
    waits = "counts once “the loss is the mean of -ln p(label)” holds"
    assert told[:3] == ["your function raised KeyError: 'one'", waits, "your function raised KeyError: 'two'"]


def test_one_forgotten_factor_is_blamed_once() -> None:
    right = [
        case for case in load("computation_graph").cases if case.exercise == "softmax_cross_entropy" and not case.says
    ]
    forward, backward = next(case.functions for case in right if not case.degenerate)
    report = computation_graph.softmax_cross_entropy.judge(forward, lambda z, labels: backward(z, labels) * len(z))
    assert [law.earned for law in report.laws] == [1, 1, 0, 0]
    assert report.laws[2].message == "the 1/batch of the mean is missing from the gradient"
    assert report.laws[3].message == "counts once “the gradient agrees with central differences” holds"


# ---------------------------------------------------------------------------------------------------- in a notebook

IMPORT = "from helpers.checks import computation_graph as check"
STUB = "def linear_backward(x, W, delta):\n    raise NotImplementedError"
SLIP = "def linear_backward(x, W, delta):\n    dx = delta @ W.T\n    return dx, x @ delta, delta.sum(axis=0)"
UNREADABLE = "def linear_backward(x, W, delta:\n    return 1"
CHECK = "check.linear_backward(linear_backward)"


@pytest.fixture(scope="module")
def printed() -> list[str]:
    """What each cell of a student's quarter of an hour printed, in a kernel."""
    cells = [IMPORT, STUB, SLIP, CHECK, UNREADABLE, CHECK, CHECK, "1 +", CHECK]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    client = NotebookClient(notebook, kernel_name="python3", timeout=300, startup_timeout=300, allow_errors=True)
    return [said(cell) for cell in client.execute().cells]


def test_an_error_in_a_notebook_names_the_students_line(printed: list[str]) -> None:
    place = "in line 3 of its cell, “return dx, x @ delta, delta.sum(axis=0)”: matmul: "
    assert printed[3].count(f"your function raised ValueError {place}") == 1
    assert printed[3].count(AGAIN) == 2


def test_a_cell_that_could_not_run_is_named_before_the_old_definition_is_judged(printed: list[str]) -> None:
    sentence = (
        "The cell of linear_backward ended in a SyntaxError and did not run: this judges the definition from before."
    )
    assert printed[5].startswith(sentence + "\nno ")
    assert [sentence in text for text in printed] == [number == 5 for number in range(len(printed))]


def test_a_grader_hears_nothing_of_cells(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("helpers.checks.laws._stale", lambda names: "a sentence")
    computation_graph.linear_backward(np.add)
    assert capsys.readouterr().out.startswith("a sentence\n")
    computation_graph.linear_backward(Answer("linear_backward", Local(linear_backward=np.add)))
    assert "a sentence" not in capsys.readouterr().out
