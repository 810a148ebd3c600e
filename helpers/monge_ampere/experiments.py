"""The chapter's experiments, each a recipe per profile and one function: 2-D targets, the Ising model, digits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from helpers.training import setting

from .flow import MongeAmpereFlow, integrate
from .free_energy import importance, variational_free_energy
from .gaussian import symmetric_sqrt
from .ising import (
    CRITICAL_TEMPERATURE,
    dual_coupling,
    dual_free_energy,
    dual_from_precision,
    order_parameter,
)
from .learn import forward_loss, reverse_loss, samples, train
from .potentials import Convolutional, OneHidden
from .symmetry import lattice_group
from .targets import TARGETS


class Recipe(NamedTuple):
    """Sizes of a run: hidden units (or filters), flow time T, RK4 steps, batch, iterations, learning rate."""

    hidden: int
    steps: int
    batch: int
    iterations: int
    lr: float
    T: float = 1.0


class Run(NamedTuple):
    """A trained flow, its losses, and its free energy measured afresh: value, error, ln Z reweighted, sample size."""

    flow: MongeAmpereFlow
    losses: list[float]
    loss: float
    error: float
    log_Z: float
    ess: float


def plane_recipe(profile: str, name: str = "ring") -> Recipe:
    """The recipe of `learn_target`; rings take more iterations than blobs."""
    easy = Recipe(48, 8, 256, 500, 0.02)
    hard = Recipe(128, 10, 256, 1800, 0.03)
    return setting(profile, Recipe(32, 5, 128, 80, 0.05), hard if name.startswith("ring") else easy)


def learn_target(
    name: str, recipe: Recipe, generator: torch.Generator, device: torch.device | str = "cpu", count: int = 16_384
) -> Run:
    """Reverse KL on one of TARGETS in float32, then the loss in float64 from `count` fresh samples, twice the steps."""
    if name not in TARGETS:
        raise ValueError(f"the target must be one of {', '.join(TARGETS)}; got {name!r}")
    target = TARGETS[name]
    phi = OneHidden(2, recipe.hidden, time=True, generator=generator, dtype=torch.float32).to(device)
    flow = MongeAmpereFlow(phi, recipe.T, recipe.steps)
    loss = reverse_loss(flow, target.energy, recipe.batch, 2, generator)
    losses = train(flow, loss, iterations=recipe.iterations, lr=recipe.lr, description=target.name)
    x, log_q = _fresh(flow, count, 2, generator)
    return Run(flow, losses, *variational_free_energy(log_q, target.energy(x)), *importance(log_q, target.energy(x)))


def _fresh(flow: MongeAmpereFlow, count: int, dim: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Samples in float64 at twice the steps of training; the flow stays that way."""
    flow.double()
    flow.steps = 2 * flow.steps
    return tuple(part.cpu() for part in samples(flow, count, dim, generator))


def gradient_error(phi: nn.Module, x: Tensor, T: float, steps: int, gradient: str = "adjoint") -> float:
    """Relative error |g - g_backprop| / |g_backprop| of the weights' gradient of <ln q - |x|^2 / 2>, in float64."""
    found = []
    for how in ("backprop", gradient):
        end, change = integrate(phi, x, 0.0, T, steps, gradient=how, fused=False)
        loss = (change - 0.5 * (end * end).sum(1)).mean()
        weights = [p for p in phi.parameters() if p.requires_grad]
        found.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)]))
    return float((found[1] - found[0]).norm() / found[0].norm())


# ------------------------------------------------------------------------------------------------ Ising


class IsingRun(NamedTuple):
    """Per site: -ln Z variational (F) with error, exact, reweighted; <m^2> with error, reweighted; sample size."""

    flow: MongeAmpereFlow
    losses: list[float]
    samples: Tensor
    F: float
    F_error: float
    exact: float
    F_weighted: float
    m2: float
    m2_error: float
    m2_weighted: float
    ess: float
    count: int


def ising_recipe(profile: str) -> Recipe:
    """Filters and steps for L = 4 (quick, class) and L = 16 (paper: 2,048 tied hidden units)."""
    return setting(profile, Recipe(4, 6, 128, 60, 0.05), Recipe(16, 10, 256, 600, 0.04), Recipe(4, 10, 128, 3000, 0.03))


def learn_ising(
    L: int,
    recipe: Recipe,
    generator: torch.Generator,
    *,
    symmetric: bool = True,
    count: int = 8192,
    T: float = CRITICAL_TEMPERATURE,
    device: torch.device | str = "cpu",
) -> IsingRun:
    """Variational free energy of the dual field on the periodic L x L lattice, measured in float64 on `count` samples.

    The flow moves y, and the field is x = K^(1/2) y, so that the Gaussian factor of the density is met before training.
    symmetric: translations and x -> -x built into phi; else as many free hidden units.
    """
    N, (K, _) = L * L, dual_coupling(L, T)
    group = lattice_group(L) if symmetric else torch.arange(N)[None]
    filters = recipe.hidden if symmetric else recipe.hidden * N
    scale = 1.0 if symmetric else float(N) ** -0.5
    phi = Convolutional(
        group, filters, time=True, flip=symmetric, generator=generator, dtype=torch.float32, scale=scale
    )
    flow = MongeAmpereFlow(phi.to(device), recipe.T, recipe.steps)
    root = symmetric_sqrt(K)
    volume, precision = float(torch.linalg.slogdet(root)[1]), torch.linalg.inv(K)
    stretch, narrow = root.float().to(device), precision.float().to(device)
    loss = reverse_loss(flow, lambda y: -dual_from_precision(y @ stretch, narrow) - volume, recipe.batch, N, generator)
    losses = train(flow, loss, iterations=recipe.iterations, lr=recipe.lr, description=f"Ising {L} x {L}")
    y, log_q = _fresh(flow, count, N, generator)
    x, log_q = y @ root, log_q - volume
    energy = -dual_from_precision(x, precision)
    F, error = variational_free_energy(log_q, energy)
    log_Z, ess = importance(log_q, energy)
    m2, m2_error, _ = order_parameter(x)
    weighted = order_parameter(x, -energy - log_q)[0]
    exact = dual_free_energy(L, T)
    return IsingRun(flow, losses, x, F / N, error / N, exact, -log_Z / N, m2, m2_error, weighted, ess, count)


# ------------------------------------------------------------------------------------------------ digits

SQUEEZE = 1e-6


def to_logits(images: np.ndarray, generator: torch.Generator) -> Tensor:
    """x = logit(l + (1 - 2 l)(pixel + u) / 256), l = 1e-6, u uniform: uint8 (count, ...) -> float32 (count, pixels)."""
    pixels = torch.tensor(images.reshape(len(images), -1), dtype=torch.float64)
    noise = torch.rand(pixels.shape, generator=generator, dtype=torch.float64)
    return torch.logit(SQUEEZE + (1 - 2 * SQUEEZE) * (pixels + noise) / 256).float()


def from_logits(x: Tensor) -> np.ndarray:
    """Grey levels in [0, 1]: (count, pixels) -> (count, side, side)."""
    grey = (torch.sigmoid(x.double()) - SQUEEZE) / (1 - 2 * SQUEEZE)
    side = round(x.shape[1] ** 0.5)
    return grey.reshape(-1, side, side).numpy()


class Whitening(NamedTuple):
    """The optimal map of N(mean, S) to N(0, 1): z = S^(-1/2) (x - mean); half_log_det = ln det S / 2."""

    mean: Tensor
    root: Tensor
    inverse: Tensor
    half_log_det: float

    def there(self, x: Tensor) -> Tensor:
        """(batch, d) data -> whitened."""
        return (x - self.mean) @ self.inverse

    def back(self, z: Tensor) -> Tensor:
        """(batch, d) whitened -> data."""
        return z @ self.root + self.mean


def whitening(x: Tensor) -> Whitening:
    """Fit the Gaussian of the data x (count, d) and return its map to N(0, 1), worked out in float64."""
    x = x.double()
    root = symmetric_sqrt(torch.cov(x.T))
    half = float(torch.linalg.slogdet(root)[1])
    return Whitening(x.mean(0).float(), root.float(), torch.linalg.inv(root).float(), half)


class DigitRun(NamedTuple):
    """A flow on whitened logits, losses, and test NLL in nats: of the Gaussian alone, of the flow, and its error."""

    flow: MongeAmpereFlow
    white: Whitening
    losses: list[float]
    gaussian: float
    nll: float
    error: float


def digit_recipe(profile: str) -> Recipe:
    """One hidden unit per pixel in class, three in paper (GPU)."""
    return setting(
        profile, Recipe(784, 2, 50, 8, 0.02), Recipe(784, 3, 100, 400, 0.01), Recipe(2352, 8, 200, 10_000, 5e-3)
    )


def _kinks(z: Tensor, hidden: int, generator: torch.Generator) -> OneHidden:
    """phi = 0 whose units bend at quantiles of single coordinates of z (count, d), the first d at 85 %.

    A coordinate of z is one pixel's noise or ink; a unit that sums over all of them sees a normal number: no lesson.
    """
    d = z.shape[1]
    phi = OneHidden(d, hidden, generator=generator, dtype=torch.float32)
    unit = torch.arange(hidden)
    levels = torch.tensor([0.85, 0.15, 0.5, 0.95, 0.05])[(unit // d).clamp(max=4)]
    kinks = torch.stack([torch.quantile(z[:, j], q) for j, q in zip((unit % d).tolist(), levels.tolist(), strict=True)])
    with torch.no_grad():
        phi.W.mul_(0.1)
        phi.W[unit, unit % d] += 4.0
        phi.b.copy_(-4.0 * kinks)
        phi.a.zero_()
    return phi


def learn_digits(
    train_images: np.ndarray,
    test_images: np.ndarray,
    recipe: Recipe,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
) -> DigitRun:
    """Density of uint8 digits (count, 28, 28) in logit space: the Gaussian map first, then the flow, float32."""
    x = to_logits(train_images, generator)
    white = whitening(x)
    phi = _kinks(white.there(x[:5000]), recipe.hidden, generator)
    flow = MongeAmpereFlow(phi.to(device), recipe.T, recipe.steps)

    def batch() -> Tensor:
        chosen = torch.randint(len(train_images), (recipe.batch,), generator=generator)
        return white.there(to_logits(train_images[chosen.numpy()], generator)).to(device)

    losses = train(flow, forward_loss(flow, batch), iterations=recipe.iterations, lr=recipe.lr, description="digits")
    z = white.there(to_logits(test_images, generator))
    with torch.no_grad():
        log_q = torch.cat([flow.log_prob(part.to(device)).cpu() for part in z.split(1000)]).double()
    nll = white.half_log_det - log_q
    gaussian = white.half_log_det + 0.5 * float((z.double() ** 2).sum(1).mean()) + 0.5 * z.shape[1] * np.log(2 * np.pi)
    offset = [loss + white.half_log_det for loss in losses]
    return DigitRun(flow, white, offset, gaussian, float(nll.mean()), float(nll.std() / len(nll) ** 0.5))
