"""The same circuits as a ground-state solver (VQE) and an optimiser (QAOA): only the loss changes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from helpers.born_machine.circuit import Circuit, Gate, ring
from helpers.born_machine.gates import PAULI, apply_gate, qubit_count
from helpers.born_machine.simulator import probabilities, simulate


def expectation(state: Tensor, terms: Mapping[str, float]) -> Tensor:
    """<psi| sum_t c_t P_t |psi> for Pauli strings P_t such as "zzi" (character q acts on qubit q); state (..., 2^n)."""
    n = qubit_count(state.shape[-1])
    total = torch.zeros(state.shape[:-1], dtype=state.real.dtype, device=state.device)
    for word, coefficient in terms.items():
        if len(word) != n or set(word) - set("ixyz"):
            raise ValueError(f"a Pauli string on {n} qubits has {n} of the letters i, x, y, z, got {word!r}")
        turned = state
        for qubit, letter in enumerate(word):
            if letter != "i":
                turned = apply_gate(turned, PAULI[letter].to(state), [qubit])
        total = total + coefficient * (state.conj() * turned).sum(-1).real
    return total


def ising_terms(n: int, field: float = 1.0) -> dict[str, float]:
    """H = - sum_i Z_i Z_(i+1) - h sum_i X_i on a ring of n >= 3 sites, as Pauli strings with coefficients."""
    if n < 3:
        raise ValueError(f"a ring needs at least 3 sites, got {n}")
    terms = {_word(n, {i: "z", j: "z"}): -1.0 for i, j in ring(n)}
    return terms | {_word(n, {i: "x"}): -field for i in range(n)}


def ising_ground_energy(n: int) -> float:
    """E_0 = -2 / sin(pi / 2n): the exact ground state energy of `ising_terms(n, 1)`, by free fermions, n even."""
    return float(-2 / torch.sin(torch.tensor(torch.pi / (2 * n), dtype=torch.float64)))


def alternating_ansatz(n: int, depth: int) -> Circuit:
    """p rounds of exp(-i gamma/2 sum Z_i Z_(i+1)) exp(-i beta/2 sum X_i) on |+...+> (arXiv:1411.4028).

    2 p parameters gamma_1, beta_1, gamma_2, ...; each turns a whole layer, as symmetry asks.
    """
    gates = [Gate("h", (q,)) for q in range(n)]
    for layer in range(depth):
        gates += [Gate("rzz", bond, 2 * layer) for bond in ring(n)]
        gates += [Gate("rx", (q,), 2 * layer + 1) for q in range(n)]
    return Circuit(n, gates)


def cut_fraction(circuit: Circuit, theta: Tensor) -> Tensor:
    """The expected fraction of the ring's bonds that join different bits, (1/n) sum <(1 - Z_i Z_(i+1)) / 2>."""
    n = circuit.qubits
    x = torch.arange(1 << n, device=theta.device)
    differ = sum((x >> i ^ x >> j) & 1 for i, j in ring(n))
    return probabilities(simulate(circuit, theta)) @ differ.to(theta.dtype) / n


def _word(n: int, letters: Mapping[int, str]) -> str:
    return "".join(letters.get(q, "i") for q in range(n))
