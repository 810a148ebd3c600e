"""Gates: what a circuit does to one or two qubits of a state vector.

Bit order, everywhere in this chapter: qubit 0 is the most significant bit. Amplitude psi[x] belongs to
x = x_0 2^(n-1) + ... + x_(n-1), so psi.view(2, ..., 2) has qubit q on axis q, and the first qubit named to a
two-qubit gate is the most significant bit of the gate's own index.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor

_I = torch.eye(2, dtype=torch.complex128)
_X = torch.tensor([[0, 1], [1, 0]], dtype=torch.complex128)
_Y = torch.tensor([[0, -1j], [1j, 0]], dtype=torch.complex128)
_Z = torch.tensor([[1, 0], [0, -1]], dtype=torch.complex128)

PAULI: dict[str, Tensor] = {"i": _I, "x": _X, "y": _Y, "z": _Z}

GENERATORS: dict[str, Tensor] = {
    "rx": _X, "ry": _Y, "rz": _Z,
    "rxx": torch.kron(_X, _X), "ryy": torch.kron(_Y, _Y), "rzz": torch.kron(_Z, _Z),
}  # fmt: skip
"""P of the parametrised gates exp(-i theta P / 2); every P squares to one."""

FIXED: dict[str, Tensor] = {
    "x": _X, "y": _Y, "z": _Z,
    "h": (_X + _Z) / sqrt(2),
    "s": torch.diag(torch.tensor([1, 1j], dtype=torch.complex128)),
    "t": torch.diag(torch.tensor([1, (1 + 1j) / sqrt(2)], dtype=torch.complex128)),
    "cx": torch.eye(4, dtype=torch.complex128)[[0, 1, 3, 2]],
    "cz": torch.diag(torch.tensor([1, 1, 1, -1], dtype=torch.complex128)),
    "swap": torch.eye(4, dtype=torch.complex128)[[0, 2, 1, 3]],
}  # fmt: skip
"""Gates without a parameter; in "cx" and "cz" the first qubit controls."""


def complex_dtype(real: torch.dtype) -> torch.dtype:
    """complex64 for float32, complex128 for float64; TypeError for anything else."""
    if real not in (torch.float32, torch.float64):
        raise TypeError(f"angles must be float32 or float64, got {real}")
    return torch.complex64 if real == torch.float32 else torch.complex128


def rotation(axis: str, angle: Tensor) -> Tensor:
    """R_P(theta) = exp(-i theta P / 2) = cos(theta/2) - i sin(theta/2) P, for P^2 = 1 (arXiv:1804.04168, Sec. II).

    axis: "x", "y", "z" or "xx", "yy", "zz"; angle: (...) float tensor, radians. Returns (..., d, d), d = 2 or 4.
    """
    name = f"r{axis}"
    if name not in GENERATORS:
        raise ValueError(f"axis must be one of {[g[1:] for g in GENERATORS]}, got {axis!r}")
    if not isinstance(angle, Tensor):
        angle = torch.tensor(angle, dtype=torch.float64)
    generator = GENERATORS[name].to(angle.device, complex_dtype(angle.dtype))
    half = angle[..., None, None] / 2
    return half.cos() * torch.eye(len(generator), device=angle.device) - 1j * half.sin() * generator


def qubit_count(amplitudes: int, what: str = "state") -> int:
    """n of a vector with 2^n entries; ValueError when the length is no power of two."""
    n = amplitudes.bit_length() - 1
    if amplitudes < 2 or amplitudes != 1 << n:
        raise ValueError(f"a {what} needs 2, 4, 8, ... entries, one per bit string, got {amplitudes}")
    return n


def apply_gate(state: Tensor, gate: Tensor, qubits: Sequence[int]) -> Tensor:
    """psi'[.. y ..] = sum_x gate[y, x] psi[.. x ..], where x, y are the bits of the named qubits, the first leading.

    state: (..., 2^n) complex; gate: (2^k, 2^k) complex; qubits: k different numbers below n, in any order.
    Returns a new tensor of the state's shape. Differentiable in both.
    """
    n, k = qubit_count(state.shape[-1]), len(qubits)
    if len(set(qubits)) != k or not all(0 <= q < n for q in qubits):
        raise ValueError(f"qubits must be different numbers from 0 to {n - 1}, got {tuple(qubits)}")
    if gate.shape[-2:] != (1 << k, 1 << k):
        raise ValueError(f"a gate on {k} qubits is a {1 << k} x {1 << k} matrix, got {tuple(gate.shape)}")
    batch = state.shape[:-1]
    axes = [len(batch) + q for q in qubits]
    front = list(range(len(batch), len(batch) + k))
    tensor = state.reshape(*batch, *[2] * n).movedim(axes, front)
    moved = gate.to(state.dtype) @ tensor.reshape(*batch, 1 << k, -1)
    return moved.reshape(tensor.shape).movedim(front, axes).reshape(state.shape)
