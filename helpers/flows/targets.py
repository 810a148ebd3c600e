"""Five densities in the plane with exact samples, log-densities and entropies: what a flow can be measured against."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from helpers import data


class Target(NamedTuple):
    """A density of the plane: `log_density(x)` (count, 2) -> (count,), `draw(count, generator)` -> float64 (count, 2).

    entropy: in nats, the lowest NLL that any model can reach.  source: where the density was used before.
    """

    name: str
    log_density: Callable[[Tensor], Tensor]
    draw: Callable[..., Tensor]
    entropy: float


def _gaussian(name: str, precision: list[list[float]]) -> Target:
    """p(x) = exp(-x' K x / 2) sqrt(det K) / 2 pi; the entropy is 1 + ln 2 pi - ln(det K) / 2."""
    k = torch.tensor(precision, dtype=torch.float64)
    half_log_det = 0.5 * float(torch.logdet(k))
    root = torch.linalg.inv(torch.linalg.cholesky(k)).contiguous()  # K = L L', x = L'^-1 z

    def log_density(x: Tensor) -> Tensor:
        return -0.5 * ((x @ k.to(x)) * x).sum(1) + half_log_det - math.log(2 * math.pi)

    def draw(count: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.randn(count, 2, generator=generator, dtype=torch.float64) @ root

    return Target(name, log_density, draw, 1 + math.log(2 * math.pi) - half_log_det)


def _two_clouds(offset: float = 0.8, sigma: float = 0.5) -> Target:
    """Half a normal cloud around (a, a) and half around (-a, -a), both of width sigma."""

    def log_density(x: Tensor) -> Tensor:
        distances = torch.stack([(x - o).square().sum(1) for o in (offset, -offset)])
        return torch.logsumexp(-0.5 * distances / sigma**2, 0) - math.log(4 * math.pi * sigma**2)

    def draw(count: int, generator: torch.Generator | None = None) -> Tensor:
        side = torch.randint(0, 2, (count, 1), generator=generator) * 2 - 1
        return offset * side + sigma * torch.randn(count, 2, generator=generator, dtype=torch.float64)

    return Target("two clouds", log_density, draw, 2.1125474)


_RINGS_LOG_Z = 3.5085286834  # ln of the integral of exp(-min_k (|x| - k)^2 / 0.04) over the plane, k = 1..5


def _five_rings() -> Target:
    """exp(-min_k (|x| - k)^2 / 0.04), k = 1..5; the radius inverts its tabulated cumulative distribution."""
    radius = np.linspace(0.0, 7.0, 140_001)
    nearest = np.clip(np.rint(radius), 1, 5)
    mass = np.cumsum(radius * np.exp(-((radius - nearest) ** 2) / 0.04))
    share = np.concatenate([[0.0], 0.5 * (mass[1:] + mass[:-1]) / mass[-1]])

    def log_density(x: Tensor) -> Tensor:
        r = x.norm(dim=1)
        return -((r - r.round().clamp(1, 5)) ** 2) / 0.04 - _RINGS_LOG_Z

    def draw(count: int, generator: torch.Generator | None = None) -> Tensor:
        u = torch.rand(count, 2, generator=generator, dtype=torch.float64)
        r = torch.from_numpy(np.interp(u[:, 0].numpy(), share, radius))
        angle = 2 * math.pi * u[:, 1]
        return torch.stack([r * angle.cos(), r * angle.sin()], dim=1)

    return Target("five rings", log_density, draw, 4.0063497)


RING = Target("ring", data.ring_log_density, data.ring, data.RING_ENTROPY)
TARGETS = (
    RING,
    _five_rings(),
    _gaussian("tilted Gaussian", [[2.0, 2.0], [2.0, 4.0]]),
    _gaussian("mild Gaussian", [[2.0, 0.5], [0.5, 2.0]]),
    _two_clouds(),
)


def volume_preserving_bound(samples: Tensor, log_density: Callable[[Tensor], Tensor]) -> float:
    """The lowest NLL of a flow z -> c g(z) with g volume-preserving: 1 + ln(mean area), in nats.

    Such a flow keeps the area of every set, up to the factor c^2.  So its best density is the target's level sets,
    rearranged into discs: with a(x) the area where the density exceeds p(x), the NLL is at least
    min_c [ln(2 pi c^2) + <a> / (2 pi c^2)] = 1 + ln <a>.  samples: exact ones (count, 2); from them
    a(x) is the sum of 1 / (count p) over denser samples, with an error of about 1 / sqrt(count).
    """
    log_p = log_density(samples).sort(descending=True).values
    area = torch.cumsum(torch.exp(-log_p), 0) / len(log_p)
    return 1 + math.log(float(area.mean()))
