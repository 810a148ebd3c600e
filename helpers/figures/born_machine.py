"""Figures of chapter 06: circuits, distributions over bit strings, bars and stripes, training curves, plateaus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from helpers.born_machine.circuit import Circuit, Gate
from helpers.figures import BASELINE, DATA, MODEL, curve, exact_line, image_grid, new_axes

BOX = {"rx": MODEL, "ry": "#2a8f5b", "rz": "#6b4fb3"}


def columns(circuit: Circuit) -> list[list[Gate]]:
    """The gates in drawing columns: each as far left as it goes without crossing a gate that is drawn already."""
    free = [0] * circuit.qubits
    drawn: list[list[Gate]] = []
    for gate in circuit.gates:
        low, high = min(gate.qubits), max(gate.qubits)
        at = max(free[low : high + 1])
        if at == len(drawn):
            drawn.append([])
        drawn[at].append(gate)
        free[low : high + 1] = [at + 1] * (high + 1 - low)
    return drawn


def draw_circuit(circuit: Circuit, *, ax: Axes | None = None) -> Axes:
    """The circuit as wires (qubit 0 on top, time to the right), drawn from the very object that is simulated."""
    layers = columns(circuit)
    ax = ax or new_axes((min(0.55 * len(layers) + 1.4, 13.0), 0.55 * circuit.qubits + 0.5))
    ax.hlines(range(circuit.qubits), -0.7, len(layers) - 0.3, color=BASELINE, lw=1, zorder=0)
    for qubit in range(circuit.qubits):
        ax.text(-0.8, qubit, rf"$|0\rangle_{{{qubit}}}$", ha="right", va="center", fontsize=9)
    for x, layer in enumerate(layers):
        for gate in layer:
            _draw_gate(gate, x, ax)
    ax.set(xlim=(-1.5, len(layers)), ylim=(circuit.qubits - 0.4, -0.6), aspect="equal")
    ax.set_axis_off()
    return ax


def _draw_gate(gate: Gate, x: int, ax: Axes) -> None:
    if gate.width == 2:
        ax.vlines(x, *sorted(gate.qubits), color="black", lw=1.1, zorder=1)
    if gate.name in ("cx", "cz", "swap"):
        marks = {"cx": ("o", "P"), "cz": ("o", "o"), "swap": ("x", "x")}[gate.name]
        for qubit, mark in zip(gate.qubits, marks, strict=True):
            if mark == "P":
                ax.plot(x, qubit, "o", ms=9, mfc="white", mec="black", zorder=2)
                ax.plot(x, qubit, "+", ms=9, mec="black", zorder=3)
            else:
                ax.plot(x, qubit, mark, ms=5 if mark == "o" else 8, color="black", zorder=2)
        return
    for qubit in gate.qubits:
        color = BOX.get(gate.name, "#555555")
        corner = (x - 0.3, qubit - 0.28)
        ax.add_patch(FancyBboxPatch(corner, 0.6, 0.56, "round,pad=0.02", fc="white", ec=color, zorder=4))
        label = "U" if gate.name == "unitary" else gate.name.upper()
        ax.text(x, qubit, label, ha="center", va="center", fontsize=6.5, color=color, zorder=5)


def distributions(
    target: np.ndarray,
    learned: np.ndarray,
    *,
    xlabel: str = "outcome $x$",
    label: str = "circuit",
    ax: Axes | None = None,
) -> Axes:
    """The learned probabilities (2^n,) as a line over the target's (2^n,) as a filled area."""
    ax = ax or new_axes()
    x = np.arange(len(target))
    ax.fill_between(x, np.asarray(target), color=DATA, alpha=0.35, lw=0, step="mid", label="target")
    ax.plot(x, np.asarray(learned), color=MODEL, lw=1.2, drawstyle="steps-mid", label=label)
    ax.set(xlabel=xlabel, ylabel="probability", ylim=(0, None))
    ax.legend()
    return ax


def pattern_samples(samples: np.ndarray, rows: int, cols: int, valid: Sequence[bool], *, per_row: int = 14) -> Figure:
    """Measured bit strings (N, rows cols) as images; the ones that are no bars or stripes get a red cross above."""
    figure = image_grid(
        np.asarray(samples).reshape(-1, rows, cols), columns=per_row, titles=["" if ok else "x" for ok in valid]
    )
    for ax in figure.axes[: len(samples)]:
        ax.set_axis_on()
        ax.set(xticks=[], yticks=[])
        ax.grid(visible=False)
        ax.spines[:].set_visible(True)
        ax.images[0].set_clim(0, 1)
        ax.title.set_color("#c22")
    return figure


def valid_traces(
    traces: Mapping[str, Sequence[float]], published: Mapping[str, float], *, ax: Axes | None = None
) -> Axes:
    """Valid rate over optimisation steps, one curve per label, with the published rate of that label dashed."""
    ax = ax or new_axes()
    for label, values in traces.items():
        (line,) = ax.plot(np.arange(len(values)), values, label=label)
        if label in published:
            ax.axhline(published[label], color=line.get_color(), ls="--", lw=0.9)
    ax.set(xlabel="Adam step", ylabel="valid rate", ylim=(0, 1.02))
    ax.legend(title="dashed: published", loc="lower right")
    return ax


def loss_traces(traces: Mapping[str, Sequence[float]], *, goal: float | None = None, ax: Axes | None = None) -> Axes:
    """MMD over iterations on a logarithmic scale, with a dashed grey line at a published value."""
    ax = ax or new_axes()
    for label, values in traces.items():
        ax.semilogy(np.arange(1, len(values) + 1), values, label=label)
    if goal is not None:
        exact_line(goal, f"published {goal:.1e}", ax=ax)
    ax.set(xlabel="L-BFGS-B iteration", ylabel="MMD loss")
    ax.legend()
    return ax


def plateau(
    qubits: Sequence[int], variances: Mapping[str, tuple[np.ndarray, np.ndarray]], *, ax: Axes | None = None
) -> Axes:
    """Variance of a gradient component over random angles against qubits; label -> (variance, error), (sizes,)."""
    ax = ax or new_axes()
    for label, (variance, error) in variances.items():
        ax.errorbar(qubits, variance, yerr=error, marker="o", ms=4, capsize=2, label=label)
    guide = np.asarray(qubits, float)
    first = max(float(v[0]) for v, _ in variances.values())
    ax.plot(guide, first * 4.0 ** -(guide - guide[0]), color=BASELINE, ls=":", label="$\\propto 4^{-n}$")
    ax.set(yscale="log", xlabel="qubits $n$", ylabel=r"variance of $\partial L / \partial\theta$")
    ax.legend()
    return ax


def information_graph(information: np.ndarray, edges: Sequence[tuple[int, int]], rows: int, cols: int) -> Axes:
    """Pixels of a rows x cols image as nodes, mutual information as thin lines, the chosen tree's edges bold."""
    ax = new_axes((0.9 * cols + 1, 0.9 * rows + 0.6))
    place = {q: (q % cols + 0.12 * (q // cols % 2), q // cols + 0.12 * (q % cols % 2)) for q in range(rows * cols)}
    top = (information - np.diag(np.diag(information))).max()
    pairs = [(i, j) for i in range(rows * cols) for j in range(i)]
    for pair in sorted(pairs, key=lambda p: information[p]):
        (x0, y0), (x1, y1) = place[pair[0]], place[pair[1]]
        chosen = pair in edges or pair[::-1] in edges
        bow = "arc3,rad=0.25" if max(abs(x0 - x1), abs(y0 - y1)) > 1.5 else "arc3"
        style = {"color": DATA if chosen else BASELINE, "lw": 2.4 if chosen else 1.2 * information[pair] / top}
        ax.annotate("", (x1, y1), (x0, y0), arrowprops={"arrowstyle": "-", "connectionstyle": bow, **style})
    for q, (x, y) in place.items():
        circle = {"boxstyle": "circle", "fc": "white", "ec": MODEL}
        ax.text(x, y, str(q), ha="center", va="center", fontsize=9, bbox=circle)
    ax.set(xlim=(-0.5, cols - 0.3), ylim=(rows - 0.3, -0.5))
    ax.set_axis_off()
    return ax


def witness(values: np.ndarray, target: np.ndarray, *, ax: Axes | None = None) -> Axes:
    """K(p - q): positive where the circuit puts too much probability, negative where too little; (2^n,) each."""
    ax = curve(np.arange(len(values)), values, label="witness $K(p-q)$", xlabel="outcome $x$", ylabel="witness", ax=ax)
    right = ax.twinx()
    right.fill_between(np.arange(len(target)), target, color=DATA, alpha=0.3, lw=0, step="mid")
    right.set(ylabel="target probability", ylim=(0, None))
    right.grid(visible=False)
    return ax
