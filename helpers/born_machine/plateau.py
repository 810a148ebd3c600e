"""Barren plateaus: how the gradient at random angles fades as qubits are added (arXiv:1803.11173, arXiv:2001.00550)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from helpers.born_machine.circuit import layered_ansatz, ring
from helpers.born_machine.gates import qubit_count
from helpers.born_machine.simulator import born_probabilities


def global_loss(p: Tensor) -> Tensor:
    """1 - p(00...0): all qubits must be right at once; p: (..., 2^n), returns (...)."""
    return 1 - p[..., 0]


def local_loss(p: Tensor) -> Tensor:
    """The mean over qubits of the probability to read 1: each qubit counts by itself; p: (..., 2^n), returns (...)."""
    n = qubit_count(p.shape[-1], "distribution")
    x = torch.arange(1 << n, device=p.device)
    ones = sum((x >> q & 1) for q in range(n))
    return p @ ones.to(p.dtype) / n


def gradient_variance(
    n: int, depth: int, loss: Callable[[Tensor], Tensor], samples: int, generator: np.random.Generator
) -> tuple[float, float]:
    """Variance of one component of the gradient over uniformly random angles, and its standard error.

    The circuit is `layered_ansatz` on a ring of n qubits; the component belongs to its middle rotation layer.
    """
    circuit = layered_ansatz(n, depth, ring(n))
    theta = torch.from_numpy(generator.uniform(-np.pi, np.pi, (samples, circuit.parameters))).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(born_probabilities(circuit, theta)).sum(), theta)
    middle = next(g.parameter for g in circuit.gates[len(circuit.gates) // 2 :] if g.name == "rx")
    squares = gradient[:, middle].square()  # the mean of a gradient over full periods is 0
    return squares.mean().item(), (squares.std() / samples**0.5).item()
