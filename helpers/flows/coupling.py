"""Coupling layers (note Eqs. 43, 65): half of the coordinates steers an affine map of the other half."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from helpers.flows.bijectors import Bijector
from helpers.flows.networks import Perceptron, fields


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

    mask: bool (dim,), True where a coordinate is kept.  s = tanh(raw), so no layer can overflow while training
    (a bound of 1 learns faster than 2 or 1/2).  The inverse is the hot path of training on data; it is one node of the
    graph with the back propagation written out.
    """

    def __init__(
        self,
        mask: Sequence[bool] | Tensor,
        hidden: Sequence[int],
        *,
        additive: bool = False,
        activation: str = "relu",
        first: float = 1.0,
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
        options = {"activation": activation, "first": first, "last": last, "generator": generator, "dtype": dtype}
        self.net = Perceptron(sizes, **options)
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
        s = torch.tanh(s)
        x[:, moved] = z[:, moved] * s.exp() + t
        return x, s.sum(1)

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z_moved = (x_moved - t) exp(-s)."""
        return self.inverse_together([self], x)

    @staticmethod
    def inverse_together(couplings: Sequence[Coupling], x: Tensor) -> tuple[Tensor, Tensor]:
        """x walked back through `couplings`, in the order given: (z, log|det dz/dx|) of all of them as one node."""
        couplings[0].check(x)
        return _Undo.apply(x, couplings, *(coupling.net.theta for coupling in couplings))

    def _undo(self, z: Tensor, total: Tensor, theta: Tensor) -> list[Tensor]:
        """One coupling undone in place on z (dim, batch); adds -sum s to `total`; returns what the way back needs."""
        kept, moved = self._halves()
        layers, inner = self.net.layers(theta), z[moved]
        states = self.net.hidden(z[kept].clone().t(), layers)
        raw = torch.addmm(layers[-1][1][:, None], layers[-1][0], states[-1].t())  # (moved or 2 moved, batch)
        if self.additive:
            z[moved] = inner - raw
            return states
        s, t = raw.chunk(2)
        shrink = torch.exp(-s.tanh_())
        z[moved] = inner = (inner - t).mul_(shrink)
        total -= s.sum(0)
        return [*states, s, shrink, inner]

    def _undo_back(
        self, grad: Tensor, grad_log_det: Tensor, past: list[Tensor], theta: Tensor, to_input: bool
    ) -> Tensor:
        """The way back through `_undo`: grad (dim, batch) becomes dL/dx in place; returns dL/dtheta."""
        kept, moved = self._halves()
        layers, grad_moved = self.net.layers(theta), grad[moved]
        if self.additive:
            grad_raw = -grad_moved
        else:
            *past, s, shrink, inner = past
            grad_s = torch.addcmul(grad_log_det, grad_moved, inner).mul_((s * s).sub_(1))
            grad_moved = grad_moved * shrink
            grad_raw = torch.cat([grad_s, -grad_moved])
            grad[moved] = grad_moved
        grad_kept, grad_theta = self.net.back(grad_raw.t(), past, layers, to_input)
        if to_input:
            grad[kept] += grad_kept.t()
        return grad_theta

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


class _Undo(torch.autograd.Function):
    """The inverse of couplings in a row as one graph node; first derivatives only.

    With s = tanh(raw), z = (x - t) e^{-s}: dz/dx = e^{-s}, dz/dt = -e^{-s}, dz/draw = -(1 - s^2) z, and the log-det
    -sum s adds -(1 - s^2).  Coordinates lie along the first axis here: their rows are contiguous.
    """

    @staticmethod
    def forward(ctx, x, couplings, *thetas):
        z, total = x.t().clone(memory_format=torch.contiguous_format), x.new_zeros(len(x))
        pasts = [coupling._undo(z, total, theta) for coupling, theta in zip(couplings, thetas, strict=True)]
        ctx.couplings, ctx.counts = couplings, [len(past) for past in pasts]
        ctx.save_for_backward(*thetas, *(state for past in pasts for state in past))
        return z.t(), total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_z, grad_log_det):
        saved, grad_thetas = list(ctx.saved_tensors), []
        grad = grad_z.t().clone(memory_format=torch.contiguous_format)
        for k, (coupling, count) in reversed(list(enumerate(zip(ctx.couplings, ctx.counts, strict=True)))):
            past, saved = saved[-count:], saved[:-count]
            to_input = k > 0 or ctx.needs_input_grad[0]
            grad_thetas.append(coupling._undo_back(grad, grad_log_det, past, saved[k], to_input))
        return grad.t() if ctx.needs_input_grad[0] else None, None, *reversed(grad_thetas)
