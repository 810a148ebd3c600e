"""The live graph: every operation on a Node runs at once and leaves a new Node that remembers where it came from."""

from collections.abc import Callable, Hashable, Iterable
from typing import Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .operations import OPERATIONS, Array, VectorJacobian

LEAVES = ("variable", "constant")
Key = TypeVar("Key", bound=Hashable)


def topological_order(output: Key, parents: Callable[[Key], Iterable[Key]]) -> list[Key]:
    """Everything `output` depends on, parents before children, found depth first with a stack instead of recursion."""
    order: list[Key] = []
    seen: set[Key] = set()
    stack = [(output, False)]
    while stack:
        node, parents_are_done = stack.pop()
        if parents_are_done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend([(parent, False) for parent in parents(node)])
    return order


class Node:
    """A value in the graph: `value` (array), `op` (name), `parents`, and after `backward` the gradient `grad`.

    Operations on nodes (`+ - * / ** @` and the functions of this module) build the graph as they run. A graph has one
    dtype, float32 or float64; Python numbers take it on.
    """

    __slots__ = ("__weakref__", "edges", "grad", "name", "op", "parents", "settings", "trainable", "value")
    __array_ufunc__ = None  # so that `array * node` asks Node.__rmul__ instead of looping over the array

    def __init__(
        self,
        value: Array,
        op: str,
        parents: tuple["Node", ...] = (),
        vjps: tuple[VectorJacobian, ...] = (),
        settings: dict | None = None,
        name: str = "",
    ) -> None:
        self.value, self.op, self.parents, self.settings, self.name = value, op, parents, settings or {}, name
        self.grad: Array | None = None
        self.edges = [edge for edge in zip(parents, vjps, strict=True) if edge[0].trainable] if parents else []
        self.trainable = op == "variable" or bool(self.edges)

    def __repr__(self) -> str:
        label = f"{self.name!r}, " if self.name else ""
        return f"Node({label}{self.op}, shape={self.shape}, {self.value.dtype})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.value.shape

    def backward(self, upstream: ArrayLike | None = None) -> None:
        """Back propagation (note Algorithm 1): set `grad` = d self / d node on every node that self depends on.

        self must hold one number, unless `upstream` (shape of self) is given: then grad = upstream . d self / d node.
        One pass in reverse topological order, linear in the size of the graph; earlier gradients are dropped.
        """
        order = topological_order(self, lambda node: [parent for parent, _ in node.edges])
        for node in order:
            node.grad = None
        self.grad = _seed(self.value, upstream)
        for node in reversed(order):
            for parent, vjp in node.edges:
                gradient = vjp(node.grad)
                parent.grad = gradient if parent.grad is None else parent.grad + gradient

    def __add__(self, other: "Node | ArrayLike") -> "Node":
        return apply("add", self, other)

    def __radd__(self, other: ArrayLike) -> "Node":
        return apply("add", other, self)

    def __sub__(self, other: "Node | ArrayLike") -> "Node":
        return apply("subtract", self, other)

    def __rsub__(self, other: ArrayLike) -> "Node":
        return apply("subtract", other, self)

    def __mul__(self, other: "Node | ArrayLike") -> "Node":
        return apply("multiply", self, other)

    def __rmul__(self, other: ArrayLike) -> "Node":
        return apply("multiply", other, self)

    def __truediv__(self, other: "Node | ArrayLike") -> "Node":
        return apply("divide", self, other)

    def __rtruediv__(self, other: ArrayLike) -> "Node":
        return apply("divide", other, self)

    def __matmul__(self, other: "Node | ArrayLike") -> "Node":
        return apply("matmul", self, other)

    def __rmatmul__(self, other: ArrayLike) -> "Node":
        return apply("matmul", other, self)

    def __pow__(self, exponent: float) -> "Node":
        return power(self, exponent)

    def __neg__(self) -> "Node":
        return apply("multiply", self, -1.0)

    def __bool__(self) -> bool:
        raise TypeError("a Node has no truth value: compare node.value instead")

    def named(self, name: str) -> Self:
        """Give the node a name for pictures and messages, and return it."""
        self.name = name
        return self


def _seed(value: Array, upstream: ArrayLike | None) -> Array:
    if upstream is None:
        if value.size != 1:
            raise ValueError(
                f"backward needs one number to differentiate, got shape {value.shape}: take its mean or sum"
            )
        return np.ones_like(value)
    upstream = np.asarray(upstream, dtype=value.dtype)
    if upstream.shape != value.shape:
        raise ValueError(f"upstream has shape {upstream.shape}, but the node's value has shape {value.shape}")
    return upstream


def _floating(value: ArrayLike, what: str) -> Array:
    array = np.asarray(value)
    if array.dtype.char in "fd":
        return array
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{what} needs real numbers, got dtype {array.dtype}")
    return array.astype(np.float64)


def variable(value: ArrayLike, name: str = "") -> Node:
    """A leaf whose gradient is wanted; float32 and float64 arrays are kept as they are, other numbers turn float64."""
    return Node(_floating(value, "a variable"), "variable", name=name)


def constant(value: ArrayLike, name: str = "") -> Node:
    """A leaf without a gradient, such as a batch of images: back propagation does no work for it."""
    return Node(_floating(value, "a constant"), "constant", name=name)


def apply(op: str, *arguments: Node | ArrayLike, **settings: object) -> Node:
    """Run the operation named `op` on nodes (numbers and arrays become constants) and return the node of its result.

    Raises ValueError where shapes do not fit or float32 meets float64.
    """
    dtype = next((a.value.dtype for a in arguments if isinstance(a, Node)), np.float64)
    parents = tuple([a if isinstance(a, Node) else constant(_floating(a, op).astype(dtype)) for a in arguments])
    values = [parent.value for parent in parents]
    for value in values:
        if value.dtype != dtype:
            raise ValueError(f"{op} mixes {dtype} and {value.dtype}: make all leaves float32 or all float64")
    try:
        value, vjps = OPERATIONS[op].function(*values, **settings)
    except (ValueError, IndexError) as error:
        shapes = ", ".join(str(value.shape) for value in values)
        raise ValueError(f"{op} does not fit arguments of shape {shapes}: {error}") from None
    return Node(np.asarray(value), op, parents, vjps, settings)


def linear(x: Node, W: Node, b: Node) -> Node:
    """Affine layer x W + b (note Eq. 1): x (batch, in), W (in, out), b (out,) -> (batch, out)."""
    return apply("linear", x, W, b)


def add(a: Node, b: Node | ArrayLike) -> Node:
    """a + b, with numpy broadcasting."""
    return apply("add", a, b)


def subtract(a: Node, b: Node | ArrayLike) -> Node:
    """a - b, with numpy broadcasting."""
    return apply("subtract", a, b)


def multiply(a: Node, b: Node | ArrayLike) -> Node:
    """a b element by element, with numpy broadcasting."""
    return apply("multiply", a, b)


def divide(a: Node, b: Node | ArrayLike) -> Node:
    """a / b element by element, with numpy broadcasting."""
    return apply("divide", a, b)


def matmul(a: Node, b: Node) -> Node:
    """Matrix product: a (rows, inner), b (inner, columns) -> (rows, columns)."""
    return apply("matmul", a, b)


def power(x: Node, exponent: float) -> Node:
    """x^p element by element for a fixed number p."""
    if not isinstance(exponent, (int, float)):
        raise TypeError(f"the exponent must be a fixed number, got {type(exponent).__name__}")
    return apply("power", x, exponent=exponent)


def exp(x: Node) -> Node:
    """e^x element by element."""
    return apply("exp", x)


def log(x: Node) -> Node:
    """ln x element by element, x > 0."""
    return apply("log", x)


def sigmoid(x: Node) -> Node:
    """1 / (1 + e^-x) element by element (note Table 1)."""
    return apply("sigmoid", x)


def tanh(x: Node) -> Node:
    """tanh x element by element (note Table 1)."""
    return apply("tanh", x)


def relu(x: Node) -> Node:
    """max(x, 0) element by element (note Table 1), slope 0 at x = 0."""
    return apply("relu", x)


def softplus(x: Node) -> Node:
    """ln(1 + e^x) element by element (note Table 1)."""
    return apply("softplus", x)


def sum(x: Node, axis: int | None = None) -> Node:
    """Sum over one axis, or over all of them."""
    return apply("sum", x, axis=axis)


def mean(x: Node, axis: int | None = None) -> Node:
    """Mean over one axis, or over all of them."""
    return apply("mean", x, axis=axis)


def softmax(x: Node) -> Node:
    """e^x_i / sum_j e^x_j along the last axis (note Table 1), shifted by the largest x so that it never overflows."""
    return apply("softmax", x)


def cross_entropy(probabilities: Node, labels: NDArray[np.integer]) -> Node:
    """-mean_n ln p[n, label_n] (note Eq. 3): p (batch, classes), labels (batch,) integers -> one number, in nats."""
    return apply("cross_entropy", probabilities, labels=_labels(labels))


def softmax_cross_entropy(logits: Node, labels: NDArray[np.integer]) -> Node:
    """cross_entropy(softmax(logits), labels) fused, finite for any logits: (batch, classes), (batch,) -> one number."""
    return apply("softmax_cross_entropy", logits, labels=_labels(labels))


def _labels(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise TypeError(f"labels must be integers of shape (batch,), got {labels.dtype} of shape {labels.shape}")
    return labels
