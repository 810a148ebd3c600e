"""Spin-1/2 magnets: bonds, bases, symmetries, exact diagonalisation and the Marshall sign (note 5.5)."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor

_CHUNK = 1 << 22  # bonds x states handled at once while a Hamiltonian is built


class Bonds(NamedTuple):
    """H = sum_b ising_b Sz_i Sz_j + (exchange_b / 2)(S+_i S-_j + S-_i S+_j) over the pairs b = (i, j).

    pairs (bonds, 2) int64; ising, exchange (bonds,) float64 in units of J1. A Heisenberg bond has ising = exchange = J.
    """

    pairs: Tensor
    ising: Tensor
    exchange: Tensor

    @property
    def sites(self) -> int:
        """Number of spins: one more than the largest site index."""
        return int(self.pairs.max()) + 1

    def to(self, device: torch.device | str) -> "Bonds":
        """The same bonds on another device."""
        return Bonds(*(tensor.to(device) for tensor in self))


class GroundState(NamedTuple):
    """The lowest levels: energies (levels,) ascending, vectors (states, levels) float64, spins (states, sites)."""

    energies: Tensor
    vectors: Tensor
    spins: Tensor


def heisenberg(pairs: list[tuple[int, int]], coupling: list[float]) -> Bonds:
    """H = sum_b J_b S_i . S_j, from pairs and couplings J_b in units of J1."""
    if len(pairs) != len(coupling) or not pairs:
        raise ValueError(f"need one coupling per pair and at least one pair, got {len(pairs)} and {len(coupling)}")
    strength = torch.tensor(coupling, dtype=torch.float64)
    return Bonds(torch.tensor(pairs, dtype=torch.int64), strength, strength.clone())


def chain(sites: int, J2: float = 0.0, J1: float = 1.0, *, periodic: bool = True) -> Bonds:
    """J1-J2 chain H = J1 sum S_i.S_{i+1} + J2 sum S_i.S_{i+2} on an even number of sites: a ring of >= 6, or open."""
    if not (isinstance(sites, int) and sites >= (6 if periodic else 4) and sites % 2 == 0):
        raise ValueError(f"a chain needs an even number of sites, at least 6 periodic or 4 open, got {sites!r}")
    pairs, coupling = [], []
    for distance, strength in ((1, J1), (2, J2)):
        if strength == 0:
            continue
        reach = sites if periodic else sites - distance
        pairs += [(i, (i + distance) % sites) for i in range(reach)]
        coupling += [float(strength)] * reach
    return heisenberg(pairs, coupling)


def square(side: int, J2: float = 0.0, J1: float = 1.0) -> Bonds:
    """J1-J2 square lattice, side x side and periodic, diagonals J2; site = side * row + column, side even and >= 4."""
    if not (isinstance(side, int) and side >= 4 and side % 2 == 0):
        raise ValueError(f"the periodic square needs an even side of at least 4, got {side!r}")
    pairs, coupling = [], []
    for steps, strength in ((((0, 1), (1, 0)), J1), (((1, 1), (1, -1)), J2)):
        if strength == 0:
            continue
        for row in range(side):
            for column in range(side):
                for down, right in steps:
                    other = side * ((row + down) % side) + (column + right) % side
                    pairs.append((side * row + column, other))
                    coupling.append(float(strength))
    return heisenberg(pairs, coupling)


def chain_sublattice(sites: int) -> Tensor:
    """True on the even sites of a chain, (sites,) bool."""
    return torch.arange(sites) % 2 == 0


def square_sublattice(side: int) -> Tensor:
    """True on the even sites of the checkerboard, (side * side,) bool."""
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return ((row + column) % 2 == 0).flatten()


def stripe_sublattice(sites: int) -> Tensor:
    """True on sites 0, 1, 4, 5, ... of a chain, (sites,) bool: the sublattice of two decoupled chains, J2 >> J1."""
    return torch.arange(sites) % 4 < 2


def marshall_sign(spins: Tensor, sublattice: Tensor | None = None) -> Tensor:
    """(-1)^(number of up spins on the sublattice), for spins (batch, sites) of +-1; default: the even sites.

    Returns (batch,) float64 of +-1: the sign of the J1 ground state on a bipartite lattice (Marshall 1955).
    """
    spins = checked_spins(spins)
    mask = chain_sublattice(spins.shape[1]) if sublattice is None else sublattice
    up = (spins[:, mask.to(spins.device)] > 0).sum(dim=1)
    return 1.0 - 2.0 * (up % 2).to(torch.float64)


def rotated(bonds: Bonds, sublattice: Tensor) -> Bonds:
    """The same H with every spin of the sublattice turned by pi about z: exchange changes sign across sublattices."""
    mask = sublattice.to(bonds.pairs.device)
    across = mask[bonds.pairs[:, 0]] != mask[bonds.pairs[:, 1]]
    return bonds._replace(exchange=torch.where(across, -bonds.exchange, bonds.exchange))


def checked_spins(spins: Tensor) -> Tensor:
    """The argument, if it is a (batch, sites) tensor of +-1; ValueError or TypeError in one sentence if not."""
    if not isinstance(spins, Tensor):
        raise TypeError(f"spins must be a tensor of +-1 of shape (batch, sites), got {type(spins).__name__}")
    if spins.ndim != 2 or not bool((spins.abs() == 1).all()):
        raise ValueError(f"spins must be +-1 with shape (batch, sites), got shape {tuple(spins.shape)}")
    return spins


def sector(sites: int, up: int | None = None) -> Tensor:
    """All configurations with a fixed number of up spins (default: half, Sz = 0), (states, sites) float64 of +-1.

    Ordered by the integer whose most significant bit is site 0 and whose ones are the up spins; at most 24 sites.
    """
    states = _sector_integers(sites, up)
    bits = (states[:, None] >> np.arange(sites - 1, -1, -1)) & 1
    return torch.from_numpy(2.0 * bits - 1.0)


def _sector_integers(sites: int, up: int | None) -> np.ndarray:
    if not 1 <= sites <= 24:
        raise ValueError(f"bases are enumerated for 1 to 24 sites, got {sites}")
    half = sites // 2 if up is None else up
    if not 0 <= half <= sites:
        raise ValueError(f"the number of up spins must lie between 0 and {sites}, got {half}")
    return np.flatnonzero(np.bitwise_count(np.arange(1 << sites, dtype=np.uint32)) == half)


def hamiltonian(bonds: Bonds, up: int | None = None) -> sparse.csr_matrix:
    """H in the basis of sector(sites, up), scipy csr float64 (states, states), in units of J1."""
    sites = bonds.sites
    states = _sector_integers(sites, up)
    position = np.full(1 << sites, -1, dtype=np.int32)
    position[states] = np.arange(len(states), dtype=np.int32)
    bit = 1 << (sites - 1 - bonds.pairs.cpu().numpy())  # (bonds, 2)
    ising, exchange = bonds.ising.cpu().numpy(), bonds.exchange.cpu().numpy()
    diagonal = np.zeros(len(states))
    total = None
    group = max(1, _CHUNK // len(states))
    for start in range(0, len(bit), group):
        rows, columns, values = [], [], []
        for b in range(start, min(start + group, len(bit))):
            apart = ((states & bit[b, 0]) != 0) != ((states & bit[b, 1]) != 0)
            diagonal += ising[b] * np.where(apart, -0.25, 0.25)
            row = np.flatnonzero(apart).astype(np.int32)
            rows.append(row)
            columns.append(position[states[row] ^ (bit[b, 0] | bit[b, 1])])
            values.append(np.full(len(row), 0.5 * exchange[b]))
        entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        part = sparse.csr_matrix(entries, shape=(len(states),) * 2)
        total = part if total is None else total + part
    return (total + sparse.diags(diagonal)).tocsr()


def ground_state(bonds: Bonds, levels: int = 1, up: int | None = None) -> GroundState:
    """The lowest levels of H in one Sz sector by Lanczos (dense below 200 states), converged to about 1e-12 J1.

    A degenerate level needs levels >= its degeneracy to be spanned: 2 at the Majumdar-Ghosh point J2 = 0.5.
    """
    matrix = hamiltonian(bonds, up)
    size = matrix.shape[0]
    if not 1 <= levels <= size:
        raise ValueError(f"levels must lie between 1 and the {size} states of the sector, got {levels}")
    if size < 200:
        energies, vectors = np.linalg.eigh(matrix.toarray())
        energies, vectors = energies[:levels], vectors[:, :levels]
    else:
        start = np.random.default_rng(0).standard_normal(size)
        energies, vectors = eigsh(matrix, k=levels, which="SA", tol=1e-12, v0=start, ncv=max(2 * levels + 1, 24))
        order = np.argsort(energies)
        energies, vectors = energies[order], vectors[:, order]
    return GroundState(torch.from_numpy(energies.copy()), torch.from_numpy(vectors.copy()), sector(bonds.sites, up))


def overlap(psi: Tensor, vectors: Tensor) -> float:
    """sum_k |<k|psi>|^2 / <psi|psi>: weight of psi (states,) in the span of orthonormal vectors (states, levels)."""
    inner = vectors.to(psi.dtype).conj().T @ psi
    return float(inner.abs().square().sum() / psi.abs().square().sum())


def correlations(spins: Tensor, weight: Tensor | None = None) -> Tensor:
    """<Sz_i Sz_{i+r}> averaged over i on a ring, (sites,), from spins (batch, sites) with weights (batch,)."""
    spins = checked_spins(spins).to(torch.float64)
    weight = torch.full_like(spins[:, 0], 1.0) if weight is None else weight
    power = torch.fft.rfft(spins, dim=1).abs().square()
    ring = torch.fft.irfft(power, n=spins.shape[1], dim=1) / (4 * spins.shape[1])
    return (weight[:, None] * ring).sum(dim=0) / weight.sum()


def chain_group(sites: int, *, reflections: bool = False) -> Tensor:
    """The translations of a ring as permutations (elements, sites) int64, with the reflections if asked."""
    site = torch.arange(sites)
    shifts = (site[None, :] + site[:, None]) % sites
    return torch.cat([shifts, shifts.flip(1)]) if reflections else shifts


def square_group(side: int, *, point_group: bool = False) -> Tensor:
    """Translations of the periodic square as permutations (elements, sites), times its 8 point symmetries if asked."""
    grid = torch.arange(side * side).reshape(side, side)
    images = [grid]
    if point_group:
        images = [torch.rot90(g, k) for g in (grid, grid.T) for k in range(4)]
    shifts = [g.roll((r, c), (0, 1)).flatten() for g in images for r in range(side) for c in range(side)]
    return torch.stack(shifts)


def bethe_energy(sites: int) -> float:
    """Exact ground-state energy of the Heisenberg ring (J1 = 1) of any even length, from the Bethe equations.

    N arctan(2 l_j) = pi I_j + sum_k arctan(l_j - l_k) for N/2 rapidities with I_j = -(N/2 - 1)/2, ..., (N/2 - 1)/2,
    solved by iteration; E = N/4 - sum_j 2 / (1 + 4 l_j^2) (Bethe 1931, Hulthen 1938).
    """
    if sites < 6 or sites % 2:
        raise ValueError(f"the Bethe equations here are those of an even ring of at least six sites, got {sites}")
    quanta = np.pi * (np.arange(sites // 2) - (sites // 2 - 1) / 2)
    rapidities, change = np.zeros(sites // 2), 1.0
    while change > 1e-14:
        scattered = np.arctan(rapidities[:, None] - rapidities).sum(axis=1)
        new = np.tan((quanta + scattered) / sites) / 2
        rapidities, change = new, float(np.abs(new - rapidities).max() / np.abs(new).max())
    return float(sites / 4 - (2 / (1 + 4 * rapidities**2)).sum())
