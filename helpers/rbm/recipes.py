"""How long and on what to train in each profile, and a journal of what training does to the likelihood."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from helpers.training import setting

from .model import RBM, Rng, create, log_odds
from .partition import ais_log_z, log_likelihood, schedule
from .training import Plan, binarise, cd_loss, fit, pixel_means


class Recipe(NamedTuple):
    """Sizes of one run: training digits, hidden units, the plan, and the temperatures of the AIS that watches it."""

    digits: int
    hidden: int
    plan: Plan
    betas: Tensor


def recipe(profile: str, *, persistent: bool = True) -> Recipe:
    """PCD-1 with averaging as it reaches its number in each profile, or plain CD-1 as it is usually written.

    `quick` is a sketch; `class` is about a minute of one core; `paper` about four.
    """
    digits, hidden = setting(profile, 6_000, 60_000), setting(profile, 100, 500)
    betas = setting(profile, schedule((1.0, 200)), schedule((0.5, 100), (0.9, 400), (1.0, 500)))
    plan = Plan(epochs=setting(profile, 8, 15, 45), batch=100, rate=0.2, chains=100, average=0.3)
    usual = Plan(epochs=setting(profile, 4, 8), batch=64, rate=0.1, decay=False, centred=False)
    return Recipe(digits, hidden, plan if persistent else usual, betas)


def start(images: Tensor, hidden: int, seed: int, *, flat: bool = False) -> RBM:
    """A fresh machine that already knows the mean image, or with `flat` nothing at all; images (n, visible)."""
    generator = torch.Generator(images.device).manual_seed(seed)
    return create(images.shape[1], hidden, generator, mean=None if flat else pixel_means(images))


def long_schedule(profile: str) -> Tensor:
    """Temperatures for the number that is reported; in `paper` those of Salakhutdinov and Murray, 14,500 of them."""
    return setting(
        profile,
        schedule((0.5, 50), (1.0, 350)),
        schedule((0.5, 100), (0.9, 900), (1.0, 2_000)),
        schedule((0.5, 500), (0.9, 4_000), (1.0, 10_000)),
    )


class Journal:
    """Notes down, whenever it is called, the CD loss and ln p of held-out digits (by AIS, with its error), in nats."""

    def __init__(self, digits: Tensor, train: Tensor, betas: Tensor, generator: Rng, *, sweeps: int = 1) -> None:
        self.digits, self.betas, self.generator, self.sweeps = digits, betas, generator, sweeps
        self.base = log_odds(pixel_means(train).to(digits))
        self.steps: list[int] = []
        self.cd_loss: list[float] = []
        self.log_likelihood: list[float] = []
        self.error: list[float] = []

    def __call__(self, step: int, model: RBM) -> None:
        """Take one note; the signature is that of `fit`'s watch."""
        z = ais_log_z(model, self.betas, self.generator, base=self.base)
        self.steps.append(step)
        self.cd_loss.append(cd_loss(model, self.digits, self.sweeps, self.generator))
        self.log_likelihood.append(float(log_likelihood(self.digits, model, z.log_z).mean()))
        self.error.append(float(z.error))

    def __str__(self) -> str:
        notes = zip(self.steps, self.cd_loss, self.log_likelihood, self.error, strict=True)
        lines = (f"step {s:6}: CD loss {c:8.2f}   ln p {p:8.1f} +- {e:.1f}" for s, c, p, e in notes)
        return "\n".join(lines)


def notes_at(total: int, count: int) -> list[int]:
    """About `count` step numbers from 0 to `total`, evenly spaced in the logarithm."""
    return sorted({0, *np.geomspace(1, total, count).round().astype(int).tolist()})


def train(images: Tensor, chosen: Recipe, seed: int, *, journal: Journal | None = None, notes: int = 8) -> RBM:
    """Train as the recipe says on the first `chosen.digits` images (n, visible) uint8, keeping a journal if given."""
    images = images[: chosen.digits]
    generator: Rng = np.random.Generator(np.random.SFC64(seed))
    if images.device.type != "cpu":
        generator = torch.Generator(images.device).manual_seed(seed)
    begin = start(images, chosen.hidden, seed, flat=not chosen.plan.chains)
    at = notes_at(chosen.plan.steps(len(images)), notes) if journal else ()
    return fit(begin, images, chosen.plan, generator, watch=journal, at=at)


def mean_image_log_likelihood(digits: Tensor, train: Tensor) -> float:
    """ln p of digits (n, visible) if pixels were independent with their means: the score of no correlation at all."""
    p = pixel_means(train).to(digits).clamp(1e-3, 1 - 1e-3)
    return float((digits @ p.log() + (1 - digits) @ (1 - p).log()).double().mean())


def held_out(images: Tensor, seed: int) -> Tensor:
    """Test digits (n, visible) uint8 binarised once and for all, so that every machine is judged on the same bits."""
    return binarise(images.cpu(), np.random.default_rng(seed)).to(images.device)
