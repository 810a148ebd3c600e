"""Amplitude ratios for exchanging two spins of an RBM, without a transcendental function per sample.

Exchanging antiparallel spins i, j moves theta = b + Wx to theta - s_i D with D = 2(W_i - W_j), so each cosh factor of
psi(x')/psi(x) is cosh D - s_i tanh(theta) sinh D: the hyperbolic functions of D are tables over bonds. A visible bias
is one more factor with tanh(theta) = 1. Factors are multiplied in groups of four: expanded, such a group is a matrix
product of monomials of tanh(theta) with monomials of the tables.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from helpers.spins import Bonds, checked_spins
from helpers.vmc.rbm import Ansatz, image_shares, log_amplitude, unfold

GROUP = 4  # factors expanded together: 2^(GROUP - 1) monomials of each parity
LARGEST_EXPONENT = 300.0  # tables are used while no product of factors can exceed exp(LARGEST_EXPONENT)
_CHUNK = 1 << 17  # complex numbers in one block of ratios, small enough for a cache


class SwapTable(NamedTuple):
    """cosh D and the two values -+sinh D over bonds, (bonds, images, units) complex, and the pairs (bonds, 2)."""

    pairs: Tensor
    cosh: Tensor
    sinh: Tensor  # (2 bonds, images, units): -sinh D for s_i = +1, then +sinh D for s_i = -1

    @property
    def safe(self) -> bool:
        """Whether the products of tabulated factors stay far from overflow."""
        top = self.cosh.abs().clamp(min=1).log() if bool(self.cosh.isfinite().all()) else None
        return top is not None and float(top.sum(dim=2).max()) < LARGEST_EXPONENT


class Walkers(NamedTuple):
    """Configurations with what a move needs: spins (batch, sites), tanh (batch, images, units), share (batch, images).

    share is the normalised contribution of each image to psi(x); it sums to one.
    """

    spins: Tensor
    tanh: Tensor
    share: Tensor


def swap_table(ansatz: Ansatz, pairs: Tensor) -> SwapTable:
    """Tabulate cosh and sinh of D = 2(W_i - W_j) for every pair."""
    _, weights = unfold(ansatz)
    shift = 2 * (weights[..., pairs[:, 0]] - weights[..., pairs[:, 1]]).movedim(-1, 0)
    sinh = torch.sinh(shift)
    return SwapTable(pairs, torch.cosh(shift), torch.cat([-sinh, sinh]).contiguous())


def walkers(spins: Tensor, ansatz: Ansatz) -> Walkers:
    """Compute tanh(theta) and the image shares afresh for spins (batch, sites)."""
    hidden, weights = unfold(ansatz)
    theta = torch.einsum("bi,gui->bgu", spins.to(weights.dtype), weights[:, :-1]) + hidden
    if ansatz.projection is None:
        share = torch.ones(len(spins), 1, dtype=weights.dtype, device=weights.device)
    else:
        share = image_shares(spins, ansatz)
    return Walkers(spins, pad(torch.tanh(theta), (0, 1), value=1.0), share)


def _monomials(even_part: Tensor, odd_part: Tensor) -> tuple[Tensor, Tensor]:
    """Products over subsets within groups of factors (..., groups, GROUP), split by the parity of odd parts chosen."""
    even, odd = even_part[..., :1], odd_part[..., :1]
    for k in range(1, GROUP):
        stay, flip = even_part[..., k : k + 1], odd_part[..., k : k + 1]
        even, odd = torch.cat([even * stay, odd * flip], -1), torch.cat([odd * stay, even * flip], -1)
    return even, odd


def _grouped(factors: Tensor, fill: float) -> Tensor:
    """(batch, images, units) to (batch, images, groups, GROUP), filled up with neutral factors."""
    missing = -factors.shape[-1] % GROUP
    return pad(factors, (0, missing), value=fill).unflatten(-1, (-1, GROUP))


def swap_ratios(state: Walkers, table: SwapTable) -> Tensor:
    """psi(x')/psi(x) for exchanging every pair: (batch, bonds) complex, meaningful where the two spins differ."""
    bonds, images = len(table.pairs), table.cosh.shape[1]
    coefficients = _monomials(_grouped(table.cosh, 1.0), _grouped(table.sinh[:bonds], 0.0))
    even_c, odd_c = (c.flatten(1, 2).permute(1, 2, 0).contiguous() for c in coefficients)  # (groups, monomials, bonds)
    block = max(1, _CHUNK // (len(even_c) * bonds))
    first = state.spins[:, table.pairs[:, 0]].to(even_c.dtype)
    out = torch.empty(len(first), bonds, dtype=even_c.dtype, device=even_c.device)
    for rows in torch.arange(len(first), device=out.device).split(block):
        t = _grouped(state.tanh[rows], 0.0)
        even_t, odd_t = (m.flatten(1, 2).transpose(0, 1) for m in _monomials(torch.ones_like(t), t))
        factor = torch.addcmul(even_t @ even_c, first[rows], odd_t @ odd_c)  # (groups, batch, bonds)
        product = factor.unflatten(0, (images, -1)).prod(dim=1)
        out[rows] = product[0] if images == 1 else (state.share[rows].T[:, :, None] * product).sum(dim=0)
    return out


def local_energy(spins: Tensor, log_psi: Callable[[Tensor], Tensor], bonds: Bonds) -> Tensor:
    """E_loc(x) = <x|H|psi> / <x|psi> for any log_psi, by evaluating it on every exchanged configuration.

    spins (batch, sites) of +-1; bonds (pairs, ising, exchange); returns (batch,) complex in J1. A bond adds
    ising s_i s_j / 4, and exchange / 2 times psi(x_ij)/psi(x) where the spins differ.
    """
    pairs, ising, exchange = bonds
    product = checked_spins(spins)[:, pairs[:, 0]] * spins[:, pairs[:, 1]]
    row, bond = (product < 0).nonzero(as_tuple=True)
    swapped = spins[row]
    each = torch.arange(len(row), device=spins.device)
    i, j = pairs[bond].T
    swapped[each, i], swapped[each, j] = spins[row, j], spins[row, i]
    ratio = torch.exp(log_psi(swapped) - log_psi(spins)[row])
    diagonal = (product @ ising).to(ratio.dtype) / 4
    return diagonal.index_add(0, row, exchange[bond] * ratio / 2)


def local_energies(spins: Tensor, ansatz: Ansatz, bonds: Bonds, state: Walkers | None = None) -> Tensor:
    """E_loc(x) = sum_b [ising_b s_i s_j + 2 exchange_b [s_i != s_j] psi(x_ij)/psi(x)] / 4, (batch,) complex."""
    table = swap_table(ansatz, bonds.pairs)
    left, right = spins[:, bonds.pairs[:, 0]], spins[:, bonds.pairs[:, 1]]
    product = left * right  # (batch, bonds)
    if table.safe:
        ratio = swap_ratios(state or walkers(spins, ansatz), table)
    else:
        ratio = _ratios_by_logs(spins, ansatz, bonds.pairs)
    flips = torch.where(product < 0, bonds.exchange, 0.0)
    return (product @ bonds.ising) / 4 + (flips * ratio).sum(dim=1) / 2


def _ratios_by_logs(spins: Tensor, ansatz: Ansatz, pairs: Tensor) -> Tensor:
    """The same ratios from differences of log psi, for weights so large that the tables would overflow."""
    swapped = spins[:, None, :].expand(-1, len(pairs), -1).clone()
    row = torch.arange(len(pairs), device=spins.device)
    for here, there in ((0, 1), (1, 0)):
        swapped[:, row, pairs[:, here]] = spins[:, pairs[:, there]]
    change = log_amplitude(swapped.flatten(0, 1), ansatz).reshape(len(spins), -1)
    change = change - log_amplitude(spins, ansatz)[:, None]
    return torch.exp(torch.complex(change.real.clamp(max=LARGEST_EXPONENT), change.imag))
