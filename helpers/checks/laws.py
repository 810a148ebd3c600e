"""From laws to points: every exercise has one check, every check a few laws, every law one sentence when it breaks.

A check is written once and serves the student (who calls it in the notebook) and the grader (who calls `judge` with
functions that live elsewhere):

    @exercise(points=2)
    def double(double: Answer, *, rng: Rng) -> None:
        x = rng.normal(size=5)
        with law("double(x) = x + x", points=1) as ok:
            ok.close(double(x), x + x, hint="...", mistakes={"you squared instead": x * x})
        with law("double is odd", points=1, after="double(x) = x + x") as ok:
            ...
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import linecache
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy import stats

from helpers.checks.boundary import Answer, BoundaryError, Local, NotWritten, Raised

Rng = np.random.Generator
NOT_WRITTEN = "not written yet"
AGAIN = "the same error again"
FALSE_ALARM = 1e-9  # chance that a right answer fails one statistical law: six sigma


@dataclass
class Law:
    """One law as judged: its title, the points it is worth, the points it earned, and what to tell the student."""

    title: str
    points: float
    earned: float
    message: str = ""
    defect: bool = False  # the check itself stumbled over the answer: shown as broken, and a fault of ours to mend


@dataclass
class Report:
    """All laws of one exercise as judged."""

    exercise: str
    points: float
    laws: list[Law] = field(default_factory=list)
    place: str = ""  # where in the notebook the last error of a function arose, as the message says it
    told: set[tuple[str, ...]] = field(default_factory=set)  # errors that a law has told in full

    @property
    def score(self) -> float:
        """Points earned, a finite float between 0 and the exercise's points."""
        return float(min(max(sum(law.earned for law in self.laws), 0.0), self.points))

    @property
    def written(self) -> bool:
        """Whether any function of the exercise has been written."""
        return any(law.message != NOT_WRITTEN for law in self.laws)

    def __str__(self) -> str:
        if not self.written:
            return f"{self.exercise}: {NOT_WRITTEN}, 0 of {self.points:g} points"
        width = max(len(law.title) for law in self.laws)
        lines = []
        for law in self.laws:
            mark = "ok" if law.earned == law.points else "--" if law.message == NOT_WRITTEN else "no"
            lines.append(f"{mark}  {law.title:<{width}}  {law.earned:g} / {law.points:g}")
            if law.message:
                lines.append(f"      {law.message}")
        return "\n".join([*lines, f"{self.exercise}: {self.score:g} of {self.points:g} points"])


_current: contextvars.ContextVar[Report] = contextvars.ContextVar("report")


class Exercise:
    """A check that can be called: in a notebook on the student's functions, by a grader on `Answer`s."""

    def __init__(self, check: Callable[..., None], points: float) -> None:
        self.check, self.points, self.name, self.__doc__ = check, points, check.__name__, check.__doc__
        parameters = inspect.signature(check).parameters.values()
        self.functions = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)

    def __call__(self, *functions: Callable[..., Any]) -> float:
        """Print one line per law and return the points earned."""
        report = self.judge(*functions)
        stale = None if any(isinstance(f, Answer) for f in functions) else _stale(self.functions)
        print(f"{stale}\n{report}" if stale else report)
        return report.score

    def judge(self, *functions: Callable[..., Any], seed: int | None = None) -> Report:
        """Judge the functions on fresh random inputs (or those of `seed`), without printing."""
        if len(functions) != len(self.functions):
            raise TypeError(f"this check takes {', '.join(self.functions)}; {len(functions)} were given")
        report = Report(self.name, self.points)
        answers = [
            f if isinstance(f, Answer) else Answer(name, Local(**{name: _watched(f, report)}))
            for name, f in zip(self.functions, functions, strict=True)
        ]
        token = _current.set(report)
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):  # stderr in a check cell would cost its points
                warnings.simplefilter("ignore")
                self.check(*answers, rng=np.random.default_rng(seed))
        except NotWritten:
            report.laws = [Law(self.name, self.points, 0.0, NOT_WRITTEN)]
        finally:
            _current.reset(token)
        return report


def exercise(points: float) -> Callable[[Callable[..., None]], Exercise]:
    """Make a check function into an `Exercise` worth `points`, the sum of its laws' points."""
    return lambda check: Exercise(check, points)


class Broken(Exception):
    """A law does not hold; the message says which and why."""


@contextlib.contextmanager
def law(title: str, points: float, after: str | None = None) -> Iterator[Expect]:
    """Judge one law: the block calls the answer and states what must hold; the first broken statement is the message.

    A law that even a degenerate answer keeps (an identity has an inverse, zero is symmetric) names in `after` the law
    that must hold for its points to count.
    """
    report = _current.get()
    verdict = Law(title, points, points)
    try:
        yield Expect()
    except NotWritten:
        verdict = Law(title, points, 0.0, NOT_WRITTEN)
    except Broken as broken:
        verdict = Law(title, points, 0.0, str(broken))
    except Raised as error:
        verdict = Law(title, points, 0.0, _explain(error, report))
    except BoundaryError as error:
        verdict = Law(title, points, 0.0, str(error))
    except Exception as error:  # noqa: BLE001 - one law must not take the others down
        verdict = Law(title, points, 0.0, f"this answer could not be judged: {type(error).__name__}: {error}", True)
    if after is not None and verdict.earned and not _holds(report, after):
        verdict = Law(title, points, 0.0, f"counts once “{after}” holds")
    report.laws.append(verdict)


def holds(title: str) -> bool:
    """Whether the law `title`, judged before in this check, holds: for a statement that would blame one fault twice."""
    return _holds(_current.get(), title)


def _holds(report: Report, title: str) -> bool:
    return any(law.title == title and law.earned == law.points for law in report.laws)


def _explain(error: Raised, report: Report) -> str:
    """The error in full, with its place if that is known, or that an earlier law has told it; numbers may differ."""
    if error.kind in ("BoundaryError", "OutOfTime"):
        return f"your function's answer does not count: {error.text}"
    seen = (error.kind, report.place, re.sub(r"\d+", "0", error.text))
    if seen in report.told:
        return AGAIN
    report.told.add(seen)
    return f"your function raised {error.kind}{report.place}" + (f": {error.text}" if error.text else "")


def _watched(function: Callable[..., Any], report: Report) -> Callable[..., Any]:
    """A notebook's `function`, which leaves the place of an error in `report`; any other function as it is."""
    space = getattr(function, "__globals__", {})
    if space.get("__name__") != "__main__":
        return function

    @functools.wraps(function)
    def watched(*args: Any, **kwargs: Any) -> Any:
        report.place = ""
        try:
            return function(*args, **kwargs)
        except Exception as error:
            report.place = _place(error, space)
            raise

    return watched


def _place(error: Exception, space: dict[str, Any]) -> str:
    """The innermost line of the notebook, whose names are in `space`, that `error` passed; empty if there is none."""
    lines = [(f.f_code.co_filename, n) for f, n in traceback.walk_tb(error.__traceback__) if f.f_globals is space]
    if not lines:
        return ""
    text = linecache.getline(*lines[-1]).strip()
    return f" in line {lines[-1][1]} of its cell" + (f", “{text}”" if text else "")


def _stale(names: Sequence[str]) -> str | None:
    """A sentence if the cell that ran before the check was to define one of `names` and is no valid Python."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    last = getattr(shell, "last_execution_result", None)
    error, source = getattr(last, "error_before_exec", None), getattr(getattr(last, "info", None), "raw_cell", None)
    for name in names:
        if error is not None and re.search(rf"\bdef\s+{name}\b", source or ""):
            kind = type(error).__name__
            return f"The cell of {name} ended in a {kind} and did not run: this judges the definition from before."
    return None


class Expect:
    """What a law may state.  Comparisons are written so that NaN fails."""

    def fail(self, hint: str) -> None:
        """This law is broken."""
        raise Broken(hint)

    def true(self, condition: bool, hint: str) -> None:
        """The condition holds."""
        if not bool(condition):
            raise Broken(hint)

    def array(self, value: Any, shape: Sequence[int], *, kind: str = "f", name: str = "the result") -> np.ndarray:
        """`value` as an array of `shape`: numbers of kind "f" (real), "i" (whole) or "c" (complex), all finite.

        Booleans and integers pass as real numbers, real numbers as complex; a tensor becomes an array.
        """
        if isinstance(value, torch.Tensor):
            value = value.numpy()
        if not isinstance(value, (np.ndarray, np.generic, bool, int, float, complex)):
            raise Broken(f"{name} should be an array of shape {_shape(shape)}, yours is a {type(value).__name__}")
        array = np.asarray(value)
        if array.shape != tuple(shape):
            raise Broken(f"{name} should have shape {_shape(shape)}, yours has {_shape(array.shape)}")
        allowed = {"f": "biuf", "i": "biu", "c": "biufc"}[kind]
        if array.dtype.kind not in allowed:
            raise Broken(f"{name} should hold {_KINDS[kind]}, yours holds {array.dtype}")
        if not np.all(np.isfinite(array)):
            raise Broken(f"{name} holds NaN or infinity")
        return array

    def number(self, value: Any, name: str = "the result") -> float:
        """`value` as one finite real number; a 0-d array or tensor will do."""
        return float(self.array(value, (), name=name))

    def many(self, value: Any, count: int, names: str) -> tuple:
        """`value` as a tuple (or list) of `count` things."""
        if not isinstance(value, (tuple, list)) or len(value) != count:
            got = f"{len(value)} values" if isinstance(value, (tuple, list)) else f"one {type(value).__name__}"
            raise Broken(f"return {count} values, {names}; yours returns {got}")
        return tuple(value)

    def within(self, difference: Any, tolerance: float, hint: str) -> None:
        """Every |difference| is at most `tolerance`."""
        difference = np.abs(np.asarray(difference))
        if not np.all(difference <= tolerance):
            raise Broken(hint)

    def close(
        self,
        value: Any,
        truth: Any,
        hint: str,
        *,
        tolerance: float = 1e-9,
        mistakes: Mapping[str, Any] | None = None,
        kind: str = "f",
        name: str = "the result",
    ) -> None:
        """`value` has truth's shape and equals it to `tolerance` times truth's largest entry (or times 1 if smaller).

        `mistakes` maps sentences to the results of typical wrong formulas: if one of them matches, its sentence is the
        message instead of `hint`, and it also explains a wrong shape.
        """
        truth = np.asarray(truth)
        bound = _bound(truth, tolerance)
        plain = value.numpy() if isinstance(value, torch.Tensor) else np.asarray(value) if _numeric(value) else None
        for sentence, wrong in (mistakes or {}).items():
            wrong = np.asarray(wrong)
            if plain is not None and _equal(plain, wrong, _bound(wrong, tolerance)) and not _equal(plain, truth, bound):
                raise Broken(sentence)
        array = self.array(value, truth.shape, kind=kind, name=name)
        self.within(array - truth, bound, hint)

    def sigma(self, value: float, truth: float, error: float, hint: str) -> None:
        """A mean of independent samples with standard error `error` lies within six of them of `truth`."""
        self.within(value - truth, 6 * error, hint)

    def chi_square(self, counts: Any, expected: Any, hint: str) -> None:
        """Counts of independent draws agree with their expectations (cells pooled to an expectation of at least 20).

        Fails at a p-value below 1e-9; a draw where the expectation is zero fails at once.
        """
        counts, expected = np.asarray(counts, float).ravel(), np.asarray(expected, float).ravel()
        if np.any(counts[expected <= 0] > 0):
            raise Broken(hint)
        counts, expected = _pool(counts[expected > 0], expected[expected > 0])
        statistic = np.sum((counts - expected) ** 2 / expected)
        self.true(stats.chi2.sf(statistic, max(len(counts) - 1, 1)) >= FALSE_ALARM, hint)


_KINDS = {"f": "real numbers", "i": "whole numbers", "c": "complex numbers"}


def _numeric(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic, bool, int, float, complex))


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})" if len(shape) else "() (one number)"


def _bound(values: np.ndarray, tolerance: float) -> float:
    return tolerance * max(1.0, float(np.max(np.abs(values), initial=0.0, where=np.isfinite(values))))


def _equal(a: np.ndarray, b: np.ndarray, bound: float) -> bool:
    return a.shape == b.shape and bool(np.all(np.abs(a - b) <= bound))


def _pool(counts: np.ndarray, expected: np.ndarray, least: float = 20.0) -> tuple[np.ndarray, np.ndarray]:
    """Merge cells from the rarest up until each expects at least `least` draws."""
    order = np.argsort(expected)
    groups = np.empty(len(order), int)
    group, total = 0, 0.0
    for cell in order:
        groups[cell] = group
        total += expected[cell]
        if total >= least:
            group, total = group + 1, 0.0
    if total > 0 and group > 0:  # the last cells alone expect too little
        groups[groups == group] = group - 1
    return np.bincount(groups, counts), np.bincount(groups, expected)
