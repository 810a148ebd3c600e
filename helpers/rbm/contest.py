"""The contest of restorations: an RBM against mean image, nearest training digit and logistic regression."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .model import RBM, Rng
from .partition import conditional_log_likelihood
from .restoration import (
    clamped_log_z,
    fill,
    independent_log_likelihood,
    logistic_regression,
    mean_and_error,
    nearest_digit,
    pixel_error,
    posterior_mean,
    read_rate,
)
from .training import binarise, pixel_means


class Entry(NamedTuple):
    """One contestant: its restored images (n, visible) and ln p(v_lost | v_known) of each digit in nats (n,)."""

    restored: Tensor
    log_likelihood: Tensor


def rivals(truth: Tensor, known: Tensor, train: Tensor, generator: Rng) -> dict[str, Entry]:
    """Mean image, nearest training digit, and logistic regression of the lost pixels; all see only the known ones.

    truth: (n, visible) of 0 and 1, train: (m, visible) uint8.  The nearest digit alone gives probability 0 to any pixel
    it lacks, so its likelihood mixes in the mean image with the share that suits training digits best.
    """
    mean = pixel_means(train)[~known].to(truth)
    share = best_share(train, known, mean, generator)
    near = nearest_digit(truth, known, train)
    W, c = logistic_regression(train, known, generator)
    guesses = {
        "mean image": (mean.expand(len(truth), -1), mean),
        "nearest digit": (near, share * mean + (1 - share) * near),
        "logistic regression": (torch.sigmoid(truth[:, known] @ W + c),) * 2,
    }
    return {
        name: Entry(fill(truth, known, shown), independent_log_likelihood(truth, known, p))
        for name, (shown, p) in guesses.items()
    }


def best_share(train: Tensor, known: Tensor, mean: Tensor, generator: Rng, *, count: int = 500) -> float:
    """Share of the mean image that, mixed into the nearest digit, makes held-back training digits likeliest."""
    held = binarise(train[:count], generator, dtype=mean.dtype)
    near = nearest_digit(held, known, train[count:])
    shares = torch.linspace(0.05, 0.95, 19).tolist()
    return max(shares, key=lambda s: float(independent_log_likelihood(held, known, s * mean + (1 - s) * near).mean()))


def machine(truth: Tensor, known: Tensor, model: RBM, generator: Rng, *, betas: Tensor | None = None,
            sweeps: int = 200, chains: int = 4, ais_chains: int = 8) -> tuple[Entry, Tensor]:  # fmt: skip
    """The RBM's entry, and the error of its ln Z for every digit (n,): 0 where it is exact (no betas, few hidden)."""
    restored = posterior_mean(truth, known, model, generator, sweeps=sweeps, burn_in=sweeps // 5, chains=chains)
    mean = restored[:, ~known]
    z = clamped_log_z(truth, known, model, mean=mean, betas=betas, chains=ais_chains, generator=generator)
    return Entry(restored, conditional_log_likelihood(truth, known, model, z.log_z)), z.error


def table(entries: dict[str, Entry], truth: Tensor, known: Tensor, labels: Tensor,
          reader: torch.nn.Module) -> dict[str, dict[str, tuple[float, float]]]:  # fmt: skip
    """Mean and standard error over digits of the three measures, for every entry and for the undamaged digits."""
    rows = {
        name: {
            "pixel error": mean_and_error(pixel_error(entry.restored, truth, known)),
            "log-likelihood": mean_and_error(entry.log_likelihood),
            "read": mean_and_error(read_rate(reader, entry.restored, labels)),
        }
        for name, entry in entries.items()
    }
    rows["undamaged"] = {"read": mean_and_error(read_rate(reader, truth, labels))}
    return rows


def print_table(rows: dict[str, dict[str, tuple[float, float]]]) -> None:
    """The contest as text: mean and standard error of every measure, a dash where there is none."""
    names = ("pixel error", "log-likelihood", "read")
    print(f"{'':22}" + "".join(f"{name:>22}" for name in names))
    for who, row in rows.items():
        cells = (f"{row[n][0]:.4f} +- {row[n][1]:.4f}" if n in row else "-" for n in names)
        print(f"{who:22}" + "".join(f"{cell:>22}" for cell in cells))
