"""Only plain values cross: what may cross comes back equal, everything else is refused, whoever sends it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from helpers import graph
from helpers.checks import boundary, wire
from helpers.checks.boundary import Answer, Local, NotJudged, NotWritten, Raised, Unsteady
from helpers.checks.wire import BoundaryError, decode, encode

PLAIN = [
    None,
    True,
    -(2**80),
    0.1,
    float("inf"),
    1 - 2j,
    "θ",
    (1, [2.5, ()], {"a": None}),
    np.arange(6).reshape(2, 3),
    np.asfortranarray(np.random.default_rng(0).normal(size=(3, 4))),
    np.float32(1.5),
    np.zeros((0, 3)),
    torch.arange(4, dtype=torch.float64).reshape(2, 2).T,
    torch.tensor([1 + 2j]).conj(),
    torch.tensor(True),
]


def same(a: object, b: object) -> bool:
    """Equal in type, dtype, shape and value."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, (np.ndarray, np.generic)):
        return type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)
    if isinstance(a, (tuple, list)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("value", PLAIN, ids=lambda v: type(v).__name__)
def test_plain_values_come_back_equal(value: object) -> None:
    assert same(decode(encode(value)), value)


def test_nan_crosses_and_stays_nan() -> None:
    assert np.isnan(decode(encode(float("nan"))))


def test_a_helpers_object_is_rebuilt_from_plain_values() -> None:
    x = graph.variable(np.ones(3))
    tape = graph.Graph.from_node(graph.sum(x * x))
    again = decode(encode(tape))
    assert isinstance(again, graph.Graph)
    assert again.ops == tape.ops
    assert again.parents == tape.parents


class Liar:
    """Equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None


@pytest.mark.parametrize(
    "value", [Liar(), object(), {1: 2}, {"a", "b"}, np.array([None]), np.array(["a"]), lambda: 0, b"bytes", 10**1001]
)
def test_everything_else_is_refused(value: object) -> None:
    with pytest.raises(BoundaryError):
        encode(value)


def test_deep_and_wide_trees_are_refused() -> None:
    deep: object = 0
    for _ in range(wire.MAX_DEPTH + 2):
        deep = [deep]
    with pytest.raises(BoundaryError):
        encode(deep)
    with pytest.raises(BoundaryError):
        encode([0] * (wire.MAX_ITEMS + 1))
    cycle: list = []
    cycle.append(cycle)
    with pytest.raises(BoundaryError):
        encode(cycle)


def frame(tree: object, *arrays: bytes) -> bytes:
    """A message written by hand."""
    return b"".join(len(p).to_bytes(8, "big") + p for p in (json.dumps(tree).encode(), *arrays))


def npy(header: str, body: bytes = b"") -> bytes:
    """An npy file whose header may lie."""
    text = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + body


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x00" * 7,
        b"\xff" * 16,
        frame([1, 2]),
        frame({"@array": 0}),
        frame({"@array": "x"}),
        frame({"@unknown": 0}),
        frame({"@tuple": None}),
        frame({"@int": "9" * 5000}),
        frame({"@object": ["os", "system", "ls"]}),
        frame({"@object": ["helpers.device", "pick", {"@tuple": []}]}),
        frame({"@object": ["helpers.checks.laws", "Report", {"@tuple": []}]}),
        frame({"@object": ["helpers.graph.tape", "Graph", {"@dict": []}]}),
        frame({"@array": 0}, npy("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000,), }")),
        frame({"@array": 0}, npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"12345678")),
        frame({"@array": 0}, npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", b"")),
        frame({"@array": 0}, npy("__import__('os').getcwd()")),
        b"\x00\x00\x00\x00\x00\x00\x00\x04" + b"[" * 4,
        frame(json.loads("[" * 900 + "]" * 900)),
    ],
)
def test_malformed_replies_are_refused_and_run_nothing(message: bytes) -> None:
    with pytest.raises(BoundaryError):
        decode(message)


def test_an_answer_gets_copies() -> None:
    def greedy(x: np.ndarray) -> float:
        x *= 0
        return float(x.sum())

    x = np.ones(3)
    assert Answer("greedy", Local(greedy=greedy))(x) == 0
    assert np.array_equal(x, np.ones(3))


def halved(x: np.ndarray) -> np.ndarray:
    x /= 2
    return x.copy()


def drained(x: list) -> float:
    return x.pop()


def piling(x: np.ndarray, kept: list = []) -> int:  # noqa: B006 - the fault to be caught
    kept.append(x)
    return len(kept)


@pytest.mark.parametrize(
    ("function", "given", "changed"), [(halved, np.ones(2), (0,)), (drained, [1.0], (0,)), (piling, np.ones(2), ())]
)
def test_the_same_question_is_asked_twice_of_the_same_objects(
    function: Callable, given: object, changed: tuple
) -> None:
    with pytest.raises(Unsteady) as caught:
        Answer("f", Local(f=function))(given)
    assert caught.value.changed == changed


def test_an_endless_call_ends_the_judgement() -> None:
    answer = Answer("spin", Local(spin=spin))
    answer.judgement.seconds = boundary.JUDGEMENT_SECONDS - 0.3
    with pytest.raises(Raised, match="OutOfTime"):
        answer()
    with pytest.raises(NotJudged):
        answer()


def test_a_reply_of_hundreds_of_megabytes_is_refused() -> None:
    with pytest.raises(Raised, match="over 32 MiB"):
        Answer("f", Local(f=lambda: np.zeros(2**25)))()


def test_whatever_an_answer_does_is_a_reply(capfd: pytest.CaptureFixture) -> None:
    def noisy() -> int:
        print("hello")
        return 1

    assert Answer("f", Local(f=noisy))() == 1
    for error in (ValueError("no"), SystemExit(), KeyboardInterrupt(), MemoryError()):
        with pytest.raises(Raised, match=type(error).__name__):
            Answer("f", Local(f=lambda error=error: (_ for _ in ()).throw(error)))()
    with pytest.raises(NotWritten):
        Answer("f", Local(f=lambda: (_ for _ in ()).throw(NotImplementedError())))()
    assert capfd.readouterr().out == ""


def sleep() -> None:
    while True:
        try:  # noqa: SIM105
            time.sleep(10)
        except Exception:  # noqa: BLE001 - what a stubborn student writes
            pass


def spin() -> None:
    while True:
        pass


@pytest.mark.parametrize("hang", [sleep, spin])
def test_an_answer_that_hangs_is_stopped(hang: Callable[[], None]) -> None:
    start = time.monotonic()
    with pytest.raises(Raised, match="OutOfTime"):
        Answer("hang", Local(hang=hang))(seconds=0.2)
    assert time.monotonic() - start < 10


def test_time_that_other_programs_take_is_not_counted() -> None:
    assert Answer("slow", Local(slow=lambda: time.sleep(0.5)))(seconds=0.3) is None


def test_a_forged_reply_is_not_a_value() -> None:
    for reply in (None, ("value",), ("value", 1), ("error", 1, 2), 7):
        with pytest.raises(BoundaryError):
            Answer("f", lambda *_, reply=reply: encode(reply))()
