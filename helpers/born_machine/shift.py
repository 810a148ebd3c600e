"""Gradients that a quantum computer can measure: run the circuit twice with one angle moved by a quarter turn.

For a gate exp(-i theta P / 2) with P^2 = 1, d p / d theta = (p(theta + pi/2) - p(theta - pi/2)) / 2 exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from helpers.born_machine.circuit import Circuit
from helpers.born_machine.gates import complex_dtype
from helpers.born_machine.loss import BANDWIDTHS, apply_kernel
from helpers.born_machine.plan import Block, Family, compile_circuit, kron, prefixes
from helpers.born_machine.simulator import born_probabilities, forward_step, generators, probabilities


def unshared(circuit: Circuit) -> tuple[Circuit, Tensor]:
    """The same circuit with one parameter per gate, and the index (gates,) that spreads the old ones over the new."""
    index = [g.parameter for g in circuit.gates if g.parameter is not None]
    numbers = iter(range(len(index)))
    gates = [g if g.parameter is None else replace(g, parameter=next(numbers)) for g in circuit.gates]
    return Circuit(circuit.qubits, gates), torch.tensor(index, dtype=torch.int64)


def shifted_probabilities(circuit: Circuit, theta: Tensor) -> Tensor:
    """p(theta + pi/2 e_j) and p(theta - pi/2 e_j) for every parametrised gate j, in one sweep over the circuit.

    A quarter turn of gate j adds P_j in its place: psi(+-) = (psi -+ i phi_j) / sqrt(2), where phi_j is the state with
    P_j inserted. theta: (parameters,). Returns (2, gates, 2^n), plus first, gates in the circuit's order.
    """
    free, index = unshared(circuit)
    psi, inserted = _insert_generators(free, theta[index.to(theta.device)])
    return torch.stack([probabilities(psi - 1j * inserted), probabilities(psi + 1j * inserted)]) / 2


def _insert_generators(circuit: Circuit, angles: Tensor) -> tuple[Tensor, Tensor]:
    """psi (2^n,) and phi_j (gates, 2^n): the states after the circuit without and with P_j put in front of gate j."""
    plan = compile_circuit(circuit, angles.dtype, angles.device)
    padded = torch.nn.functional.pad(angles, (0, 1))
    products = [prefixes(family.gates(padded)) for family in plan.families]
    blocks = [kron(totals[-1]).unbind(-3) for totals in products]
    extra = [generators(f, totals) for f, totals in zip(plan.families, products, strict=True)]
    states = torch.zeros(1, 1 << plan.qubits, dtype=complex_dtype(angles.dtype), device=angles.device)
    states[0, 0] = 1
    order: list[int] = []
    for step in plan.steps:
        if isinstance(step, Block):
            family = plan.families[step.family]
            which = family.which[step.row].reshape(-1)
            used = (which < circuit.parameters).nonzero()[:, 0]
            order += which[used].tolist()
            embedded = _embed(extra[step.family][step.row], family)[used]  # (new, D, D)
            new = embedded @ states[0].view(embedded.shape[-1], -1)
            states = torch.cat([states, new.flatten(1)])
        states = forward_step(step, states, blocks)
    back = torch.empty(len(order), dtype=torch.int64)
    back[order] = torch.arange(len(order))
    return states[0], states[1 + back.to(states.device)]


def _embed(generator: Tensor, family: Family) -> Tensor:
    """(k, slots, d, d) matrices on single factors -> (k slots, d^k, d^k) with identities on the others."""
    k, slots, d = generator.shape[:3]
    eye = torch.eye(d, dtype=generator.dtype, device=generator.device)
    factors = eye.repeat(k, slots, k, 1, 1)
    factors[torch.arange(k), :, torch.arange(k)] = generator
    return kron(factors).flatten(0, 1)


def measure(p: Tensor, shots: int, generator: np.random.Generator) -> Tensor:
    """The frequencies of `shots` independent measurements of each distribution p (..., 2^n); rows sum to 1."""
    if shots < 1:
        raise ValueError(f"a measurement needs at least one shot, got {shots}")
    exact = p.detach().double().cpu().numpy().clip(min=0)
    counts = generator.multinomial(shots, exact / exact.sum(-1, keepdims=True))
    return torch.from_numpy(counts / shots).to(p)


def parameter_shift_gradient(
    circuit: Circuit,
    theta: Tensor,
    target: Tensor,
    bandwidths: Sequence[float] = BANDWIDTHS,
    kernel: str = "bits",
    *,
    shots: int | None = None,
    generator: np.random.Generator | None = None,
) -> Tensor:
    """dL/dtheta_j = sum_x (K(p - q))_x (p_x(theta_j + pi/2) - p_x(theta_j - pi/2)), arXiv:1804.04168, Eq. 4.

    The loss is quadratic in p: its factor 2 cancels the 1/2 of the shift rule. theta: (parameters,); target: (2^n,).
    With `shots` every distribution is replaced by frequencies of that many measurements (one set for p, one for each
    shifted circuit), which leaves the gradient unbiased. Returns (parameters,).
    """
    p, shifted = born_probabilities(circuit, theta), shifted_probabilities(circuit, theta)
    if shots is not None:
        if generator is None:
            raise TypeError("shots are random: pass generator=np.random.default_rng(seed)")
        p, shifted = measure(p, shots, generator), measure(shifted, shots, generator)
    witness = apply_kernel(p - target, bandwidths, kernel)
    per_gate = (shifted[0] - shifted[1]) @ witness
    index = unshared(circuit)[1].to(theta.device)
    return torch.zeros_like(theta).index_add_(0, index, per_gate)
