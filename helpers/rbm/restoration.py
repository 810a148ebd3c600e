"""Restoring lost pixels by clamped Gibbs sampling (note Ex. 9), and the rivals that it must beat."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .model import RBM, Rng, bernoulli, check, check_units, log_odds, visible_given_hidden
from .partition import Annealed, ais_log_z, check_known, clamp, exact_log_z
from .training import as_grey, batches, binarise, pixel_means


def top_half_lost(height: int = 28, width: int = 28) -> Tensor:
    """The mask of known pixels when the upper half of an image is lost; bool (height * width,)."""
    return torch.arange(height * width) >= (height // 2) * width


def pocket_machine(dtype: torch.dtype = torch.float64) -> RBM:
    """A small trained machine, 784 pixels and 64 hidden units, kept in float16 beside this file.

    12 epochs of PCD on MNIST; `python benchmarks/rbm_results.py pocket` makes it anew.
    """
    with np.load(files(__package__).joinpath("pocket.npz").open("rb")) as kept:
        return RBM(*(torch.from_numpy(kept[name]).to(dtype) for name in "Wab"))


def clamped_chains(v: Tensor, known: Tensor, model: RBM, generator: Rng, *, chains: int = 1,
                   start: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:  # fmt: skip
    """Gibbs sampling of the lost pixels with the known ones held; yields a sample and p(v_lost | h) after every sweep.

    v: (n, visible) of 0 and 1, its lost pixels are never looked at; start: (lost,) pixel means where the chains begin
    (1/2 by default).  Yields tensors (n, chains, lost) without end.
    """
    left, _ = clamp(v, known, model)
    fields = left.b.repeat_interleave(chains, 0)
    lost = left.W.shape[0]
    begin = torch.full_like(left.a, 0.5) if start is None else start.to(left.W)
    w = bernoulli(begin.expand(len(fields), -1), generator)
    while True:
        h = bernoulli(torch.addmm(fields, w, left.W).sigmoid_(), generator)
        p = visible_given_hidden(h, left.W, left.a)
        w = bernoulli(p, generator)
        yield w.view(-1, chains, lost), p.view(-1, chains, lost)


def posterior_mean(v: Tensor, known: Tensor, model: RBM, generator: Rng, *, sweeps: int = 200, burn_in: int = 50,
                   chains: int = 1, start: Tensor | None = None) -> Tensor:  # fmt: skip
    """<v_lost | v_known>, the restoration of least squared error: p(v_lost | h) averaged over sweeps and chains.

    Returns (n, visible): the known pixels as they came, the lost ones between 0 and 1.  ValueError unless
    0 <= burn_in < sweeps.
    """
    check_known(known, model)
    if not 0 <= burn_in < sweeps or chains < 1:
        raise ValueError(f"0 <= burn_in < sweeps and chains >= 1 are needed, got {burn_in}, {sweeps} and {chains}")
    total = torch.zeros(len(v), int((~known).sum()), dtype=model.W.dtype, device=model.W.device)
    steps = zip(range(sweeps), clamped_chains(v, known, model, generator, chains=chains, start=start), strict=False)
    for step, (_, p) in steps:
        if step >= burn_in:
            total += p.mean(1)
    return fill(v, known, total / (sweeps - burn_in))


def fill(v: Tensor, known: Tensor, lost: Tensor) -> Tensor:
    """A copy of v (n, visible) whose lost pixels hold `lost` (n, lost)."""
    full = v.clone().to(lost.dtype)
    full[:, ~known] = lost
    return full


def restore(images: Tensor, known: Tensor, W: Tensor, a: Tensor, b: Tensor, sweeps: int, seed: int) -> Tensor:
    """The exercise's form: posterior mean over `sweeps` clamped sweeps without their first fifth; (n, visible).

    images: (n, visible) of 0 and 1 whose lost pixels hold anything; known: (visible,) bool.
    """
    check(W, a, b)
    check_units(images, len(a), "image")
    generator = torch.Generator(W.device).manual_seed(int(seed))
    return posterior_mean(images.to(W), known, RBM(W, a, b), generator, sweeps=sweeps, burn_in=sweeps // 5)


# ------------------------------------------------------------------------------------------------ rivals


def nearest_digit(v: Tensor, known: Tensor, train: Tensor, *, chunk: int = 8192) -> Tensor:
    """Lost pixels (n, lost), grey, of the training image whose known pixels lie nearest to those of v (n, visible)."""
    check_units(train, v.shape[-1], "training image")
    seen = v[:, known]
    best = torch.full((len(v),), torch.inf, dtype=v.dtype, device=v.device)
    where = torch.zeros(len(v), dtype=torch.long, device=v.device)
    for start in range(0, len(train), chunk):
        part = as_grey(train[start : start + chunk], v)[:, known]
        distance, row = torch.addmm((part**2).sum(1)[None], seen, part.T, alpha=-2).min(1)
        where = torch.where(distance < best, row + start, where)
        best = torch.minimum(distance, best)
    return as_grey(train[where], v)[:, ~known]


def logistic_regression(train: Tensor, known: Tensor, generator: Rng, *, epochs: int = 5, batch: int = 200,
                        rate: float = 2e-3) -> tuple[Tensor, Tensor]:  # fmt: skip
    """One logistic regression per lost pixel on the known ones, by Adam on freshly binarised digits.

    train: (n, visible) uint8; returns weights (known, lost) and biases (lost,): p(v_lost = 1) = sigma(v_known W + c).
    """
    mean = pixel_means(train)[~known].float()
    W = torch.zeros(int(known.sum()), len(mean), device=train.device, requires_grad=True)
    c = log_odds(mean).requires_grad_()
    steps = epochs * -(-len(train) // batch)
    adam = torch.optim.Adam([W, c], lr=rate)
    decay = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.02, total_iters=steps)
    for rows in batches(len(train), batch, epochs, generator, train.device):
        v = binarise(train[rows], generator)
        with torch.no_grad():
            residual = torch.sigmoid(torch.addmm(c, v[:, known], W)) - v[:, ~known]
            W.grad, c.grad = v[:, known].T @ residual / len(v), residual.mean(0)
        adam.step()
        decay.step()
    return W.detach(), c.detach()


# ------------------------------------------------------------------------------------------------ judges


def pixel_error(restored: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Mean squared error over the lost pixels of each image; (n, visible) twice, returns (n,)."""
    return ((restored - truth)[:, ~known] ** 2).mean(1)


def lost_error(lost: Tensor, truth: Tensor, known: Tensor) -> float:
    """Mean squared error of restored pixels `lost` (n, lost) against the images `truth` (n, visible)."""
    return float(((lost - truth[:, ~known]) ** 2).mean())


def independent_log_likelihood(truth: Tensor, known: Tensor, probability: Tensor) -> Tensor:
    """ln p(v_lost) in nats if the lost pixels are independent with `probability` (n, lost); returns (n,) float64."""
    p = probability.double().clamp(1e-6, 1 - 1e-6).expand(len(truth), -1)
    return -functional.binary_cross_entropy(p, truth[:, ~known].double(), reduction="none").sum(1)


def clamped_log_z(v: Tensor, known: Tensor, model: RBM, *, mean: Tensor | None = None, betas: Tensor | None = None,
                  chains: int = 8, generator: Rng | None = None) -> Annealed:  # fmt: skip
    """ln Z of the machine clamped to each v (n, visible): exact up to 20 hidden units without `betas`, else by AIS.

    mean: (n, lost) posterior means; AIS starts from independent pixels with these, which lie close to the target.
    """
    check_known(known, model)
    left, _ = clamp(v, known, model)
    if betas is None:
        exact = exact_log_z(*left)
        return Annealed(exact, torch.zeros_like(exact), exact[:, None])
    base = None if mean is None else log_odds(mean, floor=0.01)
    return ais_log_z(left, betas, generator, chains=chains, base=base)


def train_reader(images: Tensor, labels: Tensor, generator: torch.Generator, *, epochs: int = 3) -> torch.nn.Module:
    """The fixed classifier that reads restored digits: 784-256-10 ReLU, Adam, on freshly binarised digits.

    images: (n, visible) uint8, labels: (n,) int64; the initial weights are drawn from `generator` too.
    """
    net = torch.nn.Sequential(torch.nn.Linear(images.shape[1], 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
    with torch.no_grad():
        for layer in (net[0], net[2]):
            layer.weight.normal_(0, layer.in_features**-0.5, generator=generator)
            layer.bias.zero_()
    adam = torch.optim.Adam(net.to(images.device).parameters(), lr=2e-3)
    for rows in batches(len(images), 200, epochs, generator, images.device):
        adam.zero_grad()
        functional.cross_entropy(net(binarise(images[rows], generator)), labels[rows]).backward()
        adam.step()
    return net.requires_grad_(False)


def read_rate(reader: torch.nn.Module, restored: Tensor, labels: Tensor) -> Tensor:
    """1 where the classifier reads the right digit off a restored image (n, visible), else 0; returns (n,) float64."""
    return (reader(restored).argmax(1) == labels).double()


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Mean of independent values (n,) and its standard error."""
    return float(values.double().mean()), float(values.double().std() / len(values) ** 0.5)
