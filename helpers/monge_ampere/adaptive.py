"""Adaptive Dormand-Prince 5(4) steps for the flow; torchdiffeq, where installed, is an optional second opinion."""

from __future__ import annotations

import torch
from torch import Tensor

from .potentials import Potential

NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
TABLEAU = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
FOURTH = (5179 / 57600, 0.0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40)


def dormand_prince(
    potential: Potential, x: Tensor, start: float, end: float, *, tol: float = 1e-6, max_evaluations: int = 10_000
) -> tuple[Tensor, Tensor, int]:
    """x(end), ln p(end) - ln p(start) and the evaluations taken, with the step chosen so that the error stays <= tol.

    Error of a step: largest over the batch of |5th - 4th order| / (1 + |x|), ln p included. Autograd follows the
    accepted steps. RuntimeError when max_evaluations do not suffice. Dormand & Prince, J. Comput. Appl. Math. 6 (1980).
    """
    if not tol > 0:
        raise ValueError(f"tol must be positive; got {tol}")
    t, h, used = start, (end - start) / 20, 0
    y = torch.cat([x, x.new_zeros(len(x), 1)], 1)  # (batch, d + 1): x and the change of ln p
    while (end - t) * (end - start) > 0:
        h = end - t if abs(h) > abs(end - t) else h
        after, error = _attempt(potential, y, t, h)
        used += len(NODES)
        size = float((error.detach().abs() / (1 + y.detach().abs())).max()) / tol
        if size <= 1:
            t, y = t + h, after
        h = h * min(5.0, max(0.2, 0.9 * max(size, 1e-10) ** -0.2)) if size == size else h / 5
        if used > max_evaluations:
            raise RuntimeError(f"{used} evaluations reached only t = {t:.3g} of {end:.3g}: raise tol or tame phi")
    return y[:, :-1], y[:, -1], used


def _attempt(potential: Potential, y: Tensor, t: float, h: float) -> tuple[Tensor, Tensor]:
    rates: list[Tensor] = []
    for node, row in zip(NODES, TABLEAU, strict=True):
        at = y + h * sum(w * k for w, k in zip(row, rates, strict=True)) if row else y
        grad, lap = potential.gradient_laplacian(at[:, :-1], t + node * h)
        rates.append(torch.cat([grad, -lap[:, None]], 1))
    error = h * sum((w - v) * k for w, v, k in zip((*TABLEAU[6], 0.0), FOURTH, rates, strict=True))
    return at, error


def torchdiffeq_solve(
    potential: Potential, x: Tensor, start: float, end: float, *, tol: float = 1e-6, method: str = "dopri5"
) -> tuple[Tensor, Tensor]:
    """The same two results from torchdiffeq.odeint, an optional peer: ImportError in one sentence without it."""
    try:
        from torchdiffeq import odeint
    except ImportError as error:
        raise ImportError("torchdiffeq is not installed; dormand_prince needs nothing beyond torch") from error

    def rate(t: Tensor, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        grad, lap = potential.gradient_laplacian(y[0], t)
        return grad, -lap

    times = torch.tensor([start, end], dtype=x.dtype, device=x.device)
    path, change = odeint(rate, (x, x.new_zeros(len(x))), times, rtol=tol, atol=tol, method=method)
    return path[-1], change[-1]
