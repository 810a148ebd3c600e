"""Figures of chapter 03: filters, likelihood beside the CD loss, restored digits and their error over sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from helpers.figures import ACCENT, DATA, EXACT, MODEL, STYLE, image_grid, new_axes, new_row
from helpers.rbm import RBM, Annealed, Journal


def _picture(pixels: Tensor) -> np.ndarray:
    """The last axis (784) as 28 x 28."""
    return pixels.detach().cpu().numpy().reshape(*pixels.shape[:-1], 28, 28)


def filters(model: RBM, count: int = 20) -> Figure:
    """The weights of the `count` strongest hidden units as images: red ink switches the unit on, blue ink off."""
    strongest = model.W.norm(dim=0).argsort(descending=True)[:count]
    W = model.W[:, strongest]
    return image_grid(_picture(W.T), columns=10, limit=float(W.abs().quantile(0.995)))


def rows(pictures: Mapping[str, Tensor], *, scale: float = 0.72) -> Figure:
    """One row of digits for every name, tensors (count, 784) with 0 for paper and 1 for ink."""
    count = max(len(images) for images in pictures.values())
    with plt.rc_context(STYLE):
        size = (scale * count + 1.3, scale * len(pictures))
        figure, axes = plt.subplots(len(pictures), count, figsize=size, squeeze=False)
    for line, (name, images) in zip(axes, pictures.items(), strict=True):
        for ax in line:
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
            ax.spines[:].set_visible(False)
        for ax, image in zip(line, _picture(images), strict=False):
            ax.imshow(image, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


def journals(kept: Mapping[str, Journal], batch: Mapping[str, int], floor: float) -> Figure:
    """Left the CD "loss", right ln p of test digits with its AIS error, over the digits seen; one colour per run.

    floor: ln p of the model of independent pixels, drawn as a dashed line.
    """
    figure, (left, right) = new_row(2, size=(9.2, 3.6))
    for (name, journal), color in zip(kept.items(), (DATA, MODEL, ACCENT), strict=False):
        seen = np.maximum(np.array(journal.steps) * batch[name], batch[name] / 2)
        left.plot(seen, journal.cd_loss, "o-", ms=3, color=color, label=name)
        right.errorbar(seen, journal.log_likelihood, yerr=journal.error, fmt="o-", ms=3, color=color, label=name)
    right.axhline(floor, color=EXACT, ls="--", lw=1.2, label=f"independent pixels {floor:.0f}")
    left.set(xscale="log", xlabel="digits seen", ylabel='CD "loss"  [nats]', title="what the program prints")
    right.set(xscale="log", xlabel="digits seen", ylabel="ln p of a test digit  [nats]", title="what you want")
    right.set_ylim(bottom=floor - 120)
    left.legend()
    right.legend()
    return figure


def error_over_sweeps(
    curves: Mapping[str, Sequence[float]], levels: Mapping[str, float], *, ax: Axes | None = None
) -> Axes:
    """Squared pixel error of restorations against the number of sweeps, and the rivals as dashed levels."""
    ax = ax or new_axes()
    for (name, values), color in zip(curves.items(), (DATA, MODEL, ACCENT), strict=False):
        ax.plot(np.arange(1, len(values) + 1), values, color=color, label=name)
    for (name, value), style in zip(levels.items(), ("--", ":", "-."), strict=False):
        ax.axhline(value, color=EXACT, ls=style, lw=1.2, label=f"{name} {value:.3f}")
    ax.set(xscale="log", xlabel="sweeps", ylabel="mean squared error of a lost pixel")
    ax.legend()
    return ax


def ais_against_exact(steps: Sequence[int], runs: Sequence[Annealed], exact: float, *, ax: Axes | None = None) -> Axes:
    """AIS estimates of ln Z with their error bars against the number of temperatures, and the exact value."""
    ax = ax or new_axes()
    values, errors = [float(run.log_z) for run in runs], [float(run.error) for run in runs]
    ax.errorbar(steps, values, yerr=errors, fmt="o", ms=4, color=MODEL, capsize=3, label="AIS")
    ax.axhline(exact, color=EXACT, ls="--", lw=1.2, label=f"exact {exact:.3f}")
    ax.set(xscale="log", xlabel="rungs between independent pixels and the machine", ylabel="ln Z")
    ax.legend()
    return ax
