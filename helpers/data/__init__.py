"""The data of the course, all of it generated here or shipped with the package: nothing is ever downloaded."""

from __future__ import annotations

import gzip
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import torch

from helpers import oracles

RING_LOG_Z = 2.5336720590  # ln of the integral of exp(-(|x| - 2)^2 / 0.32) over the plane
RING_ENTROPY = 3.0336722  # nats: the lowest negative log-likelihood any model of the ring can reach


class MNIST(NamedTuple):
    """Handwritten digits: images uint8 (count, 28, 28) with 0 for paper and 255 for ink, labels int64 (count,)."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def _read_idx(name: str) -> np.ndarray:
    """One file of LeCun's idx format: a magic number, the big-endian sizes, then bytes."""
    raw = gzip.decompress(files(__package__).joinpath("mnist", f"{name}.gz").read_bytes())
    dimensions = raw[3]
    shape = np.frombuffer(raw, ">i4", count=dimensions, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


@cache
def mnist() -> MNIST:
    """MNIST, 60,000 digits for training and 10,000 for testing, from the files inside this package (read-only)."""
    images = {part: _read_idx(f"{part}-images-idx3-ubyte") for part in ("train", "t10k")}
    labels = {part: _read_idx(f"{part}-labels-idx1-ubyte").astype(np.int64) for part in ("train", "t10k")}
    return MNIST(images["train"], labels["train"], images["t10k"], labels["t10k"])


def ring_log_density(x: torch.Tensor) -> torch.Tensor:
    """Exact log p(x) = -(|x| - 2)^2 / 0.32 - ln Z of the 2-D ring; x: (count, 2), returns (count,) in nats."""
    if x.shape[-1] != 2:
        raise ValueError(f"the ring lives in the plane: x needs shape (count, 2), got {tuple(x.shape)}")
    return -((x.norm(dim=-1) - 2.0) ** 2) / 0.32 - RING_LOG_Z


def ring(count: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """Exact samples of the 2-D ring, float64 (count, 2); the radius inverts its tabulated cumulative distribution."""
    if count < 0:
        raise ValueError(f"ring needs a count of at least 0, got {count}")
    radius = torch.linspace(0.0, 6.0, 60_001, dtype=torch.float64)
    density = radius * torch.exp(-((radius - 2.0) ** 2) / 0.32)
    cumulative = torch.cumulative_trapezoid(density, radius)
    cumulative = torch.cat([torch.zeros(1, dtype=torch.float64), cumulative / cumulative[-1]])
    u = torch.rand(count, 2, generator=generator, dtype=torch.float64)
    k = torch.searchsorted(cumulative, u[:, 0].contiguous(), right=True).clamp(1, len(radius) - 1)
    share = (u[:, 0] - cumulative[k - 1]) / (cumulative[k] - cumulative[k - 1])
    r = radius[k - 1] + share * (radius[k] - radius[k - 1])
    angle = 2 * torch.pi * u[:, 1]
    return torch.stack([r * torch.cos(angle), r * torch.sin(angle)], dim=-1)


def bars_and_stripes(rows: int, columns: int) -> np.ndarray:
    """Every image of full rows or full columns once: uint8 (2^rows + 2^columns - 2, rows * columns)."""
    if rows < 1 or columns < 1:
        raise ValueError(f"bars and stripes need at least one row and one column, got {rows} x {columns}")
    stripes = np.repeat(oracles.bit_strings(rows), columns, axis=1)
    bars = np.tile(oracles.bit_strings(columns), (1, rows))
    return np.unique(np.concatenate([stripes, bars]), axis=0)
