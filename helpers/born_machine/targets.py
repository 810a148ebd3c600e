"""What the Born machine learns: distributions over 2^n outcomes as float64 tensors (2^n,)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from helpers.data import bars_and_stripes


def pattern_index(patterns: Tensor) -> Tensor:
    """x = sum_q b_q 2^(n-1-q): the outcome that a row of bits stands for; (..., n) of 0 and 1 -> (...) int64."""
    powers = 1 << torch.arange(patterns.shape[-1] - 1, -1, -1, device=patterns.device)
    return (patterns.long() * powers).sum(-1)


def bars_and_stripes_target(rows: int, cols: int) -> Tensor:
    """The uniform distribution over the 2^r + 2^c - 2 bars-and-stripes images, pixels read row by row; (2^(r c),)."""
    patterns = torch.from_numpy(bars_and_stripes(rows, cols))
    target = torch.zeros(1 << rows * cols, dtype=torch.float64)
    target[pattern_index(patterns)] = 1 / len(patterns)
    return target


def gaussian_mixture_target(n: int, centres: Sequence[float], width: float) -> Tensor:
    """pi(x) ~ sum_k exp(-((x - mu_k) / nu)^2 / 2) on x = 0 ... 2^n - 1; (2^n,).

    centres mu and width nu are given as fractions of 2^n (arXiv:1804.04168, Sec. III B: 2/7, 5/7 and 1/8).
    """
    top = 1 << n
    x = torch.arange(top, dtype=torch.float64)
    weights = sum(torch.exp(-(((x - mu * top) / (width * top)) ** 2) / 2) for mu in centres)
    return weights / weights.sum()
