"""Pixels and flows: noise that makes grey levels continuous, logit space, and the units in which results are quoted."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from helpers.flows.bijectors import Sigmoid

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
