"""A chapter is complete: every file that CONTRIBUTING.md lists exists, and every exercise names its answers."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import helpers
from grading.release import ROOT, chapters
from tests.suite import load

PATHS = (
    "solutions/{chapter}/{word}.ipynb",
    "notebooks/{chapter}/{word}.ipynb",
    "helpers/figures/{word}.py",
    "helpers/checks/{word}.py",
    "tests/test_{word}.py",
    "tests/wrong_answers/{word}.py",
    "docs/chapters/{chapter}.md",
    "benchmarks/{chapter}.py",
    "benchmarks/{chapter}.toml",
)


def answers() -> dict[str, tuple[str, ...]]:
    """Exercise -> names in helpers that answer it, over all chapter modules."""
    found: dict[str, tuple[str, ...]] = {}
    for module in pkgutil.iter_modules(helpers.__path__, "helpers."):
        found |= getattr(importlib.import_module(module.name), "ANSWERS", {})
    return found


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("chapter", chapters())
def test_every_file_of_a_chapter_exists(chapter: str, path: str) -> None:
    path = path.format(chapter=chapter, word=chapter.partition("_")[2])
    assert (ROOT / path).is_file(), f"CONTRIBUTING.md asks for {path}"


@pytest.mark.parametrize("chapter", chapters())
def test_every_exercise_names_its_answers(chapter: str) -> None:
    named = answers()
    for exercise in load(chapter.partition("_")[2]).checks:
        assert exercise in named, f"no ANSWERS entry for {exercise}"
        for name in named[exercise]:
            assert pkgutil.resolve_name(f"helpers.{name}"), f"{name} does not exist"


def test_contributing_lists_the_same_files() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for path in PATHS:
        assert path.format(chapter="07_phases", word="phases") in text
