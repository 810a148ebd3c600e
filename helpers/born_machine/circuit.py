"""Circuits as plain data: a number of qubits and a list of gates. Simulating and drawing them is others' work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from helpers.born_machine.gates import FIXED, GENERATORS, qubit_count

Pairs = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Gate:
    """One gate: a name of `gates.FIXED`, of `gates.GENERATORS` (then with the index of its parameter), or "unitary".

    A "unitary" carries its own (2^k, 2^k) matrix as nested tuples of complex numbers.
    """

    name: str
    qubits: tuple[int, ...]
    parameter: int | None = None
    matrix: tuple[tuple[complex, ...], ...] | None = None

    @property
    def width(self) -> int:
        """The number of qubits that a gate of this name acts on."""
        if self.name == "unitary":
            return qubit_count(len(self.matrix or ()), "gate")
        return qubit_count(len((FIXED | GENERATORS)[self.name]), "gate")


@dataclass(frozen=True)
class Circuit:
    """n qubits that start in |00...0> and the gates they pass, first gate first.

    Example: Circuit(2, [Gate("h", (0,)), Gate("cx", (0, 1))]) makes (|00> + |11>) / sqrt(2).
    ValueError names the first gate that cannot stand.
    """

    qubits: int
    gates: tuple[Gate, ...]

    def __init__(self, qubits: int, gates: Iterable[Gate]) -> None:
        object.__setattr__(self, "qubits", int(qubits))
        object.__setattr__(self, "gates", tuple(gates))
        if qubits < 1:
            raise ValueError(f"a circuit needs at least one qubit, got {qubits}")
        for number, gate in enumerate(self.gates):
            problem = _problem(gate, self.qubits)
            if problem:
                raise ValueError(f"gate {number} {gate.name!r} on {gate.qubits}: {problem}")
        unused = set(range(self.parameters)) - {g.parameter for g in self.gates}
        if unused:
            raise ValueError(f"parameters are numbered without gaps, but no gate uses {sorted(unused)}")

    @cached_property
    def _hash(self) -> int:
        return hash((self.qubits, self.gates))

    def __hash__(self) -> int:
        return self._hash  # a circuit is the key of its compiled plan, looked up at every simulation

    @cached_property
    def parameters(self) -> int:
        """The number of parameters; several gates may share one."""
        return max((g.parameter for g in self.gates if g.parameter is not None), default=-1) + 1

    def to_plain(self) -> dict:
        """The circuit as numbers, strings and lists; `from_plain` is its inverse."""
        rows = []
        for g in self.gates:
            matrix = g.matrix and [[[z.real, z.imag] for z in map(complex, row)] for row in g.matrix]
            rows.append([g.name, list(g.qubits), g.parameter, matrix])
        return {"qubits": self.qubits, "gates": rows}

    @classmethod
    def from_plain(cls, plain: dict) -> Circuit:
        """The circuit that `to_plain` described."""
        gates = []
        for name, qubits, parameter, matrix in plain["gates"]:
            rows = tuple(tuple(complex(*z) for z in row) for row in matrix) if matrix else None
            gates.append(Gate(name, tuple(qubits), parameter, rows))
        return cls(plain["qubits"], gates)


def _problem(gate: Gate, n: int) -> str:
    """One clause that says what is wrong with a gate on n qubits; empty when nothing is."""
    if gate.name not in FIXED and gate.name not in GENERATORS and gate.name != "unitary":
        return f"the names are {[*FIXED, *GENERATORS, 'unitary']}"
    if gate.name == "unitary":
        matrix = torch.tensor(gate.matrix or ((0,),), dtype=torch.complex128)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] not in (2, 4):
            return "a unitary carries a 2 x 2 or 4 x 4 matrix"
        if not torch.allclose(matrix @ matrix.mH, torch.eye(len(matrix), dtype=matrix.dtype), atol=1e-10):
            return "its matrix is not unitary"
    if len(gate.qubits) != gate.width or len(set(gate.qubits)) != gate.width:
        return f"it acts on {gate.width} different qubit(s)"
    if not all(0 <= q < n for q in gate.qubits):
        return f"qubits are numbered 0 to {n - 1}"
    if (gate.parameter is not None) != (gate.name in GENERATORS) or (gate.parameter or 0) < 0:
        return f"only {list(GENERATORS)} take a parameter, its index 0, 1, 2, ..."
    return ""


def ring(n: int) -> Pairs:
    """The n bonds (0, 1), (1, 2), ..., (n-1, 0) of a closed chain; the one bond (0, 1) for n = 2."""
    return [(q, (q + 1) % n) for q in range(n if n > 2 else n - 1)]


def layered_ansatz(n: int, depth: int, pairs: Pairs, *, trim: bool = True) -> Circuit:
    """d + 1 layers of Rz Rx Rz on every qubit with d layers of CNOTs between them (arXiv:1804.04168, Fig. 1).

    pairs: (control, target) of one CNOT layer. `trim` drops the first Rz, which only turns the phase of |0>, and the
    last, which no measurement sees; (3 d + 1) n parameters are left of 3 (d + 1) n. At d = 0 only Rx is left.
    """
    if depth < 0:
        raise ValueError(f"depth counts the CNOT layers and cannot be {depth}")
    gates: list[Gate] = []
    count = 0
    for layer in range(depth + 1):
        names = ["rz", "rx", "rz"]
        if trim:
            names = names[layer == 0 : 3 - (layer == depth)]
        for name in names:
            gates += [Gate(name, (q,), count + q) for q in range(n)]
            count += n
        if layer < depth:
            gates += [Gate("cx", pair) for pair in pairs]
    return Circuit(n, gates)
