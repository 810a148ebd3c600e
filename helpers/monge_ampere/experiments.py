"""The chapter's experiments, each a recipe per profile and one function: 2-D targets, the Ising model, digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from helpers.training import setting

from .digits import Gaussianisation, Whitening, gaussianisation, to_logits, whitening
from .flow import ComposedFlow, MongeAmpereFlow, integrate, normal_log_density
from .free_energy import importance, variational_free_energy
from .gaussian import symmetric_sqrt
from .ising import (
    CRITICAL_TEMPERATURE,
    adjacency,
    dual_coupling,
    dual_free_energy,
    dual_from_precision,
    order_parameter,
)
from .learn import reverse_loss, samples, train, weighted_loss
from .potentials import Convolutional, OneHidden, Spectral
from .symmetry import lattice_group
from .targets import TARGETS


class Recipe(NamedTuple):
    """Sizes: hidden units (or filters), flow time T, RK4 steps, batch, iterations, learning rate, potentials in a row.

    T and steps are those of one potential; weighted: iterations of `weighted_loss` at the end.
    """

    hidden: int
    steps: int
    batch: int
    iterations: int
    lr: float
    T: float = 1.0
    layers: int = 1
    weighted: int = 0


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


def _fresh(flow: nn.Module, count: int, dim: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Samples in float64 at twice the steps of training; the flow stays that way."""
    flow.double()
    for part in flow.modules():
        if isinstance(part, MongeAmpereFlow):
            part.steps = 2 * part.steps
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

    flow: ComposedFlow
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
    """Filters and steps for L = 4 (quick, class) and L = 16 (paper: 6,144 tied hidden units)."""
    return setting(
        profile,
        Recipe(4, 3, 128, 40, 0.05, layers=2),
        Recipe(4, 4, 256, 400, 0.02, layers=3),
        Recipe(4, 4, 64, 640, 0.01, layers=6, weighted=60),
    )


def learn_ising(
    L: int,
    recipe: Recipe,
    generator: torch.Generator,
    *,
    symmetric: bool = True,
    count: int = 8192,
    T: float = CRITICAL_TEMPERATURE,
    heat: float = 0.6,
    device: torch.device | str = "cpu",
) -> IsingRun:
    """Variational free energy of the dual field on the periodic L x L lattice, measured in float64 on `count` samples.

    The flow moves y, and the field is x = K^(1/2) y, so that the Gaussian factor of the density is met before training.
    symmetric: translations and x -> -x built into every potential; else as many free hidden units.
    heat: training starts at (1 + heat) T and cools to T over its first 60 %; at T from the start, reverse KL settles
    in the two wells of an ordered magnet and never looks between them. What is left of that habit, `recipe.weighted`
    iterations on four times the batch and at a twentieth of the rate take away.
    """
    if not heat >= 0:
        raise ValueError(f"heat must be zero or positive; got {heat}")
    N, K = L * L, dual_coupling(L, T)[0]
    flow = _lattice_flow(L, recipe, symmetric, generator).to(device)
    root, precision = symmetric_sqrt(K), torch.linalg.inv(K)
    volume, stretch = float(torch.linalg.slogdet(root)[1]), root.float().to(device)
    cooling = iter([T * (1 + heat * max(0.0, 1 - n / (0.6 * recipe.iterations))) for n in range(recipe.iterations)])

    def energy_at(warm: float) -> Callable[[Tensor], Tensor]:
        narrow = torch.linalg.inv(dual_coupling(L, warm)[0]).float().to(device)
        return lambda y: -dual_from_precision(y @ stretch, narrow) - volume

    def loss() -> Tensor:
        return reverse_loss(flow, energy_at(next(cooling)), recipe.batch, N, generator)()

    name = f"Ising {L} x {L}"
    losses = train(flow, loss, iterations=recipe.iterations, lr=recipe.lr, description=name)
    if recipe.weighted:
        mend = weighted_loss(flow, energy_at(T), 4 * recipe.batch, N, generator)
        train(flow, mend, iterations=recipe.weighted, lr=recipe.lr / 20, description=f"{name}, weighted")
    y, log_q = _fresh(flow, count, N, generator)
    x, log_q = y @ root, log_q - volume
    energy = -dual_from_precision(x, precision)
    F, error = variational_free_energy(log_q, energy)
    log_Z, ess = importance(log_q, energy)
    m2, m2_error, _ = order_parameter(x)
    weighted = order_parameter(x, -energy - log_q)[0]
    exact = dual_free_energy(L, T)
    return IsingRun(flow, losses, x, F / N, error / N, exact, -log_Z / N, m2, m2_error, weighted, ess, count)


def _lattice_flow(L: int, recipe: Recipe, symmetric: bool, generator: torch.Generator) -> ComposedFlow:
    """Per layer one hidden layer of tied weights, then a quadratic potential; without symmetry free weights alone."""
    N, alike = L * L, {"generator": generator, "dtype": torch.float32}
    if not symmetric:
        free = [OneHidden(N, recipe.hidden * N, scale=0.1, **alike) for _ in range(recipe.layers)]
        return ComposedFlow([MongeAmpereFlow(phi, recipe.T, recipe.steps) for phi in free])
    group, bonds = lattice_group(L), adjacency(L)
    even = {"activation": "lncosh", "bias": False, "flip": False}  # phi(-x) = phi(x) at half the price of two terms
    flows = []
    for _ in range(recipe.layers):
        for phi in (Convolutional(group, recipe.hidden, scale=0.1, **even, **alike), Spectral(bonds, torch.float32)):
            flows.append(MongeAmpereFlow(phi, recipe.T, recipe.steps))
    return ComposedFlow(flows)


# ------------------------------------------------------------------------------------------------ digits


class DigitRun(NamedTuple):
    """A flow on what two closed maps leave, losses, and test NLL in nats: of either map alone, both, and the flow."""

    flow: MongeAmpereFlow
    white: Whitening
    maps: Gaussianisation
    losses: list[float]
    gaussian: float
    pixels: float
    both: float
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
    """Density of uint8 digits (count, 28, 28) in logit space: two closed maps first, then the flow, float32."""
    white, maps = whitening(to_logits(train_images, generator)), gaussianisation(train_images, generator)
    phi = _kinks(maps.there(to_logits(train_images[:5000], generator))[0].float(), recipe.hidden, generator)
    flow = MongeAmpereFlow(phi.to(device), recipe.T, recipe.steps)

    def loss() -> Tensor:
        chosen = torch.randint(len(train_images), (recipe.batch,), generator=generator)
        z, log_det = maps.there(to_logits(train_images[chosen.numpy()], generator))
        return -flow.log_prob(z.float().to(device)).mean() - float(log_det.mean())

    losses = train(flow, loss, iterations=recipe.iterations, lr=recipe.lr, description="digits")
    measured = []
    for x in to_logits(test_images, generator).split(1000):
        z, log_det = maps.there(x)
        with torch.no_grad():
            log_q = flow.log_prob(z.float().to(device)).double().cpu()
        closed = [-normal_log_density(y) - change for y, change in (white.there(x), maps.pixels.there(x), (z, log_det))]
        measured.append(torch.stack([*closed, -log_q - log_det]))
    nll = torch.cat(measured, 1)
    return DigitRun(flow, white, maps, losses, *nll.mean(1).tolist(), float(nll[-1].std() / nll.shape[1] ** 0.5))
