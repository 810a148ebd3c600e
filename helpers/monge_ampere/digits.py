"""Digits on their way to a round cloud: logits, then the two optimal maps that are known in closed form."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .flow import normal_log_density
from .gaussian import symmetric_sqrt

SQUEEZE = 1e-6
LEVELS = 256
EDGE = 1e-12  # F is kept this far from 0 and 1, where its normal score is 7
CHUNK = 5000  # images at a time: the map needs ten arrays of their size


def to_logits(images: np.ndarray, generator: torch.Generator) -> Tensor:
    """x = logit(l + (1 - 2 l)(pixel + u) / 256), l = 1e-6, u uniform: uint8 (count, ...) -> float32 (count, pixels)."""
    pixels = _flat(images).double()
    noise = torch.rand(pixels.shape, generator=generator, dtype=torch.float64)
    return torch.logit(SQUEEZE + (1 - 2 * SQUEEZE) * (pixels + noise) / LEVELS).float()


def from_logits(x: Tensor) -> np.ndarray:
    """Grey levels in [0, 1]: (count, pixels) -> (count, side, side)."""
    side = round(x.shape[1] ** 0.5)
    return _grey(x.double()).reshape(-1, side, side).numpy()


def _flat(images: np.ndarray) -> Tensor:
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim < 2 or not len(images):
        kind = f"{getattr(images, 'dtype', type(images).__name__)} {np.shape(images)}"
        raise ValueError(f"images must be a uint8 array (count, ...), count >= 1; got {kind}")
    return torch.tensor(images.reshape(len(images), -1))


def _grey(x: Tensor) -> Tensor:
    return ((torch.sigmoid(x) - SQUEEZE) / (1 - 2 * SQUEEZE)).clamp(0, 1)


class Rearrangement(NamedTuple):
    """The optimal map of each pixel alone to a normal number: y = Phi^-1(F(x)), the only monotone one.

    F: (pixels, 257) distribution at the edges of the grey levels, linear in between.
    """

    F: Tensor

    def there(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, pixels) logits -> y and ln |det dy/dx| (batch,), float64."""
        x = x.double()
        grey = _grey(x)
        level = (LEVELS * grey).long().clamp(max=LEVELS - 1)
        low, high = (self.F.T.gather(0, level + step) for step in (0, 1))
        y = torch.special.ndtri((low + (high - low) * (LEVELS * grey - level)).clamp(EDGE, 1 - EDGE))
        density = torch.log(LEVELS * (high - low) / (1 - 2 * SQUEEZE)) + logsigmoid(x) + logsigmoid(-x)
        return y, density.sum(1) - normal_log_density(y)

    def back(self, y: Tensor) -> Tensor:
        """(batch, pixels) -> logits, float64."""
        F = torch.special.ndtr(y.double()).T.contiguous()  # (pixels, batch)
        level = (torch.searchsorted(self.F, F, right=True) - 1).clamp(0, LEVELS - 1)
        low, high = (self.F.gather(1, level + step) for step in (0, 1))
        grey = ((level + (F - low) / (high - low)) / LEVELS).clamp(0, 1).T
        return torch.logit(SQUEEZE + (1 - 2 * SQUEEZE) * grey)


class Whitening(NamedTuple):
    """The optimal map of N(mean, S) to N(0, 1): z = S^(-1/2) (x - mean); half_log_det = ln det S / 2."""

    mean: Tensor
    root: Tensor
    inverse: Tensor
    half_log_det: float

    def there(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, d) data -> whitened, and ln |det dz/dx| (batch,)."""
        z = (x - self.mean) @ self.inverse
        return z, z.new_full((len(z),), -self.half_log_det)

    def back(self, z: Tensor) -> Tensor:
        """(batch, d) whitened -> data."""
        return z @ self.root + self.mean


class Gaussianisation(NamedTuple):
    """Pixel by pixel, then all together: logits to numbers that are nearly normal, with the exact determinant."""

    pixels: Rearrangement
    white: Whitening

    def there(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, pixels) logits -> z, and ln |det dz/dx| (batch,), float64."""
        y, one = self.pixels.there(x)
        z, two = self.white.there(y)
        return z, one + two

    def back(self, z: Tensor) -> Tensor:
        """(batch, pixels) z -> logits, float64."""
        return self.pixels.back(self.white.back(z.double()))


def rearrangement(images: np.ndarray) -> Rearrangement:
    """Fit the distribution of every pixel's grey level: uint8 (count, ...), half a count added to each level."""
    pixels = _flat(images).T.long()
    counts = torch.full((len(pixels), LEVELS), 0.5, dtype=torch.float64)
    counts.scatter_add_(1, pixels, torch.ones_like(pixels, dtype=torch.float64))
    share = counts / counts.sum(1, keepdim=True)
    return Rearrangement(torch.cat([torch.zeros(len(pixels), 1, dtype=torch.float64), share.cumsum(1)], 1))


def whitening(x: Tensor) -> Whitening:
    """Fit the Gaussian of the data x (count, d) and return its map to N(0, 1), float64."""
    x = x.double()
    root = symmetric_sqrt(torch.cov(x.T))
    return Whitening(x.mean(0), root, torch.linalg.inv(root), float(torch.linalg.slogdet(root)[1]))


def gaussianisation(images: np.ndarray, generator: torch.Generator) -> Gaussianisation:
    """Both maps fitted to uint8 images (count, ...)."""
    pixels = rearrangement(images)
    y = torch.cat([pixels.there(part)[0] for part in to_logits(images, generator).split(CHUNK)])
    return Gaussianisation(pixels, whitening(y))
