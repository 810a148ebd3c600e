"""Training: variational free energy (reverse KL), density estimation (forward KL), Adam on a cosine schedule."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from helpers.training import progress


def train(
    flow: nn.Module,
    loss_of: Callable[[], Tensor],
    *,
    iterations: int,
    lr: float = 1e-2,
    clip: float = 10.0,
    description: str = "loss",
) -> list[float]:
    """Minimise a stochastic scalar loss over the weights of flow; returns the loss of every iteration.

    Learning rate lr (1 + cos(pi n / iterations)) / 2, gradient norm clipped at `clip`. RuntimeError when the loss stops
    being finite.
    """
    weights = [p for p in flow.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=lr, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    losses: list[float] = []
    bar = progress(range(iterations), description)
    for n in bar:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, clip)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if not losses[-1] - losses[-1] == 0:
            raise RuntimeError(f"the loss became {losses[-1]} at iteration {n}: lower lr or take more RK4 steps")
        if n % 20 == 0:
            bar.set_postfix(loss=f"{sum(losses[-20:]) / len(losses[-20:]):.4f}")
    return losses


def reverse_loss(
    flow: nn.Module, energy: Callable[[Tensor], Tensor], batch: int, dim: int, generator: torch.Generator
) -> Callable[[], Tensor]:
    """Draws a fresh batch and returns <E(x) + ln q(x)> (note Eq. 45), differentiable through the samples (Eq. 54)."""
    like = next(flow.parameters())

    def loss() -> Tensor:
        z = torch.randn(batch, dim, generator=generator, dtype=like.dtype).to(like.device)
        x, log_q = flow(z)
        return (energy(x) + log_q).mean()

    return loss


def weighted_loss(
    flow: nn.Module, energy: Callable[[Tensor], Tensor], batch: int, dim: int, generator: torch.Generator
) -> Callable[[], Tensor]:
    """Draws a fresh batch and returns -sum_i w_i ln q(x_i), w ~ exp(-E - ln q) normalised over the batch.

    It estimates -<ln q> over exp(-E) / Z, so it raises q where samples are too rare; reverse KL cannot see that. It
    needs a flow whose samples already count: see `importance`.
    """
    like = next(flow.parameters())

    def loss() -> Tensor:
        with torch.no_grad():
            x, log_q = flow(torch.randn(batch, dim, generator=generator, dtype=like.dtype).to(like.device))
            weight = torch.softmax(-energy(x) - log_q, 0)
        return -(weight * flow.log_prob(x)).sum()

    return loss


def forward_loss(flow: nn.Module, data: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Negative log-likelihood <-ln q(x)> of a fresh batch of data."""
    return lambda: -flow.log_prob(data()).mean()


def samples(
    flow: nn.Module,
    count: int,
    dim: int,
    generator: torch.Generator,
    chunk: int = 4096,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    """x (count, dim) and ln q(x) (count,) without gradients, in `dtype` and in chunks."""
    like = next(flow.parameters())
    drawn = []
    with torch.no_grad():
        for n in range(0, count, chunk):
            z = torch.randn(min(chunk, count - n), dim, generator=generator, dtype=dtype)
            drawn.append(flow(z.to(like.device, like.dtype)))
    x, log_q = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    return x, log_q
