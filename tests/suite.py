"""Wrong and right answers to the exercises: each chapter's tests/wrong_answers/<chapter>.py fills one `Suite`.

    suite = Suite("computation_graph")
    suite.wrong("linear_backward", "transpose", w_not_transposed)
    suite.right("linear_backward", with_einsum)

A wrong answer must lose points, and the messages of the laws it breaks must match the pattern that names its fault.
The degenerate answers to every exercise (zero, constant, identity) are added by themselves from the first right answer.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from helpers.checks.laws import Exercise

SEEDS = int(os.environ.get("COURSE_SEEDS", "3"))
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Case:
    """One answer to one exercise; `says` is the pattern that the messages must match, None for a right answer."""

    exercise: str
    name: str
    functions: tuple[Callable[..., Any], ...]
    says: str | None = None
    degenerate: bool = False

    def __str__(self) -> str:
        return f"{self.exercise}-{self.name}"


@dataclass
class Suite:
    """All answers of one chapter."""

    chapter: str
    cases: list[Case] = field(default_factory=list)

    def wrong(self, exercise: str, says: str, *functions: Callable[..., Any], name: str = "") -> None:
        """An answer that must lose points with a message that matches `says`."""
        self.cases.append(Case(exercise, name or functions[0].__name__, functions, says))

    def right(self, exercise: str, *functions: Callable[..., Any], name: str = "") -> None:
        """An answer that must score full."""
        name = name or functions[0].__name__
        if not any(case.exercise == exercise and case.says is None for case in self.cases):
            for make in (zero, constant, identity):
                made = tuple(make(f) for f in functions)
                self.cases.append(Case(exercise, make.__name__, made, "", degenerate=True))
        self.cases.append(Case(exercise, name, functions))

    @property
    def checks(self) -> dict[str, Exercise]:
        """The chapter's exercises by name."""
        module = importlib.import_module(f"helpers.checks.{self.chapter}")
        return {name: value for name, value in vars(module).items() if isinstance(value, Exercise)}


def chapters() -> list[str]:
    """Chapters that have a wrong-answer suite, by module name."""
    return sorted(path.stem for path in (HERE / "wrong_answers").glob("*.py") if path.stem != "__init__")


def load(chapter: str) -> Suite:
    """The suite of one chapter."""
    return importlib.import_module(f"tests.wrong_answers.{chapter}").suite


# ---------------------------------------------------------------------------------------------- degenerate answers


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """Apply `change` to every number, array and tensor in a tree of tuples, lists and dicts."""
    if isinstance(value, (tuple, list)):
        return type(value)(_each(item, change) for item in value)
    if isinstance(value, dict):
        return {key: _each(item, change) for key, item in value.items()}
    return change(value) if isinstance(value, (np.ndarray, np.generic, torch.Tensor, int, float, complex)) else value


def zero(right: Callable[..., Any]) -> Callable[..., Any]:
    """The right shapes, filled with zeros."""
    return lambda *args, **kwargs: _each(right(*args, **kwargs), lambda x: x * 0)


def constant(right: Callable[..., Any]) -> Callable[..., Any]:
    """The right shapes, filled with one number that does not depend on the input."""
    return lambda *args, **kwargs: _each(right(*args, **kwargs), lambda x: x * 0 + 1)


def identity(right: Callable[..., Any]) -> Callable[..., Any]:
    """The first argument, handed back as often as the right answer has values."""

    def hand_back(*args: Any, **kwargs: Any) -> Any:
        wanted = right(*args, **kwargs)
        return tuple(args[:1]) * len(wanted) if isinstance(wanted, tuple) else args[0]

    return hand_back
