"""The line between a check and the student's functions: only plain values cross it (see `wire`).

A check calls an `Answer`. The answer encodes its arguments, hands the bytes to a transport, and decodes the reply. In
a notebook the transport is `Local`, which calls the function right there (arguments are copies, output is silenced,
time is limited); a grader puts another process behind the same bytes.

What no check should have to remember stands here. The first call of each function, and some later ones, are made twice
with the same objects, and both results must agree: a function that keeps something between calls, or writes into its
arguments, is found by what it answers. All calls of one judgement share one purse of time.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from helpers.checks.wire import MAX_REPLY, BoundaryError, decode, encode

MAX_TEXT = 2_000
JUDGEMENT_SECONDS = 12.0  # of CPU time for all calls of one judgement
CALL_SECONDS = 10.0  # of CPU time for one call
CLOCK_SECONDS = 15.0  # on the clock, for a call that waits instead of computing
PATIENCE = 6  # seconds on the clock for one of CPU time, when other programs take the rest
TWICE = (0, 2, 6)  # the calls of each function that are made twice
STEADY = 1e-7  # how well two answers to one question agree, relative to the largest entry


class Raised(Exception):
    """The student's function raised: `kind` is the exception's name, `text` its message."""

    def __init__(self, kind: str, text: str = "") -> None:
        super().__init__(kind, text)
        self.kind, self.text = kind, text


class NotWritten(Exception):
    """The student's function still raises NotImplementedError."""


class NotJudged(Exception):
    """No time is left for this call."""


class Waiting(Exception):
    """The law that asks counts only once another one holds, which does not."""


class Unsteady(Exception):
    """Two answers to one question differ; the second may be an error.

    `changed` are the places of the arguments that the call wrote into.
    """

    def __init__(self, call: Call, second: Any, error: str, changed: tuple[int, ...]) -> None:
        super().__init__(call, second, error, changed)
        self.call, self.second, self.error, self.changed = call, second, error, changed


# ------------------------------------------------------------------------------------------------ the student's side


Transport = Callable[[str, bytes, float], bytes]


def serve(function: Callable[..., Any], request: bytes, seconds: float) -> bytes:
    """Call `function` as `request` asks and encode what came of it: this runs on the student's side.

    The request is (args, kwargs, twice).  The reply is ("value", result, again, CPU seconds) or ("raised", kind, text);
    `again` is what a second call with the same objects came to, see `_again`, or None.  Output and warnings of the
    function are swallowed.
    """
    try:
        args, kwargs, twice = decode(request)
        start = time.process_time()
        with _silence(), time_limit(seconds):
            result, again = function(*args, **kwargs), None
            if twice:
                result = decode(encode(result, MAX_REPLY))  # a copy: the second call may write into the first result
                again = _again(function, args, kwargs)
            return encode(("value", result, again, time.process_time() - start), MAX_REPLY)
    except BaseException as error:  # noqa: BLE001 - whatever a student's function does, SystemExit included, is a reply
        return encode(("raised", type(error).__name__, _message(error)))


def _again(function: Callable[..., Any], args: tuple, kwargs: dict) -> tuple[Any, str, tuple]:
    """The result of a call, the error if it raised one instead, and the arguments after it."""
    try:
        return function(*args, **kwargs), "", args
    except Exception as error:  # noqa: BLE001 - the first call raised none, so this one tells of a state
        return None, f"{type(error).__name__}: {_message(error)}", args


def _message(error: BaseException) -> str:
    try:
        return str(error)[:MAX_TEXT]
    except Exception:  # noqa: BLE001 - a hostile __str__
        return ""


class Local:
    """The transport of a notebook: the student's functions live in this very process."""

    def __init__(self, **functions: Callable[..., Any]) -> None:
        self.functions = functions

    def __call__(self, name: str, request: bytes, seconds: float) -> bytes:
        return serve(self.functions[name], request, seconds)


# ------------------------------------------------------------------------------------------------ the check's side


@dataclass
class Call:
    """One question and its answer: the arguments as they were sent, and the result."""

    name: str
    args: tuple
    kwargs: dict
    result: Any = None


@dataclass
class Judgement:
    """What all answers of one judgement share: the calls made so far, the time they took, whether more may be made."""

    calls: list[Call] = field(default_factory=list)
    seconds: float = 0.0  # of CPU time
    waiting: bool = False
    exempt: frozenset[str] = frozenset()  # functions that are not asked twice
    defer: bool = False  # keep the first Unsteady for a law of its own instead of raising it
    unsteady: Unsteady | None = None

    @property
    def left(self) -> float:
        """CPU seconds that the next call may take."""
        return JUDGEMENT_SECONDS - self.seconds


class Answer:
    """A student's function as a check sees it: call it with plain values, get plain values or `Raised` back."""

    def __init__(self, name: str, transport: Transport, known_as: str = "", judgement: Judgement | None = None) -> None:
        """`name` is what the transport calls it, `known_as` the exercise's own name for it."""
        self.name, self.transport, self.known_as = name, transport, known_as or name
        self.judgement = judgement or Judgement()
        self.asked, self.extra, self.took = 0, 0.0, 0.0

    def __call__(self, *args: Any, seconds: float = CALL_SECONDS, twice: bool | None = None, **kwargs: Any) -> Any:
        """The function's result; else NotWritten, NotJudged, Unsteady, or Raised: an error, or what cannot cross.

        `twice` asks the same question once more; by default the first call is asked twice, and some later ones, if
        that does not take long.
        """
        judgement = self.judgement
        if judgement.waiting:
            raise Waiting
        if judgement.left < 0.2:
            raise NotJudged
        call = Call(self.known_as, args, kwargs)
        twice = self._twice() if twice is None else twice
        limit, start = min(seconds, judgement.left), time.monotonic()
        reply = decode(self.transport(self.name, encode((args, kwargs, twice)), limit))
        self.asked += 1
        clock = time.monotonic() - start
        match reply:
            case ("value", value, again, float(cpu)):
                self._spend(min(max(cpu, clock / PATIENCE), clock), twice)
                call.result = value
                judgement.calls.append(call)
                if twice and (unsteady := _compare(call, again)):
                    judgement.unsteady = judgement.unsteady or unsteady
                    if not judgement.defer:
                        raise unsteady
                return value
            case ("raised", "NotImplementedError", _):
                raise NotWritten(self.name)
            case ("raised", str(kind), str(text)):
                judgement.calls.append(call)
                late = kind == "OutOfTime"
                waited = late and clock > 0.9 * CLOCK_SECONDS
                judgement.seconds += judgement.left if waited else limit if late else min(clock, limit)
                raise Raised(kind, text)
        raise BoundaryError("the reply is neither a value nor an error")

    def _twice(self) -> bool:
        slow = self.extra > 1.0 and self.extra > 0.25 * self.took
        return self.asked in TWICE and not slow and self.known_as not in self.judgement.exempt

    def _spend(self, seconds: float, twice: bool) -> None:
        self.judgement.seconds += seconds
        self.took += seconds
        self.extra += seconds / 2 if twice else 0.0


def _compare(call: Call, again: Any) -> Unsteady | None:
    """None if both results agree.  What comes back of the arguments only words the message."""
    match again:
        case (second, str(error), tuple(after)):
            pass
        case _:
            raise BoundaryError("the reply lacks the second answer")
    if not error and agree(call.result, second):
        return None
    changed = (k for k, pair in enumerate(zip(call.args, after, strict=False)) if not agree(*pair))
    return Unsteady(call, second, error, tuple(changed))


def agree(a: Any, b: Any) -> bool:
    """Two plain values are the same, numbers to STEADY of the largest; NaN agrees with NaN."""
    if isinstance(a, (tuple, list)):
        return isinstance(b, (tuple, list)) and len(a) == len(b) and all(map(agree, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(agree(a[key], b[key]) for key in a)
    if hasattr(a, "to_plain"):
        return type(a) is type(b) and agree(a.to_plain(), b.to_plain())
    if not isinstance(a, (np.ndarray, np.generic, torch.Tensor, bool, int, float, complex)):
        return type(a) is type(b) and a == b
    if not isinstance(b, (np.ndarray, np.generic, torch.Tensor, bool, int, float, complex)):
        return False
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return False
    a, b = (x.astype(complex if x.dtype.kind == "c" else float) for x in (a, b))
    most = max(1.0, float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a))))
    return bool(np.all((np.abs(a - b) <= STEADY * most) | (a == b) | (np.isnan(a) & np.isnan(b))))


# ------------------------------------------------------------------------------------------------ limits


class OutOfTime(KeyboardInterrupt):
    """Raised inside a call that ran longer than it may; no `except Exception` of the student's swallows it."""

    def __str__(self) -> str:
        return "it ran out of time"


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt the block with OutOfTime after so many CPU seconds, or when it waits instead of computing.

    By signals if there are any, else between two bytecodes and by the clock alone.
    """
    main = threading.current_thread() is threading.main_thread()
    with _alarm(seconds) if main and hasattr(signal, "setitimer") else _timer(PATIENCE * seconds):
        yield


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    start, cpu = time.monotonic(), time.process_time()
    waits = min(CLOCK_SECONDS, PATIENCE * seconds)

    def ring(number: int, _: Any) -> None:
        idle = time.process_time() - cpu < 0.05 * (time.monotonic() - start)
        if number == signal.SIGPROF or idle or time.monotonic() - start > PATIENCE * seconds:
            raise OutOfTime  # else other programs keep it from computing: a busy machine must not cost points

    clocks = {signal.SIGPROF: (signal.ITIMER_PROF, seconds), signal.SIGALRM: (signal.ITIMER_REAL, waits)}
    previous = {number: signal.signal(number, ring) for number in clocks}
    for clock, limit in clocks.values():
        signal.setitimer(clock, limit, 0.2)  # and again, should the function swallow the first
    try:
        yield
    finally:
        for number, (clock, _) in clocks.items():
            signal.setitimer(clock, 0)
            signal.signal(number, previous[number])


@contextlib.contextmanager
def _timer(seconds: float) -> Iterator[None]:
    raise_in_thread = ctypes.pythonapi.PyThreadState_SetAsyncExc
    here = ctypes.c_ulong(threading.get_ident())
    timer = threading.Timer(seconds, raise_in_thread, (here, ctypes.py_object(OutOfTime)))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Swallow prints, progress bars and warnings: nbgrader scores a cell with stderr 0."""
    sink = io.StringIO()
    with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with np.errstate(all="ignore"):
            yield
