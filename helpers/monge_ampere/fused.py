"""RK4 through a one-hidden-layer potential with its backward pass by hand: two or three products a stage, no tape."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .potentials import Layer, slope

STAGES = ((0.0, 1 / 6), (0.5, 1 / 3), (0.5, 1 / 3), (1.0, 1 / 6))  # shift, weight


class Grid(NamedTuple):
    """Uniform steps from start; step may be negative."""

    start: float
    step: float
    steps: int


def fused_flow(layer: Layer, x: Tensor, grid: Grid, checkpoint: bool) -> tuple[Tensor, Tensor]:
    """x(t1) (batch, d) and the integral of lap phi (batch,) for dx/dt = grad phi by RK4.

    When 2 d > hidden the state is y = W x: dy/dt = (a f'(y + b + c t)) W W^T needs one product a stage instead of two,
    and x(t1) = x(t0) + (integral of a f') W is taken once at the end.
    """
    W, b, c, a, activation = layer
    v = a * (W * W).sum(1)
    keep = not checkpoint and torch.is_grad_enabled()
    if 2 * W.shape[1] <= W.shape[0]:
        end, _, lap = _Fused.apply(x, W, a[:, None] * W, b, c, v, grid, activation, keep)
        return end, lap
    _, rate, lap = _Fused.apply(x @ W.T, None, a[:, None] * (W @ W.T), b, c, v, grid, activation, keep)
    return x + (rate * a) @ W, lap


class _Sweep:
    """One RK4 step on preallocated arrays: forward, and backward given the slopes s of its four stages."""

    def __init__(self, lift: Tensor | None, push: Tensor, b: Tensor, c: Tensor, v: Tensor, activation: str):
        self.lift, self.push, self.b, self.c, self.v, self.activation = lift, push, b, c, v, activation
        self.alpha = (
            1.0 if activation == "softplus" else 0.0
        )  # f'' = s (alpha - s) + 1 - alpha, f''' = f'' (alpha - 2 s)

    def curvature(self, s: Tensor) -> Tensor:
        return torch.addcmul(s, s, s, value=-1) if self.alpha else 1 - s * s

    def forward(
        self, z: Tensor, t: float, h: float, lap: Tensor | None = None, rate: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The next state, the stages' slopes (4, batch, hidden) and states; adds to lap and rate in place.

        Without lap only the stages are wanted (a backward pass recomputes them) and the last product is left out.
        """
        slopes = z.new_empty(4, len(z), len(self.push))
        states = None if self.lift is None else z.new_empty(4, *z.shape)
        after, k = z.clone(), None
        for i, (shift, weight) in enumerate(STAGES):
            at = z if k is None else torch.add(z, k, alpha=shift * h)
            bias = self.b + self.c * (t + shift * h)
            u = at + bias if self.lift is None else torch.addmm(bias, at, self.lift.T)
            slopes[i] = s = slope(u, self.activation)
            if states is not None:
                states[i] = at
            if lap is None and i == 3:
                break
            k = s @ self.push
            after.add_(k, alpha=h * weight)
            if lap is not None:
                lap.add_(self.curvature(s) @ self.v, alpha=h * weight)
            if rate is not None:
                rate.add_(s, alpha=h * weight)
        return after, slopes, states

    def backward(
        self,
        bar: Tensor,
        t: float,
        h: float,
        slopes: Tensor,
        states: Tensor | None,
        outer: Tensor,
        rate_bar: Tensor | None,
        grads: dict[str, Tensor],
        lap_bar: Tensor,
    ) -> Tensor:
        """d loss / d state before the step from that after it (bar); adds to the weights' gradients in place."""
        forces, lifted = bar.new_empty(4, *bar.shape), torch.empty_like(slopes)
        total, z_bar = bar.clone(), None
        for i in (3, 2, 1, 0):
            weight, s = h * STAGES[i][1], slopes[i]
            k_bar = bar * weight if z_bar is None else torch.add(bar * weight, z_bar, alpha=h * STAGES[i + 1][0])
            forces[i] = k_bar
            u_bar = k_bar @ self.push.T
            u_bar.addcmul_(outer, self.alpha - 2 * s, value=weight)
            if rate_bar is not None:
                u_bar.add_(rate_bar, alpha=weight)
            bent = self.curvature(s)
            lifted[i] = u_bar.mul_(bent)
            grads["v"].add_(lap_bar @ bent, alpha=weight)
            summed = u_bar.sum(0)
            grads["b"].add_(summed)
            grads["c"].add_(summed, alpha=t + STAGES[i][0] * h)
            z_bar = u_bar if self.lift is None else u_bar @ self.lift
            total.add_(z_bar)
        grads["push"].addmm_(slopes.flatten(0, 1).T, forces.flatten(0, 1))
        if states is not None:
            grads["lift"].addmm_(lifted.flatten(0, 1).T, states.flatten(0, 1))
        return total


class _Fused(torch.autograd.Function):
    """State, integral of f' (hidden space only) and integral of lap phi; keeps stages, or only states (checkpoint)."""

    @staticmethod
    def forward(ctx, z, lift, push, b, c, v, grid, activation, keep):
        sweep = _Sweep(lift, push, b, c, v, activation)
        wanted = any(ctx.needs_input_grad)
        lap = z.new_zeros(len(z))
        rate = torch.zeros_like(z) if lift is None else None
        kept = []
        for n in range(grid.steps):
            after, slopes, states = sweep.forward(z, grid.start + n * grid.step, grid.step, lap, rate)
            if wanted:
                kept.append((slopes, states) if keep else (z,))
            z = after
        ctx.kept, ctx.sweep, ctx.grid, ctx.keep = kept, sweep, grid, keep
        return z, rate, lap

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, bar, rate_bar, lap_bar):
        sweep, (start, h, steps) = ctx.sweep, ctx.grid
        grads = {name: torch.zeros_like(getattr(sweep, name)) for name in ("push", "b", "c", "v")}
        grads["lift"] = None if sweep.lift is None else torch.zeros_like(sweep.lift)
        outer = torch.outer(lap_bar, sweep.v)
        for n in reversed(range(steps)):
            t = start + n * h
            slopes, states = ctx.kept[n] if ctx.keep else sweep.forward(ctx.kept[n][0], t, h)[1:]
            bar = sweep.backward(bar, t, h, slopes, states, outer, rate_bar, grads, lap_bar)
        return bar, grads["lift"], grads["push"], grads["b"], grads["c"], grads["v"], None, None, None
