"""One look for every figure of the course: size, colours by role, and the plots that several chapters need.

Functions take data and an optional Axes, return the Axes, and never call `plt.show()`.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MODEL, DATA, BASELINE, ACCENT, EXACT = "#1f6fb4", "#e07b00", "#8a8f98", "#b3246b", "#7a7a7a"
SIZE = (6.0, 3.7)  # inches
STYLE = {
    "figure.figsize": SIZE,
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.prop_cycle": cycler(color=[MODEL, DATA, ACCENT, "#2a8f5b", "#6b4fb3", BASELINE]),
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "legend.frameon": False,
    "image.cmap": "gray_r",
    "lines.linewidth": 1.6,
}


def use_style() -> None:
    """Set the course's look for all later figures of this session."""
    # Load the backend now: the one of notebooks turns interactive mode on as it loads, and loaded inside a rc_context
    # it would lose that again at the end of the context; every later figure would stay invisible.
    plt.switch_backend(plt.get_backend())
    plt.rcParams.update(STYLE)


def new_axes(size: tuple[float, float] = SIZE) -> Axes:
    """A fresh Axes in the course's style on its own figure of `size` inches."""
    with plt.rc_context(STYLE):
        return plt.figure(figsize=size).add_subplot()


def new_row(count: int, size: tuple[float, float] | None = None, **options: object) -> tuple[Figure, np.ndarray]:
    """A figure with `count` Axes side by side; returns the figure and an array of Axes (count,)."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, count, figsize=size or (3.1 * count, 3.1), squeeze=False, **options)
    return figure, axes[0]


def exact_line(value: float, label: str = "", *, ax: Axes) -> Axes:
    """A dashed grey horizontal line at an exact or published value."""
    ax.axhline(value, color=EXACT, ls="--", lw=1.2, label=label, zorder=1)
    return ax


def curve(
    x: Sequence[float],
    y: Sequence[float],
    error: Sequence[float] | None = None,
    *,
    label: str = "",
    color: str = MODEL,
    xlabel: str = "step",
    ylabel: str = "",
    exact: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """y over x with an optional one-standard-error band and a dashed line at the exact value."""
    ax = ax or new_axes()
    x, y = np.asarray(x), np.asarray(y)
    ax.plot(x, y, color=color, label=label or None)
    if error is not None:
        error = np.asarray(error)
        ax.fill_between(x, y - error, y + error, color=color, alpha=0.25, lw=0)
    if exact is not None:
        exact_line(exact, f"exact {exact:.4f}", ax=ax)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if label or exact is not None:
        ax.legend()
    return ax


def image_grid(
    images: np.ndarray, *, columns: int = 10, titles: Sequence[str] = (), scale: float = 0.7, limit: float | None = None
) -> Figure:
    """Images (count, height, width) in rows of `columns`, ink dark; `limit` fixes a symmetric red-blue scale."""
    images = np.asarray(images)
    rows = -(-len(images) // columns)
    height = scale * (1.35 if titles else 1.05)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=(scale * columns, height * rows), squeeze=False)
    look = {"cmap": "gray_r"} if limit is None else {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    for k, ax in enumerate(axes.flat):
        ax.set_axis_off()
        if k < len(images):
            ax.imshow(images[k], interpolation="nearest", **look)
            if k < len(titles):
                ax.set_title(titles[k], fontsize=8)
    return figure
