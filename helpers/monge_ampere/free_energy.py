"""The variational free energy L = <E + ln q> >= -ln Z, its gradient in two ways, and what importance weights add."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from .flow import normal_log_density


class Energy(Protocol):
    """A target with `energy(x)` -> (batch,) and `gradient(x)` -> (batch, d)."""

    def energy(self, x: Tensor) -> Tensor: ...

    def gradient(self, x: Tensor) -> Tensor: ...


def variational_free_energy(log_q: Tensor, energy: Tensor) -> tuple[float, float]:
    """L = <E(x) + ln q(x)> over x ~ q and its standard error (Eqs. 45, 46): (batch,), (batch,) -> two floats."""
    if log_q.shape != energy.shape or log_q.ndim != 1 or len(log_q) < 2:
        raise ValueError(
            f"log_q and energy must be (batch,), batch >= 2; got {tuple(log_q.shape)}, {tuple(energy.shape)}"
        )
    loss = energy + log_q
    return float(loss.mean()), float(loss.std() / len(loss) ** 0.5)


def free_energy_gradients(z: Tensor, mean: Tensor, log_width: Tensor, target: Energy) -> tuple[Tensor, Tensor]:
    """Per-sample dL/d(mean, s) of x = mean + e^s z, s = log_width: reparametrised (Eq. 54) and REINFORCE (Eq. 55).

    z (batch, d) standard normal, mean and log_width (d,) -> two (batch, 2 d). Eq. 54 follows x: (E', E' e^s z - 1);
    Eq. 55 weighs E + ln q with the score (z e^-s, z^2 - 1). The batch means agree; the variances do not.
    """
    if z.ndim != 2 or mean.shape != z.shape[1:] or log_width.shape != mean.shape:
        raise ValueError(
            f"z (batch, d), mean (d,), log_width (d,); got {[tuple(v.shape) for v in (z, mean, log_width)]}"
        )
    width = log_width.exp()
    x = mean + width * z
    force = target.gradient(x)
    followed = torch.cat([force, force * width * z - 1], 1)
    log_q = normal_log_density(z) - log_width.sum()
    score = torch.cat([z / width, z * z - 1], 1)
    return followed, (target.energy(x) + log_q)[:, None] * score


def importance(log_q: Tensor, energy: Tensor) -> tuple[float, float]:
    """ln Z from ln <exp(-E - ln q)> over x ~ q, and the effective sample size (sum w)^2 / sum w^2 in samples.

    Consistent, but trust it only when the effective sample size is well above one: rare heavy weights hide.
    """
    log_w = -energy - log_q
    ess = torch.exp(2 * torch.logsumexp(log_w, 0) - torch.logsumexp(2 * log_w, 0))
    return float(torch.logsumexp(log_w, 0) - torch.log(torch.tensor(len(log_w), dtype=log_w.dtype))), float(ess)
