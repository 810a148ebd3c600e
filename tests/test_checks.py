"""Every check against every answer of its suite: right ones score full, wrong ones lose and are told why."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator

import pytest

from helpers.checks.laws import NOT_WRITTEN, Exercise
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
