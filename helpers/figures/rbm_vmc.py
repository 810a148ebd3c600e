"""Figures of chapter 04: training, error bars, signs, couplings, correlations."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from helpers.figures import ACCENT, BASELINE, EXACT, MODEL, exact_line, new_axes


def energy_trace(steps: Sequence, sites: int, exact: float | None = None, *, ax: Axes | None = None) -> Axes:
    """Energy per site against step with its one-standard-error band, and the variance of E_loc on a second axis.

    steps: objects with energy, error and variance (totals in J1), as vmc.optimise yields; exact: total ground energy.
    """
    ax = ax or new_axes()
    step = np.arange(len(steps))
    energy = np.array([s.energy for s in steps]) / sites
    error = np.array([s.error for s in steps]) / sites
    ax.plot(step, energy, color=MODEL, label="VMC")
    ax.fill_between(step, energy - error, energy + error, color=MODEL, alpha=0.25, lw=0)
    if exact is not None:
        exact_line(exact / sites, f"exact {exact / sites:.5f}", ax=ax)
    ax.plot([], [], color=ACCENT, lw=1, label="variance")
    ax.set(xlabel="optimisation step", ylabel="energy per site  [$J_1$]")
    ax.legend()
    side = ax.twinx()
    side.semilogy(step, [s.variance / sites for s in steps], color=ACCENT, lw=1, alpha=0.7)
    side.set_ylabel("variance of $E_{loc}$ per site  [$J_1^2$]", color=ACCENT)
    side.grid(False)
    return ax


class LiveEnergy:
    """An energy_trace that redraws itself below a notebook cell: call it with the steps so far."""

    def __init__(self, sites: int, exact: float | None = None, title: str = "") -> None:
        self.sites, self.exact, self.title, self.handle = sites, exact, title, None

    def __call__(self, steps: Sequence) -> None:
        """Draw the steps so far, in the place of the last drawing."""
        from IPython.display import display  # notebooks have it; helpers does not need it elsewhere

        ax = energy_trace(steps, self.sites, self.exact)
        ax.set_title(self.title)
        if self.handle is None:
            self.handle = display(ax.figure, display_id=True)
        else:
            self.handle.update(ax.figure)
        plt.close(ax.figure)


def variance_against_error(
    energies: Sequence[float], variances: Sequence[float], exact: float, sites: int, *, ax: Axes | None = None
) -> Axes:
    """Relative error against V-score, one point per step, dark at the end of training, with the diagonal as guide."""
    ax = ax or new_axes()
    energy, variance = np.asarray(energies), np.asarray(variances)
    score, error = sites * variance / energy**2, np.abs((energy - exact) / exact)
    ax.scatter(score, error, c=np.arange(len(score)), cmap="Blues", vmin=-len(score) / 2, s=12)
    reach = np.array([max(score.min(), 1e-12), score.max()])
    ax.plot(reach, reach * np.median(error / np.maximum(score, 1e-12)), color=BASELINE, lw=1, label="proportional")
    ax.set(xscale="log", yscale="log", xlabel=r"V-score  $N\,\mathrm{Var}\,E_{loc}/E^2$", ylabel="relative error")
    ax.legend()
    return ax


def binning_plateau(sizes: Tensor, errors: Tensor, naive: float | None = None, *, ax: Axes | None = None) -> Axes:
    """Standard error of the mean energy against bin size in sweeps: correlated samples rise to a plateau."""
    ax = ax or new_axes()
    sizes, errors = np.asarray(sizes), np.asarray(errors)
    ax.semilogx(sizes, errors, "o-", base=2, color=MODEL, label="binned")
    exact_line(float(errors[0]) if naive is None else naive, "naive", ax=ax)
    ax.set(xlabel="bin size  [sweeps]", ylabel="standard error  [$J_1$]", ylim=(0, None))
    ax.legend()
    return ax


def sign_structure(exact: Tensor, psi: Tensor, sign: Tensor, *, ax: Axes | None = None) -> Axes:
    """Amplitudes of a wavefunction, (states,), against the exact ones, both times the Marshall sign.

    The global phase of psi is fixed by the overlap; colour tells configurations of either Marshall sign apart.
    """
    ax = ax or new_axes((4.2, 4.0))
    exact, psi, sign = (np.asarray(v) for v in (exact, psi, sign))
    overlap = np.vdot(exact, psi)
    psi = psi * np.abs(overlap) / overlap
    psi = psi / np.linalg.norm(psi)
    exact = exact / np.linalg.norm(exact)
    scale = np.abs(exact).max()
    x, y = sign * exact / scale, sign * psi.real / scale
    flip = np.sign(x.sum()) or 1.0
    for value, colour in ((1, MODEL), (-1, ACCENT)):
        chosen = sign == value
        ax.scatter(flip * x[chosen], flip * y[chosen], s=8, alpha=0.6, color=colour, label=f"Marshall sign {value:+d}")
    ax.plot([x.min() * flip, 1], [x.min() * flip, 1], color=EXACT, ls="--", lw=1)
    ax.set(xlabel="exact amplitude x sign  [largest = 1]", ylabel="variational amplitude x sign")
    ax.set_title(f"{len(x)} configurations, overlap {np.abs(np.vdot(exact, psi)) ** 2:.6f}")
    ax.legend(fontsize=8)
    return ax


def energy_over_coupling(
    exact_J2: Sequence[float],
    exact: Sequence[float],
    J2: Sequence[float],
    energy: Sequence[float],
    error: Sequence[float],
    *,
    ax: Axes | None = None,
) -> Axes:
    """Energy per site over J2: exact curve, variational points with error bars, and the Majumdar-Ghosh point."""
    ax = ax or new_axes()
    ax.plot(exact_J2, exact, color=EXACT, ls="--", label="exact")
    ax.errorbar(J2, energy, yerr=error, fmt="o", ms=5, color=MODEL, label="RBM")
    ax.plot([0.5], [-0.375], marker="*", ms=13, color=ACCENT, ls="none", zorder=1, label="Majumdar-Ghosh, $-3/8$")
    ax.set(xlabel="$J_2/J_1$", ylabel="energy per site  [$J_1$]")
    ax.legend()
    return ax


def correlation_function(exact: Tensor, model: Tensor | None = None, *, ax: Axes | None = None) -> Axes:
    """<Sz_0 Sz_r> on a ring against distance r up to half the ring, exact and variational, in units of hbar^2."""
    ax = ax or new_axes()
    distance = np.arange(len(exact) // 2 + 1)
    ax.plot(distance, np.asarray(exact)[: len(distance)], color=EXACT, ls="--", label="exact")
    if model is not None:
        ax.plot(distance, np.asarray(model)[: len(distance)], "o", color=MODEL, label="RBM")
    ax.axhline(0, color=BASELINE, lw=0.8)
    ax.set(xlabel="distance  [sites]", ylabel=r"$\langle S^z_0 S^z_r\rangle$")
    ax.legend()
    return ax


def autocorrelation_function(rho: Tensor, *, ax: Axes | None = None) -> Axes:
    """Normalised autocorrelation of the local energy against lag in sweeps."""
    ax = ax or new_axes()
    ax.plot(np.arange(len(rho)), np.asarray(rho), "o-", ms=3, color=MODEL)
    ax.axhline(0, color=EXACT, ls="--", lw=1)
    ax.set(xlabel="lag  [sweeps]", ylabel="autocorrelation of $E_{loc}$")
    return ax


def sign_rule_weight(J2: Sequence[float], weights: dict[str, Sequence[float]], *, ax: Axes | None = None) -> Axes:
    """Share of the exact ground state's probability that obeys a sign rule against J2, one curve per rule."""
    ax = ax or new_axes()
    for (name, weight), color in zip(weights.items(), (MODEL, ACCENT, BASELINE), strict=False):
        ax.plot(J2, weight, "o-", ms=3, color=color, label=name)
    ax.axvline(0.5, color=EXACT, ls="--", lw=1)
    ax.set(xlabel="$J_2/J_1$", ylabel="probability that obeys the rule", ylim=(0.45, 1.02))
    ax.legend()
    return ax
