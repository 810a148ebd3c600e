"""Figures of chapter 01: the live graph, training curves, weights as images, fooled digits, and throughput."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from helpers.figures import ACCENT, BASELINE, DATA, EXACT, MODEL, STYLE, new_axes, new_row
from helpers.graph import Layers, Node, Run
from helpers.graph.nodes import topological_order

SYMBOLS = {
    "add": "$+$",
    "subtract": "$-$",
    "multiply": r"$\times$",
    "divide": r"$\div$",
    "matmul": r"$\cdot$",
    "linear": "$xW{+}b$",
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

    Each node shows the shape of its value and, after `output.backward()`, the size of its gradient in the accent colour.
    """
    nodes = topological_order(output, lambda node: node.parents)
    place = _layout(nodes)
    corner = np.array(list(place.values()))
    size = corner.max(axis=0) - corner.min(axis=0) + [1.7, 1.9]
    ax = ax or new_axes(size=tuple(0.82 * size))
    ax.set_axis_off()
    ax.set(aspect="equal", xlim=corner[:, 0].min() + [-0.85, size[0] - 0.85])
    ax.set(ylim=corner[:, 1].min() + [-1.15, size[1] - 1.15])
    for node in nodes:
        _draw_node(ax, node, place[node], node is output)
        for parent in dict.fromkeys(node.parents):
            _draw_arrow(ax, place[parent], place[node], _reach(parent), _reach(node))
    return ax


def _layout(nodes: Sequence[Node]) -> dict[Node, np.ndarray]:
    """Column: longest way from a leaf, leaves just before their first child. Row: the mean of the parents, kept apart."""
    column: dict[Node, int] = {}
    for node in nodes:
        column[node] = 1 + max((column[parent] for parent in node.parents), default=-1)
    for node in reversed(nodes):
        for parent in node.parents:
            if not parent.parents:
                column[parent] = min([column[child] - 1 for child in nodes if parent in child.parents])
    row: dict[Node, float] = {}
    for node in nodes:
        row[node] = float(np.mean([row[parent] for parent in node.parents])) if node.parents else float(len(_leaves(row)))
    for c in set(column.values()):
        members = sorted((node for node in nodes if column[node] == c), key=row.__getitem__)
        for above, below in zip(members, members[1:], strict=False):
            row[below] = max(row[below], row[above] + 1)
    return {node: np.array([COLUMN * column[node], -ROW * row[node]]) for node in nodes}


def _leaves(nodes: Mapping[Node, float]) -> list[Node]:
    return [node for node in nodes if not node.parents]


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
    big = label.startswith("$") and len(label) < 12
    ax.text(*centre, label, ha="center", va="center", size=14 if big else 8, zorder=3)
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


def _draw_arrow(ax: Axes, start: np.ndarray, end: np.ndarray, leave: np.ndarray, arrive: np.ndarray) -> None:
    """An arrow between the rims of two nodes, bent where it would run through a column in between."""
    way = (end - start) / np.linalg.norm(end - start)
    tail = start + way * _to_rim(way, leave)
    head = end - way * (_to_rim(way, arrive) + 0.03)
    bend = 0.25 if end[0] - start[0] > 1.5 * COLUMN else 0.0
    arrow = FancyArrowPatch(
        tail, head, arrowstyle="-|>", mutation_scale=12, lw=1.3, color="#555555", zorder=1, shrinkA=0, shrinkB=0
    )
    arrow.set_connectionstyle("arc3", rad=bend)
    ax.add_patch(arrow)


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
        left.semilogy(epochs, run.training_loss, color=color, ls="--", lw=1.2)
        left.semilogy(epochs, run.test_loss, color=color, label=name)
        right.plot(epochs, 100 * run.test_accuracy, color=color, label=f"{name}: {100 * run.test_accuracy[-1]:.2f} %")
    left.plot([], [], color=EXACT, ls="--", lw=1.2, label="on the training set")
    left.set(xlabel="epoch", ylabel="cross entropy  [nats]")
    right.set(xlabel="epoch", ylabel="test accuracy  [%]")
    for ax in (left, right):
        ax.legend()
    return figure


def weights(layers: Layers, count: int = 10, *, columns: int = 10) -> Figure:
    """What the first `count` units of the first layer look for: weights (784, units) as images, red for, blue against."""
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
