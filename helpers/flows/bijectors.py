"""Bijectors: maps with an inverse and a log|det|, and the ways to put them together (note 3.2.3, Eqs. 41, 42)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from helpers.flows.networks import fields, weight


class Bijector(nn.Module):
    """An invertible map z -> x of R^dim (or part of it), differentiable both ways.

    `forward(z)` gives x and log|det dx/dz|, `inverse(x)` gives z and log|det dz/dx|; points are (batch, dim), log-dets
    (batch,), of the dtype and on the device of the input.  A subclass writes `forward` and `inverse`.
    """

    dim: int

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, dim) and log|det dx/dz| (batch,)."""
        raise NotImplementedError

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z (batch, dim) and log|det dz/dx| (batch,)."""
        raise NotImplementedError

    def log_abs_det(self, z: Tensor) -> Tensor:
        """log|det dx/dz| at z, (batch,)."""
        return self.forward(z)[1]

    def check(self, x: Tensor) -> None:
        """Raise ValueError unless x is (batch, dim)."""
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ValueError(f"{type(self).__name__} maps points of shape (batch, {self.dim}), got {tuple(x.shape)}")


class Chain(Bijector):
    """x = g_n(... g_2(g_1(z))): the log-dets of the steps add up (below Eq. 41)."""

    def __init__(self, steps: Sequence[Bijector]) -> None:
        super().__init__()
        if not steps or len({step.dim for step in steps}) > 1:
            raise ValueError(f"a chain needs bijectors of one dimension, got dimensions {[s.dim for s in steps]}")
        self.steps, self.dim = nn.ModuleList(steps), steps[0].dim

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Through all steps, first to last."""
        return _run([step.forward for step in self.steps], z)

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Back through all steps, last to first; neighbours of one kind that has `inverse_together` go together."""
        maps: list = []
        for kind, run in groupby(reversed(self.steps), key=type):
            steps, together = list(run), getattr(kind, "inverse_together", None)
            maps += [partial(together, steps)] if together else [step.inverse for step in steps]
        return _run(maps, x)

    def to_plain(self) -> dict[str, Any]:
        """The steps, each of which must be able to cross."""
        return {"steps": list(self.steps)}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Chain:
        """The chain that `to_plain` described; ValueError if the tree is no such description."""
        (steps,) = fields(plain, steps=list)
        if not all(isinstance(step, Bijector) for step in steps):
            raise ValueError("the steps of a chain are bijectors")
        return cls(steps)


def _run(maps: list, x: Tensor) -> tuple[Tensor, Tensor]:
    x, total = maps[0](x)
    for step in maps[1:]:
        x, log_abs_det = step(x)
        total = total + log_abs_det
    return x, total


class Inverse(Bijector):
    """The same bijector, walked the other way: an inverse autoregressive flow is Inverse(Autoregressive) (Eq. 40)."""

    def __init__(self, bijector: Bijector) -> None:
        super().__init__()
        self.bijector, self.dim = bijector, bijector.dim

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The inner bijector's inverse."""
        return self.bijector.inverse(z)

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The inner bijector's forward map."""
        return self.bijector(x)


class Permutation(Bijector):
    """x_i = z_{order[i]}; the volume stays.  `order` lists every coordinate once."""

    def __init__(self, order: Sequence[int] | Tensor) -> None:
        super().__init__()
        order = torch.as_tensor(order, dtype=torch.int64)
        if order.ndim != 1 or not torch.equal(order.sort().values, torch.arange(len(order))):
            raise ValueError(f"an order lists each of 0..n-1 once, got {order.tolist()}")
        self.dim = len(order)
        self.register_buffer("order", order)
        self.register_buffer("back", order.argsort())

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Reorder."""
        self.check(z)
        return z[:, self.order], z.new_zeros(len(z))

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Restore the order."""
        self.check(x)
        return x[:, self.back], x.new_zeros(len(x))


class Scale(Bijector):
    """x_i = z_i exp(a_i) + b_i with learned a, b (dim,): the diagonal layer that NICE ends with."""

    def __init__(self, dim: int, *, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.dim = dim
        self.log_scale, self.shift = (nn.Parameter(torch.zeros(dim, dtype=dtype)) for _ in range(2))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift."""
        self.check(z)
        return z * self.log_scale.exp() + self.shift, self.log_scale.sum().expand(len(z))

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shift back and scale back."""
        self.check(x)
        return (x - self.shift) * (-self.log_scale).exp(), -self.log_scale.sum().expand(len(x))

    def to_plain(self) -> dict[str, Any]:
        """Scales and shifts, and whether they are to be trained, as plain values."""
        a, b = self.log_scale, self.shift
        return {"log_scale": a.detach(), "shift": b.detach(), "train": a.requires_grad}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Scale:
        """The layer that `to_plain` described; ValueError if the tree is no such description."""
        a, b, train = fields(plain, log_scale=Tensor, shift=Tensor, train=bool)
        layer = cls(a.numel())
        layer.log_scale, layer.shift = (weight(values, (layer.dim,), train) for values in (a, b))
        return layer


class Linear(Bijector):
    """x = A z + b with a fixed invertible matrix A (dim, dim) and shift b (dim,): log|det| = ln|det A| everywhere."""

    def __init__(self, matrix: Tensor, shift: Tensor | None = None) -> None:
        super().__init__()
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"a linear bijector needs a square matrix, got shape {tuple(matrix.shape)}")
        sign, log_abs_det = torch.linalg.slogdet(matrix)
        if sign == 0:
            raise ValueError("a linear bijector needs an invertible matrix; this one has determinant zero")
        self.dim = len(matrix)
        self.register_buffer("matrix", matrix)
        self.register_buffer("inverted", torch.linalg.inv(matrix))
        self.register_buffer("shift", torch.zeros_like(matrix[0]) if shift is None else shift)
        self.register_buffer("constant", log_abs_det)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """A z + b."""
        self.check(z)
        return z @ self.matrix.t() + self.shift, self.constant.expand(len(z))

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A^-1 (x - b)."""
        self.check(x)
        return (x - self.shift) @ self.inverted.t(), -self.constant.expand(len(x))

    def to_plain(self) -> dict[str, Any]:
        """Matrix and shift."""
        return {"matrix": self.matrix, "shift": self.shift}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Linear:
        """The map that `to_plain` described; ValueError if the tree is no such description."""
        return cls(*fields(plain, matrix=Tensor, shift=Tensor))


def box_muller(z: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. (42): uniform pairs z (batch, 2) in (0, 1) to normal pairs, and log|det dx/dz| = ln(2 pi / z_1)."""
    if z.ndim != 2 or z.shape[1] != 2:
        raise ValueError(f"Box-Muller takes pairs, shape (batch, 2), got {tuple(z.shape)}")
    if not ((z > 0) & (z < 1)).all():
        raise ValueError("Box-Muller takes numbers strictly between 0 and 1")
    radius, angle = torch.sqrt(-2 * torch.log(z[:, 0])), 2 * math.pi * z[:, 1]
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1), torch.log(2 * math.pi / z[:, 0])


class BoxMuller(Bijector):
    """Eq. (42) as a bijector from the open unit square to the plane without the positive half of the first axis."""

    dim = 2

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Uniform to normal."""
        return box_muller(z)

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z_1 = exp(-|x|^2 / 2), z_2 = angle / 2 pi."""
        self.check(x)
        half_square = 0.5 * x.square().sum(1)
        turn = (torch.atan2(x[:, 1], x[:, 0]) / (2 * math.pi)) % 1.0
        return torch.stack([torch.exp(-half_square), turn], dim=1), -half_square - math.log(2 * math.pi)


class Sigmoid(Bijector):
    """Logit space to (0, 1)^dim: y = (sigmoid(x) - l) / (1 - 2 l), with inverse x = logit(l + (1 - 2 l) y).

    The margin l (1e-6 for MNIST, the convention of the Monge-Ampère-flow paper) keeps y = 0 and y = 1 finite in x.
    """

    def __init__(self, dim: int, margin: float = 1e-6) -> None:
        super().__init__()
        if not 0 <= margin < 0.5:
            raise ValueError(f"the margin lies in [0, 0.5), got {margin}")
        self.dim, self.margin = dim, margin

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Real numbers to pixels."""
        self.check(z)
        log_slope = nn.functional.logsigmoid(z) + nn.functional.logsigmoid(-z) - math.log1p(-2 * self.margin)
        return (torch.sigmoid(z) - self.margin) / (1 - 2 * self.margin), log_slope.sum(1)

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels to real numbers."""
        self.check(x)
        inside = self.margin + (1 - 2 * self.margin) * x
        log_slope = math.log1p(-2 * self.margin) - torch.log(inside) - torch.log1p(-inside)
        return torch.log(inside) - torch.log1p(-inside), log_slope.sum(1)
