"""Distances between distributions over 2^n outcomes, at the price of a Fourier transform.

A kernel that depends only on the difference of its arguments is diagonal in a Fourier basis: Walsh-Hadamard when the
outcomes are bit strings, the ordinary one when they are integers. So K v costs n 2^n operations, and the 2^n x 2^n
matrix is never formed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from helpers.born_machine.gates import qubit_count

BANDWIDTHS = (0.5, 1.0, 2.0, 4.0)
KERNELS = ("bits", "integers")


def apply_kernel(v: Tensor, bandwidths: Sequence[float] = BANDWIDTHS, kernel: str = "bits") -> Tensor:
    """(K v)_x = sum_y K(x, y) v_y with K = mean over sigma of exp(-|x - y|^2 / (2 sigma)) (arXiv:1804.04168, Eq. 3).

    v: (..., 2^n) float, index x with qubit 0 as its most significant bit. kernel "bits": |x - y|^2 is the number of
    bits that differ; "integers": the squared difference of the numbers. Returns v's shape. Differentiable.
    """
    n = qubit_count(v.shape[-1], "distribution")
    widths = _checked_bandwidths(bandwidths)
    if kernel not in KERNELS:
        raise ValueError(f"kernel must be one of {KERNELS}, got {kernel!r}")
    spectrum = _spectrum(n, widths, kernel, v.dtype, v.device)
    if kernel == "bits":
        return walsh_hadamard(spectrum * walsh_hadamard(v))
    return torch.fft.irfft(spectrum * torch.fft.rfft(v, 2 << n), 2 << n)[..., : 1 << n]


def mmd_loss(p: Tensor, q: Tensor, bandwidths: Sequence[float] = BANDWIDTHS, kernel: str = "bits") -> Tensor:
    """L = sum_xy (p_x - q_x) K(x, y) (p_y - q_y), the squared maximum mean discrepancy (arXiv:1804.04168, Eq. 2).

    p, q: (..., 2^n) float, the same length; kernel and bandwidths as in `apply_kernel`. Returns (...), zero iff p = q.
    """
    difference = _difference(p, q)
    return (difference * apply_kernel(difference, bandwidths, kernel)).sum(-1)


def mmd_unbiased(counts: Tensor, q: Tensor, bandwidths: Sequence[float] = BANDWIDTHS, kernel: str = "bits") -> Tensor:
    """U-statistic of `mmd_loss` from samples: the mean over pairs of different samples, so that its expectation is L.

    counts: (..., 2^n), how often each outcome was seen, at least 2 in all; q: (..., 2^n) the exact target.
    """
    shots = counts.sum(-1)
    if (shots < 2).any():
        raise ValueError("a U-statistic compares pairs of samples and needs at least 2 of them")
    counts = counts.to(q.dtype)
    among = (counts * apply_kernel(counts, bandwidths, kernel)).sum(-1) - shots  # K(x, x) = 1
    smooth = apply_kernel(q, bandwidths, kernel)
    across = (counts * smooth).sum(-1)
    return among / (shots * (shots - 1)) - 2 * across / shots + (q * smooth).sum(-1)


def total_variation(p: Tensor, q: Tensor) -> Tensor:
    """TV = sum_x |p_x - q_x| / 2, between 0 and 1; p, q: (..., 2^n)."""
    return _difference(p, q).abs().sum(-1) / 2


def valid_rate(p: Tensor, q: Tensor) -> Tensor:
    """The probability that a sample of p is possible under q at all: sum of p_x where q_x > 0; p: (..., 2^n)."""
    return (p * (q > 0)).sum(-1)


def walsh_hadamard(v: Tensor) -> Tensor:
    """v_k -> 2^(-n/2) sum_x (-1)^(k.x) v_x, its own inverse; v: (..., 2^n) float."""
    n = qubit_count(v.shape[-1], "distribution")
    blocks = -(-n // 5)
    for block in range(blocks):
        bits = n * (block + 1) // blocks - n * block // blocks
        table = _hadamard(bits, v.dtype, v.device)
        v = (v.unflatten(-1, (1 << bits, -1)).mT @ table).flatten(-2)
    return v


@lru_cache(maxsize=16)
def _hadamard(bits: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    matrix = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(bits):
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)]) / 2**0.5
    return matrix.to(device, dtype)


@lru_cache(maxsize=32)
def _spectrum(n: int, bandwidths: tuple[float, ...], kernel: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Eigenvalues of K ("bits") or of the circulant of twice its size that K is a corner of ("integers")."""
    x = torch.arange(1 << n, dtype=torch.float64)
    sigma = torch.tensor(bandwidths, dtype=torch.float64)[:, None]
    if kernel == "bits":
        weight = sum((torch.arange(1 << n) >> q & 1) for q in range(n))
        step = torch.exp(-0.5 / sigma)
        values = (1 + step) ** (n - weight) * (1 - step) ** weight
    else:
        half = torch.cat([x, x.new_tensor([1 << n])])
        row = torch.exp(-(half**2) / (2 * sigma))
        values = torch.fft.rfft(torch.cat([row, row[:, 1:-1].flip(-1)], -1)).real
    return values.mean(0).to(device, dtype)


def _checked_bandwidths(bandwidths: Sequence[float]) -> tuple[float, ...]:
    widths = tuple(float(s) for s in bandwidths)
    if not widths or not all(s > 0 for s in widths):
        raise ValueError(f"bandwidths must be one or more positive numbers, got {tuple(bandwidths)}")
    return widths


def _difference(p: Tensor, q: Tensor) -> Tensor:
    if p.shape[-1] != q.shape[-1]:
        raise ValueError(f"both distributions need the same outcomes, got {p.shape[-1]} and {q.shape[-1]}")
    return p - q
