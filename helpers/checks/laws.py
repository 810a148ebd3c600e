"""From laws to points: every exercise has one check, every check a few laws, every law one sentence when it breaks.

A check is written once and serves the student (who calls it in the notebook) and the grader (who calls `judge` with
functions that live elsewhere):

    @exercise(points=2, takes={"double": "x: length"})
    def double(double: Answer, *, rng: Rng) -> None:
        for size in sizes(rng, length=(1, 2, 7)):
            ...
        with law("double(x) = x + x", points=1) as ok:
            ok.close(double(x), x + x, mistakes={"you squared instead": x * x})
        with law("double is odd", points=1, after="double(x) = x + x") as ok:
            ...

`takes` names the arguments of each function and the sizes of their axes. Axes that the exercise makes equal carry one
symbol, axes that it fixes a number; tests record what crosses the boundary and fail when a symbol never varies in one
judgement, or two symbols never differ, unless `fixed` gives a reason. Functions in `unsteady` may answer the same
question differently, for the reason given; all others are asked some questions twice, and whoever answers otherwise
the second time loses the law that asked, or the last law, if `steady` gives it points.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import linecache
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from helpers.checks.boundary import (
    Answer,
    BoundaryError,
    Judgement,
    Local,
    NotJudged,
    NotWritten,
    Raised,
    Unsteady,
    Waiting,
)
from helpers.checks.expect import Broken, Expect
from helpers.checks.report import (
    AGAIN,
    MOST_NUMBERS,
    NOT_WRITTEN,
    Law,
    Report,
    current,
    plainly,
    spelled,
    without_numbers,
)

Rng = np.random.Generator
STEADY = "the same question gets the same answer, and the arguments stay as they were"
NO_TIME = "not judged: the calls before it had used up the time"


class Exercise:
    """A check that can be called: in a notebook on the student's functions, by a grader on `Answer`s."""

    def __init__(
        self,
        check: Callable[..., None],
        points: float,
        takes: Mapping[str, str],
        fixed: Mapping[str, str],
        unsteady: Mapping[str, str],
        steady: float,
    ) -> None:
        self.check, self.points, self.name, self.__doc__ = check, points, check.__name__, check.__doc__
        self.fixed, self.unsteady, self.steady = dict(fixed), dict(unsteady), steady
        parameters = inspect.signature(check).parameters.values()
        self.functions = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
        self.takes = {name: arguments(spec) for name, spec in takes.items()}
        if not {*self.takes, *self.unsteady} <= {*self.functions}:
            raise ValueError(f"{self.name} has the functions {', '.join(self.functions)}; declare these only")

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
        names = {name: tuple(spec) for name, spec in self.takes.items()}
        report = Report(self.name, self.points, names=names)
        report.judgement = Judgement(exempt=frozenset(self.unsteady), defer=self.steady > 0)
        answers = [self._answer(name, f, report) for name, f in zip(self.functions, functions, strict=True)]
        token = current.set(report)
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):  # stderr in a check cell would cost its points
                warnings.simplefilter("ignore")
                self.check(*answers, rng=np.random.default_rng(seed))
                if self.steady:
                    _judge_steady(report, self.steady)
        except NotWritten:
            report.laws = [Law(self.name, self.points, 0.0, NOT_WRITTEN)]
        finally:
            current.reset(token)
        return report

    def _answer(self, name: str, function: Callable[..., Any], report: Report) -> Answer:
        if isinstance(function, Answer):
            return Answer(function.name, function.transport, name, report.judgement)
        return Answer(name, Local(**{name: _watched(function, report)}), name, report.judgement)


def exercise(
    points: float,
    takes: Mapping[str, str] | None = None,
    fixed: Mapping[str, str] | None = None,
    unsteady: Mapping[str, str] | None = None,
    steady: float = 0.0,
) -> Callable[[Callable[..., None]], Exercise]:
    """Make a check function into an `Exercise` worth `points`, the sum of its laws' points."""
    return lambda check: Exercise(check, points, takes or {}, fixed or {}, unsteady or {}, steady)


def arguments(spec: str) -> dict[str, tuple[str, ...] | None]:
    """ "x: batch rows, rate:, layers" -> the axes of each argument, () for one number, None for what has no shape."""
    parts = (part.partition(":") for part in spec.split(","))
    return {name.strip(): tuple(axes.split()) if colon else None for name, colon, axes in parts if name.strip()}


@contextlib.contextmanager
def law(title: str, points: float, after: str | None = None) -> Iterator[Expect]:
    """Judge one law: the block calls the answer and states what must hold; the first broken statement is the message.

    A law that even a degenerate answer keeps (an identity has an inverse, zero is symmetric), and one that a broken law
    before it would break as well, names that one in `after`: while it does not hold, this one is not asked.
    """
    report = current.get()
    report.begun = len(report.judgement.calls)
    report.judgement.waiting = after is not None and not report.holds(after)
    verdict = Law(title, points, points)
    try:
        yield Expect()
    except Waiting:
        pass
    except Exception as error:  # noqa: BLE001 - one law must not take the others down
        message, cause = _sentence(error, report)
        verdict = Law(title, points, 0.0, message, cause=cause, example=getattr(error, "case", None))
        verdict.defect = not isinstance(error, _EXPECTED)
    if report.judgement.waiting:
        verdict = Law(title, points, 0.0, _waits(after, report), after=after)
    report.judgement.waiting = False
    report.laws.append(verdict)


def _waits(after: str, report: Report) -> str:
    first = next((law for law in report.laws if law.title == after), None)
    return NOT_WRITTEN if first and first.message == NOT_WRITTEN else f"counts once “{after}” holds"


def _judge_steady(report: Report, points: float) -> None:
    """The last law: to be steady counts once all else is right, for zero is steady too."""
    broken = (law.title for law in report.laws if law.earned < law.points)
    with law(STEADY, points, after=next(broken, None)):
        if report.judgement.unsteady:
            raise report.judgement.unsteady


_EXPECTED = (NotWritten, NotJudged, Broken, Raised, Unsteady, BoundaryError)


def holds(title: str) -> bool:
    """Whether the law `title`, judged before in this check, holds: for a statement that would blame one fault twice."""
    return current.get().holds(title)


# ------------------------------------------------------------------------------------------------ sentences


def _sentence(error: Exception, report: Report) -> tuple[str, str]:
    """What to tell the student, and the cause: the same without what differs from student to student."""
    match error:
        case NotWritten():
            return NOT_WRITTEN, NOT_WRITTEN
        case NotJudged():
            return NO_TIME, NO_TIME
        case Broken():
            return str(error), without_numbers(str(error).partition(": in ")[0])
        case Unsteady():
            return _unsteady(error, report)
        case Raised():
            return _explain(error, report)
        case BoundaryError():
            return str(error), without_numbers(str(error))
    text = f"this answer could not be judged: {type(error).__name__}: {error}"
    return text, f"this answer could not be judged: {type(error).__name__}"


def _unsteady(error: Unsteady, report: Report) -> tuple[str, str]:
    name = error.call.name
    if error.changed:
        known = report.names.get(name, ())
        which = [known[k] if k < len(known) else f"number {k + 1}" for k in error.changed]
        cause = f"{name} writes into its argument {' and '.join(which)}: work on a copy"
    else:
        cause = f"{name} keeps something between calls: start afresh in each"
    if error.error:
        return f"{cause}; asked again with the same objects, it raised {error.error}", cause
    first, second = spelled(plainly(error.call.result)), spelled(plainly(error.second))
    if first == second or len(first + second) > 12 * MOST_NUMBERS:
        return f"{cause}; asked again with the same objects, it answers otherwise", cause
    return f"{cause}; it answered {first} and, asked again with the same objects, {second}", cause


def _explain(error: Raised, report: Report) -> tuple[str, str]:
    """The error in full, with its place if that is known, or that an earlier law has told it; numbers may differ."""
    if error.kind == "OutOfTime":
        return f"your function's answer does not count: {error.text}", "it ran out of time"
    if error.kind == "BoundaryError":
        return f"your function's answer does not count: {error.text}", without_numbers(error.text)
    seen = (error.kind, report.place, re.sub(r"\d+", "0", error.text))
    if seen in report.told:
        return AGAIN, AGAIN
    report.told.add(seen)
    text = f"your function raised {error.kind}{report.place}" + (f": {error.text}" if error.text else "")
    return text, f"it raised {error.kind}"


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
