"""A density from a bijector: a normal latent density pushed forward (note Eqs. 41, 44), and how it is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from helpers import training
from helpers.flows.autoregressive import Autoregressive
from helpers.flows.bijectors import Bijector, Chain, Permutation, Scale
from helpers.flows.coupling import Coupling
from helpers.flows.networks import MaskedPerceptron, fields


def normal_log_prob(z: Tensor) -> Tensor:
    """ln N(z; 0, 1) = -|z|^2 / 2 - (dim / 2) ln 2 pi; z: (batch, dim), returns (batch,) in nats."""
    return -0.5 * z.square().sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)


def density_nll(grid: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Integral of p and its negative log-likelihood -int p ln p dx (nats), by trapezoids; grid, values: (points,)."""
    grid, values = np.asarray(grid, dtype=float), np.asarray(values, dtype=float)
    if grid.ndim != 1 or grid.shape != values.shape or len(grid) < 2:
        raise ValueError(
            f"a tabulated density has two arrays of one length, got shapes {grid.shape} and {values.shape}"
        )
    if not (np.all(np.diff(grid) > 0) and np.all(values >= 0)):
        raise ValueError("a tabulated density needs an increasing grid and values of at least 0")
    integrand = np.where(values > 0, -values * np.log(np.where(values > 0, values, 1.0)), 0.0)
    return float(np.trapezoid(values, grid)), float(np.trapezoid(integrand, grid))


def negative_nll_density() -> tuple[np.ndarray, np.ndarray]:
    """A normal density of width 0.05 on a grid of 2001 points: its NLL is ln 0.05 + (1 + ln 2 pi) / 2 = -1.58 nats."""
    grid = np.linspace(-0.5, 0.5, 2001)
    values = np.exp(-0.5 * (grid / 0.05) ** 2)
    return grid, values / np.trapezoid(values, grid)


def flow_log_prob(x: Tensor, layers: Sequence[Bijector]) -> Tensor:
    """ln p(x) = ln N(z) + sum of log|det dz/dx| over the layers, walked from last to first (Eqs. 41, 44).

    x: (batch, dim); layers in the order in which z passes them on its way to x.  Returns (batch,) in nats.
    """
    total = x.new_zeros(len(x))
    for layer in reversed(layers):
        x, log_abs_det = layer.inverse(x)
        total = total + log_abs_det
    return normal_log_prob(x) + total


class Flow(nn.Module):
    """x = g(z) with z normal: a density that can be sampled and scored."""

    def __init__(self, bijector: Bijector) -> None:
        super().__init__()
        self.bijector, self.dim = bijector, bijector.dim

    def log_prob(self, x: Tensor) -> Tensor:
        """ln p(x) in nats (Eq. 41), x: (batch, dim), returns (batch,)."""
        z, log_abs_det = self.bijector.inverse(x)
        return normal_log_prob(z) + log_abs_det

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """`count` independent samples (count, dim), of the parameters' dtype and device."""
        like = next(self.parameters())
        where = like.device if generator is None else generator.device
        z = torch.randn(count, self.dim, generator=generator, dtype=like.dtype, device=where)
        with torch.no_grad():
            return self.bijector(z.to(like.device))[0]

    def to_plain(self) -> dict[str, Any]:
        """The bijector, which must be able to cross."""
        return {"bijector": self.bijector}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Flow:
        """The flow that `to_plain` described; ValueError if the tree is no such description."""
        return cls(*fields(plain, bijector=Bijector))


def walk(flow: Flow, z: Tensor) -> list[Tensor]:
    """Where latent points z (count, dim) stand before the first layer and after every layer: [z, ..., x]."""
    stages = [z]
    with torch.no_grad():
        for step in flow.bijector.steps:
            stages.append(step(stages[-1])[0])
    return stages


def nll_step(flow: Flow, batch: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Mean negative log-likelihood of a batch (nats) and its gradients, one per parameter of the flow."""
    loss = -flow.log_prob(batch).mean()
    return loss.detach(), list(torch.autograd.grad(loss, list(flow.parameters())))


def half_masks(dim: int, count: int) -> list[Tensor]:
    """`count` masks that keep the first half of the coordinates and the second half in turn; bool (dim,)."""
    first = torch.arange(dim) < dim // 2
    return [first if k % 2 == 0 else ~first for k in range(count)]


def _couplings(dim: int, couplings: int, hidden: Sequence[int], additive: bool, **options) -> list[Bijector]:
    if dim < 2 or couplings < 1:
        raise ValueError(f"coupling needs at least two coordinates and one layer, got dim {dim}, couplings {couplings}")
    return [Coupling(mask, hidden, additive=additive, **options) for mask in half_masks(dim, couplings)]


def real_nvp(dim: int, couplings: int = 8, hidden: Sequence[int] = (64, 64), **options) -> Flow:
    """Real NVP (Eq. 43, arXiv:1605.08803): affine couplings on alternating halves, then a diagonal layer.

    options: activation, first, last, generator, dtype of `Coupling`.
    """
    scale = Scale(dim, dtype=options.get("dtype", torch.float64))
    return Flow(Chain([*_couplings(dim, couplings, hidden, False, **options), scale]))


def nice(dim: int, couplings: int = 8, hidden: Sequence[int] = (64, 64), **options) -> Flow:
    """NICE (Eq. 65, arXiv:1410.8516): additive couplings on alternating halves, then one diagonal layer."""
    scale = Scale(dim, dtype=options.get("dtype", torch.float64))
    return Flow(Chain([*_couplings(dim, couplings, hidden, True, **options), scale]))


def maf(dim: int, layers: int = 4, hidden: int = 64, depth: int = 2, **options) -> Flow:
    """A masked autoregressive flow (arXiv:1705.07057): the order of the coordinates is turned round between layers."""
    turn = torch.arange(dim - 1, -1, -1)
    steps: list[Bijector] = []
    for _ in range(layers):
        steps += [Autoregressive(MaskedPerceptron(dim, hidden, depth, **options)), Permutation(turn)]
    return Flow(Chain(steps[:-1]))


class History(NamedTuple):
    """Held-out negative log-likelihood while training: step, nll and its standard error (nats), each a list."""

    step: list[int]
    nll: list[float]
    error: list[float]


def held_out_nll(flow: Flow, x: Tensor, chunk: int = 20_000) -> tuple[float, float]:
    """Mean of -ln p(x) over x (count, dim) and its standard error, in nats."""
    with torch.no_grad():
        nll = torch.cat([-flow.log_prob(part) for part in x.split(chunk)])
    return float(nll.mean()), float(nll.std() / math.sqrt(len(nll)))


def fit(
    flow: Flow,
    draw: Callable[[], Tensor],
    steps: int,
    *,
    learning_rate: float = 1e-3,
    held_out: Tensor | None = None,
    every: int = 0,
    clip: float = 0.0,
    description: str = "training",
) -> History:
    """Maximise the likelihood of batches `draw()` (batch, dim) by Adam, its rate falling to 0 as a half cosine.

    Every `every` steps, and at the end, the mean NLL of `held_out` is noted.  `clip` > 0 bounds the gradient's norm.
    """
    parameters = list(flow.parameters())
    adam = torch.optim.Adam(parameters, lr=learning_rate, betas=(0.9, 0.99), fused=True)
    rate = torch.optim.lr_scheduler.LambdaLR(adam, lambda k: 0.5 * (1 + math.cos(math.pi * min(k / steps, 1.0))))
    history = History([], [], [])
    bar = training.progress(range(1, steps + 1), description)
    for step in bar:
        for p, gradient in zip(parameters, nll_step(flow, draw())[1], strict=True):
            p.grad = gradient
        if clip:
            nn.utils.clip_grad_norm_(parameters, clip)
        adam.step()
        rate.step()
        if held_out is not None and (step == steps or (every and step % every == 0)):
            nll, error = held_out_nll(flow, held_out)
            for column, value in zip(history, (step, nll, error), strict=True):
                column.append(value)
            bar.set_postfix(held_out=f"{nll:.4f}")
    return history
