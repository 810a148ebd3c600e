"""The vocabulary of the graph: each operation maps arrays to its value and one vector-Jacobian product per argument."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
VectorJacobian = Callable[[Array], Array]
Result = tuple[Array, tuple[VectorJacobian, ...]]


class Operation(NamedTuple):
    """A differentiable function of arrays: how many arguments it takes and which fixed settings it must be told."""

    function: Callable[..., Result]
    arguments: int
    settings: tuple[str, ...] = ()


OPERATIONS: dict[str, Operation] = {}


def _operation(arguments: int, *settings: str) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    def register(function: Callable[..., Result]) -> Callable[..., Result]:
        OPERATIONS[function.__name__] = Operation(function, arguments, settings)
        return function

    return register


def _reduce_to(delta: Array, shape: tuple[int, ...]) -> Array:
    """Undo broadcasting: a value that was copied to many places collects the gradient from all of them."""
    if delta.shape == shape:
        return delta.copy()
    delta = delta.sum(axis=tuple(range(delta.ndim - len(shape))))
    stretched = tuple(axis for axis, length in enumerate(shape) if length == 1 != delta.shape[axis])
    return delta.sum(axis=stretched, keepdims=True)


def _spread(delta: Array, like: Array, axis: int | None) -> Array:
    """Copy the gradient of a sum over `axis` back to every term of the sum."""
    return np.broadcast_to(delta if axis is None else np.expand_dims(delta, axis), like.shape)


@_operation(2)
def add(a: Array, b: Array) -> Result:
    """a + b: the gradient passes unchanged to both."""
    return a + b, (lambda d: _reduce_to(d, a.shape), lambda d: _reduce_to(d, b.shape))


@_operation(2)
def subtract(a: Array, b: Array) -> Result:
    """a - b: the gradient passes unchanged to a, with a minus sign to b."""
    return a - b, (lambda d: _reduce_to(d, a.shape), lambda d: _reduce_to(-d, b.shape))


@_operation(2)
def multiply(a: Array, b: Array) -> Result:
    """a b element by element: each factor is the slope of the other."""
    return a * b, (lambda d: _reduce_to(d * b, a.shape), lambda d: _reduce_to(d * a, b.shape))


@_operation(2)
def divide(a: Array, b: Array) -> Result:
    """a / b element by element: slopes 1 / b and -a / b^2."""
    y = a / b
    return y, (lambda d: _reduce_to(d / b, a.shape), lambda d: _reduce_to(-d * y / b, b.shape))


@_operation(2)
def matmul(a: Array, b: Array) -> Result:
    """Matrix product of a (rows, inner) and b (inner, columns)."""
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError("matmul needs two matrices")
    return a @ b, (lambda d: d @ b.T, lambda d: a.T @ d)


@_operation(3)
def linear(x: Array, W: Array, b: Array) -> Result:
    """x W + b (note Eq. 1) with the gradients of Eqs. (13), (15) and (16), summed over the batch."""
    if x.ndim != 2 or W.ndim != 2 or b.shape != W.shape[1:]:
        raise ValueError("linear needs x (batch, in), W (in, out), b (out,)")
    y = x @ W
    y += b
    return y, (lambda d: d @ W.T, lambda d: x.T @ d, lambda d: d.sum(axis=0))


@_operation(1, "exponent")
def power(x: Array, exponent: float) -> Result:
    """x^p for a fixed number p: slope p x^(p - 1)."""
    return x**exponent, (lambda d: d * exponent * x ** (exponent - 1) if exponent else np.zeros_like(x),)


@_operation(1)
def exp(x: Array) -> Result:
    """e^x: its own slope."""
    y = np.exp(x)
    return y, (lambda d: d * y,)


@_operation(1)
def log(x: Array) -> Result:
    """ln x: slope 1 / x."""
    return np.log(x), (lambda d: d / x,)


@_operation(1)
def sigmoid(x: Array) -> Result:
    """1 / (1 + e^-x), written with tanh so that it never overflows: slope y (1 - y)."""
    y = 0.5 * (1 + np.tanh(0.5 * x))
    return y, (lambda d: d * y * (1 - y),)


@_operation(1)
def tanh(x: Array) -> Result:
    """tanh x: slope 1 - y^2."""
    y = np.tanh(x)
    return y, (lambda d: d * (1 - y * y),)


@_operation(1)
def relu(x: Array) -> Result:
    """max(x, 0): slope 1 where x > 0, else 0."""
    return np.maximum(x, 0), (lambda d: d * (x > 0),)


@_operation(1)
def softplus(x: Array) -> Result:
    """ln(1 + e^x), the smooth ReLU: slope sigmoid(x)."""
    return np.logaddexp(0, x), (lambda d: d * 0.5 * (1 + np.tanh(0.5 * x)),)


@_operation(1, "axis")
def sum(x: Array, axis: int | None = None) -> Result:
    """Sum over one axis or over all: every term has slope 1."""
    return x.sum(axis=axis), (lambda d: _spread(d, x, axis).copy(),)


@_operation(1, "axis")
def mean(x: Array, axis: int | None = None) -> Result:
    """Mean over one axis or over all: every term has slope 1 / count."""
    y = x.mean(axis=axis)
    return y, (lambda d: _spread(d, x, axis) * x.dtype.type(y.size / x.size),)


@_operation(1)
def softmax(x: Array) -> Result:
    """e^x_i / sum_j e^x_j along the last axis: the Jacobian diag(y) - y y^T is applied, never built."""
    y = np.exp(x - x.max(axis=-1, keepdims=True))
    y /= y.sum(axis=-1, keepdims=True)
    return y, (lambda d: y * (d - (d * y).sum(axis=-1, keepdims=True)),)


@_operation(1, "labels")
def cross_entropy(p: Array, labels: NDArray[np.integer]) -> Result:
    """-mean_n ln p[n, label_n] (note Eq. 3) from probabilities p (batch, classes); infinite where p underflows to 0."""
    rows, picked = _pick(p, labels)

    def backward(d: Array) -> Array:
        gradient = np.zeros_like(p)
        gradient[rows, labels] = -d / (len(p) * picked)
        return gradient

    return -np.log(picked).mean(), (backward,)


@_operation(1, "labels")
def softmax_cross_entropy(logits: Array, labels: NDArray[np.integer]) -> Result:
    """-mean_n ln softmax(logits)[n, label_n] in one stable node: gradient (softmax - one hot) / batch."""
    shifted = logits.T.copy()  # classes first: numpy reduces ten long rows faster than many short ones
    shifted -= shifted.max(axis=0)
    weights = np.exp(shifted)
    total = weights.sum(axis=0)
    rows, picked = _pick(shifted.T, labels)
    count = logits.dtype.type(len(rows))

    def backward(d: Array) -> Array:
        gradient = weights / total
        gradient[labels, rows] -= 1
        gradient *= d / count
        return gradient.T

    return (np.log(total) - picked).sum() / count, (backward,)


def _pick(table: Array, labels: NDArray[np.integer]) -> tuple[NDArray[np.intp], Array]:
    """The entry of each row that its label points at; labels must be integers from 0 to classes - 1."""
    if table.ndim != 2:
        raise ValueError(f"logits or probabilities must have shape (batch, classes), got {table.shape}")
    rows = np.arange(len(labels))
    try:
        if len(rows) != len(table) or labels.min() < 0:
            raise IndexError
        return rows, table[rows, labels]
    except (IndexError, ValueError):
        raise ValueError(f"labels must be {len(table)} integers from 0 to {table.shape[1] - 1}") from None
