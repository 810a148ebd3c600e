"""A differentiable state-vector simulator: psi(theta) = U(theta) |0...0> and p(x) = |psi(x)|^2.

The gradient walks the plan backwards by hand. A unitary can be undone, so nothing has to be stored: when the states
along the way would not fit in TRAIL_BYTES they are recomputed from the last one, and memory stays at a few vectors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from helpers.born_machine.circuit import Circuit
from helpers.born_machine.gates import complex_dtype, qubit_count
from helpers.born_machine.plan import Block, Family, Gather, Plan, compile_circuit, kron, prefixes

TRAIL_BYTES = 1 << 27


class _Evolve(torch.autograd.Function):
    """U(angles) |psi>, with its gradient.

    The gate exp(-i a P / 2) in a block U = ... R_a A, where A came before it, turns psi by -i/2 E psi per radian with
    E = A^+ P A. With the slope l of the loss pulled back in front of the block, dL/da = Im tr(E psi l^+) / 2: one small
    matrix psi l^+ per block, partially traced, serves all its angles.
    """

    @staticmethod
    def forward(ctx, plan: Plan, angles: Tensor, state: Tensor) -> Tensor:
        products = [prefixes(family.gates(angles)) for family in plan.families]
        blocks = [kron(totals[-1]).unbind(-3) for totals in products]
        trail: list[Tensor] = []
        keep = any(ctx.needs_input_grad) and len(plan.steps) * state.numel() * state.element_size() <= TRAIL_BYTES
        for step in plan.steps:
            if keep:
                trail.append(state)
            state = forward_step(step, state, blocks)
        ctx.plan, ctx.products, ctx.blocks, ctx.trail = plan, products, blocks, trail
        ctx.save_for_backward(angles, state)
        return state

    @staticmethod
    def backward(ctx, slope: Tensor) -> tuple[Tensor | None, ...]:
        angles, state = ctx.saved_tensors
        outer = [[None] * len(rows) for rows in ctx.blocks]
        for number in reversed(range(len(ctx.plan.steps))):
            step = ctx.plan.steps[number]
            state = ctx.trail[number] if ctx.trail else backward_step(step, state, ctx.blocks)
            slope = backward_step(step, slope, ctx.blocks)
            if isinstance(step, Block):
                d = ctx.blocks[step.family][step.row].shape[-1]
                shape = (*slope.shape[:-1], d, -1)
                outer[step.family][step.row] = state.view(shape) @ slope.view(shape).mH
        gradient = torch.zeros_like(angles)
        for family, totals, rows in zip(ctx.plan.families, ctx.products, outer, strict=True):
            stacked = torch.stack(rows, -3)
            stacked = stacked.sum_to_size(stacked.shape[stacked.ndim - angles.ndim - 2 :])  # a batch of states
            gradient.index_add_(-1, family.which.reshape(-1), _angle_slopes(family, totals, stacked))
        return None, gradient, slope


def generators(family: Family, totals: list[Tensor]) -> Tensor:
    """E = A^+ P A of every gate, A being the gates of its slot row before it: (..., rows, k, slots, d, d)."""
    before = torch.stack([torch.eye(totals[0].shape[-1]).to(totals[0]).expand_as(totals[0]), *totals[:-1]], -3)
    return before.mH @ (1j * family.odd) @ before


def _angle_slopes(family: Family, totals: list[Tensor], outer: Tensor) -> Tensor:
    """Im tr(E psi l^+) / 2 for every gate of a family: (..., rows, D, D) -> (..., rows k slots)."""
    d = totals[0].shape[-1]
    traced = (outer.flatten(-2) @ family.reduction).unflatten(-1, (-1, 1, d, d))  # (..., rows, k, 1, d, d)
    slopes = (generators(family, totals) * traced.mT).sum((-2, -1)).imag / 2
    return slopes.flatten(-3)


def forward_step(step: Gather | Block, state: Tensor, blocks: list[tuple[Tensor, ...]]) -> Tensor:
    """psi after one step of a plan; blocks: the matrices of each family, row by row."""
    if isinstance(step, Gather):
        return state.index_select(-1, step.index)
    matrix = blocks[step.family][step.row]
    return (state.view(*state.shape[:-1], matrix.shape[-1], -1).mT @ matrix.mT).view(state.shape)


def backward_step(step: Gather | Block, state: Tensor, blocks: list[tuple[Tensor, ...]]) -> Tensor:
    """psi before one step: the inverse of `forward_step`, which for a unitary is its adjoint too."""
    if isinstance(step, Gather):
        return state.index_select(-1, step.inverse)
    matrix = blocks[step.family][step.row]
    return (matrix.mH @ state.view(*state.shape[:-1], -1, matrix.shape[-1]).mT).view(state.shape)


def simulate(circuit: Circuit, theta: Tensor, state: Tensor | None = None) -> Tensor:
    """psi = U(theta) |0...0>, or U(theta) |state>.

    theta: (..., parameters) float32 or float64, radians; leading axes are a batch. Returns (..., 2^n) complex64 or
    complex128, index 0 for |00...0>, qubit 0 the most significant bit. state: (..., 2^n), the same leading axes or
    none. Differentiable. ValueError for a wrong number of parameters or amplitudes.
    """
    if not isinstance(theta, Tensor):
        raise TypeError(f"theta must be a torch tensor of angles, got {type(theta).__name__}")
    if theta.ndim == 0 or theta.shape[-1] != circuit.parameters:
        raise ValueError(f"this circuit has {circuit.parameters} parameters, got theta of shape {tuple(theta.shape)}")
    plan = compile_circuit(circuit, theta.dtype, theta.device)
    size, dtype = 1 << circuit.qubits, complex_dtype(theta.dtype)
    if state is None:
        state = torch.zeros(size, dtype=dtype, device=theta.device)
        state[0] = 1
    if state.shape[-1] != size:
        qubit_count(state.shape[-1])
        raise ValueError(f"{circuit.qubits} qubits have {size} amplitudes, got a state of {state.shape[-1]}")
    if state.ndim < theta.ndim:
        state = state.expand(*theta.shape[:-1], size)
    angles = torch.nn.functional.pad(theta, (0, 1))
    return _Evolve.apply(plan, angles, state.to(dtype).contiguous())


def born_probabilities(circuit: Circuit, theta: Tensor) -> Tensor:
    """p(x) = |<x| U(theta) |0...0>|^2, Born's rule (note Sec. 3.2.6; arXiv:1804.04168, Eq. 1).

    theta: (..., parameters) float, radians. Returns (..., 2^n) of the same dtype; each row sums to 1.
    """
    return probabilities(simulate(circuit, theta))


def probabilities(state: Tensor) -> Tensor:
    """|psi|^2 of a complex state (..., 2^n), as real numbers; differentiable, also where psi = 0."""
    return state.real.square() + state.imag.square()
