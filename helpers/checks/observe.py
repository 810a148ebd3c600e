"""What can be said of a wrong array beside the right one, whatever the exercise: by comparing, not by guessing.

Each observation is a transformation of the right result. If the answer equals it, and the right result does not, the
sentence is true of what was seen. They stand in order: what is said first explains more.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

Array = np.ndarray
SINGLE = 1e-4  # relative; float32 keeps seven digits, a sum of many fewer
FACTORS = {
    2.0: "twice",
    0.5: "half",
    4.0: "four times",
    0.25: "a quarter of",
    float(1 / np.log(10)): "1/ln 10 times (log10 for ln?)",
    float(1 / np.log(2)): "1/ln 2 times (log2 for ln?)",
    float(np.log(2)): "ln 2 times",
    float(np.pi): "π times",
    float(2 * np.pi): "2π times",
    float(1 / (2 * np.pi)): "1/2π times",
    float(np.sqrt(2)): "√2 times",
    float(1 / np.sqrt(2)): "1/√2 times",
}


def bound(values: Array, tolerance: float) -> float:
    """`tolerance` relative to the largest finite entry, or to 1 if that is smaller."""
    return tolerance * max(1.0, float(np.max(np.abs(values), initial=0.0, where=np.isfinite(values))))


def equal(a: Array, b: Array, within: float) -> bool:
    """Same shape, and every entry within the bound; NaN equals nothing."""
    return a.shape == b.shape and bool(np.all((a == b) | (np.abs(a - b) <= within)))


def observation(value: Array, truth: Array, tolerance: float, name: str) -> str:
    """A sentence that is true of the wrong `value` beside `truth`, or an empty one."""
    for sentence, wrong in _transformed(truth, name):
        wrong = np.asarray(wrong)
        if equal(value, wrong, bound(wrong, tolerance)) and not equal(wrong, truth, bound(truth, tolerance)):
            return sentence
    if value.shape != truth.shape:
        return _reshaped(value, truth, tolerance, name)
    return (
        _precision(value, truth, name)
        or _scaled(value, truth, tolerance, name)
        or _placed(value, truth, tolerance, name)
    )


def _transformed(truth: Array, name: str) -> Iterator[tuple[str, Array]]:
    yield f"{name} has the wrong sign everywhere", -truth
    if np.iscomplexobj(truth):
        yield f"{name} is complex-conjugated", truth.conj()
        yield f"{name} has lost its imaginary part", truth.real
        yield f"{name} is the modulus: its phase is lost", np.abs(truth)
    yield f"{name} is zero everywhere", np.zeros_like(truth)
    if truth.ndim >= 2:
        yield f"{name} is transposed: its last two axes are exchanged", truth.swapaxes(-1, -2)
    for axis, size in enumerate(truth.shape):
        if size > 1:
            yield from _along(truth, axis, name)
    yield f"{name} has lost its signs", np.abs(truth)
    with np.errstate(all="ignore"):
        yield f"{name} is the square of what is needed", truth**2
        if not np.iscomplexobj(truth):
            yield f"{name} is the square root of what is needed", np.sqrt(truth)
            yield f"{name} is the exponential of what is needed", np.exp(truth)
            yield f"{name} is the logarithm of what is needed", np.log(truth)
        yield f"{name} is one over what is needed", 1 / truth


def _along(truth: Array, axis: int, name: str) -> Iterator[tuple[str, Array]]:
    which = f"axis {axis}" if truth.ndim > 1 else "its axis"
    first, last = (np.take(truth, [k], axis) for k in (0, -1))
    yield f"{name} runs backwards along {which}", np.flip(truth, axis)
    yield f"{name} is shifted by one place along {which}", np.roll(truth, 1, axis)
    yield f"{name} is shifted by one place along {which}", np.roll(truth, -1, axis)
    yield f"{name} repeats its first entry along {which}", np.broadcast_to(first, truth.shape)
    yield f"{name} repeats its last entry along {which}", np.broadcast_to(last, truth.shape)
    yield f"{name} has only its first entry along {which}, the others are zero", _only(truth, axis, 0)
    yield f"{name} has only its last entry along {which}, the others are zero", _only(truth, axis, -1)
    yield f"{name} is the mean along {which}, repeated", np.broadcast_to(truth.mean(axis, keepdims=True), truth.shape)
    for what, reduced in (("the mean", truth.mean(axis)), ("the sum", truth.sum(axis))):
        yield f"{name} is {what} along {which}, which should stay", reduced
    for what, part in (("first", first), ("last", last)):
        yield f"{name} is only the {what} entry along {which}", part.squeeze(axis)
    yield f"{name} lacks the last entry along {which}", np.delete(truth, -1, axis)
    yield f"{name} lacks the first entry along {which}", np.delete(truth, 0, axis)


def _only(truth: Array, axis: int, place: int) -> Array:
    kept = np.zeros_like(truth)
    index = [slice(None)] * truth.ndim
    index[axis] = place
    kept[tuple(index)] = truth[tuple(index)]
    return kept


def _reshaped(value: Array, truth: Array, tolerance: float, name: str) -> str:
    if value.size == truth.size and equal(value.ravel(), truth.ravel(), bound(truth, tolerance)):
        return f"{name} holds the right numbers in the wrong shape: {value.shape}, needed {truth.shape}"
    return ""


def _precision(value: Array, truth: Array, name: str) -> str:
    if not np.all(np.isfinite(value)):
        return ""
    error = float(np.max(np.abs(value - truth), initial=0.0)) / max(float(np.max(np.abs(truth), initial=0.0)), 1e-300)
    if not 0 < error < SINGLE:
        return ""
    return f"{name} is right to {error:.0e} only: is something float32 (torch.zeros is), or a finite difference?"


def _scaled(value: Array, truth: Array, tolerance: float, name: str) -> str:
    """A constant factor or a constant difference; of a single number only a factor that people forget."""
    scale = np.abs(truth).max(initial=0.0)
    large = np.abs(truth) > 0.05 * scale
    if not np.all(np.isfinite(value)) or not np.any(large) or scale == 0:
        return ""
    factor = complex(np.median((value[large] / truth[large]).real))
    factor = factor.real
    known = next((words for f, words in FACTORS.items() if abs(abs(factor) - f) <= 1e-6 * f), "")
    many = np.count_nonzero(large) > 1 and np.ptp(np.abs(truth[large])) > 1e-3 * scale
    within = bound(truth, max(tolerance, 1e-7)) * max(1.0, abs(factor))
    if factor and equal(value, factor * truth, within) and (many or known):
        sign = "minus " if factor < 0 else ""
        return f"{name} is {sign}{known or f'{abs(factor):.5g} times'} what is needed"
    offset = np.median((value - truth).real)
    if value.size > 2 and many and equal(value, truth + offset, bound(truth, max(tolerance, 1e-7))):
        return f"{name} is too {'large' if offset > 0 else 'small'} by {abs(offset):.5g} everywhere"
    return ""


def _placed(value: Array, truth: Array, tolerance: float, name: str) -> str:
    """Where the wrong entries are, if they are all in one place."""
    wrong = ~(np.abs(value - truth) <= bound(truth, tolerance))
    if value.ndim == 2 and len(set(value.shape)) == 1 and len(value) > 1:
        diagonal = np.eye(len(value), dtype=bool)
        if np.all(wrong <= diagonal):
            return f"only the diagonal of {name} is wrong"
        if np.all(wrong <= ~diagonal):
            return f"only the diagonal of {name} is right"
    for axis, size in enumerate(value.shape):
        hit = wrong.any(axis=tuple(k for k in range(value.ndim) if k != axis))
        if size > 2 and hit.sum() == 1 and (hit[0] or hit[-1]):
            which = f" along axis {axis}" if value.ndim > 1 else ""
            return f"only the {'first' if hit[0] else 'last'} entry of {name}{which} is wrong"
    if value.size > 2 and equal(
        np.sort_complex(value.ravel()), np.sort_complex(truth.ravel()), bound(truth, tolerance)
    ):
        return f"{name} holds the right numbers in another order"
    return ""
