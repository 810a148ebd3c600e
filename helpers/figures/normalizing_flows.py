"""Figures of chapter 02: clouds of points before and after, flows layer by layer, densities, NLL curves, digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure

from helpers.figures import ACCENT, BASELINE, DATA, MODEL, STYLE, curve, exact_line, new_axes, new_row

PALETTE = (MODEL, DATA, ACCENT, BASELINE)


def paint(points: np.ndarray) -> np.ndarray:
    """One colour per point (count, 3): hue from its angle, paler near the middle; points: (count, 2)."""
    points = np.asarray(points, dtype=float)
    hue = (np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi)) % 1.0
    radius = np.linalg.norm(points, axis=1)
    depth = radius / max(float(np.quantile(radius, 0.9)), 1e-9)
    return hsv_to_rgb(np.stack([hue, np.clip(0.25 + 0.65 * depth, 0, 1), np.full(len(hue), 0.85)], axis=1))


def clouds(
    stages: Sequence[np.ndarray], titles: Sequence[str], *, colors: np.ndarray | None = None, shared: bool = True
) -> Figure:
    """The same points (count, 2) at several stages, side by side; every point keeps its colour of the first stage.

    shared: all panels on the same scale.
    """
    colors = paint(stages[0]) if colors is None else colors
    figure, axes = new_row(len(stages), (2.3 * len(stages) + 0.2, 2.7), sharex=shared, sharey=shared)
    for ax, points, title in zip(axes, stages, titles, strict=True):
        ax.scatter(*np.asarray(points).T, s=2, c=colors, lw=0, rasterized=True)
        ax.set(title=title, aspect="equal", xlabel="$x_1$")
    axes[0].set_ylabel("$x_2$")
    return figure


def layer_by_layer(stages: Sequence[np.ndarray], *, columns: int = 5, reach: float = 4.0) -> Figure:
    """Points (count, 2) after 0, 1, 2, ... layers, row by row; the colours are those of the latent cloud."""
    rows = -(-len(stages) // columns)
    with plt.rc_context(STYLE):
        size = (1.9 * columns, 2.05 * rows)
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, sharex=True, sharey=True)
    colors = paint(stages[0])
    for k, ax in enumerate(axes.flat):
        if k >= len(stages):
            ax.set_axis_off()
            continue
        ax.scatter(*np.asarray(stages[k]).T, s=1.2, c=colors, lw=0, rasterized=True)
        ax.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach), xticks=[-2, 0, 2], yticks=[-2, 0, 2])
        ax.set_title("latent" if k == 0 else f"after layer {k}", fontsize=9)
    return figure


def densities(log_densities: Mapping[str, Callable[[np.ndarray], np.ndarray]], *, reach: float = 4.0) -> Figure:
    """Densities of the plane on one colour scale; each function maps points (count, 2) to log p (count,)."""
    line = np.linspace(-reach, reach, 161)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    tables = {name: np.exp(f(grid)).reshape(len(line), -1) for name, f in log_densities.items()}
    top = max(float(np.quantile(table, 0.999)) for table in tables.values())
    figure, axes = new_row(len(tables), (2.8 * len(tables) + 0.8, 3.0), sharey=True)
    for ax, (name, table) in zip(axes, tables.items(), strict=True):
        image = ax.imshow(table, origin="lower", extent=[-reach, reach] * 2, cmap="magma_r", vmin=0, vmax=top)
        ax.set(title=name, xlabel="$x_1$")
        ax.grid(False)
    axes[0].set_ylabel("$x_2$")
    figure.colorbar(image, ax=axes, label="density $p(x)$", shrink=0.9)
    return figure


def nll_curves(
    histories: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]],
    lines: Mapping[str, float],
    *,
    ylabel: str = "held-out NLL  [nats]",
    xlabel: str = "training step",
    ax: Axes | None = None,
) -> Axes:
    """Held-out NLL (step, nll, standard error) of several flows; exact or published values dashed and named beside."""
    ax = ax or new_axes()
    for (name, (step, nll, error)), color in zip(histories.items(), PALETTE, strict=False):
        curve(step, nll, error, label=name, color=color, ax=ax, xlabel=xlabel, ylabel=ylabel)
    for name, value in lines.items():
        exact_line(value, ax=ax)
        number = f"{value:.4f}" if value < 100 else f"{value:.1f}"
        at = {"xy": (1, value), "xycoords": ax.get_yaxis_transform(), "xytext": (4, 0), "textcoords": "offset points"}
        ax.annotate(f"{name}\n{number}", **at, va="center", fontsize=8)
    ax.legend(fontsize=8, frameon=True, framealpha=1, edgecolor="none")
    return ax


def interpolation(images: np.ndarray, *, titles: Sequence[str] = ()) -> Figure:
    """Rows of images (rows, steps, 28, 28): from the digit on the left to the one on the right."""
    rows, steps = images.shape[:2]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, steps, figsize=(0.8 * steps, 0.88 * rows), squeeze=False)
    for ax, image in zip(axes.flat, images.reshape(-1, *images.shape[2:]), strict=True):
        ax.imshow(image, cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    for ax, title in zip(axes[:, 0], titles, strict=False):
        ax.set_ylabel(title, rotation=0, ha="right", va="center", fontsize=9)
    return figure


def flowing(stages: Sequence[np.ndarray], *, between: int = 6, reach: float = 4.0) -> object:
    """Points (count, 2) moving from stage to stage, as an HTML object that plays inline, made by matplotlib alone.

    Within a layer every point walks a straight line; `between` frames a layer.
    """
    from IPython.display import HTML

    stages = [np.asarray(points, dtype=float) for points in stages]
    frames = [(k, j / between) for k in range(len(stages) - 1) for j in range(between)]
    frames += [(len(stages) - 2, 1.0)] * (2 * between)
    with plt.rc_context({**STYLE, "figure.dpi": 70, "figure.constrained_layout.use": False}):
        ax = new_axes((3.6, 3.8))
        dots = ax.scatter(*stages[0].T, s=3, c=paint(stages[0]), lw=0)
        ax.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach), xlabel="$x_1$", ylabel="$x_2$")

        def show(frame: tuple[int, float]) -> tuple:
            k, share = frame
            dots.set_offsets((1 - share) * stages[k] + share * stages[k + 1])
            ax.set_title(f"layer {k + 1} of {len(stages) - 1}")
            return (dots,)

        film = FuncAnimation(ax.figure, show, frames=frames, interval=60)
        page = HTML(film.to_jshtml(default_mode="loop"))
    plt.close(ax.figure)
    return page
