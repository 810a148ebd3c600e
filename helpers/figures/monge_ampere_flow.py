"""Figures of chapter 05: particles and density in motion, Gaussian maps, exact lines, magnetic domains, digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from helpers.figures import ACCENT, BASELINE, DATA, EXACT, MODEL, STYLE, exact_line, new_axes, new_row

if TYPE_CHECKING:
    from IPython.display import HTML

    from helpers.monge_ampere import MongeAmpereFlow

Array = np.ndarray


def snapshots(flow: MongeAmpereFlow, points: torch.Tensor, *, count: int = 4, limit: float = 4.0) -> Figure:
    """Particles points (frames, batch, 2) on the flow's own density at `count` times, in equal colours."""
    chosen = np.linspace(0, len(points) - 1, count).round().astype(int)
    figure, axes = new_row(count, (2.5 * count, 3.1), sharey=True)
    side, grid = _grid(limit)
    for ax, frame in zip(axes, chosen, strict=True):
        t = flow.T * frame / (len(points) - 1)
        density = _density(flow, t, grid).reshape(len(side), len(side)).T
        ax.contourf(side, side, density, levels=18, cmap="Blues")
        ax.scatter(*points[frame].T.numpy(), s=3, color=DATA, lw=0, alpha=0.8)
        ax.set(title=f"t = {t:.2f}", xlabel="$x_1$", xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
        ax.grid(False)
    axes[0].set_ylabel("$x_2$")
    return figure


def motion(flow: MongeAmpereFlow, points: torch.Tensor, *, frames: int = 21, limit: float = 4.0) -> HTML:
    """The same as an animation with a slider: points (at least `frames`, batch, 2); no external program needed."""
    from IPython.display import HTML

    _side, grid = _grid(limit, 61)
    chosen = np.linspace(0, len(points) - 1, frames).round().astype(int)
    times = flow.T * chosen / (len(points) - 1)
    densities = [_density(flow, t, grid).reshape(61, 61).T for t in times]
    with plt.rc_context({**STYLE, "figure.dpi": 72}):
        figure, ax = plt.subplots(figsize=(4.2, 4.2))
    image = ax.imshow(densities[0], origin="lower", extent=(-limit, limit) * 2, cmap="Blues")
    dots = ax.scatter(*points[0].T.numpy(), s=4, color=DATA, lw=0)
    ax.set(xlabel="$x_1$", ylabel="$x_2$")
    ax.grid(False)

    def show(k: int) -> tuple:
        image.set_data(densities[k])
        image.set_clim(0, densities[k].max())
        dots.set_offsets(points[chosen[k]].numpy())
        ax.set_title(f"t = {times[k]:.2f}")
        return image, dots

    html = FuncAnimation(figure, show, frames=frames, interval=120).to_jshtml(default_mode="reflect")
    plt.close(figure)
    return HTML(html)


def _grid(limit: float, points: int = 81) -> tuple[Array, torch.Tensor]:
    side = np.linspace(-limit, limit, points)
    line = torch.from_numpy(side)
    return side, torch.cartesian_prod(line, line)


def _density(flow: MongeAmpereFlow, t: float, grid: torch.Tensor) -> Array:
    """p(x, t) on the grid: backwards from t to 0."""
    from helpers.monge_ampere import flow_log_prob, normal_log_density

    like = next(flow.parameters())
    with torch.no_grad():
        x = grid.to(like.device, like.dtype)
        log_p = normal_log_density(x) if t == 0 else flow_log_prob(flow.potential, x, t, flow.steps or 30)
    return log_p.exp().cpu().numpy()


def gaussian_maps(maps: Mapping[str, torch.Tensor], S0: torch.Tensor, *, count: int = 60, seed: int = 0) -> Figure:
    """Where each linear map sends the same points of N(0, S0), as arrows, with the covariance ellipse reached."""
    figure, axes = new_row(len(maps), (3.2 * len(maps), 3.4), sharex=True, sharey=True)
    z = np.random.default_rng(seed).multivariate_normal(np.zeros(2), S0.numpy(), size=count)
    for ax, (name, A) in zip(axes, maps.items(), strict=True):
        moved = z @ A.numpy().T
        ax.quiver(*z.T, *(moved - z).T, angles="xy", scale_units="xy", scale=1, width=0.004, color=BASELINE)
        ax.scatter(*moved.T, s=8, color=MODEL)
        ax.add_patch(_ellipse(S0.numpy(), EXACT, "--"))
        ax.add_patch(_ellipse(A.numpy() @ S0.numpy() @ A.numpy().T, MODEL, "-"))
        cost = np.trace((A.numpy() - np.eye(2)) @ S0.numpy() @ (A.numpy() - np.eye(2)).T)
        ax.set(title=f"{name}: cost {cost:.3f}", xlabel="$x_1$", aspect="equal")
    axes[0].set_ylabel("$x_2$")
    return figure


def _ellipse(S: Array, color: str, style: str) -> Ellipse:
    """Two standard deviations of N(0, S)."""
    values, vectors = np.linalg.eigh(S)
    angle = np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1]))
    return Ellipse(
        (0, 0), 4 * values[1] ** 0.5, 4 * values[0] ** 0.5, angle=angle, fill=False, ec=color, ls=style, lw=1.5
    )


def against_exact(runs: Mapping[str, tuple[float, float, float, float]], free_energy: float, m2: float) -> Figure:
    """Free energy per site and <m^2> of each run, three-sigma bars: (F, error, m2, error) beside the exact lines."""
    figure, axes = new_row(2, (7.6, 3.2))
    labels = list(runs)
    for ax, column, exact, title in (
        (axes[0], 0, free_energy, "free energy per site  [$k_BT$]"),
        (axes[1], 2, m2, r"$\langle m^2\rangle$"),
    ):
        values = np.array([runs[name][column : column + 2] for name in labels])
        ax.errorbar(range(len(labels)), values[:, 0], 3 * values[:, 1], fmt="o", color=MODEL, capsize=3)
        exact_line(exact, f"exact {exact:.4f}", ax=ax)
        ax.set(ylabel=title, xlim=(-0.5, len(labels) - 0.5))
        ax.set_xticks(range(len(labels)), labels, rotation=20)
        ax.legend()
    return figure


def domains(fields: Mapping[str, Array], L: int, *, count: int = 6) -> Figure:
    """Spin configurations or fields (batch, L*L) on the lattice, one row per name, `count` samples each."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(len(fields), count, figsize=(1.15 * count, 1.35 * len(fields)), squeeze=False)
    for row, (name, samples) in zip(axes, fields.items(), strict=True):
        limit = np.abs(samples[:count]).max()
        for k, ax in enumerate(row):
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
            if k < len(samples):
                ax.imshow(np.asarray(samples[k]).reshape(L, L), cmap="RdBu_r", vmin=-limit, vmax=limit)
        row[0].set_title(name, loc="left", fontsize=9)
    return figure


def losses(
    traces: Mapping[str, Sequence[float]],
    floor: float,
    *,
    window: int = 20,
    ylabel: str = "loss - floor  [nats]",
    ax: Axes | None = None,
) -> Axes:
    """Running means of training losses above the exact floor, on a logarithmic scale; `floor` in the losses' unit."""
    ax = ax or new_axes()
    for name, trace in traces.items():
        mean = np.convolve(np.asarray(trace) - floor, np.ones(window) / window, "valid")
        ax.plot(np.arange(window, window + len(mean)), np.maximum(mean, 1e-4), label=name)
    ax.set(xlabel="iteration", ylabel=ylabel, yscale="log")
    ax.legend()
    return ax


def latent_digits(images: Array, latents: Mapping[str, Array]) -> Figure:
    """Digits, and for every name in order the histogram of all its coordinates beside the normal curve."""
    figure, (left, right) = new_row(2, (7.6, 3.0), width_ratios=(1.1, 1))
    tiles = images[:32].reshape(4, 8, *images.shape[1:]).transpose(0, 2, 1, 3).reshape(4 * images.shape[1], -1)
    left.imshow(tiles, cmap="gray_r")
    left.set_axis_off()
    edges = np.linspace(-4, 4, 61)
    line = {"density": True, "histtype": "step", "lw": 1.5}
    for (name, values), color in zip(latents.items(), (BASELINE, DATA, MODEL), strict=False):
        right.hist(np.clip(values, -4, 4).ravel(), edges, color=color, label=name, **line)
    right.plot(edges, np.exp(-(edges**2) / 2) / np.sqrt(2 * np.pi), color=EXACT, ls="--", label="normal")
    right.set(xlabel="coordinate", ylabel="density")
    right.legend(fontsize=8)
    return figure


def gradient_errors(errors: Mapping[str, Sequence[float]], steps: Sequence[int], *, ax: Axes | None = None) -> Axes:
    """Relative error of a gradient against RK4 steps, one curve per name, with the slope-4 line."""
    ax = ax or new_axes()
    for (name, values), color in zip(errors.items(), (MODEL, DATA, ACCENT, BASELINE), strict=False):
        ax.loglog(steps, np.maximum(values, 1e-17), "o-", color=color, label=name)
    first = max(next(iter(errors.values()))[0], 1e-17)
    ax.loglog(steps, first * (np.asarray(steps, float) / steps[0]) ** -4, color=EXACT, ls="--", label="slope -4")
    ax.set_xscale("log", base=2)
    ax.set(xlabel="RK4 steps", ylabel="relative error of the gradient")
    ax.legend()
    return ax
