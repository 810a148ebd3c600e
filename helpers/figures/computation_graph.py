"""Figures of chapter 01: the live graph, training curves, weights as images, fooled digits, and throughput."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from helpers.figures import ACCENT, BASELINE, DATA, EXACT, MODEL, STYLE, new_axes, new_row
from helpers.graph import Layers, Node, Run
from helpers.graph.nodes import topological_order

SYMBOLS = {
    "add": "$+$",
    "subtract": "$-$",
    "multiply": r"$\times$",
    "divide": r"$\div$",
    "matmul": "@",
    "linear": "linear",
    "sigmoid": r"$\sigma$",
    "power": "$x^p$",
    "sum": r"$\Sigma$",
    "softmax_cross_entropy": "softmax\nentropy",
    "cross_entropy": "cross\nentropy",
}
COLUMN, ROW = 1.55, 1.3  # distance between columns and rows, in units where a circle has radius RADIUS
RADIUS, HALF = 0.36, np.array([0.46, 0.36])


def computation_graph(output: Node, *, ax: Axes | None = None) -> Axes:
    """The graph that `output` grew from, drawn from the live nodes: data in boxes, functions in circles (note Fig. 4).

    Below each node: the shape of its value and, after `output.backward()`, the size of its gradient in colour.
    """
    nodes = topological_order(output, lambda node: node.parents[::-1])  # first arguments first, so they stand on top
    place = _layout(nodes)
    low, high = _frame(nodes, place)
    ax = ax or new_axes(size=tuple(0.82 * (high - low)))
    ax.set_axis_off()
    ax.set(aspect="equal", xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    for node in nodes:
        _draw_node(ax, node, place[node], node is output)
        for k, parent in enumerate(node.parents):
            bend = _bend(node, k, place)
            _draw_arrow(ax, place[parent], place[node], _reach(parent), _reach(node), bend)
    return ax


def _bend(node: Node, k: int, place: Mapping[Node, np.ndarray]) -> float:
    """Bend of the arrow from the k-th parent: around the nodes in between, and apart where a parent is used twice."""
    parent = node.parents[k]
    way = place[node] - place[parent]
    if way[0] > 1.5 * COLUMN:
        return 0.5 if way[1] > 0.1 else -0.5
    return 0.35 * (-1) ** k if node.parents.count(parent) > 1 else 0.0


def _frame(nodes: Sequence[Node], place: Mapping[Node, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Lower left and upper right corner of the drawing, with room for labels and arcs."""
    corners = np.array(list(place.values()))
    low, high = corners.min(axis=0) - np.array([0.75, 1.05]), corners.max(axis=0) + np.array([0.75, 0.8])
    for node in nodes:
        for k, parent in enumerate(node.parents):  # an arc rises by about a quarter of its chord
            height = 0.26 * np.linalg.norm(place[node] - place[parent]) * np.sign(_bend(node, k, place))
            middle = (place[node][1] + place[parent][1]) / 2 - height
            low[1], high[1] = min(low[1], middle - 0.35), max(high[1], middle + 0.35)
    return low, high


def _layout(nodes: Sequence[Node]) -> dict[Node, np.ndarray]:
    """Column: longest way from a leaf, a leaf just before its first child. Row: as near to the parents' as is free."""
    column = _columns(nodes)
    row: dict[Node, float] = {}
    for node in sorted(nodes, key=lambda node: (column[node], not node.parents)):
        taken = {other: row[other] for other in row if column[other] == column[node]}
        before = [row[parent] for parent in node.parents if parent.parents] or [row[parent] for parent in node.parents]
        beside = [at for other, at in taken.items() if other.parents]
        wish = float(np.mean(before or beside or len(taken)))
        choices = (wish + sign * k for k in range(len(nodes) + 1) for sign in (-1, 1))
        row[node] = next(choice for choice in choices if all(abs(choice - at) >= 1 for at in taken.values()))
    return {node: np.array([COLUMN * column[node], -ROW * row[node]]) for node in nodes}


def _columns(nodes: Sequence[Node]) -> dict[Node, int]:
    column: dict[Node, int] = {}
    for node in nodes:
        column[node] = 1 + max((column[parent] for parent in node.parents), default=-1)
    for leaf in (node for node in nodes if not node.parents):
        column[leaf] = min((column[child] - 1 for child in nodes if leaf in child.parents), default=0)
    return column


def _is_data(node: Node) -> bool:
    return not node.parents


def _reach(node: Node) -> np.ndarray:
    return HALF if _is_data(node) else np.array([RADIUS, RADIUS])


def _draw_node(ax: Axes, node: Node, centre: np.ndarray, is_output: bool) -> None:
    """A box for data or a circle for a function, with the shape of the value and the size of the gradient below."""
    look = {"lw": 1.4, "ec": "#333333", "zorder": 2}
    if _is_data(node):
        fill = "#fdebc8" if node.trainable else "#eeeeee"
        box = FancyBboxPatch(
            centre - HALF + 0.08, *(2 * HALF - 0.16), boxstyle="round,pad=0.08,rounding_size=0.1", fc=fill, **look
        )
        ax.add_patch(box)
        label = f"${node.name}$" if node.name else f"{node.value:.3g}" if node.value.size == 1 else node.op
    else:
        ax.add_patch(Circle(centre, RADIUS, fc="#f7b267" if is_output else "white", **look))
        label = SYMBOLS.get(node.op, node.op)
    ax.text(*centre, label, ha="center", va="center", size=14 if label[0] in "$@" else 8, zorder=3)
    x, y = centre[0], centre[1] - _reach(node)[1] - 0.07
    ax.text(x, y, _shape(node), ha="center", va="top", size=8, color="#333333")
    if node.grad is not None:
        ax.text(x, y - 0.24, _gradient(node), ha="center", va="top", size=8, color=ACCENT)
    if node.name and node.parents:
        ax.text(x, centre[1] + RADIUS + 0.06, f"${node.name}$", ha="center", va="bottom", size=12)


def _shape(node: Node) -> str:
    return " × ".join(map(str, node.shape)) or f"{node.value:.3g}"


def _gradient(node: Node) -> str:
    """The gradient itself if it is one number, else its Euclidean norm."""
    size = float(np.linalg.norm(node.grad))
    return f"∇ {node.grad.item():.2g}" if node.grad.size == 1 else f"|∇| {size:.2g}"


def _draw_arrow(
    ax: Axes, start: np.ndarray, end: np.ndarray, leave: np.ndarray, arrive: np.ndarray, bend: float
) -> None:
    """An arrow from rim to rim; a bent one leaves and arrives along its own curve."""
    way = (end - start) / np.linalg.norm(end - start)
    turn = np.arctan(2 * bend)  # the angle between an arc3 curve and its chord, at either end
    out, into = _turned(way, -turn), _turned(way, turn)
    tail, head = start + out * _to_rim(out, leave), end - into * (_to_rim(into, arrive) + 0.03)
    look = {"arrowstyle": "-|>", "mutation_scale": 12, "lw": 1.3, "color": "#555555", "shrinkA": 0, "shrinkB": 0}
    ax.add_patch(FancyArrowPatch(tail, head, connectionstyle=f"arc3,rad={bend}", zorder=1, **look))


def _turned(way: np.ndarray, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([c * way[0] - s * way[1], s * way[0] + c * way[1]])


def _to_rim(way: np.ndarray, reach: np.ndarray) -> float:
    """Distance from the middle of a node to its rim along the unit vector `way`: a circle if `reach` is square."""
    if reach[0] == reach[1]:
        return float(reach[0])
    return float(np.min(reach / np.maximum(np.abs(way), 1e-9)))


def training_curves(runs: Mapping[str, Run]) -> Figure:
    """Cross entropy (nats; training dashed, test solid) and test accuracy against the epoch, one colour per network."""
    figure, (left, right) = new_row(2, (8.4, 3.3))
    for (name, run), color in zip(runs.items(), (BASELINE, MODEL, DATA, ACCENT), strict=False):
        epochs = np.arange(1, len(run.test_loss) + 1)
        left.semilogy(epochs, run.training_loss, "o--", ms=3, color=color, lw=1.2)
        left.semilogy(epochs, run.test_loss, "o-", ms=3, color=color, label=name)
        right.plot(
            epochs,
            100 * run.test_accuracy,
            "o-",
            ms=3,
            color=color,
            label=f"{name}: {100 * run.test_accuracy[-1]:.2f} %",
        )
    left.plot([], [], color=EXACT, ls="--", lw=1.2, label="on the training set")
    left.set(xlabel="epoch", ylabel="cross entropy  [nats]")
    left.yaxis.set(major_locator=LogLocator(subs=(1, 3)), major_formatter="{x:g}", minor_formatter=NullFormatter())
    right.set(xlabel="epoch", ylabel="test accuracy  [%]")
    for ax in (left, right):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend()
    return figure


def weights(layers: Layers, count: int = 10, *, columns: int = 10) -> Figure:
    """What the first `count` units of the first layer look for: its weights as images, red for, blue against."""
    W = layers[0][0].T[:count]
    rows = -(-len(W) // columns)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=(0.95 * columns, 1.15 * rows), squeeze=False)
    limit = float(np.abs(W).max()) * 0.6
    for k, ax in enumerate(axes.flat):
        ax.set_axis_off()
        if k < len(W):
            ax.imshow(W[k].reshape(28, 28), cmap="RdBu_r", vmin=-limit, vmax=limit)
            ax.set_title(str(k), fontsize=9)
    return figure


def adversarial_digits(images: np.ndarray, spoiled: np.ndarray, before: np.ndarray, after: np.ndarray) -> Figure:
    """Rows: the digits, the change that was added (red up, blue down), the result; above them what the network reads.

    images, spoiled: (count, 784) in [0, 1]; before, after: (count,) labels read. A changed reading stands in the accent
    colour.
    """
    change = spoiled - images
    limit = float(np.abs(change).max()) or 1.0
    ink, tint = {"cmap": "gray_r", "vmin": 0, "vmax": 1}, {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(3, len(images), figsize=(0.95 * len(images) + 0.9, 3.6), squeeze=False)
    names = ("image", f"± {limit:.2g}", "sum")
    for row, (name, pictures, look) in enumerate(zip(names, (images, change, spoiled), (ink, tint, ink), strict=True)):
        for ax, picture in zip(axes[row], pictures, strict=True):
            ax.imshow(picture.reshape(28, 28), **look)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        axes[row, 0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)
    for top, bottom, old, new in zip(axes[0], axes[2], before, after, strict=True):
        top.set_title(f"reads {old}", fontsize=9)
        bottom.set_title(f"reads {new}", fontsize=9, color=ACCENT if old != new else "black")
    return figure


def throughput(sizes: Sequence[int], rates: Mapping[str, np.ndarray], *, ax: Axes | None = None) -> Axes:
    """GFLOP/s of an n x n matrix product against n, one curve per device; both axes logarithmic."""
    ax = ax or new_axes()
    for (name, rate), marker in zip(rates.items(), "osD^v", strict=False):
        ax.loglog(sizes, rate, marker=marker, ms=4, label=name)
    ax.set_xscale("log", base=2)
    ax.set(xlabel="matrix size $n$", ylabel="throughput  [GFLOP/s]")
    ax.legend()
    return ax
