"""The line between a check and the student's functions: only plain values cross it, as JSON and npy, never as pickle.

A check calls an `Answer`. The answer encodes its arguments, hands the bytes to a transport, and decodes the reply. In
a notebook the transport is `Local`, which calls the function right there (arguments are copies, output is silenced,
time is limited); a grader puts another process behind the same bytes. Values that cross: None, bool, int, float,
complex, str, tuple, list, dict with string keys, numpy arrays and torch tensors of numbers, and objects of `helpers`
that can be rebuilt from such values (`to_plain`, `from_plain`).
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import json
import math
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

MAX_BYTES = 256 * 2**20
MAX_DEPTH = 32
MAX_ITEMS = 100_000
MAX_TEXT = 2_000
CALL_SECONDS = 10.0  # of CPU time
PATIENCE = 6  # seconds on the clock for each of them


class BoundaryError(ValueError):
    """A value that may not cross, or bytes that are no value."""


class Raised(Exception):
    """The student's function raised: `kind` is the exception's name, `text` its message."""

    def __init__(self, kind: str, text: str = "") -> None:
        super().__init__(kind, text)
        self.kind, self.text = kind, text


class NotWritten(Exception):
    """The student's function still raises NotImplementedError."""


# ------------------------------------------------------------------------------------------------ values to bytes


def encode(value: Any) -> bytes:
    """`value` as bytes: the length of a JSON text, the JSON text, then the arrays that it numbers, each as npy."""
    arrays: list[bytes] = []
    budget = [MAX_ITEMS]
    text = json.dumps(_pack(value, arrays, budget, 0)).encode()
    message = b"".join([len(text).to_bytes(8, "big"), text, *(len(a).to_bytes(8, "big") + a for a in arrays)])
    if len(message) > MAX_BYTES:
        raise BoundaryError(f"the value takes {len(message) >> 20} MiB; at most {MAX_BYTES >> 20} MiB may cross")
    return message


def _pack(value: Any, arrays: list[bytes], budget: list[int], depth: int) -> Any:
    """`value` as a JSON tree in which {"@tag": ...} stands for whatever JSON lacks."""
    _spend(budget, depth)
    if value is None or type(value) in (bool, str):
        return value
    if type(value) is int:
        return {"@int": str(value)} if abs(value) < 10**1000 else _refuse("an integer of over 1,000 digits")
    if type(value) is float:
        return value if math.isfinite(value) else {"@float": repr(value)}
    if type(value) is complex:
        return {"@complex": [repr(value.real), repr(value.imag)]}
    if isinstance(value, torch.Tensor):
        return {"@tensor": _store(value.detach().cpu().resolve_conj().resolve_neg().numpy(), arrays)}
    if isinstance(value, np.generic):
        return {"@scalar": _store(np.asarray(value), arrays)}
    if isinstance(value, np.ndarray):
        return {"@array": _store(np.asarray(value), arrays)}
    if isinstance(value, (tuple, list)):
        tag = "@tuple" if isinstance(value, tuple) else "@list"
        return {tag: [_pack(item, arrays, budget, depth + 1) for item in list(value)]}
    if isinstance(value, dict):
        if not all(type(key) is str for key in value):
            _refuse("a dict whose keys are not all strings")
        return {"@dict": [[key, _pack(item, arrays, budget, depth + 1)] for key, item in value.items()]}
    return _pack_object(value, arrays, budget, depth)


def _pack_object(value: Any, arrays: list[bytes], budget: list[int], depth: int) -> Any:
    kind = type(value)
    if not (kind.__module__.startswith("helpers.") and hasattr(kind, "to_plain") and hasattr(kind, "from_plain")):
        _refuse(f"a {kind.__name__}")
    state = _pack(value.to_plain(), arrays, budget, depth + 1)
    return {"@object": [kind.__module__, kind.__name__, state]}


def _refuse(what: str) -> Any:
    raise BoundaryError(f"{what} cannot be compared: return numbers, strings, arrays, tensors, or tuples of these")


def _spend(budget: list[int], depth: int) -> None:
    budget[0] -= 1
    if depth > MAX_DEPTH or budget[0] < 0:
        raise BoundaryError(f"a value may nest {MAX_DEPTH} deep and hold {MAX_ITEMS:,} items; this one goes beyond")


def _store(array: np.ndarray, arrays: list[bytes]) -> int:
    if array.dtype.kind not in "biufc":
        _refuse(f"an array of dtype {array.dtype}")
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
    arrays.append(buffer.getvalue())
    return len(arrays) - 1


# ------------------------------------------------------------------------------------------------ bytes to values


def decode(message: bytes) -> Any:
    """The value that `encode` made into `message`; BoundaryError for anything else, however it is malformed."""
    try:
        text, arrays = _split(message)
        return _unpack(json.loads(text, parse_constant=_refuse), arrays, [MAX_ITEMS], 0)
    except BoundaryError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        raise BoundaryError(f"the reply cannot be read ({type(error).__name__})") from None


def _split(message: bytes) -> tuple[bytes, list[np.ndarray]]:
    if len(message) > MAX_BYTES:
        raise BoundaryError(f"the reply takes {len(message) >> 20} MiB; at most {MAX_BYTES >> 20} MiB may cross")
    parts, start = [], 0
    while start < len(message):
        end = start + 8 + int.from_bytes(message[start : start + 8], "big")
        if end > len(message) or len(parts) > MAX_ITEMS:
            raise BoundaryError("the reply is cut short")
        parts.append(message[start + 8 : end])
        start = end
    return parts[0], [_load(part) for part in parts[1:]]


def _load(npy: bytes) -> np.ndarray:
    """One array; its claimed size is compared with its bytes before anything is allocated."""
    buffer = io.BytesIO(npy)
    if np.lib.format.read_magic(buffer) != (1, 0):
        raise BoundaryError("an array of the reply is not in npy format 1.0")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(buffer)
    if dtype.kind not in "biufc" or math.prod(shape) * dtype.itemsize != len(npy) - buffer.tell():
        raise BoundaryError("an array of the reply does not hold what it claims")
    flat = np.frombuffer(npy, dtype, offset=buffer.tell()).copy()
    return flat.reshape(shape, order="F" if fortran else "C")


def _unpack(tree: Any, arrays: list[np.ndarray], budget: list[int], depth: int) -> Any:
    _spend(budget, depth)
    if not isinstance(tree, dict):
        if isinstance(tree, (list, int)) and not isinstance(tree, bool):
            raise BoundaryError("the reply is not in this format")
        return tree
    if len(tree) != 1:
        raise BoundaryError("the reply is not in this format")
    ((tag, body),) = tree.items()
    if tag in _SIMPLE:
        return _SIMPLE[tag](body, arrays)
    if tag in ("@tuple", "@list"):
        items = [_unpack(item, arrays, budget, depth + 1) for item in body]
        return tuple(items) if tag == "@tuple" else items
    if tag == "@dict":
        return {str(key): _unpack(item, arrays, budget, depth + 1) for key, item in body}
    if tag == "@object":
        module, name, state = body
        return _class_named(module, name).from_plain(_unpack(state, arrays, budget, depth + 1))
    raise BoundaryError(f"the reply holds an unknown tag {str(tag)[:20]!r}")


_SIMPLE: dict[str, Callable[[Any, list[np.ndarray]], Any]] = {
    "@int": lambda body, arrays: int(body) if len(body) <= 1001 else _refuse("an integer of over 1,000 digits"),
    "@float": lambda body, arrays: float(body),
    "@complex": lambda body, arrays: complex(float(body[0]), float(body[1])),
    "@array": lambda body, arrays: arrays[body],
    "@scalar": lambda body, arrays: arrays[body][()],
    "@tensor": lambda body, arrays: torch.from_numpy(arrays[body]),
}


def _class_named(module: str, name: str) -> Any:
    """A class of helpers that offers from_plain; anything else is refused."""
    if not (isinstance(module, str) and module.startswith("helpers.") and isinstance(name, str)):
        raise BoundaryError("the reply names a class outside helpers")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        kind = None
    if not (isinstance(kind, type) and kind.__module__ == module and hasattr(kind, "from_plain")):
        raise BoundaryError("the reply names a class that cannot cross")
    return kind


# ------------------------------------------------------------------------------------------------ calls


Transport = Callable[[str, bytes, float], bytes]


def serve(function: Callable[..., Any], request: bytes, seconds: float) -> bytes:
    """Call `function` as `request` asks and encode what came of it: this runs on the student's side.

    The reply is ("value", result, arguments after the call) or ("raised", kind, text).  Output and warnings of the
    function are swallowed.
    """
    try:
        args, kwargs, want_arguments = decode(request)
        with _silence(), time_limit(seconds):
            result = function(*args, **kwargs)
            return encode(("value", result, args if want_arguments else None))
    except BaseException as error:  # noqa: BLE001 - whatever a student's function does, SystemExit included, is a reply
        return encode(("raised", type(error).__name__, _message(error)))


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


class Answer:
    """A student's function as a check sees it: call it with plain values, get plain values or `Raised` back."""

    def __init__(self, name: str, transport: Transport) -> None:
        self.name, self.transport = name, transport

    def __call__(self, *args: Any, seconds: float = CALL_SECONDS, **kwargs: Any) -> Any:
        """The function's result; else NotWritten, or Raised: an error, over `seconds`, or what cannot cross."""
        return self._ask(args, kwargs, False, seconds)[0]

    def with_arguments(self, *args: Any, seconds: float = CALL_SECONDS) -> tuple[Any, tuple]:
        """The result, and the arguments as the call left them: for laws that forbid changing them in place."""
        return self._ask(args, {}, True, seconds)

    def _ask(self, args: tuple, kwargs: dict, want_arguments: bool, seconds: float) -> tuple[Any, Any]:
        reply = decode(self.transport(self.name, encode((args, kwargs, want_arguments)), seconds))
        match reply:
            case ("value", value, after):
                return value, after
            case ("raised", "NotImplementedError", _):
                raise NotWritten(self.name)
            case ("raised", str(kind), str(text)):
                raise Raised(kind, text)
        raise BoundaryError("the reply is neither a value nor an error")


class OutOfTime(KeyboardInterrupt):
    """Raised inside a call that ran longer than it may; no `except Exception` of the student's swallows it."""

    def __str__(self) -> str:
        return "it ran out of time"


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt the block with OutOfTime after so many CPU seconds, or PATIENCE times as many on the clock.

    By signals if there are any, else between two bytecodes and by the clock alone.
    """
    main = threading.current_thread() is threading.main_thread()
    with _alarm(seconds) if main and hasattr(signal, "setitimer") else _timer(PATIENCE * seconds):
        yield


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise OutOfTime

    clocks = {
        signal.SIGPROF: (signal.ITIMER_PROF, seconds),  # a busy machine must not cost a right answer its points
        signal.SIGALRM: (signal.ITIMER_REAL, PATIENCE * seconds),
    }
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
