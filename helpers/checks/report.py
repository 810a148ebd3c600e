"""What a judgement leaves: laws with their points and sentences, and an example that can be shown or drawn."""

from __future__ import annotations

import contextvars
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from helpers.checks.boundary import Call, Judgement

NOT_WRITTEN = "not written yet"
AGAIN = "the same error again"
MOST_NUMBERS = 8  # of an array that a sentence spells out
MOST_DRAWN = 64  # of an array that an example keeps
MOST_TEXT = 160


@dataclass
class Law:
    """One law as judged: its title, the points it is worth, the points it earned, and what to tell the student.

    `cause` is the message without its numbers: equal faults of many students have equal causes.  `example` is plain
    data: {"call", "arguments": [[name, value], ...], "what", "yours", "needed"}.  `after` is the title of the law
    that has to hold before this one counts, if that is why it earned nothing.
    """

    title: str
    points: float
    earned: float
    message: str = ""
    defect: bool = False  # the check itself stumbled over the answer: shown as broken, and a fault of ours to mend
    cause: str = ""
    example: dict | None = None
    after: str | None = None


@dataclass
class Report:
    """All laws of one exercise as judged."""

    exercise: str
    points: float
    laws: list[Law] = field(default_factory=list)
    place: str = ""  # where in the notebook the last error of a function arose, as the message says it
    told: set[tuple[str, ...]] = field(default_factory=set)  # errors that a law has told in full
    judgement: Judgement = field(default_factory=Judgement)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of each function's arguments
    begun: int = 0  # how many calls had been made when the present law began

    @property
    def score(self) -> float:
        """Points earned, a finite float between 0 and the exercise's points."""
        return float(min(max(sum(law.earned for law in self.laws), 0.0), self.points))

    @property
    def written(self) -> bool:
        """Whether any function of the exercise has been written."""
        return any(law.message != NOT_WRITTEN for law in self.laws)

    def holds(self, title: str) -> bool:
        """Whether the law `title` has been judged and holds."""
        return any(law.title == title and law.earned == law.points for law in self.laws)

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


current: contextvars.ContextVar[Report] = contextvars.ContextVar("report")


def without_numbers(sentence: str) -> str:
    """The sentence with its numbers, shapes and quoted values taken out: equal for equal faults."""
    return re.sub(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?(?:\s?%)?", "…", sentence)


# ------------------------------------------------------------------------------------------------ examples


def example(value: Any, needed: Any, what: str) -> dict:
    """The case in which `value` came out where `needed` should: with the call's arguments if a call returned it."""
    found = {"call": "", "arguments": [], "what": what, "yours": plainly(value), "needed": plainly(needed)}
    report = current.get(None)
    for call in reversed(report.judgement.calls[report.begun :] if report else ()):
        if _returned(call, value):
            names = report.names.get(call.name, ())
            known = [names[k] if k < len(names) else "" for k in range(len(call.args))]
            pairs = [*zip(known, call.args, strict=True), *call.kwargs.items()]
            return found | {"call": call.name, "arguments": [[name, plainly(given)] for name, given in pairs]}
    return found


def _returned(call: Call, value: Any) -> bool:
    members = call.result if isinstance(call.result, (tuple, list)) else ()
    return call.result is value or any(member is value for member in members)


def plainly(value: Any) -> Any:
    """A value as JSON takes it: small arrays as lists, large ones by their shape, objects by their kind."""
    if isinstance(value, torch.Tensor):
        value = value.numpy()
    if isinstance(value, (np.ndarray, np.generic)):
        if value.size > MOST_DRAWN:
            return {"shape": list(value.shape), "dtype": str(value.dtype)}
        return plainly(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plainly(item) for item in value[:MOST_DRAWN]]
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    if isinstance(value, complex):
        return f"{value:.6g}"
    if value is None or isinstance(value, (bool, int, str)):
        return value if not isinstance(value, str) else value[:MOST_TEXT]
    return {"kind": type(value).__name__}


def spelled(value: Any) -> str:
    """A plain value as a sentence shows it, in a few numbers."""
    if isinstance(value, dict):
        return f"a {value['kind']}" if "kind" in value else f"numbers of shape {shape(value['shape'])}"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list):
        sizes = np.shape(_numbers(value))
        if _count(value) > MOST_NUMBERS:
            return f"numbers of shape {shape(sizes)}" if sizes else f"{len(value)} values"
        return "[" + ", ".join(map(spelled, value)) + "]"
    return json.dumps(value, ensure_ascii=False)[:MOST_TEXT] if isinstance(value, str) else str(value)[:40]


def _numbers(value: list) -> Any:
    try:
        return np.asarray(value, dtype=object)
    except ValueError:
        return ()


def _count(value: Any) -> int:
    return sum(map(_count, value)) if isinstance(value, list) else 1


def shape(sizes: Any) -> str:
    """A shape as a person writes it."""
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})" if len(sizes) else "() (one number)"


def told(case: dict, value: np.ndarray, needed: np.ndarray, bound: float) -> str:
    """One sentence for a case: the call with its arguments, one's own number, the needed one."""
    given = ", ".join(f"{name} = {spelled(v)}" if name else spelled(v) for name, v in case["arguments"])
    call = f"{case['call']}({given})" if case["call"] else ""
    where, yours, right = case["what"], case["yours"], case["needed"]
    if value.shape == needed.shape and value.ndim and value.size > MOST_NUMBERS:
        place = tuple(int(k) for k in np.argwhere(~(np.abs(value - needed) <= bound))[0])
        where += f"[{', '.join(map(str, place))}]"
        yours, right = plainly(value[place]), plainly(needed[place])
    left, right = spelled(yours), spelled(right)
    if left == right:
        left, right = repr(yours), repr(right)
    return f"in {call}, {where} is {left}, needed {right}" if call else f"{where} is {left}, needed {right}"
