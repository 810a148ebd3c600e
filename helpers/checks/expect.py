"""What a law may state of a result.  Every comparison is written so that NaN fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy import stats

from helpers.checks.boundary import agree
from helpers.checks.observe import bound, equal, observation
from helpers.checks.report import example, shape, told

FALSE_ALARM = 1e-9  # chance that a right answer fails one statistical law: six sigma
TOLERANCE = 1e-7  # relative: what is right to seven digits and more is right
NUMERIC = (np.ndarray, np.generic, torch.Tensor, bool, int, float, complex)
KINDS = {"f": "real numbers", "i": "whole numbers", "c": "complex numbers"}


class Broken(Exception):
    """A law does not hold; the message says which and why, `case` is an example as plain data."""

    def __init__(self, message: str, case: dict | None = None) -> None:
        super().__init__(message)
        self.case = case


class Expect:
    """What a law may state.  Lists, tuples, tensors and numbers pass for the arrays that they hold."""

    def fail(self, hint: str) -> None:
        """This law is broken."""
        raise Broken(hint)

    def true(self, condition: bool, hint: str) -> None:
        """The condition holds."""
        if not bool(condition):
            raise Broken(hint)

    def array(self, value: Any, shape_: Sequence[int], *, kind: str = "f", name: str = "the result") -> np.ndarray:
        """`value` as an array of a shape: numbers of kind "f" (real), "i" (whole) or "c" (complex), all finite.

        Booleans and integers pass as real numbers, real numbers as complex.
        """
        array = _numeric(value, shape_, name)
        if array.shape != tuple(shape_):
            raise Broken(f"{name} should have shape {shape(shape_)}, yours has {shape(array.shape)}")
        allowed = {"f": "biuf", "i": "biu", "c": "biufc"}[kind]
        if array.dtype.kind not in allowed:
            raise Broken(f"{name} should hold {KINDS[kind]}, yours holds {array.dtype}")
        if not np.all(np.isfinite(array)):
            raise Broken(_non_finite(array, name), example(value, "finite numbers", name))
        return array

    def number(self, value: Any, name: str = "the result") -> float:
        """`value` as one finite real number; a 0-d array or tensor will do."""
        return float(self.array(value, (), name=name))

    def many(self, value: Any, count: int, names: str) -> tuple:
        """`value` as a tuple (or list, or an array along its first axis) of `count` things."""
        stacked = isinstance(value, (np.ndarray, torch.Tensor)) and value.ndim > 0
        if (isinstance(value, (tuple, list)) or stacked) and len(value) == count:
            return tuple(value)
        got = f"{len(value)} values" if isinstance(value, (tuple, list)) else _called(value)
        raise Broken(f"return {count} values, {names}; yours returns {got}")

    def within(self, difference: Any, tolerance: float, hint: str) -> None:
        """Every |difference| is at most `tolerance`."""
        difference = np.abs(np.asarray(difference))
        if not np.all(difference <= tolerance):
            raise Broken(hint)

    def close(
        self,
        value: Any,
        truth: Any,
        hint: str = "",
        *,
        tolerance: float = TOLERANCE,
        mistakes: Mapping[str, Any] | None = None,
        others: Mapping[str, Any] | None = None,
        kind: str = "f",
        name: str = "the result",
    ) -> None:
        """`value` has truth's shape and equals it to `tolerance` times truth's largest entry (or times 1 if smaller).

        What is said if not, in this order: the sentence of `mistakes` (sentence -> what that typical mistake gives)
        that alone explains the value; that it is one of `others` (name -> the right value of another result); what
        can be observed of it (sign, factor, transposition, precision, ...); else `hint` with the case in numbers.
        """
        truth = np.asarray(truth)
        within = bound(truth, tolerance)
        plain = _plain(value)
        if plain is not None and plain.dtype.kind in "biufc" and not equal(plain, truth, within):
            self._explain(value, plain, truth, tolerance, mistakes or {}, others or {}, name)
        array = self.array(value, truth.shape, kind=kind, name=name)
        if not np.all(np.abs(array - truth) <= within):
            case = example(value, truth, name)
            numbers = told(case, array, truth, within)
            raise Broken(f"{hint}: {numbers}" if hint else numbers, case)

    def _explain(
        self,
        value: Any,
        plain: np.ndarray,
        truth: np.ndarray,
        tolerance: float,
        mistakes: Mapping[str, Any],
        others: Mapping[str, Any],
        name: str,
    ) -> None:
        """Break the law with the one sentence that explains `plain`, if there is one."""
        case = example(value, truth, name)
        seen = [
            sentence
            for sentence, wrong in mistakes.items()
            if equal(plain, np.asarray(wrong), bound(np.asarray(wrong), tolerance))
        ]
        if seen:
            raise Broken(seen[0], case)
        for other, right in others.items():
            right = np.asarray(right)
            if equal(plain, right, bound(right, tolerance)):
                raise Broken(f"what you return as {name} is {other}: mind the order of the results", case)
        if sentence := observation(plain, truth, tolerance, name):
            raise Broken(sentence, case)

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

    def seeded(self, ask: Callable[[int], Any], seeds: Sequence[int], what: str = "the result") -> tuple[Any, Any]:
        """`ask(seed)` depends on its seed and on nothing else; returns the results of the two seeds.

        The first seed is asked again after the second, so that what a function keeps between calls shows.  The result
        needs at least 60 bits of chance, or two seeds may agree by accident.
        """
        first, second = (ask(int(seed)) for seed in seeds[:2])
        if not agree(ask(int(seeds[0])), first):
            raise Broken(
                f"{what} differs for the same seed: make the generator from the seed inside the function, each time"
            )
        if agree(first, second):
            raise Broken(f"{what} is the same for two seeds: the seed is not used")
        return first, second


def _plain(value: Any) -> np.ndarray | None:
    """What is numeric as an array: tensors, numbers, and lists or tuples of these; None for anything else."""
    if isinstance(value, torch.Tensor):
        return value.numpy()
    if isinstance(value, NUMERIC):
        return np.asarray(value)
    if isinstance(value, (list, tuple)) and value:
        parts = [_plain(item) for item in value]
        if all(part is not None and part.shape == parts[0].shape for part in parts):
            return np.stack(parts)
    return np.zeros(0) if isinstance(value, (list, tuple)) and not value else None


def _numeric(value: Any, sizes: Sequence[int], name: str) -> np.ndarray:
    """`value` as an array of numbers, or a sentence that says what it is instead."""
    array = _plain(value)
    wanted = f"{name} should be an array of shape {shape(sizes)}" if len(sizes) else f"{name} should be one number"
    if array is None:
        raise Broken(f"{wanted}, yours is {_called(value)}")
    if isinstance(value, (tuple, list)) and array.shape != tuple(sizes):
        raise Broken(f"{wanted}, yours is {_called(value)}")
    return array


def _called(value: Any) -> str:
    """What a person would call `value`."""
    if value is None:
        return "None: does it end in a return?"
    if isinstance(value, (tuple, list)):
        array = _plain(value)
        ragged = "" if array is not None and array.ndim < 2 else " of unequal things" if array is None else ""
        return f"a {type(value).__name__} of {len(value)}{ragged}"
    if isinstance(value, (np.ndarray, torch.Tensor)) and value.ndim:
        return f"one array of shape {shape(value.shape)}"
    return "one number" if isinstance(value, NUMERIC) else f"a {type(value).__name__}"


def _non_finite(array: np.ndarray, name: str) -> str:
    bad = ~np.isfinite(array)
    if array.ndim == 0:
        return f"{name} is NaN or infinity"
    place = ", ".join(str(int(k)) for k in np.argwhere(bad)[0])
    return f"{name} holds NaN or infinity in {int(bad.sum())} of {array.size} places, [{place}] first"


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
