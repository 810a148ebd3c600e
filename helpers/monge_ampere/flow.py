"""The flow dx/dt = grad phi, d ln p / dt = -lap phi: fixed-step RK4, adaptive steps, and three ways to its gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .adaptive import dormand_prince
from .fused import STAGES, Grid, fused_flow
from .potentials import Potential

GRADIENTS = ("backprop", "checkpoint", "adjoint")


def normal_log_density(z: Tensor) -> Tensor:
    """ln N(z; 0, 1) = -|z|^2 / 2 - (d / 2) ln 2 pi: (batch, d) -> (batch,)."""
    return -0.5 * (z * z).sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)


def rk4_step(potential: Potential, x: Tensor, log_p: Tensor, t: float, h: float) -> tuple[Tensor, Tensor]:
    """One classical Runge-Kutta step of dx/dt = grad phi(x, t), d ln p / dt = -lap phi(x, t) from t to t + h.

    x (batch, d), log_p (batch,), h of either sign -> the same shapes at t + h; local error O(h^5).
    """
    after, log_after, k = x, log_p, torch.zeros_like(x)
    for shift, weight in STAGES:
        k, lap = potential.gradient_laplacian(x + shift * h * k, t + shift * h)
        after, log_after = after + h * weight * k, log_after - h * weight * lap
    return after, log_after


def integrate(
    potential: Potential,
    x: Tensor,
    start: float,
    end: float,
    steps: int,
    *,
    gradient: str = "backprop",
    fused: bool = True,
) -> tuple[Tensor, Tensor]:
    """x(end) (batch, d) and ln p(end) - ln p(start) (batch,) by `steps` RK4 steps; end < start runs backwards.

    gradient: backprop keeps every stage; checkpoint keeps only the state before each step and recomputes the rest
    (equal to backprop up to rounding); adjoint keeps nothing, integrates x back with the costate, and is off by
    the reconstruction error O(h^4). Potentials with `layer` take the hand-written pass unless fused is False.
    """
    _check(x, steps, gradient)
    grid = Grid(start, (end - start) / steps, steps)
    if fused and gradient != "adjoint" and hasattr(potential, "layer"):
        x, lap = fused_flow(potential.layer(), x, grid, gradient == "checkpoint")
        return x, -lap
    if gradient == "backprop" or not torch.is_grad_enabled():
        return _steps(potential, x, grid)
    rule = _Checkpoint if gradient == "checkpoint" else _Adjoint
    return rule.apply(potential, grid, x, *_weights(potential))


def flow_log_prob(potential: Potential, x: Tensor, T: float, steps: int) -> Tensor:
    """ln q(x) (batch,): run x from T back to 0, then ln N(z) + (ln p(T) - ln p(0)). Chen et al. 1806.07366, Eq. 8."""
    z, change = integrate(potential, x, T, 0.0, steps)
    return normal_log_density(z) - change


class MongeAmpereFlow(nn.Module):
    """Normal z of width 1 carried by dx/dt = grad phi for a time T; `forward` samples, `log_prob` runs backwards.

    steps: RK4 steps, or None for the adaptive solver at tolerance `tol` (values only); gradient: see `integrate`.
    """

    def __init__(
        self,
        potential: nn.Module,
        T: float = 1.0,
        steps: int | None = 20,
        *,
        gradient: str = "backprop",
        tol: float = 1e-6,
    ):
        super().__init__()
        if not T > 0:
            raise ValueError(f"T must be positive; got {T}")
        self.potential, self.T, self.steps, self.gradient, self.tol = potential, T, steps, gradient, tol

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """x = x(T) from x(0) = z, and ln q(x): (batch, d) -> (batch, d), (batch,)."""
        x, change = self.carry(z)
        return x, normal_log_density(z) + change

    def log_prob(self, x: Tensor) -> Tensor:
        """ln q(x): (batch, d) -> (batch,)."""
        z, change = self.carry(x, back=True)
        return normal_log_density(z) - change

    def latent(self, x: Tensor) -> Tensor:
        """z of x, normal if the model is right: (batch, d) -> (batch, d)."""
        return self.carry(x, back=True)[0]

    def path(self, z: Tensor, frames: int = 21) -> tuple[Tensor, Tensor]:
        """x(t) (frames, batch, d) and ln p(x(t), t) (frames, batch) at equal times from 0 to T, without gradients."""
        steps = max(1, -(-(self.steps or 40) // (frames - 1)))
        x, log_p, dt = z, normal_log_density(z), self.T / (frames - 1)
        points, densities = [x], [log_p]
        with torch.no_grad():
            for n in range(frames - 1):
                x, change = integrate(self.potential, x, n * dt, (n + 1) * dt, steps)
                log_p = log_p + change
                points.append(x)
                densities.append(log_p)
        return torch.stack(points), torch.stack(densities)

    def carry(self, x: Tensor, back: bool = False) -> tuple[Tensor, Tensor]:
        """Whatever lies at x at time 0 (T if back), carried to the other end, and its change of ln p: `integrate`."""
        start, end = (self.T, 0.0) if back else (0.0, self.T)
        if self.steps is None:
            return dormand_prince(self.potential, x, start, end, tol=self.tol)[:2]
        return integrate(self.potential, x, start, end, self.steps, gradient=self.gradient)


class ComposedFlow(nn.Module):
    """Flows in a row, each starting where the one before ends: one flow whose potential changes at given times."""

    def __init__(self, flows: Sequence[MongeAmpereFlow]):
        super().__init__()
        if not flows:
            raise ValueError("at least one flow is needed; got none")
        self.flows = nn.ModuleList(flows)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """x and ln q(x) of normal z: (batch, d) -> (batch, d), (batch,)."""
        x, log_q = z, normal_log_density(z)
        for flow in self.flows:
            x, change = flow.carry(x)
            log_q = log_q + change
        return x, log_q

    def log_prob(self, x: Tensor) -> Tensor:
        """ln q(x): (batch, d) -> (batch,)."""
        total = torch.zeros_like(x[:, 0])
        for flow in reversed(self.flows):
            x, change = flow.carry(x, back=True)
            total = total - change
        return normal_log_density(x) + total


def _check(x: Tensor, steps: int, gradient: str) -> None:
    if not isinstance(x, Tensor) or x.ndim != 2 or not x.is_floating_point():
        raise ValueError(f"x must be a float tensor (batch, d); got {getattr(x, 'shape', type(x).__name__)}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}")
    if gradient not in GRADIENTS:
        raise ValueError(f"gradient must be one of {GRADIENTS}; got {gradient!r}")


def _weights(potential: Potential) -> list[Tensor]:
    return [p for p in potential.parameters() if p.requires_grad]


def _steps(potential: Potential, x: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    change = x.new_zeros(len(x))
    for n in range(grid.steps):
        x, change = rk4_step(potential, x, change, grid.start + n * grid.step, grid.step)
    return x, change


class _Checkpoint(torch.autograd.Function):
    """Keeps the state before each step (steps, batch, d); backward replays one step at a time under autograd."""

    @staticmethod
    def forward(ctx, potential, grid, x, *weights):
        change, states = x.new_zeros(len(x)), []
        for n in range(grid.steps):
            states.append(x)
            x, change = rk4_step(potential, x, change, grid.start + n * grid.step, grid.step)
        ctx.potential, ctx.grid, ctx.weights, ctx.states = potential, grid, weights, states
        return x, change

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, bar, change_bar):
        (start, h, steps), weights = ctx.grid, list(ctx.weights)
        grads = [torch.zeros_like(w) for w in weights]
        for n in reversed(range(steps)):
            with torch.enable_grad():
                x = ctx.states[n].detach().requires_grad_()
                out = rk4_step(ctx.potential, x, torch.zeros_like(change_bar), start + n * h, h)
            bar, *new = torch.autograd.grad(out, [x, *weights], (bar, change_bar), materialize_grads=True)
            for total, g in zip(grads, new, strict=True):
                total.add_(g)
        return None, None, bar, *grads


class _Adjoint(torch.autograd.Function):
    """Keeps only x(end); backward runs x, the costate and the weights' gradients back in time by the same RK4.

    d lambda / dt = -d/dx (lambda . grad phi - mu lap phi), d theta_bar / dt = -d/dtheta (the same), mu = dL / d ln p.
    """

    @staticmethod
    def forward(ctx, potential, grid, x, *weights):
        x, change = _steps(potential, x, grid)
        ctx.potential, ctx.grid, ctx.weights = potential, grid, weights
        ctx.save_for_backward(x)
        return x, change

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, bar, mu):
        start, h, steps = ctx.grid
        (x,) = ctx.saved_tensors
        state = [x, bar, *(torch.zeros_like(w) for w in ctx.weights)]
        for n in range(steps, 0, -1):
            total, k, t = state, None, start + n * h
            for shift, weight in STAGES:
                at = [s if k is None else s - shift * h * g for s, g in zip(state, k or state, strict=True)]
                k = _costate(ctx.potential, list(ctx.weights), at[0], at[1], mu, t - shift * h)
                total = [s - h * weight * g for s, g in zip(total, k, strict=True)]
            state = total
        return None, None, *state[1:]


def _costate(potential: Potential, weights: list[Tensor], x: Tensor, lam: Tensor, mu: Tensor, t: float) -> list[Tensor]:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        grad, lap = potential.gradient_laplacian(x, t)
        pulled = torch.autograd.grad((grad, lap), [x, *weights], (lam, -mu), materialize_grads=True)
    return [grad.detach(), *(-g for g in pulled)]
