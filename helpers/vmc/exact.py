"""What the wavefunction really says: sums over every configuration, no sampling (sites <= 20 or so)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from helpers.spins import Bonds, checked_spins, hamiltonian, sector

_BLOCK = 1 << 13


@dataclass(frozen=True)
class TableLogPsi:
    """A wavefunction given by its table: spins (states, sites) of +-1 and amplitudes (states,) complex."""

    spins: Tensor
    amplitudes: Tensor

    def __call__(self, spins: Tensor) -> Tensor:
        """log psi for any configurations of the table, (batch, sites) to (batch,) complex; ValueError for others."""
        keys, wanted = _codes(self.spins), _codes(checked_spins(spins))
        order = keys.argsort()
        place = torch.searchsorted(keys[order], wanted).clamp(max=len(keys) - 1)
        found = order[place]
        if spins.shape[1] != self.spins.shape[1] or not bool((keys[found] == wanted).all()):
            raise ValueError("a configuration outside the table of this wavefunction was asked for: is Sz still 0?")
        return torch.log(self.amplitudes.to(torch.complex128))[found]

    def to_plain(self) -> tuple[Tensor, Tensor]:
        """The two tensors."""
        return self.spins, self.amplitudes

    @classmethod
    def from_plain(cls, tree: tuple[Tensor, Tensor]) -> "TableLogPsi":
        """Rebuild from `to_plain`; ValueError or TypeError if the tensors do not fit."""
        spins, amplitudes = tree
        if not isinstance(amplitudes, Tensor) or amplitudes.shape != checked_spins(spins).shape[:1]:
            raise ValueError("a table needs one amplitude for every configuration")
        return cls(spins, amplitudes)


def _codes(spins: Tensor) -> Tensor:
    power = 2 ** torch.arange(spins.shape[1] - 1, -1, -1, device=spins.device)
    return ((spins > 0) * power).sum(dim=1)


def amplitudes(log_psi: Callable[[Tensor], Tensor], spins: Tensor) -> Tensor:
    """Normalised psi (states,) complex128 of any log_psi on a list of configurations, evaluated in blocks."""
    logs = torch.cat([log_psi(block) for block in spins.split(_BLOCK)])
    psi = torch.exp(logs - logs.real.max()).to(torch.complex128)
    return psi / psi.abs().square().sum().sqrt()


def exact_energy(log_psi: Callable[[Tensor], Tensor], bonds: Bonds, device: torch.device | str = "cpu") -> float:
    """<psi|H|psi> / <psi|psi> over the whole Sz = 0 sector, in J1: never below the ground state."""
    psi = amplitudes(log_psi, sector(bonds.sites).to(device)).cpu().numpy()
    return float(np.vdot(psi, hamiltonian(bonds) @ psi).real)


def exact_local_energies(psi: Tensor, bonds: Bonds) -> Tensor:
    """H psi / psi (states,) for a table of amplitudes without zeros, by the sparse matrix."""
    return torch.from_numpy(hamiltonian(bonds) @ psi.numpy()) / psi
