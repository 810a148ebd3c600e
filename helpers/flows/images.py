"""Pixels and flows: noise that makes grey levels continuous, logit space, and the units in which results are quoted."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from helpers.flows.bijectors import Bijector, Sigmoid
from helpers.flows.model import normal_log_prob

LEVELS = 256
MARGIN = 1e-6


def dequantise(pixels: np.ndarray | Tensor, generator: torch.Generator | None = None) -> Tensor:
    """(pixel + u) / 256 with u uniform in [0, 1): uint8 (count, ...) to float64 (count, pixels) in [0, 1)."""
    pixels = torch.as_tensor(np.array(pixels) if isinstance(pixels, np.ndarray) else pixels)
    if pixels.dtype != torch.uint8:
        raise TypeError(f"pixels are whole grey levels 0..255 of dtype uint8, got {pixels.dtype}")
    flat = pixels.reshape(len(pixels), -1)
    noise = torch.rand(flat.shape, generator=generator, dtype=torch.float64, device=flat.device)
    return (flat + noise) / LEVELS


def to_logit(pixels: Tensor, margin: float = MARGIN) -> tuple[Tensor, Tensor]:
    """x = logit(l + (1 - 2 l) y) of pixels y in [0, 1] (count, dim), and log|det dx/dy| (count,)."""
    return Sigmoid(pixels.shape[1], margin).inverse(pixels)


def from_logit(x: Tensor, margin: float = MARGIN) -> Tensor:
    """Pixels (count, dim) in [0, 1] of points x in logit space."""
    return Sigmoid(x.shape[1], margin)(x)[0].clamp(0, 1)


def bits_per_dim(nll: Tensor | float, log_abs_det: Tensor | float, dim: int) -> Tensor | float:
    """Bits per pixel of a discrete image from `nll`, nats in logit space: (nll - log|det dx/dy|) / (dim ln 2) + 8.

    log_abs_det: ln|det dx/dy| of the logit map at that image (or its mean).  1 bit/dim of MNIST is 543.427 nats.
    """
    return (nll - log_abs_det) / (dim * math.log(2)) + math.log2(LEVELS)


class Histogram(Bijector):
    """Normal numbers to dequantised pixels, each coordinate by its own histogram: y_i = F_i^{-1}(Phi(z_i)).

    F_i is the cumulative distribution of pixel i, linear within each of the 256 grey levels, as dequantisation makes
    it.  With z normal this is the model of independent pixels with exact one-pixel statistics.  pixels: uint8
    (count, dim) to count from; `prior` is added to every count, so that no grey level is impossible.
    """

    def __init__(self, pixels: Tensor, prior: float = 0.05) -> None:
        super().__init__()
        if pixels.ndim != 2 or pixels.dtype != torch.uint8:
            raise TypeError(f"a histogram counts uint8 pixels (count, dim), got {pixels.dtype} {tuple(pixels.shape)}")
        self.dim = pixels.shape[1]
        code = pixels.long() + LEVELS * torch.arange(self.dim, device=pixels.device)
        counts = torch.bincount(code.flatten(), minlength=LEVELS * self.dim).view(self.dim, LEVELS) + prior
        share = counts.double() / counts.sum(1, keepdim=True)
        self.register_buffer("share", share)  # (dim, 256)
        self.register_buffer("below", torch.cat([torch.zeros_like(share[:, :1]), share.cumsum(1)], dim=1))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Normal numbers to pixels in (0, 1)."""
        self.check(z)
        rank, below = torch.special.ndtr(z.double()).t(), self.below.double()
        level = torch.searchsorted(below, rank.detach().contiguous(), right=True).sub_(1).clamp_(0, LEVELS - 1)
        within = (rank - below.gather(1, level)) / self.share.double().gather(1, level)
        y = ((level + within.clamp(0, 1)) / LEVELS).t()
        return y.to(z), (normal_log_prob(z.double()) - self._log_density(level)).to(z)

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels in [0, 1] to normal numbers, bounded by |z| < 7."""
        self.check(x)
        y = LEVELS * x.double().t()
        level = y.long().clamp_(0, LEVELS - 1)
        rank = self.below.double().gather(1, level) + (y - level) * self.share.double().gather(1, level)
        z = torch.special.ndtri(rank.clamp(1e-12, 1 - 1e-12)).t()
        return z.to(x), (self._log_density(level) - normal_log_prob(z)).to(x)

    def _log_density(self, level: Tensor) -> Tensor:
        return self.share.double().gather(1, level).log().sum(0) + self.dim * math.log(LEVELS)
