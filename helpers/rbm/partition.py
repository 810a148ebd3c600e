"""Partition functions: exact by the smaller side, annealed importance sampling, and both with known pixels clamped."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .model import RBM, Rng, bernoulli, check, check_units, free_energy, softplus

LIMIT = 26  # units of the smaller side that an exact sum will take


def exact_log_z(W: Tensor, a: Tensor, b: Tensor, *, chunk: int = 2**13) -> Tensor:
    """ln Z by summing over all states of the smaller side, `chunk` states at a time, in float64.

    b may carry batch axes (..., hidden): then the hidden side is summed, the visible sums are shared by the batch, and
    the result has shape (...).  Memory is chunk x units, whatever the size.  Raises ValueError beyond 26 units.
    """
    check(W, a, b)
    W, a, b = W.double(), a.double(), b.double()
    if b.ndim == 1 and W.shape[0] < W.shape[1]:
        W, a, b = W.T, b, a
    units = W.shape[1]
    if units > LIMIT:
        raise ValueError(f"an exact sum over {units} units has 2^{units} terms: {LIMIT} are the most, use ais_log_z")
    rows = b.reshape(-1, units)
    total = torch.full((len(rows),), -torch.inf, dtype=torch.float64, device=W.device)
    for h in bit_chunks(units, chunk, W.device):
        inner = softplus(h @ W.T + a).sum(-1)
        total = torch.logaddexp(total, torch.logsumexp(rows @ h.T + inner, -1))
    return total.view(b.shape[:-1])


def bit_chunks(units: int, chunk: int, device: torch.device) -> Iterator[Tensor]:
    """All 2^units bit strings in float64, at most `chunk` rows at a time, (rows, units)."""
    powers = torch.arange(units, device=device)
    for start in range(0, 2**units, chunk):
        numbers = torch.arange(start, min(start + chunk, 2**units), device=device)
        yield ((numbers[:, None] >> powers) & 1).double()


class Annealed(NamedTuple):
    """An AIS estimate: ln Z, its standard error (delta method), and the log weights of the chains, all in nats."""

    log_z: Tensor
    error: Tensor
    log_weights: Tensor

    @property
    def effective(self) -> Tensor:
        """Effective sample size (sum w)^2 / sum w^2 of the chains, between 1 and their number."""
        return (2 * torch.logsumexp(self.log_weights, -1) - torch.logsumexp(2 * self.log_weights, -1)).exp()


def schedule(*segments: tuple[float, int]) -> Tensor:
    """Inverse temperatures from 0 to 1 in straight pieces (end, steps); the last end must be 1; float64 (steps + 1,).

    schedule((0.5, 500), (0.9, 4000), (1.0, 10000)) is the published one of Salakhutdinov and Murray (2008).
    """
    ends = [0.0, *(end for end, _ in segments)]
    rising = all(low < high for low, high in itertools.pairwise(ends))
    if len(ends) < 2 or ends[-1] != 1.0 or not rising or any(steps < 1 for _, steps in segments):
        raise ValueError(f"a schedule rises in pieces (end, steps) from 0 to an end of 1.0, got {segments}")
    pieces = [np.linspace(low, high, steps, endpoint=False) for low, (high, steps) in zip(ends, segments, strict=False)]
    return torch.from_numpy(np.concatenate([*pieces, [1.0]]))


def anneal(model: RBM, base: Tensor, rows: int, betas: Tensor, generator: Rng) -> Tensor:
    """Log weights of AIS chains from independent pixels of log-odds `base` to the machine; returns (rows,) float64.

    Rungs p_k(v, h) ~ exp((1 - beta) base.v + beta (a.v + b.h + v.W.h)).  The weights use whichever side is left when
    the larger one is summed out: that removes most of their noise.  base: (visible,) or (rows, visible), model.b may be
    (rows, hidden).  Chains run in the dtype of W, weights are added up in float64.
    """
    walk_hidden = model.W.shape[0] > model.W.shape[1]
    step = _hidden_work if walk_hidden else _visible_work
    first = torch.zeros_like(model.b) if walk_hidden else base
    state = bernoulli(torch.sigmoid(first).expand(rows, -1), generator)
    weights = torch.zeros(rows, dtype=torch.float64, device=model.W.device)
    for old, new in itertools.pairwise(betas.tolist()):
        work, state = step(state, model, base, old, new, generator)
        weights += work
    return weights


def _visible_work(v: Tensor, model: RBM, base: Tensor, old: float, new: float, generator: Rng) -> tuple[Tensor, Tensor]:
    """ln p_new(v) - ln p_old(v) with h summed out, and the next v by one sweep at the new temperature."""
    W, a, b = model
    field = v @ W + b
    work = softplus(new * field).sum(-1) - softplus(old * field).sum(-1) + (new - old) * (v * (a - base)).sum(-1)
    h = bernoulli(torch.sigmoid(new * field), generator)
    return work, bernoulli(torch.sigmoid((1 - new) * base + new * (h @ W.T + a)), generator)


def _hidden_work(h: Tensor, model: RBM, base: Tensor, old: float, new: float, generator: Rng) -> tuple[Tensor, Tensor]:
    """ln p_new(h) - ln p_old(h) with v summed out, and the next h by one sweep at the new temperature."""
    W, a, b = model
    pull = h @ W.T + (a - base)
    field = base + new * pull
    work = softplus(field).sum(-1) - softplus(base + old * pull).sum(-1) + (new - old) * (h * b).sum(-1)
    v = bernoulli(torch.sigmoid(field), generator)
    return work, bernoulli(torch.sigmoid(new * (v @ W + b)), generator)


def ais_log_z(model: RBM, betas: Tensor, generator: Rng, *, chains: int = 100, base: Tensor | None = None) -> Annealed:
    """ln Z by annealed importance sampling (Neal 2001; Salakhutdinov & Murray 2008) with its standard error.

    betas: from 0 to 1, see `schedule`; base: log-odds (visible,) of the independent pixels where the chains start, 0 by
    default; model.b may be a batch (n, hidden) and base (n, visible): then `chains` run for every row and the results
    have shape (n,).  Z is unbiased, ln Z on average too low by half its squared error.
    """
    check(*model)
    if betas.ndim != 1 or len(betas) < 2 or float(betas[0]) != 0 or float(betas[-1]) != 1 or chains < 2:
        raise ValueError("AIS needs 2 chains or more and inverse temperatures that run from 0 to 1: see schedule")
    base = torch.zeros_like(model.a) if base is None else base.to(model.W)
    check_units(base, len(model.a), "base")
    batch = model.b.shape[:-1]
    spread = [t.repeat_interleave(chains, 0) if t.ndim == 2 else t for t in (model.b, base)]
    rows = chains * (batch[0] if batch else 1)
    weights = anneal(RBM(model.W, model.a, spread[0]), spread[1], rows, betas, generator).view(*batch, chains)
    log_base = softplus(base.double()).sum(-1) + model.b.shape[-1] * math.log(2)
    log_z = torch.logsumexp(weights, -1) - math.log(chains) + log_base
    ratio = (weights - weights.max(-1, keepdim=True).values).exp()
    return Annealed(log_z, ratio.std(-1) / ratio.mean(-1) / chains**0.5, weights)


def log_likelihood(v: Tensor, model: RBM, log_z: Tensor | float) -> Tensor:
    """ln p(v) = -F(v) - ln Z in nats; v (n, visible) of 0 and 1, returns (n,) float64."""
    return -free_energy(v, *model).double() - log_z


def clamp(v: Tensor, known: Tensor, model: RBM) -> tuple[RBM, Tensor]:
    """The machine that is left when the known pixels of each v are held: RBM over the lost ones, and a constant (n,).

    Its weights are the rows of the lost pixels, its hidden bias b + v_known W_known differs from digit to digit:
    (n, hidden).  p(v_lost | v_known) = exp(-F_left(v_lost)) / Z_left.  known: (visible,) bool.
    """
    check_known(known, model)
    check_units(v, len(model.a), "visible")
    lost = ~known
    return (
        RBM(model.W[lost], model.a[lost], model.b + v[:, known] @ model.W[known]),
        v[:, known] @ model.a[known],
    )


def check_known(known: Tensor, model: RBM) -> None:
    """Raise a ValueError unless `known` marks every pixel with a bool and at least one is lost."""
    if known.dtype != torch.bool or known.shape != model.a.shape:
        raise ValueError(f"known must be bool of shape {tuple(model.a.shape)}, got {known.dtype} {tuple(known.shape)}")
    if bool(known.all()):
        raise ValueError("every pixel is known: there is nothing to restore")


def conditional_log_likelihood(v: Tensor, known: Tensor, model: RBM, log_z: Tensor) -> Tensor:
    """ln p(v_lost | v_known) in nats, given ln Z (n,) of the clamped machines; returns (n,) float64."""
    left, _ = clamp(v, known, model)
    return log_likelihood(v[:, ~known], left, log_z)
