"""Coupling layers (note Eqs. 43, 65): half of the coordinates steers an affine map of the other half."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from helpers.flows.bijectors import Bijector
from helpers.flows.networks import Perceptron, fields

LIMIT = 2.0  # |s| stays below this: no layer can overflow while training


def affine_coupling_forward(
    z: Tensor, mask: Tensor, s: Callable[[Tensor], Tensor], t: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Eq. (43): x_moved = z_moved exp(s(z_kept)) + t(z_kept), x_kept = z_kept; and log|det dx/dz| = sum s.

    z: (batch, dim); mask: bool (dim,), True where a coordinate is kept; s, t: (batch, kept) -> (batch, moved).
    """
    kept, moved = z[:, mask], z[:, ~mask]
    log_scale = s(kept)
    x = z.clone()
    x[:, ~mask] = moved * log_scale.exp() + t(kept)
    return x, log_scale.sum(1)


def affine_coupling_inverse(
    x: Tensor, mask: Tensor, s: Callable[[Tensor], Tensor], t: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Eq. (43) undone: z_moved = (x_moved - t(x_kept)) exp(-s(x_kept)); log|det dz/dx| = -sum s; shapes as above."""
    kept, moved = x[:, mask], x[:, ~mask]
    log_scale = s(kept)
    z = x.clone()
    z[:, ~mask] = (moved - t(kept)) * torch.exp(-log_scale)
    return z, -log_scale.sum(1)


class Coupling(Bijector):
    """An affine coupling layer with a perceptron for s and t; `additive` drops s (NICE, Eq. 65).

    mask: bool (dim,), True where a coordinate is kept.  s = L tanh(raw), bounded by L = 2.  The inverse is
    the hot path of training on data; it is one node of the graph with the back propagation written out.
    """

    def __init__(
        self,
        mask: Sequence[bool] | Tensor,
        hidden: Sequence[int],
        *,
        additive: bool = False,
        activation: str = "relu",
        last: float = 0.1,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        mask = torch.as_tensor(mask, dtype=torch.bool)
        if mask.ndim != 1 or mask.all() or not mask.any():
            raise ValueError(f"a mask keeps some coordinates and moves some, got {mask.tolist()}")
        self.dim, self.additive = len(mask), additive
        self.register_buffer("mask", mask)
        count = int((~mask).sum())
        sizes = [self.dim - count, *hidden, count if additive else 2 * count]
        self.net = Perceptron(sizes, activation=activation, last=last, generator=generator, dtype=dtype)
        self.spans = _span(mask), _span(~mask)

    def _halves(self) -> tuple[Any, Any]:
        """How to index the kept and the moved coordinates: a slice where they lie evenly spaced, else their mask."""
        kept, moved = self.spans
        return (self.mask if kept is None else kept), (~self.mask if moved is None else moved)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """x_moved = z_moved exp(s) + t."""
        self.check(z)
        kept, moved = self._halves()
        raw = self.net(z[:, kept])
        x = z.clone()
        if self.additive:
            x[:, moved] = z[:, moved] + raw
            return x, z.new_zeros(len(z))
        s, t = raw.chunk(2, dim=1)
        s = LIMIT * torch.tanh(s)
        x[:, moved] = z[:, moved] * s.exp() + t
        return x, s.sum(1)

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z_moved = (x_moved - t) exp(-s)."""
        self.check(x)
        return _CouplingInverse.apply(x, self.net.theta, self.net, *self._halves(), self.additive)

    def to_plain(self) -> dict[str, Any]:
        """Mask, kind and network as plain values."""
        return {"mask": self.mask, "additive": self.additive, "net": self.net}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Coupling:
        """The layer that `to_plain` described; ValueError if the tree is no such description."""
        mask, additive, net = fields(plain, mask=Tensor, additive=bool, net=Perceptron)
        layer = cls(mask, net.sizes[1:-1], additive=additive)
        if layer.net.sizes != net.sizes:
            raise ValueError(f"this mask needs a network of sizes {layer.net.sizes}, got {net.sizes}")
        layer.net = net
        return layer


def _span(mask: Tensor) -> slice | None:
    """The slice that selects the True entries of mask, or None where they are not evenly spaced."""
    where = mask.nonzero().flatten().tolist()
    step = where[1] - where[0] if len(where) > 1 else 1
    even = where == list(range(where[0], where[-1] + 1, step))
    return slice(where[0], where[-1] + 1, step) if even else None


class _CouplingInverse(torch.autograd.Function):
    """The inverse of a coupling layer as one graph node; first derivatives only.

    With u = tanh(raw), s = L u, z = (x - t) e^{-s}: dz/dx = e^{-s}, dz/dt = -e^{-s}, dz/draw = -L (1 - u^2) z, and the
    log-det -sum s adds -L (1 - u^2).  Coordinates lie along the first axis here: their rows are contiguous.
    """

    @staticmethod
    def forward(ctx, x, theta, net, kept, moved, additive):
        layers = net.layers(theta)
        states, (w, b) = net.hidden(x[:, kept], layers), layers[-1]
        raw = torch.addmm(b[:, None], w, states[-1].t())  # (moved or 2 moved, batch)
        z = x.clone()
        ctx.net, ctx.layers, ctx.kept, ctx.moved = net, layers, kept, moved
        if additive:
            z[:, moved] -= raw.t()
            ctx.save_for_backward(theta, *states)
            return z, x.new_zeros(len(x))
        count = len(raw) // 2
        u = raw[:count].tanh_()
        shrink = torch.exp(-LIMIT * u)
        inner = (x[:, moved].t() - raw[count:]).mul_(shrink)
        z[:, moved] = inner.t()
        ctx.save_for_backward(theta, *states, u, shrink, inner)
        return z, u.sum(0).mul_(-LIMIT)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_z, grad_log_det):
        _, *saved = ctx.saved_tensors  # theta is saved only so that a change of it before backward raises
        states, affine = saved[: len(ctx.layers)], saved[len(ctx.layers) :]
        grad = grad_moved = grad_z[:, ctx.moved].t()
        if affine:
            u, shrink, inner = affine
            grad_raw = torch.addcmul(grad_log_det, grad, inner).mul_((u * u).sub_(1).mul_(LIMIT))
            grad_moved = grad * shrink
            grad = torch.cat([grad_raw, -grad_moved])
        else:
            grad = -grad
        to_input = ctx.needs_input_grad[0]
        grad_kept, grad_theta = ctx.net.back(grad.t(), states, ctx.layers, to_input)
        if not to_input:
            return None, grad_theta, None, None, None, None
        grad_x = grad_z.clone()
        grad_x[:, ctx.moved] = grad_moved.t()
        grad_x[:, ctx.kept] += grad_kept
        return grad_x, grad_theta, None, None, None, None
