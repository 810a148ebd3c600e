"""Symmetries of the periodic square lattice, and potentials made invariant under them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .potentials import Potential


def lattice_group(L: int, point_group: bool = False) -> Tensor:
    """The L^2 translations of a periodic L x L lattice as site permutations, times the 8 of the square if asked.

    Returns int64 (elements, L*L): row g lists the site that each site of g x reads, (g x)_i = x_{g[i]}.
    """
    if L < 1:
        raise ValueError(f"L must be at least 1; got {L}")
    sites = torch.arange(L * L).reshape(L, L)
    turned = [torch.rot90(s, k) for s in (sites, sites.T) for k in range(4)] if point_group else [sites]
    rows = [torch.roll(s, (i, j), (0, 1)).flatten() for s in turned for i in range(L) for j in range(L)]
    return torch.stack(rows).unique(dim=0)


def symmetrise(phi: Potential, x: Tensor, group: Tensor, flip: bool = True) -> tuple[Tensor, Tensor]:
    """phi_G(x) = mean over g of phi(g x), with its gradient mean over g of g^T grad phi(g x).

    phi has `value` and `gradient_laplacian`; x (batch, sites); group (elements, sites) permutations; flip adds
    x -> -x. Returns (batch,), (batch, sites).
    """
    whole = Symmetrised(phi, group, flip)
    return whole.value(x), whole.gradient_laplacian(x)[0]


class Symmetrised(nn.Module):
    """Any potential averaged over a group of site permutations and, if flip, over x -> -x (see `symmetrise`)."""

    def __init__(self, phi: Potential, group: Tensor, flip: bool = True):
        super().__init__()
        if group.ndim != 2:
            raise ValueError(f"group must be (elements, sites); got {tuple(group.shape)}")
        self.phi, self.flip = phi, flip
        self.register_buffer("group", group)
        self.register_buffer("inverse", torch.argsort(group, dim=1))

    def value(self, x: Tensor, t: float = 0.0) -> Tensor:
        """phi_G: (batch, sites) -> (batch,)."""
        orbit, _ = self._orbit(x)
        return self.phi.value(orbit.reshape(-1, x.shape[1]), t).reshape(orbit.shape[:2]).mean(0)

    def gradient_laplacian(self, x: Tensor, t: float = 0.0) -> tuple[Tensor, Tensor]:
        """Equivariant gradient (batch, sites) and invariant Laplacian (batch,)."""
        orbit, sign = self._orbit(x)  # (elements, batch, sites)
        grad, lap = self.phi.gradient_laplacian(orbit.reshape(-1, x.shape[1]), t)
        back = self.inverse.repeat(len(sign) // len(self.inverse), 1)[:, None].expand_as(orbit)
        grad = sign[:, None, None] * grad.reshape(orbit.shape).gather(2, back)
        return grad.mean(0), lap.reshape(orbit.shape[:2]).mean(0)

    def _orbit(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.ndim != 2 or x.shape[1] != self.group.shape[1]:
            raise ValueError(f"x must be (batch, {self.group.shape[1]}); got {tuple(x.shape)}")
        orbit = x[:, self.group].transpose(0, 1)
        sign = torch.ones(len(orbit), dtype=x.dtype, device=x.device)
        return (torch.cat([orbit, -orbit]), torch.cat([sign, -sign])) if self.flip else (orbit, sign)


class Drawn(nn.Module):
    """A warning, not a tool: each call looks at phi through one random element of the group instead of averaging.

    Forward and backward runs then follow different fields, so the flow is no longer invertible. seed: of the draws.
    """

    def __init__(self, phi: Potential, group: Tensor, seed: int):
        super().__init__()
        self.phi, self.draws = phi, torch.Generator().manual_seed(seed)
        self.register_buffer("group", group)

    def gradient_laplacian(self, x: Tensor, t: float = 0.0) -> tuple[Tensor, Tensor]:
        """Gradient (batch, sites) and Laplacian (batch,) of phi(g x) for one g, drawn afresh."""
        g = self.group[torch.randint(len(self.group), (), generator=self.draws)]
        grad, lap = self.phi.gradient_laplacian(x[:, g], t)
        return grad[:, torch.argsort(g)], lap
