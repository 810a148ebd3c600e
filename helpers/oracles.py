"""Slow, plain truths that fast code is compared with: finite differences and enumeration."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Hidden while any exercise is graded: a derivative by differences is what answers are compared with, not an answer.
ANSWERS = {"*": ("oracles.central_difference", "oracles.jacobian")}

Array = np.ndarray


def central_difference(f: Callable[[Array], float], x: Array, step: float = 1e-5) -> Array:
    """Gradient of the scalar function f at x by (f(x + h) - f(x - h)) / 2h, one coordinate at a time.

    x: any shape, taken as float64.  Returns float64 of x's shape; with h = 1e-5 the error of a smooth f is about
    1e-10 times its third derivative plus 1e-11 times its size.
    """
    x = np.asarray(x, dtype=np.float64)
    gradient = np.empty(x.size)
    for i in range(x.size):
        moved = np.zeros(x.size)
        moved[i] = step
        moved = moved.reshape(x.shape)
        gradient[i] = (float(f(x + moved)) - float(f(x - moved))) / (2 * step)
    return gradient.reshape(x.shape)


def jacobian(f: Callable[[Array], Array], x: Array, step: float = 1e-5) -> Array:
    """Jacobian df_i/dx_j of a map between vectors by central differences; x: (n,) float64, returns (m, n) float64."""
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 1:
        raise ValueError(f"jacobian needs one point of shape (n,), got shape {x.shape}")
    moves = step * np.eye(len(x))
    columns = [(np.asarray(f(x + move)) - np.asarray(f(x - move))) / (2 * step) for move in moves]
    return np.stack(columns, axis=-1)


def bit_strings(n: int) -> Array:
    """All 2^n bit strings in counting order, first column the most significant bit; uint8 of shape (2^n, n)."""
    if not 0 <= n <= 24:
        raise ValueError(f"bit_strings lists 2^n rows and takes 0 <= n <= 24, got n = {n}")
    numbers = np.arange(2**n, dtype=np.uint32)
    return ((numbers[:, None] >> np.arange(n - 1, -1, -1, dtype=np.uint32)) & 1).astype(np.uint8)
