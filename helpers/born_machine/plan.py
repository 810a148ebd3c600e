"""Compiling: a circuit becomes a short list of matrix products and index permutations.

One-qubit gates in a row are multiplied into one 2 x 2 matrix per qubit, neighbouring qubits are joined by Kronecker
products into blocks of up to five qubits (one 32 x 32 matrix keeps a CPU busier than five 2 x 2 ones), and a whole
layer of CNOTs is one permutation of the amplitudes. The state is a matrix (2^k, rest) to a block on its k leading
qubits and leaves as (rest, 2^k): the next qubits then lead without a copy, and the plan remembers who stands where.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from helpers.born_machine.circuit import Circuit, Gate
from helpers.born_machine.gates import FIXED, GENERATORS, complex_dtype

LARGEST_BLOCK = 5
PERMUTATIONS = ("cx", "swap")


@dataclass
class Gather:
    """psi'[x] = psi[index[x]]; inverse undoes it."""

    index: Tensor
    inverse: Tensor


@dataclass
class Block:
    """The matrix number `row` of family `family` acts on the leading qubits and sends them to the back."""

    family: int
    row: int


@dataclass
class Family:
    """All blocks of one shape: `rows` Kronecker products of k matrices d x d, each the product of up to `slots` gates.

    Gate (row, q, slot) is cos(a/2) even + sin(a/2) odd with a = angles[which]; which: (rows, k, slots), the index past
    the last parameter meaning angle 0; even, odd: (rows, k, slots, d, d). k = 1 and d = 4 for a gate on two qubits.
    """

    which: Tensor
    even: Tensor
    odd: Tensor

    def gates(self, angles: Tensor) -> Tensor:
        """(..., parameters + 1) angles -> (..., rows, k, slots, d, d) gate matrices."""
        half = (angles / 2).index_select(-1, self.which.reshape(-1)).unflatten(-1, (*self.which.shape, 1, 1))
        return torch.addcmul(half.cos() * self.even, half.sin(), self.odd)

    @cached_property
    def reduction(self) -> Tensor:
        """(D^2, k d^2) zeros and ones: a D x D matrix, D = d^k, to its partial trace on every factor."""
        k, d = self.which.shape[-2], self.even.shape[-1]
        basis = torch.eye(d**k * d**k, dtype=self.even.dtype, device=self.even.device).reshape(-1, *[d] * (2 * k))
        traces = []
        for q in range(k):
            left, right = list(range(1, k + 1)), list(range(1, k + 1))
            left[q], right[q] = k + 1, k + 2
            traces.append(torch.einsum(basis, [0, *left, *right], [0, k + 1, k + 2]).flatten(1))
        return torch.cat(traces, -1)


def prefixes(gates: Tensor) -> list[Tensor]:
    """Running products over slots, the first slot acting first: (..., slots, d, d) -> slots tensors (..., d, d)."""
    totals = [gates[..., 0, :, :]]
    for slot in range(1, gates.shape[-3]):
        totals.append(gates[..., slot, :, :] @ totals[-1])
    return totals


def kron(factors: Tensor) -> Tensor:
    """The Kronecker product over qubits: (..., k, d, d) -> (..., d^k, d^k)."""
    total = factors[..., 0, :, :]
    for qubit in range(1, factors.shape[-3]):
        right = factors[..., qubit, :, :]
        size = total.shape[-1] * right.shape[-1]
        total = (total[..., :, None, :, None] * right[..., None, :, None, :]).reshape(*total.shape[:-2], size, size)
    return total


@dataclass
class Plan:
    """What `simulate` runs: steps in order and the families that their matrices come from."""

    qubits: int
    steps: list[Gather | Block]
    families: list[Family]


@lru_cache(maxsize=64)
def compile_circuit(circuit: Circuit, dtype: torch.dtype, device: torch.device) -> Plan:
    """The plan of a circuit for angles of a dtype on a device; compiled once, then looked up."""
    return _Compiler(circuit, complex_dtype(dtype), device).plan()


def _stages(circuit: Circuit) -> list[tuple[str, list[Gate]]]:
    """Gates sorted into stages "turn" (one qubit), "permute" and "pair", each gate as early as its qubits allow."""
    stages: list[tuple[str, list[Gate]]] = []
    last = [0] * circuit.qubits
    for gate in circuit.gates:
        kind = "turn" if gate.width == 1 else "permute" if gate.name in PERMUTATIONS else "pair"
        at = max(last[q] for q in gate.qubits)
        while at < len(stages) and (stages[at][0] != kind or kind == "pair"):
            at += 1
        if at == len(stages):
            stages.append((kind, []))
        stages[at][1].append(gate)
        for q in gate.qubits:
            last[q] = at
    return stages


class _Compiler:
    """Walks the stages once; `order` says which qubit stands on which axis, `pending` is a permutation not yet run."""

    def __init__(self, circuit: Circuit, dtype: torch.dtype, device: torch.device) -> None:
        self.circuit, self.dtype, self.device = circuit, dtype, device
        self.order = list(range(circuit.qubits))
        self.pending: np.ndarray | None = None
        self.steps: list[Gather | Block] = []
        self.rows: dict[tuple[int, int], list[list[list[Gate]]]] = {}
        self.gathers: dict[bytes, Gather] = {}

    def plan(self) -> Plan:
        """Runs over all stages and brings the qubits back in order."""
        for kind, gates in _stages(self.circuit):
            if kind == "permute":
                self._permute(gates)
            elif kind == "pair":
                self._block(gates[0].qubits, [gates], dimension=4)
            else:
                self._turn(gates)
        self._bring_to_front(tuple(range(self.circuit.qubits)))
        self._flush()
        keys = list(self.rows)
        for step in self.steps:
            if isinstance(step, Block):
                step.family = keys.index(step.family)
        return Plan(self.circuit.qubits, self.steps, [self._family(key, rows) for key, rows in self.rows.items()])

    def _turn(self, gates: list[Gate]) -> None:
        """One-qubit gates: the qubits they touch, in chunks of at most LARGEST_BLOCK."""
        per_qubit: dict[int, list[Gate]] = {}
        for gate in gates:
            per_qubit.setdefault(gate.qubits[0], []).append(gate)
        touched = [q for q in self.order if q in per_qubit]
        chunks = -(-len(touched) // LARGEST_BLOCK)
        for chunk in np.array_split(touched, chunks):
            qubits = tuple(int(q) for q in chunk)
            self._block(qubits, [per_qubit[q] for q in qubits], dimension=2)

    def _block(self, qubits: tuple[int, ...], gates: list[list[Gate]], dimension: int) -> None:
        self._bring_to_front(qubits)
        self._flush()
        key = (dimension, len(gates))
        rows = self.rows.setdefault(key, [])
        self.steps.append(Block(key, len(rows)))
        rows.append(gates)
        self.order = self.order[len(qubits) :] + list(qubits)

    def _bring_to_front(self, qubits: tuple[int, ...]) -> None:
        if tuple(self.order[: len(qubits)]) == qubits:
            return
        order = list(qubits) + [q for q in self.order if q not in qubits]
        axes = [self.order.index(q) for q in order]
        n = len(order)
        self._then(np.arange(1 << n).reshape([2] * n).transpose(axes).reshape(-1))
        self.order = order

    def _permute(self, gates: list[Gate]) -> None:
        """CNOTs and swaps: where the amplitude at x comes from; each undoes itself, so walk back from the last."""
        n = self.circuit.qubits
        index = np.arange(1 << n)
        for gate in reversed(gates):
            a, b = (n - 1 - self.order.index(q) for q in gate.qubits)
            if gate.name == "cx":
                index ^= (index >> a & 1) << b
            else:
                differ = (index >> a ^ index >> b) & 1
                index ^= differ << a | differ << b
        self._then(index)

    def _then(self, index: np.ndarray) -> None:
        self.pending = index if self.pending is None else self.pending[index]

    def _flush(self) -> None:
        if self.pending is None:
            return
        key = self.pending.tobytes()
        if key not in self.gathers:
            pair = (self.pending, np.argsort(self.pending))
            self.gathers[key] = Gather(*(torch.from_numpy(i.astype(np.int32)).to(self.device) for i in pair))
        self.steps.append(self.gathers[key])
        self.pending = None

    def _family(self, key: tuple[int, int], rows: list[list[list[Gate]]]) -> Family:
        """Pads every qubit's gates to the same number of slots with identities and stacks their coefficients."""
        dimension, k = key
        slots = max(len(gates) for row in rows for gates in row)
        shape = (len(rows), k, slots)
        which = torch.full(shape, self.circuit.parameters, dtype=torch.int64)
        even = torch.eye(dimension, dtype=torch.complex128).repeat(*shape, 1, 1)
        odd = torch.zeros_like(even)
        for r, row in enumerate(rows):
            for q, gates in enumerate(row):
                for s, gate in enumerate(gates):
                    if gate.parameter is not None:
                        which[r, q, s] = gate.parameter
                        odd[r, q, s] = -1j * GENERATORS[gate.name]
                    else:
                        even[r, q, s] = fixed_matrix(gate)
        return Family(which.to(self.device), even.to(self.device, self.dtype), odd.to(self.device, self.dtype))


def fixed_matrix(gate: Gate) -> Tensor:
    """The complex128 matrix of a gate that has no parameter."""
    return torch.tensor(gate.matrix, dtype=torch.complex128) if gate.name == "unitary" else FIXED[gate.name]
