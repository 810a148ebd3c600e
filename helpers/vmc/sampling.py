"""Metropolis sampling of |psi(x)|^2 with exchange moves: many chains at once."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from helpers.spins import checked_spins
from helpers.vmc.rbm import Ansatz, log_amplitude
from helpers.vmc.swaps import SwapTable, Walkers, swap_table, walkers


class Samples(NamedTuple):
    """spins (kept, chains, sites) of +-1, and the fraction of proposals that changed a configuration."""

    spins: Tensor
    acceptance: float


def random_spins(chains: int, sites: int, generator: torch.Generator) -> Tensor:
    """Uniform configurations with Sz = 0, (chains, sites) float64 of +-1 on the generator's device."""
    if chains < 1 or sites < 2 or sites % 2:
        raise ValueError(f"Sz = 0 needs chains >= 1 and an even number of sites, got {chains}, {sites}")
    keys = torch.rand(chains, sites, generator=generator, device=generator.device)
    return 2.0 * (keys.argsort(dim=1) % 2).to(torch.float64) - 1.0


def metropolis(
    log_psi: Callable[[Tensor], Tensor],
    start: Tensor,
    seed: int,
    steps: int,
    pairs: Tensor | None = None,
    every: int = 1,
) -> Samples:
    """Sample |psi|^2 from log_psi of whole configurations: in every step each chain proposes to exchange a random pair
    of sites and accepts with probability min(1, |psi(x')/psi(x)|^2); every so many steps all chains are recorded.

    start (chains, sites); pairs (bonds, 2) restricts the proposals (default: any two sites).
    """
    spins = checked_spins(start).clone()
    chains, sites = spins.shape
    pairs = torch.combinations(torch.arange(sites), 2) if pairs is None else pairs
    pairs = pairs.to(spins.device)
    generator = torch.Generator(spins.device).manual_seed(seed)
    row = torch.arange(chains, device=spins.device)
    log_weight = 2 * log_psi(spins).real
    kept, moved = [], 0
    for step in range(1, steps + 1):
        i, j = pairs[torch.randint(len(pairs), (chains,), generator=generator, device=spins.device)].T
        proposal = spins.clone()
        proposal[row, i], proposal[row, j] = spins[row, j], spins[row, i]
        proposed = 2 * log_psi(proposal).real
        uniform = torch.rand(chains, generator=generator, device=spins.device, dtype=torch.float64)
        accept = uniform.log() < proposed - log_weight
        moved += int((accept & (spins[row, i] != spins[row, j])).sum())
        spins = torch.where(accept[:, None], proposal, spins)
        log_weight = torch.where(accept, proposed, log_weight)
        if step % every == 0:
            kept.append(spins)
    return Samples(torch.stack(kept), moved / (steps * chains))


def _exchange(state: Walkers, table: SwapTable, bond: Tensor, threshold: Tensor) -> int:
    """One proposal per chain, in place; returns how many exchanges were accepted and changed a configuration."""
    spins, tanh, share = state
    row = torch.arange(len(spins), device=spins.device)
    i, j = table.pairs[bond].T
    left = spins[row, i]
    cosh = table.cosh.index_select(0, bond)
    sinh = table.sinh.index_select(0, bond + len(table.pairs) * (left < 0))
    factor = torch.addcmul(cosh, tanh, sinh)  # (chains, images, units)
    image = factor.prod(dim=2)
    ratio = (share * image).sum(dim=1)
    accept = (threshold < ratio.abs()) & (left != spins[row, j])
    moved = accept.nonzero()[:, 0]
    tanh[moved] = torch.addcmul(sinh[moved], tanh[moved], cosh[moved]).div_(factor[moved])
    if share.shape[1] > 1:
        share[moved] = share[moved] * image[moved] / ratio[moved, None]
    spins[moved, i[moved]], spins[moved, j[moved]] = -left[moved], left[moved]
    return len(moved)


def sweep(
    spins: Tensor, ansatz: Ansatz, pairs: Tensor, generator: torch.Generator, sweeps: int = 1, power: float = 2.0
) -> tuple[Walkers, float]:
    """Move all chains (chains, sites) by `sweeps` x sites proposals over the given pairs, towards |psi|^power.

    Returns (Walkers, acceptance): the new configurations with their tabulated state, and the fraction that moved.
    """
    table = swap_table(ansatz, pairs)
    chains, sites = spins.shape
    steps = sweeps * sites
    if not table.safe:
        seed = int(torch.randint(1 << 31, (1,), generator=generator, device=generator.device))
        result = metropolis(lambda x: power / 2 * log_amplitude(x, ansatz), spins, seed, steps, pairs, steps)
        return walkers(result.spins[-1], ansatz), result.acceptance
    device = spins.device
    bond = torch.randint(len(pairs), (steps, chains), generator=generator, device=device)
    uniform = torch.rand(steps, chains, generator=generator, device=device, dtype=torch.float64)
    threshold = uniform ** (1 / power)  # of |psi'/psi|
    state = walkers(spins.clone(), ansatz)
    accepted = sum(_exchange(state, table, bond[step], threshold[step]) for step in range(steps))
    return state, accepted / (steps * chains)


def repaired_chain(log_psi: Callable[[Tensor], Tensor], start: Tensor, swaps: Tensor, uniforms: Tensor) -> Tensor:
    """One Metropolis chain with given proposals, recorded after every step whether it moved or stayed.

    start (sites,) of +-1, swaps (steps, 2) site indices, uniforms (steps,) in [0, 1); returns (steps, sites).
    """
    if swaps.ndim != 2 or swaps.shape[1] != 2 or uniforms.shape != swaps.shape[:1]:
        raise ValueError(
            f"need swaps (steps, 2) and uniforms (steps,), got {tuple(swaps.shape)}, {tuple(uniforms.shape)}"
        )
    spins, record = start.clone(), []
    for (i, j), u in zip(swaps.tolist(), uniforms.tolist(), strict=True):
        proposal = spins.clone()
        proposal[[i, j]] = spins[[j, i]]
        old, new = log_psi(torch.stack([spins, proposal])).real
        if u < float(torch.exp(2 * (new - old))):
            spins = proposal
        record.append(spins)
    return torch.stack(record)
