"""Contrastive divergence, CD-k and persistent, with the closed gradient of Eqs. (33)-(35) and no autograd."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .model import (
    RBM,
    Rng,
    bernoulli,
    check,
    check_units,
    free_energy,
    hidden_given_visible,
    uniform,
    visible_given_hidden,
)


@dataclass(frozen=True)
class Plan:
    """How to train: epochs over the data, digits a step, learning rate (falls linearly to 0 if `decay`), sweeps k.

    chains: persistent chains of the negative phase (0 restarts at the data: CD-k).  centred: gradient in units
    v - <v>, h - <h>, mapped back (Montavon & Mueller 2012; Melchior, Fischer & Wiskott 2016).  average: share of the
    run at its end over which the parameters are averaged (0 returns the last ones).
    """

    epochs: int = 10
    batch: int = 64
    rate: float = 0.05
    sweeps: int = 1
    chains: int = 0
    decay: bool = True
    centred: bool = True
    average: float = 0.0

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch, self.sweeps) < 1 or self.rate <= 0 or self.chains < 0:
            raise ValueError(f"epochs, batch, sweeps and rate must be positive and chains >= 0, got {self}")
        if not 0 <= self.average <= 1:
            raise ValueError(f"average is a share of the run between 0 and 1, got {self.average}")

    def steps(self, images: int) -> int:
        """Number of updates on so many images."""
        return self.epochs * -(-images // self.batch)


def as_grey(images: Tensor, like: Tensor) -> Tensor:
    """Grey levels 0..1 in the dtype of `like`; uint8 images are divided by 255; (n, visible)."""
    return images.to(like.dtype) / 255 if images.dtype == torch.uint8 else images.to(like.dtype)


def binarise(images: Tensor, generator: Rng, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Stochastic binarisation: a pixel of grey level g is 1 with probability g; uint8 or [0, 1] float, any shape."""
    return bernoulli(as_grey(images, torch.empty((), dtype=dtype)), generator)


def pixel_means(images: Tensor) -> Tensor:
    """Mean grey level 0..1 of every pixel; images (n, visible) uint8 or float, returns (visible,) float64."""
    total = torch.zeros(images.shape[1], dtype=torch.float64, device=images.device)
    for part in images.split(8192):  # whole numbers below 2^24: exact in float32, and a product is the fastest sum
        total += part.new_ones(len(part), dtype=torch.float32) @ part.float()
    return total / len(images) / (255 if images.dtype == torch.uint8 else 1)


def cd_gradient(data: Tensor, model: Tensor, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient of the loss (22) with respect to W, a, b (Eqs. 33-35 with their sign: descend along minus this).

    data: (n, visible) from the data, model: (m, visible) from the model, both of 0 and 1.  Hidden units enter by their
    probabilities, not by samples.  Returns tensors of the shapes of W, a, b.
    """
    check(W, data.new_zeros(W.shape[0]), b)
    check_units(data, W.shape[0], "data")
    check_units(model, W.shape[0], "model")
    p, q = hidden_given_visible(data, W, b), hidden_given_visible(model, W, b)
    dW = model.T @ q / len(model) - data.T @ p / len(data)
    return dW, model.mean(0) - data.mean(0), q.mean(0) - p.mean(0)


def delta_gradient(E: Tensor, dE: Tensor, data: Tensor, held: bool) -> Tensor:
    """Gradient of Delta = <E>_data - <E>_p with p = e^-E / Z (note Ex. 5), by enumeration.

    E: (states,) energies, dE: (states, parameters) their derivatives, data: (states,) probabilities.  With the samples
    of p held fixed it is Eq. (24); if p moves with the parameters, the covariance Cov_p(E, dE) is added.
    """
    p = torch.softmax(-E, 0)
    fixed = data @ dE - p @ dE
    return fixed if held else fixed + (p * (E - p @ E)) @ dE


def raw_estimator(v: Tensor, W: Tensor, b: Tensor, seed: int) -> Tensor:
    """Mean of v_i h_j with one drawn h ~ p(h | v) for every v (note Ex. 6); returns (visible, hidden)."""
    generator = torch.Generator(v.device).manual_seed(int(seed))
    return v.T @ bernoulli(hidden_given_visible(v, W, b), generator) / len(v)


def rao_blackwell_estimator(v: Tensor, W: Tensor, b: Tensor) -> Tensor:
    """Mean of v_i p(h_j = 1 | v): h summed out by hand, same mean, less variance; returns (visible, hidden)."""
    return v.T @ hidden_given_visible(v, W, b) / len(v)


def negative_phase(v: Tensor, p: Tensor, model: RBM, sweeps: int, generator: Rng,
                   out: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:  # fmt: skip
    """k sweeps from visible v with hidden probabilities p; returns the new v (n, visible) and its p (n, hidden)."""
    for _ in range(sweeps):
        h = bernoulli(p, generator)
        v = bernoulli(visible_given_hidden(h, model.W, model.a), generator, out=out and out[0])
        p = hidden_given_visible(v, model.W, model.b, out=out and out[1])
    return v, p


def ascend(model: RBM, X: Tensor, Y: Tensor, chains: int, rate: float, offsets: tuple[Tensor, Tensor] | None) -> None:
    """Move the parameters up the likelihood in place.

    X (rows, visible) and Y (rows, hidden) hold v and p(h | v): first of the chains, then of the data; the last two rows
    are room to work in, and Y is used up. Both phases, and with `offsets` (mu, lambda) the two rank-one terms of the
    centred gradient, go into one matrix product: (v - mu)(h - lambda) summed over the difference of phases is
    D - dv lambda^T - mu dh^T.
    """
    rows = len(X) - 2
    signs = X.new_full((rows,), 1 / (rows - chains))
    signs[:chains] = -1 / chains
    dv, dh = signs @ X[:rows], signs @ Y[:rows]
    Y[:rows] *= signs[:, None]
    if offsets is not None:
        mu, lam = offsets
        X[-2], X[-1], Y[-2], Y[-1], rows = dv, mu, -lam, -dh, rows + 2
        dv, dh = dv - X.T @ (Y @ lam), dh - Y.T @ (X @ mu)
    model.W.addmm_(X[:rows].T, Y[:rows], alpha=rate)
    model.a.add_(dv, alpha=rate)
    model.b.add_(dh, alpha=rate)


def batches(count: int, size: int, epochs: int, generator: Rng, device: torch.device) -> Iterator[Tensor]:
    """Row numbers of one step after the other, every row once an epoch in random order."""
    for _ in range(epochs):
        yield from uniform((count,), generator, dtype=torch.float32, device=device).argsort().split(size)


class Average:
    """Running mean of parameters, every `stride`-th step from step `start` on (Polyak and Ruppert)."""

    def __init__(self, start: int, stride: int = 10) -> None:
        self.start, self.stride, self.count = start, stride, 0
        self.mean: RBM | None = None

    def add(self, model: RBM, step: int) -> None:
        """Take the parameters of this step into the mean."""
        if step < self.start or step % self.stride:
            return
        self.count += 1
        if self.mean is None:
            self.mean = RBM(*(t.clone() for t in model))
        for mean, new in zip(self.mean, model, strict=True):
            mean.lerp_(new, 1 / self.count)


class Trainer:
    """The state of one run: parameters, persistent chains, running mean of the hidden units."""

    def __init__(self, model: RBM, images: Tensor, plan: Plan, generator: Rng) -> None:
        check(*model)
        check_units(images, len(model.a), "image")
        self.plan, self.generator = plan, generator
        self.model = RBM(*(tensor.clone() for tensor in model))
        self.mean = pixel_means(images).to(self.model.W) if plan.centred else None
        self.hidden_mean = torch.full_like(self.model.b, 0.5)
        self.chain = self.persistent_chains(images) if plan.chains else None
        rows = plan.batch + (plan.chains or plan.batch) + 2
        self.rooms = [self.model.W.new_empty(rows, len(part)) for part in self.model[1:]]  # for v, for p(h | v)

    def persistent_chains(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """As many chains as the plan asks for, started from random digits: (v, p(h | v))."""
        rows = (uniform((self.plan.chains,), self.generator, device=images.device) * len(images)).long()
        v = binarise(images[rows], self.generator, dtype=self.model.W.dtype)
        return v, hidden_given_visible(v, self.model.W, self.model.b)

    def step(self, v: Tensor, rate: float) -> None:
        """One update from the binary digits v (n, visible)."""
        m = self.plan.chains or len(v)
        X, Y = (room[: m + len(v) + 2] for room in self.rooms)
        X[m:-2] = v
        p = hidden_given_visible(v, self.model.W, self.model.b, out=Y[m:-2])
        if self.plan.centred:
            self.hidden_mean.lerp_(p.mean(0), 0.01)
        negative_phase(*(self.chain or (v, p)), self.model, self.plan.sweeps, self.generator, out=(X[:m], Y[:m]))
        if self.plan.chains:
            self.chain = X[:m].clone(), Y[:m].clone()
        ascend(self.model, X, Y, m, rate, (self.mean, self.hidden_mean) if self.plan.centred else None)


def fit(model: RBM, images: Tensor, plan: Plan, generator: Rng, *,
        watch: Callable[[int, RBM], None] | None = None, at: Collection[int] = ()) -> RBM:  # fmt: skip
    """Train on `images` (n, visible) by CD-k or PCD and return new parameters; `model` itself stays as it was.

    uint8 images are drawn as Bernoulli(grey / 255) afresh whenever they are used; float images are taken as they are.
    watch(steps done, parameters) is called for every number of steps in `at`; 0 is the start.
    """
    run = Trainer(model, images, plan, generator)
    total = plan.steps(len(images))
    average = Average(int((1 - plan.average) * total))
    if watch and 0 in at:
        watch(0, run.model)
    for step, rows in enumerate(batches(len(images), plan.batch, plan.epochs, generator, images.device)):
        v = images.index_select(0, rows)
        v = binarise(v, generator, dtype=run.model.W.dtype) if v.dtype == torch.uint8 else v
        run.step(v, plan.rate * (1 - step / total if plan.decay else 1))
        average.add(run.model, step)
        if watch and step + 1 in at:
            watch(step + 1, average.mean or run.model)
    return average.mean or run.model


def cd_loss(model: RBM, v: Tensor, sweeps: int, generator: Rng) -> float:
    """What CD programs print as a loss, <F(v)> - <F(v after k sweeps)> in nats, no likelihood; v (n, visible)."""
    w, _ = negative_phase(v, hidden_given_visible(v, model.W, model.b), model, sweeps, generator)
    return float((free_energy(v, *model) - free_energy(w, *model)).mean())
