"""The 2-D Ising model in its continuous (Hubbard-Stratonovich) form, with the exact constants to compare with."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .potentials import value_of

CRITICAL_TEMPERATURE = 2 / math.log(1 + math.sqrt(2))


def adjacency(L: int, periodic: bool = True) -> Tensor:
    """A (L*L, L*L) float64 of the square lattice: bonds between two sites, so 2 at L = 2 periodic."""
    if L < 2:
        raise ValueError(f"L must be at least 2; got {L}")
    ring = torch.diag(torch.ones(L - 1, dtype=torch.float64), 1)
    if periodic:
        ring[L - 1, 0] += 1
    ring = ring + ring.T
    one = torch.eye(L, dtype=torch.float64)
    return torch.kron(ring, one) + torch.kron(one, ring)


def dual_coupling(
    L: int, T: float = CRITICAL_TEMPERATURE, periodic: bool = True, margin: float = 0.1
) -> tuple[Tensor, float]:
    """K = A / T + alpha 1 with alpha = margin - lambda_min(A / T), so that K is positive: (L*L, L*L) float64, alpha.

    alpha only shifts s^T K s by the constant alpha N: the spins do not feel it.
    """
    if not T > 0 or not margin > 0:
        raise ValueError(f"T and margin must be positive; got T = {T}, margin = {margin}")
    bonds = adjacency(L, periodic) / T
    alpha = margin - float(torch.linalg.eigvalsh(bonds)[0])
    return bonds + alpha * torch.eye(L * L, dtype=torch.float64), alpha


def ising_dual_log_prob(x: Tensor, K: Tensor) -> Tensor:
    """ln pi(x) + ln Z = -x^T K^-1 x / 2 + sum_i ln cosh x_i (the 2^N is left out): (batch, N), (N, N) -> (batch,)."""
    if x.ndim != 2 or K.shape != (x.shape[1], x.shape[1]):
        raise ValueError(f"x (batch, N) and K (N, N) must share N; got {tuple(x.shape)} and {tuple(K.shape)}")
    return dual_from_precision(x, torch.linalg.inv(K))


def dual_from_precision(x: Tensor, precision: Tensor) -> Tensor:
    """`ising_dual_log_prob` with K^-1 (N, N) given: the form a training loop wants."""
    return value_of(x, "lncosh").sum(1) - 0.5 * ((x @ precision) * x).sum(1)


def sample_spins(x: Tensor, uniforms: Tensor) -> Tensor:
    """Spins +-1 given the field: p(s_i = +1 | x) = 1 / (1 + exp(-2 x_i)), up where the uniform number is below it.

    x (batch, N), uniforms (batch, N) in [0, 1) -> (batch, N) of the dtype of x.
    """
    if x.shape != uniforms.shape:
        raise ValueError(f"one uniform number per field is needed; got {tuple(uniforms.shape)} for {tuple(x.shape)}")
    return torch.where(uniforms < torch.sigmoid(2 * x), 1.0, -1.0).to(x.dtype)


def dual_constant(K: Tensor, alpha: float) -> float:
    """C = (N / 2)(ln 4 - alpha - ln 2 pi) - (ln det K) / 2, so that ln Z_dual = ln Z_Ising - C."""
    N = len(K)
    return 0.5 * N * (math.log(4) - alpha - math.log(2 * math.pi)) - 0.5 * float(torch.logdet(K))


def order_parameter(x: Tensor, log_weight: Tensor | None = None) -> tuple[float, float, float]:
    """<m^2> with its standard error and the effective sample size (sum w)^2 / sum w^2, spins summed out given x.

    E[m^2 | x] = ((sum_i tanh x_i)^2 + sum_i (1 - tanh^2 x_i)) / N^2. x (batch, N); log_weight (batch,) = ln pi - ln q,
    or None for plain samples.
    """
    t = torch.tanh(x)
    m2 = (t.sum(1) ** 2 + (1 - t * t).sum(1)) / x.shape[1] ** 2
    w = torch.full_like(m2, 1 / len(m2)) if log_weight is None else torch.softmax(log_weight, 0)
    mean = (w * m2).sum()
    return float(mean), float((w * w * (m2 - mean) ** 2).sum().sqrt()), float(1 / (w * w).sum())


def log_partition(L: int, T: float = CRITICAL_TEMPERATURE) -> float:
    """ln Z of the periodic L x L Ising model (Kaufman 1949), with gamma_0 = 2K + ln tanh K, negative above Tc."""
    if L < 2 or not T > 0:
        raise ValueError(f"L >= 2 and T > 0 are needed; got L = {L}, T = {T}")
    K = 1 / T
    rate = torch.tensor(math.cosh(2 * K) / math.tanh(2 * K), dtype=torch.float64)
    half = 0.5 * L * torch.arccosh(rate - torch.cos(math.pi / L * torch.arange(2 * L, dtype=torch.float64)))
    half[0] = 0.5 * L * (2 * K + math.log(math.tanh(K)))
    log_cosh = half.abs() + torch.log1p(torch.exp(-2 * half.abs()))  # ln 2 cosh
    log_sinh = half.abs() + torch.log(-torch.expm1(-2 * half.abs()))  # ln |2 sinh|
    terms = torch.stack([log_cosh[1::2].sum(), log_sinh[1::2].sum(), log_cosh[::2].sum(), log_sinh[::2].sum()])
    signs = torch.tensor([1.0, 1.0, 1.0, math.copysign(1.0, float(half[0]))], dtype=torch.float64)
    top = terms.max()
    total = float(top + torch.log((signs * torch.exp(terms - top)).sum()))
    return total + 0.5 * L * L * math.log(2 * math.sinh(2 * K)) - math.log(2)


def dual_free_energy(L: int, T: float = CRITICAL_TEMPERATURE) -> float:
    """-ln Z_dual / N of the periodic lattice: the exact floor under the variational free energy per site."""
    K, alpha = dual_coupling(L, T)
    return -(log_partition(L, T) - dual_constant(K, alpha)) / (L * L)
