"""The restricted Boltzmann machine: energy, free energy, conditionals and block Gibbs sampling (note 3.2.1)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Rng = torch.Generator | np.random.Generator


class RBM(NamedTuple):
    """Parameters of Eq. (29): weights W (visible, hidden), visible bias a (visible,), hidden bias b (hidden,).

    A plain tuple, so every function here is called as `f(v, *model)`; device and dtype are those of W.
    """

    W: Tensor
    a: Tensor
    b: Tensor

    def to(self, *args: object, **options: object) -> RBM:
        """The same machine on another device or in another dtype."""
        return RBM(*(tensor.to(*args, **options) for tensor in self))


def create(visible: int, hidden: int, generator: torch.Generator, *, scale: float = 0.01, mean: Tensor | None = None,
           dtype: torch.dtype = torch.float32) -> RBM:  # fmt: skip
    """A fresh machine: W normal with standard deviation `scale`, b = 0, a the log-odds of `mean` (visible,) or 0."""
    if visible < 1 or hidden < 1:
        raise ValueError(f"a machine needs at least one unit on each side, got {visible} visible and {hidden} hidden")
    device = generator.device
    W = scale * torch.randn(visible, hidden, generator=generator, dtype=dtype, device=device)
    a = torch.zeros(visible, dtype=dtype, device=device) if mean is None else log_odds(mean).to(W)
    return RBM(W, a, torch.zeros(hidden, dtype=dtype, device=device))


def log_odds(mean: Tensor, *, floor: float = 1e-3) -> Tensor:
    """ln m / (1 - m) of pixel means, kept `floor` away from 0 and 1; any shape, returns the same shape and dtype."""
    return torch.logit(mean.clamp(floor, 1 - floor))


def uniform(shape: tuple[int, ...], generator: Rng, *, dtype: torch.dtype = torch.float32,
            device: torch.device | str | None = None) -> Tensor:  # fmt: skip
    """Uniform numbers 0 <= u < 1 on the grid k / 2^24 (k / 2^53 in float64) of the given shape.

    On a CPU a numpy Generator on SFC64 is the cheapest exact road: each of its 64-bit words is cut into two float32,
    in half the time of torch.rand and a fifth of that of torch.bernoulli.  A torch Generator works on its own device.
    """
    if isinstance(generator, torch.Generator):
        return torch.rand(shape, generator=generator, dtype=dtype, device=generator.device)
    if dtype == torch.float64:
        return torch.from_numpy(generator.random(shape)).to(device)
    count = math.prod(shape)
    words = generator.integers(0, 2**64 - 1, -(-count // 2), dtype=np.uint64, endpoint=True)
    bits = words.view(np.uint32)[:count].reshape(shape)
    bits >>= 8
    return torch.from_numpy(bits.view(np.int32)).to(torch.float32).mul_(2**-24).to(device, dtype)


def bernoulli(p: Tensor, generator: Rng, out: Tensor | None = None) -> Tensor:
    """One where u < p, else zero: a sample of every unit; p any shape, returns its shape and dtype."""
    u = uniform(tuple(p.shape), generator, dtype=p.dtype, device=p.device)
    return torch.lt(u, p, out=u if out is None else out)


def check(W: Tensor, a: Tensor, b: Tensor) -> None:
    """Raise a ValueError unless the three parameters fit together; b may carry leading batch axes."""
    if W.ndim != 2 or a.shape != W.shape[:1] or b.shape[-1:] != W.shape[1:]:
        got = f"W {tuple(W.shape)}, a {tuple(a.shape)}, b {tuple(b.shape)}"
        raise ValueError(f"an RBM needs W (visible, hidden), a (visible,) and b (hidden,), got {got}")


def check_units(units: Tensor, size: int, name: str) -> None:
    """Raise a ValueError unless the last axis of `units` counts `size` units."""
    if units.ndim < 1 or units.shape[-1] != size:
        raise ValueError(f"{name} units must have shape (..., {size}), got {tuple(units.shape)}")


def energy(v: Tensor, h: Tensor, W: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """E(v, h) = -a.v - b.h - v.W.h (Eq. 29); v (..., visible), h (..., hidden), returns (...)."""
    check(W, a, b)
    check_units(v, len(a), "visible")
    check_units(h, len(b), "hidden")
    return -(v @ a) - (h @ b) - ((v @ W) * h).sum(-1)


def free_energy(v: Tensor, W: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """F(v) = -a.v - sum_j ln(1 + exp(v.W_j + b_j)) (Eq. 32), finite for any weights; v (..., visible) to (...)."""
    check(W, a, b)
    check_units(v, len(a), "visible")
    return -(v @ a) - softplus(v @ W + b).sum(-1)


def softplus(x: Tensor) -> Tensor:
    """ln(1 + e^x) without overflow and without a threshold: max(x, 0) + log1p(exp(-|x|)); any shape."""
    return functional.softplus(x, threshold=40.0 if x.dtype == torch.float64 else 20.0)


def conditionals(v: Tensor, h: Tensor, W: Tensor, a: Tensor, b: Tensor, low: int = 0) -> tuple[Tensor, Tensor]:
    """p(h_j = 1 | v) = sigma((1 - low)(v.W_j + b_j)) and p(v_i = 1 | h) likewise (Eqs. 30, 31), for units {low, 1}.

    v: (..., visible), h: (..., hidden); returns their shapes.  low is 0 for bits, -1 for spins, whose energies lie
    twice as far apart.
    """
    if low not in (0, -1):
        raise ValueError(f"units take the values 0, 1 (low = 0) or -1, 1 (low = -1), got low = {low}")
    check(W, a, b)
    check_units(v, len(a), "visible")
    check_units(h, len(b), "hidden")
    return torch.sigmoid((1 - low) * (v @ W + b)), torch.sigmoid((1 - low) * (h @ W.T + a))


def hidden_given_visible(v: Tensor, W: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """p(h_j = 1 | v) (Eq. 30); v (n, visible), returns (n, hidden)."""
    return torch.addmm(b, v, W, out=out).sigmoid_()


def visible_given_hidden(h: Tensor, W: Tensor, a: Tensor) -> Tensor:
    """p(v_i = 1 | h) (Eq. 31); h (n, hidden), returns (n, visible)."""
    return torch.addmm(a, h, W.T).sigmoid_()


def sweep(v: Tensor, W: Tensor, a: Tensor, b: Tensor, generator: Rng) -> tuple[Tensor, Tensor]:
    """One block Gibbs sweep, h ~ p(h | v), then v' ~ p(v | h); v (n, visible), returns v' and h (n, hidden)."""
    h = bernoulli(hidden_given_visible(v, W, b), generator)
    return bernoulli(visible_given_hidden(h, W, a), generator), h


def gibbs(v: Tensor, model: RBM, sweeps: int, generator: Rng) -> Tensor:
    """`sweeps` block Gibbs sweeps of many chains at once; v (chains, visible) of 0 and 1, returns the same shape."""
    check(*model)
    check_units(v, len(model.a), "visible")
    for _ in range(sweeps):
        v, _ = sweep(v, *model, generator)
    return v


def gibbs_sweep(v: Tensor, h: Tensor, W: Tensor, a: Tensor, b: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The exercise's form of a sweep: (v, h) -> (v', h'), h' drawn from v, then v' from h'; the old h is forgotten.

    v: (n, visible), h: (n, hidden) of 0 and 1; returns new tensors of the same shapes and dtype.
    """
    check(W, a, b)
    check_units(v, len(a), "visible")
    check_units(h, len(b), "hidden")
    generator = torch.Generator(v.device).manual_seed(int(seed))
    new_v, new_h = sweep(v, W, a, b, generator)
    return new_v, new_h
