"""The same graph as plain data: a list of nodes in any order, which another process can rebuild and walk."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from .nodes import LEAVES, Node, _floating, _seed, topological_order
from .operations import OPERATIONS, Array, VectorJacobian

MAX_NODES = 100_000
MAX_NUMBERS = 20_000_000


class Graph:
    """A computation graph as a list: node i has `parents[i]` (indices), `values[i]` (array) and `vjp(i, upstream)`.

    The list is in no particular order: a node may stand before its parents. `output` is the index of the node to
    differentiate. A parent that is used twice by one operation (x * x) is listed twice.
    """

    def __init__(self, nodes: list[dict[str, Any]], output: int) -> None:
        """Check and evaluate `nodes`, dicts with op, name and value (leaves) or op, name, parents and settings.

        Raises ValueError or TypeError naming the first node that is malformed, unknown, cyclic or too large.
        """
        if not isinstance(nodes, (list, tuple)) or not 0 < len(nodes) <= MAX_NODES:
            raise ValueError(f"a graph needs a list of 1 to {MAX_NODES} nodes")
        self._nodes = [_checked(i, node, len(nodes)) for i, node in enumerate(nodes)]
        self.output = _index(output, len(nodes), "output")
        self.ops: list[str] = [node["op"] for node in self._nodes]
        self.names: list[str] = [node["name"] for node in self._nodes]
        self.parents: list[tuple[int, ...]] = [node["parents"] for node in self._nodes]
        self.values: list[Array] = [np.empty(0)] * len(nodes)
        self._vjps: list[tuple[VectorJacobian, ...]] = [()] * len(nodes)
        self._evaluate()

    def __len__(self) -> int:
        return len(self._nodes)

    def __repr__(self) -> str:
        return f"Graph({len(self)} nodes, output {self.output})"

    def vjp(self, index: int, upstream: ArrayLike) -> tuple[Array, ...]:
        """What node `index` sends to each of its parents, as listed in `parents[index]`: upstream . d value / d parent.

        upstream: d output / d value, shape of `values[index]`. A leaf sends nothing: the tuple is empty.
        """
        index = _index(index, len(self), "index")
        return tuple(np.asarray(vjp(_seed(self.values[index], upstream))) for vjp in self._vjps[index])

    def to_plain(self) -> dict[str, Any]:
        """The graph as dicts, lists, strings, numbers and arrays only."""
        return {"nodes": [dict(node) for node in self._nodes], "output": self.output}

    @classmethod
    def from_plain(cls, tree: dict[str, Any]) -> Self:
        """Rebuild a graph from `to_plain`, trusting nothing: every field is checked and every value computed anew."""
        if not isinstance(tree, dict) or set(tree) != {"nodes", "output"}:
            raise ValueError("a plain graph is a dict with the keys nodes and output")
        return cls(tree["nodes"], tree["output"])

    @classmethod
    def from_node(cls, output: Node, generator: np.random.Generator | None = None) -> Self:
        """The graph that `output` depends on; with a generator the nodes are listed in a random order."""
        order = topological_order(output, lambda node: node.parents)
        if generator is not None:
            order = [order[i] for i in generator.permutation(len(order))]
        index = {node: i for i, node in enumerate(order)}
        return cls([_plain_node(node, index) for node in order], index[output])

    def _evaluate(self) -> None:
        """Compute every value once its parents are known; what is never reached lies on a cycle."""
        children: list[list[int]] = [[] for _ in self._nodes]
        for child, parents in enumerate(self.parents):
            for parent in parents:
                children[parent].append(child)
        missing = [len(parents) for parents in self.parents]
        ready = [i for i, count in enumerate(missing) if count == 0]
        room, done = MAX_NUMBERS, 0
        while ready:
            i = ready.pop()
            room -= self._evaluate_one(i, room)
            done += 1
            for child in children[i]:
                missing[child] -= 1
                if missing[child] == 0:
                    ready.append(child)
        if done < len(self):
            stuck = next(i for i, count in enumerate(missing) if count)
            raise ValueError(f"node {stuck} depends on itself: a computation graph has no cycles")

    def _evaluate_one(self, i: int, room: int) -> int:
        """Set the value and vector-Jacobian products of node i and return how many numbers it holds."""
        node = self._nodes[i]
        if node["op"] in LEAVES:
            self.values[i] = node["value"]
            return node["value"].size
        values = [self.values[parent] for parent in self.parents[i]]
        where = f"node {i} ({node['op']})"
        try:
            if _size_bound(node["op"], values) > room:
                raise ValueError(f"the graph would hold more than {MAX_NUMBERS} numbers")
            if len({value.dtype for value in values}) > 1:
                raise ValueError("float32 meets float64")
            value, self._vjps[i] = OPERATIONS[node["op"]].function(*values, **node["settings"])
        except (ValueError, IndexError, TypeError, ArithmeticError) as error:
            raise ValueError(f"{where} cannot be evaluated: {error}") from None
        self.values[i] = np.asarray(value)
        return self.values[i].size


def backward(graph: Graph) -> list[Array]:
    """Gradient of the graph's output with respect to every node (note Algorithm 1): a list like `graph.values`.

    Each node passes on its gradient only after all its children have added to it, so each is visited once: the cost is
    linear in the size of the graph. Nodes that the output does not depend on get zeros. Raises ValueError unless the
    output is one number.
    """
    gradients = [np.zeros_like(value) for value in graph.values]
    gradients[graph.output] = _seed(graph.values[graph.output], None)
    for i in reversed(topological_order(graph.output, lambda i: graph.parents[i])):
        for parent, contribution in zip(graph.parents[i], graph.vjp(i, gradients[i]), strict=True):
            gradients[parent] = np.asarray(gradients[parent] + contribution)
    return gradients


def _plain_node(node: Node, index: dict[Node, int]) -> dict[str, Any]:
    if node.op in LEAVES:
        return {"op": node.op, "name": node.name, "value": node.value}
    parents = [index[parent] for parent in node.parents]
    return {"op": node.op, "name": node.name, "parents": parents, "settings": dict(node.settings)}


def _checked(i: int, node: dict[str, Any], count: int) -> dict[str, Any]:
    """A node with its fields checked: the op known, as many parents as it takes, and exactly its settings."""
    where = f"node {i}"
    if not isinstance(node, dict) or not isinstance(node.get("op"), str) or not isinstance(node.get("name", ""), str):
        raise TypeError(f"{where} must be a dict with a string op and a string name")
    op, name = node["op"], node.get("name", "")
    if op in LEAVES:
        value = _floating(node.get("value"), f"the value of {where}")
        return {"op": op, "name": name, "value": value, "parents": ()}
    if op not in OPERATIONS:
        raise ValueError(f"{where} has the unknown op {op!r}; known are {', '.join((*LEAVES, *OPERATIONS))}")
    parents, settings = node.get("parents"), node.get("settings", {})
    if not isinstance(parents, (list, tuple)) or len(parents) != OPERATIONS[op].arguments:
        raise ValueError(f"{where} ({op}) needs a list of {OPERATIONS[op].arguments} parents, got {parents!r}")
    if not isinstance(settings, dict) or set(settings) != set(OPERATIONS[op].settings):
        raise ValueError(f"{where} ({op}) needs the settings {OPERATIONS[op].settings}, got {settings!r}")
    settings = {key: _checked_setting(where, key, value) for key, value in settings.items()}
    return {
        "op": op,
        "name": name,
        "parents": tuple(_index(parent, count, f"a parent of {where}") for parent in parents),
        "settings": settings,
    }


def _checked_setting(where: str, key: str, value: object) -> object:
    if key == "labels":
        if isinstance(value, np.ndarray) and value.dtype.kind in "iu" and value.ndim == 1:
            return value
        raise TypeError(f"{where}: labels must be an integer array of shape (batch,)")
    if key == "axis" and (value is None or type(value) is int):
        return value
    if key == "exponent" and type(value) in (int, float):
        return value
    raise TypeError(f"{where}: {key} cannot be {value!r}")


def _index(value: object, count: int, what: str) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{what} must be an integer, got {type(value).__name__}")
    if not 0 <= value < count:
        raise ValueError(f"{what} must lie in 0..{count - 1}, got {value}")
    return int(value)


def _size_bound(op: str, values: list[Array]) -> int:
    """How many numbers the result of an operation can hold at most."""
    if op in ("matmul", "linear"):
        return int(np.prod([*values[0].shape[:1], *values[1].shape[1:]], dtype=object))
    return int(np.prod(np.broadcast_shapes(*(value.shape for value in values)), dtype=object))
