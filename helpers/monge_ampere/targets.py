"""Two-dimensional targets with known normalisation: Ring2D, Ring5, two Gaussians and a pair of blobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Quartic:
    """E(x) = sum_i stiffness x_i^2 / 2 + quartic x_i^4 / 4, and its gradient: an energy that can cross to a checker."""

    def __init__(self, stiffness: float, quartic: float):
        if not isinstance(stiffness, float) or not isinstance(quartic, float) or not quartic >= 0:
            raise ValueError(f"stiffness and quartic >= 0 must be floats; got {stiffness!r} and {quartic!r}")
        self.stiffness, self.quartic = stiffness, quartic

    def energy(self, x: Tensor) -> Tensor:
        """(batch, d) -> (batch,)."""
        return (self.stiffness * x**2 / 2 + self.quartic * x**4 / 4).sum(1)

    def gradient(self, x: Tensor) -> Tensor:
        """dE/dx, (batch, d) -> (batch, d)."""
        return self.stiffness * x + self.quartic * x**3

    def to_plain(self) -> dict[str, float]:
        """The two numbers."""
        return {"stiffness": self.stiffness, "quartic": self.quartic}

    @classmethod
    def from_plain(cls, tree: dict[str, float]) -> Quartic:
        """Rebuild from `to_plain`; ValueError for anything else."""
        if not isinstance(tree, dict) or set(tree) != {"stiffness", "quartic"}:
            raise ValueError("a plain energy is a dict with the keys stiffness and quartic")
        return cls(tree["stiffness"], tree["quartic"])


class Target(NamedTuple):
    """An unnormalised ln density (batch, 2) -> (batch,), its ln Z and its entropy in nats (both by quadrature)."""

    name: str
    log_density: Callable[[Tensor], Tensor]
    log_Z: float
    entropy: float

    def energy(self, x: Tensor) -> Tensor:
        """E = -ln density: (batch, 2) -> (batch,)."""
        return -self.log_density(x)


def _ring2d(x: Tensor) -> Tensor:
    return -((x.norm(dim=1) - 2) ** 2) / 0.32


def _ring5(x: Tensor) -> Tensor:
    radii = torch.arange(1, 6, dtype=x.dtype, device=x.device)
    return -((x.norm(dim=1)[:, None] - radii) ** 2).amin(1) / 0.04


def _sheared(x: Tensor) -> Tensor:
    return -(x[:, 0] ** 2 + 2 * x[:, 1] ** 2 + 2 * x[:, 0] * x[:, 1])


def _tilted(x: Tensor) -> Tensor:
    return -(x[:, 0] ** 2 + x[:, 1] ** 2 + 0.5 * x[:, 0] * x[:, 1])


def _pair(x: Tensor) -> Tensor:
    """Blobs of width 1/2 at +-(0.8, 0.8), each with the 1-D constant ln sqrt(pi / 2), so that ln Z is not zero."""
    blobs = torch.stack([-2 * ((x - c) ** 2).sum(1) for c in (0.8, -0.8)])
    return torch.logsumexp(blobs, 0) - 0.5 * torch.log(torch.tensor(2 * torch.pi, dtype=x.dtype))


TARGETS = {
    "ring": Target("Ring2D", _ring2d, 2.5336720590, 3.0336722),
    "ring5": Target("Ring5", _ring5, 3.5085286834, 4.0063497),
    "sheared": Target("Gaussian, sheared", _sheared, 1.1447298858, 2.1447299),
    "tilted": Target("Gaussian, tilted", _tilted, 1.1769991464, 2.1769991),
    "pair": Target("Mog2", _pair, 0.2257913526, 2.1125474),
}
