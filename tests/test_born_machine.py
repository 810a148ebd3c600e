"""Chapter 06 by its laws: Born's rule, unitarity, the shift rule, kernels, trees, exact ground states and ratios."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from helpers import born_machine as bm
from helpers import device, oracles
from helpers.born_machine import plan, shift, simulator
from helpers.born_machine.circuit import Circuit, Gate
from helpers.data import bars_and_stripes
from helpers.figures import born_machine as figures

RNG = np.random.default_rng


# ------------------------------------------------------------------------------------------------ the slow truth


def random_unitary(size: int, rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size)))
    return q * (np.diag(r) / abs(np.diag(r)))


def random_circuit(n: int, gates: int, rng: np.random.Generator) -> Circuit:
    """Every kind of gate, on random qubits in random order, parameters shared now and then."""
    names = [*bm.FIXED, *bm.GENERATORS, "unitary"]
    chosen, parameters = [], 0
    for name in rng.choice(names, gates):
        matrix, parameter = None, None
        if name == "unitary":
            matrix = tuple(map(tuple, random_unitary(int(rng.choice([2, 4])), rng)))
        width = len(matrix or (bm.FIXED | bm.GENERATORS)[name]).bit_length() - 1
        if name in bm.GENERATORS:
            parameter = int(rng.integers(parameters + 1))
            parameters = max(parameters, parameter + 1)
        chosen.append(Gate(str(name), tuple(map(int, rng.permutation(n)[:width])), parameter, matrix))
    return Circuit(n, chosen)


def embedded(gate: np.ndarray, qubits: tuple[int, ...], n: int) -> np.ndarray:
    """sum_ab gate[a, b] (x)_q |a_q><b_q|, literally: a 2^n x 2^n matrix."""
    total = np.zeros((1 << n, 1 << n), complex)
    words = list(itertools.product((0, 1), repeat=len(qubits)))
    for (row, a), (column, b) in itertools.product(enumerate(words), repeat=2):
        if gate[row, column] == 0:
            continue
        factors = [np.eye(2)] * n
        for q, bit_a, bit_b in zip(qubits, a, b, strict=True):
            factors[q] = np.outer(np.eye(2)[bit_a], np.eye(2)[bit_b])
        product = np.eye(1)
        for factor in factors:
            product = np.kron(product, factor)
        total += gate[row, column] * product
    return total


def dense_state(circuit: Circuit, theta: np.ndarray) -> np.ndarray:
    psi = np.eye(1 << circuit.qubits)[0].astype(complex)
    for gate in circuit.gates:
        if gate.parameter is None:
            matrix = plan.fixed_matrix(gate).numpy()
        else:
            generator = bm.GENERATORS[gate.name].numpy()
            values, vectors = np.linalg.eigh(generator)
            matrix = vectors @ np.diag(np.exp(-0.5j * theta[gate.parameter] * values)) @ vectors.conj().T
        psi = embedded(matrix, gate.qubits, circuit.qubits) @ psi
    return psi


# ------------------------------------------------------------------------------------------------ gates and states


@pytest.mark.parametrize("n", range(1, 9))
def test_state_is_that_of_dense_kronecker_products(n: int) -> None:
    rng = RNG(n)
    circuit = random_circuit(n, 30, rng) if n > 1 else Circuit(1, [Gate("h", (0,)), Gate("ry", (0,), 0)])
    theta = rng.uniform(-np.pi, np.pi, circuit.parameters)
    psi = bm.simulate(circuit, torch.from_numpy(theta)).numpy()
    assert np.abs(psi - dense_state(circuit, theta)).max() < 1e-12


def test_qubit_0_is_the_most_significant_bit() -> None:
    for q in range(4):
        state = bm.simulate(Circuit(4, [Gate("x", (q,))]), torch.zeros(0, dtype=torch.float64))
        row = int(state.abs().argmax())
        assert row == 1 << (3 - q)
        assert oracles.bit_strings(4)[row].tolist() == [int(k == q) for k in range(4)]
        assert int(bm.pattern_index(torch.from_numpy(oracles.bit_strings(4)))[row]) == row


def test_the_first_qubit_of_cx_controls() -> None:
    flip = Circuit(2, [Gate("x", (1,)), Gate("cx", (1, 0))])
    assert bm.born_probabilities(flip, torch.zeros(0))[3] == 1


@pytest.mark.parametrize("qubits", [(0,), (3,), (0, 1), (3, 1), (2, 0)])
def test_apply_gate_is_the_embedded_matrix(qubits: tuple[int, ...]) -> None:
    rng = RNG(0)
    gate, psi = random_unitary(2 ** len(qubits), rng), rng.normal(size=(2, 16)) + 1j * rng.normal(size=(2, 16))
    got = bm.apply_gate(torch.from_numpy(psi), torch.from_numpy(gate), qubits).numpy()
    assert np.abs(got - psi @ embedded(gate, qubits, 4).T).max() < 1e-13


@pytest.mark.parametrize("axis", ["x", "y", "z", "xx", "yy", "zz"])
def test_rotation_is_the_exponential_of_its_generator(axis: str) -> None:
    angle = torch.tensor([0.0, 0.3, -2.1, 7.0], dtype=torch.float64)
    exact = torch.linalg.matrix_exp(-0.5j * angle[:, None, None] * bm.GENERATORS[f"r{axis}"])
    assert (bm.rotation(axis, angle) - exact).abs().max() < 1e-13
    assert (bm.rotation(axis, angle + 4 * torch.pi) - exact).abs().max() < 1e-13
    assert (bm.rotation(axis, angle + 2 * torch.pi) + exact).abs().max() < 1e-13


def test_norm_is_kept_and_known_circuits_give_known_states() -> None:
    bell = Circuit(2, [Gate("h", (0,)), Gate("cx", (0, 1))])
    assert torch.allclose(bm.born_probabilities(bell, torch.zeros(0).double()), torch.tensor([0.5, 0, 0, 0.5]).double())
    circuit = random_circuit(6, 60, RNG(1))
    theta = torch.rand(5, circuit.parameters, dtype=torch.float64)
    assert (bm.born_probabilities(circuit, theta).sum(-1) - 1).abs().max() < 1e-13


def test_batches_are_rows_and_a_start_state_is_taken() -> None:
    circuit = random_circuit(5, 40, RNG(2))
    theta = torch.from_numpy(RNG(3).uniform(-3, 3, (2, 3, circuit.parameters)))
    batch = bm.simulate(circuit, theta)
    assert batch.shape == (2, 3, 32)
    assert (batch[1, 2] - bm.simulate(circuit, theta[1, 2])).abs().max() < 1e-13
    states = torch.from_numpy(RNG(4).normal(size=(7, 32)) + 0j)
    together = bm.simulate(circuit, theta[0, 0], states)
    assert (together[3] - bm.simulate(circuit, theta[0, 0], states[3])).abs().max() < 1e-12


def test_float32_gives_complex64_close_to_complex128() -> None:
    circuit = random_circuit(6, 50, RNG(5))
    theta = torch.from_numpy(RNG(6).uniform(-3, 3, circuit.parameters))
    low = bm.simulate(circuit, theta.float())
    assert low.dtype == torch.complex64
    assert (low - bm.simulate(circuit, theta)).abs().max() < 1e-5


# ------------------------------------------------------------------------------------------------ gradients


@pytest.mark.parametrize("trail", [1 << 30, 0])
def test_gradient_is_that_of_central_differences(trail: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "TRAIL_BYTES", trail)  # 0: recomputed backwards instead of stored
    rng = RNG(7)
    circuit, weights = random_circuit(5, 50, rng), torch.from_numpy(rng.normal(size=(2, 32)))
    theta = rng.uniform(-3, 3, (2, circuit.parameters))

    def loss(angles: torch.Tensor) -> torch.Tensor:
        return (weights * bm.born_probabilities(circuit, angles) ** 2).sum()

    leaf = torch.from_numpy(theta).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf), leaf)
    numeric = oracles.central_difference(lambda x: loss(torch.from_numpy(x)).item(), theta)
    assert np.abs(gradient.numpy() - numeric).max() < 1e-8


def test_gradient_with_respect_to_a_batch_of_start_states() -> None:
    circuit = random_circuit(3, 25, RNG(8))
    theta = torch.from_numpy(RNG(9).uniform(-3, 3, circuit.parameters)).requires_grad_()
    state = torch.from_numpy(RNG(10).normal(size=(4, 8)) + 1j * RNG(11).normal(size=(4, 8))).requires_grad_()
    assert torch.autograd.gradcheck(lambda t, s: bm.simulate(circuit, t, s), (theta, state))


def test_shift_rule_is_exact_for_every_gate_with_a_parameter() -> None:
    circuit = random_circuit(5, 50, RNG(12))
    rng = RNG(13)
    theta = torch.from_numpy(rng.uniform(-3, 3, circuit.parameters)).requires_grad_()
    target = torch.from_numpy(rng.dirichlet(np.ones(32)))
    (exact,) = torch.autograd.grad(bm.mmd_loss(bm.born_probabilities(circuit, theta), target), theta)
    assert (bm.parameter_shift_gradient(circuit, theta.detach(), target) - exact).abs().max() < 1e-13


def test_shifted_probabilities_are_those_of_shifted_circuits() -> None:
    circuit = random_circuit(4, 40, RNG(14))
    free, index = shift.unshared(circuit)
    theta = torch.from_numpy(RNG(15).uniform(-3, 3, circuit.parameters))
    quarter = torch.pi / 2 * torch.eye(len(index), dtype=torch.float64)
    literal = torch.stack([bm.born_probabilities(free, theta[index] + s * quarter) for s in (1, -1)])
    assert (bm.shifted_probabilities(circuit, theta) - literal).abs().max() < 1e-13


def test_shift_gradient_with_shots_is_unbiased() -> None:
    circuit, rng = bm.layered_ansatz(3, 1, bm.ring(3)), RNG(16)
    theta, target = bm.random_angles(circuit, rng), torch.from_numpy(rng.dirichlet(np.ones(8)))
    exact = bm.parameter_shift_gradient(circuit, theta, target)
    draws = torch.stack(
        [bm.parameter_shift_gradient(circuit, theta, target, shots=20, generator=rng) for _ in range(400)]
    )
    error = draws.std(0) / 20
    assert ((draws.mean(0) - exact).abs() < 6 * error + 1e-12).all()


# ------------------------------------------------------------------------------------------------ losses


@pytest.mark.parametrize("kernel", ["bits", "integers"])
@pytest.mark.parametrize("n", [1, 4, 6, 7])
def test_fast_kernel_is_the_double_sum(kernel: str, n: int) -> None:
    bits, x = oracles.bit_strings(n).astype(float), np.arange(2.0**n)
    squared = ((bits[:, None] - bits) ** 2).sum(-1) if kernel == "bits" else (x[:, None] - x) ** 2
    widths = (0.25, 2.0, 10.0)
    dense = np.mean([np.exp(-squared / (2 * s)) for s in widths], axis=0)
    p, q = RNG(n).dirichlet(np.ones(2**n), 2)
    got = bm.mmd_loss(torch.from_numpy(p), torch.from_numpy(q), widths, kernel)
    assert abs(got.item() - (p - q) @ dense @ (p - q)) < 1e-14
    assert np.abs(bm.apply_kernel(torch.from_numpy(p), widths, kernel).numpy() - dense @ p).max() < 1e-13


def test_mmd_is_zero_only_for_equal_distributions_and_has_known_values() -> None:
    for (rows, cols), value in {(2, 2): 0.016982, (3, 3): 0.031387}.items():
        target = bm.bars_and_stripes_target(rows, cols)
        uniform = torch.full_like(target, 1 / len(target))
        assert bm.mmd_loss(uniform, target).item() == pytest.approx(value, abs=1e-6)
        assert bm.mmd_loss(target, target) == 0
    mixture = bm.gaussian_mixture_target(10, (2 / 7, 5 / 7), 1 / 8)
    uniform = torch.full_like(mixture, 1 / 1024)
    assert bm.mmd_loss(uniform, mixture, (0.25, 10, 1000), "integers").item() == pytest.approx(0.0054099, abs=1e-7)


def test_u_statistic_is_unbiased_for_the_mmd() -> None:
    rng = RNG(17)
    p, q = rng.dirichlet(np.ones(16), 2)
    counts = torch.from_numpy(rng.multinomial(10, p, size=20_000))
    values = bm.mmd_unbiased(counts, torch.from_numpy(q))
    exact = bm.mmd_loss(torch.from_numpy(p), torch.from_numpy(q))
    assert abs(values.mean() - exact) < 6 * values.std() / math.sqrt(20_000)


def test_walsh_hadamard_is_its_own_inverse() -> None:
    v = torch.randn(3, 2**7, dtype=torch.float64)
    assert (bm.walsh_hadamard(bm.walsh_hadamard(v)) - v).abs().max() < 1e-13


# ------------------------------------------------------------------------------------------------ structure, targets


def test_chow_liu_recovers_a_planted_tree() -> None:
    rng, parents = RNG(18), [None, 0, 0, 1, 3, 2]
    bits = np.zeros((20_000, 6), int)
    for q, parent in enumerate(parents):
        noise = rng.random(20_000) < (0.5 if parent is None else 0.15)
        bits[:, q] = noise if parent is None else bits[:, parent] ^ noise
    edges = {frozenset(edge) for edge in bm.chow_liu_tree(bits)}
    assert edges == {frozenset((q, p)) for q, p in enumerate(parents) if p is not None}


def test_tree_on_bars_and_stripes_has_the_largest_total_information() -> None:
    patterns = bars_and_stripes(3, 3)
    information = bm.mutual_information(patterns)
    assert information[0, 1] == pytest.approx(0.0948776, abs=1e-7)
    assert information[0, 4] == pytest.approx(0.0102391, abs=1e-7)
    edges = bm.chow_liu_tree(patterns)
    assert sum(information[e] for e in edges) == pytest.approx(8 * 0.0948776, abs=1e-6)
    assert sorted(q for _, q in edges) == list(range(1, 9))


def test_layered_ansatz_has_the_published_number_of_parameters() -> None:
    for n, depth, count in ((9, 10, 279), (10, 10, 310), (6, 7, 132), (6, 6, 114)):
        assert bm.layered_ansatz(n, depth, bm.ring(n)).parameters == count


def test_trimmed_rotations_do_not_matter() -> None:
    full, short = (bm.layered_ansatz(3, 2, bm.ring(3), trim=trim) for trim in (False, True))
    theta = torch.from_numpy(RNG(19).uniform(-3, 3, full.parameters))
    difference = bm.born_probabilities(full, theta) - bm.born_probabilities(short, theta[3:-3])
    assert difference.abs().max() < 1e-14


# ------------------------------------------------------------------------------------------------ energies, cuts


def test_expectation_is_that_of_the_dense_matrix() -> None:
    rng = RNG(20)
    psi = rng.normal(size=8) + 1j * rng.normal(size=8)
    terms = {"xyz": 0.3, "zzi": -1.2, "iii": 0.7, "yix": 2.0}
    pauli = {name: matrix.numpy() for name, matrix in bm.PAULI.items()}
    dense = sum(c * np.kron(np.kron(pauli[a], pauli[b]), pauli[d]) for (a, b, d), c in terms.items())
    got = bm.expectation(torch.from_numpy(psi), terms).item()
    assert got == pytest.approx((psi.conj() @ dense @ psi).real, abs=1e-12)


def test_vqe_reaches_the_ground_state_of_the_ising_ring() -> None:
    circuit, terms = bm.alternating_ansatz(8, 4), bm.ising_terms(8)
    assert bm.ising_ground_energy(8) == pytest.approx(-10.251661790966, abs=1e-11)
    fit = bm.minimise(
        lambda theta: bm.expectation(bm.simulate(circuit, theta), terms),
        bm.random_angles(circuit, RNG(21)),
        iterations=300,
    )
    assert -1e-9 < fit.loss - bm.ising_ground_energy(8) < 1e-4


@pytest.mark.parametrize(("depth", "n"), [(1, 4), (1, 6), (2, 6), (2, 8), (3, 8), (3, 10)])
def test_qaoa_on_the_ring_reaches_its_ratio(depth: int, n: int) -> None:
    circuit = bm.alternating_ansatz(n, depth)
    fit = bm.minimise(
        lambda theta: -bm.cut_fraction(circuit, theta), bm.random_angles(circuit, RNG(22)), iterations=300
    )
    assert -fit.loss == pytest.approx((2 * depth + 1) / (2 * depth + 2), abs=1e-6)


# ------------------------------------------------------------------------------------------------ learning


def test_two_by_two_bars_and_stripes_are_learned() -> None:
    target = bm.bars_and_stripes_target(2, 2)
    circuit = bm.layered_ansatz(4, 3, bm.chow_liu_tree(bars_and_stripes(2, 2)))
    fit = bm.fit_exact(circuit, target, RNG(23), goal=1e-10)
    assert bm.valid_rate(bm.born_probabilities(circuit, fit.theta), target) >= 0.999


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_adversarial_training_closes_in_on_two_by_two(seed: int) -> None:
    circuit = bm.layered_ansatz(4, 3, bm.chow_liu_tree(bars_and_stripes(2, 2)))
    target, start = bm.bars_and_stripes_target(2, 2), bm.random_angles(circuit, RNG(seed))
    _, distances = bm.fit_adversarial(circuit, target, start, torch.Generator().manual_seed(seed))
    assert distances[-1] <= 0.1


def test_gaussian_on_six_qubits_is_learned() -> None:
    target = bm.gaussian_mixture_target(6, (0.5,), 1 / 8)
    circuit = bm.layered_ansatz(6, 6, bm.ring(6))
    fit = bm.fit_exact(circuit, target, RNG(24), bandwidths=(0.25, 10, 1000), kernel="integers", goal=1e-7)
    assert fit.loss <= 2e-5


def test_adam_lowers_the_loss_with_and_without_shots() -> None:
    target = bm.bars_and_stripes_target(2, 2)
    circuit = bm.layered_ansatz(4, 2, bm.ring(4))
    for shots in (None, 500):
        start = bm.near_uniform_angles(circuit, RNG(25))
        trace = bm.fit_adam(circuit, target, start, steps=60, shots=shots, generator=RNG(26))
        assert trace.losses[-1] < trace.losses[0] / 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_three_by_three_reaches_the_published_marks(seed: int) -> None:
    target = bm.bars_and_stripes_target(3, 3)
    circuit = bm.layered_ansatz(9, 10, bm.chow_liu_tree(bars_and_stripes(3, 3)))
    fit = bm.fit_exact(circuit, target, RNG(seed), goal=2e-9)
    assert fit.loss <= 2.4e-7
    assert bm.valid_rate(bm.born_probabilities(circuit, fit.theta), target) >= 0.999


def test_plateau_losses_and_the_variance_of_one_qubit() -> None:
    p = torch.from_numpy(RNG(32).dirichlet(np.ones(8)))
    marginal = [p.reshape(2, 2, 2).movedim(q, 0)[1].sum() for q in range(3)]
    assert bm.local_loss(p).item() == pytest.approx(sum(marginal).item() / 3)
    assert bm.global_loss(p) == 1 - p[0]
    steep, flat = (bm.gradient_variance(n, 2, bm.global_loss, 400, RNG(33))[0] for n in (2, 6))
    assert flat < steep / 8


# ------------------------------------------------------------------------------------------------ size, device, manners


def test_twenty_qubits_and_sixteen_with_gradient_fit_in_two_gigabytes() -> None:
    code = """
import resource, torch
from helpers import born_machine as bm
for n, depth, gradient in ((20, 1, False), (16, 10, True)):
    circuit = bm.layered_ansatz(n, depth, bm.ring(n))
    theta = torch.full((circuit.parameters,), 0.3, dtype=torch.float64, requires_grad=gradient)
    p = bm.born_probabilities(circuit, theta)
    if gradient:
        p.square().sum().backward()
    assert abs(p.sum().item() - 1) < 1e-12
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    scale = 1024 if sys.platform == "linux" else 1
    assert int(out) * scale < 2 * 2**30


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cpu_and_gpu_agree() -> None:
    circuit = random_circuit(8, 60, RNG(27))
    theta = torch.from_numpy(RNG(28).uniform(-3, 3, circuit.parameters))
    target = torch.from_numpy(RNG(29).dirichlet(np.ones(256)))
    gradients = []
    for where in (torch.device("cpu"), device.pick("cuda")):
        leaf = theta.to(where).requires_grad_()
        loss = bm.mmd_loss(bm.born_probabilities(circuit, leaf), target.to(where))
        (gradient,) = torch.autograd.grad(loss, leaf)
        shifted = bm.parameter_shift_gradient(circuit, leaf.detach(), target.to(where))
        assert (gradient - shifted).abs().max() < 1e-12
        gradients.append(gradient.cpu())
    assert (gradients[0] - gradients[1]).abs().max() < 1e-12


def test_circuits_survive_as_plain_values() -> None:
    circuit = random_circuit(4, 40, RNG(30))
    assert Circuit.from_plain(circuit.to_plain()) == circuit


BELL = Circuit(2, [Gate("h", (0,)), Gate("cx", (0, 1)), Gate("rx", (0,), 0)])
BAD = {
    "angles": lambda: bm.simulate(BELL, torch.zeros(3)),
    "integer angles": lambda: bm.simulate(BELL, torch.zeros(1, dtype=torch.int64)),
    "list": lambda: bm.simulate(BELL, [0.1]),
    "state": lambda: bm.simulate(BELL, torch.zeros(1), torch.zeros(8)),
    "gate name": lambda: Circuit(2, [Gate("foo", (0,))]),
    "gate qubit": lambda: Circuit(2, [Gate("x", (2,))]),
    "gate twice": lambda: Circuit(2, [Gate("cx", (1, 1))]),
    "no parameter": lambda: Circuit(2, [Gate("rx", (1,))]),
    "gap": lambda: Circuit(2, [Gate("rx", (1,), 1)]),
    "not unitary": lambda: Circuit(1, [Gate("unitary", (0,), None, ((1, 1), (0, 1)))]),
    "depth": lambda: bm.layered_ansatz(3, -1, bm.ring(3)),
    "apply qubits": lambda: bm.apply_gate(torch.zeros(4) + 0j, bm.PAULI["x"], [2]),
    "apply size": lambda: bm.apply_gate(torch.zeros(6) + 0j, bm.PAULI["x"], [0]),
    "apply gate": lambda: bm.apply_gate(torch.zeros(4) + 0j, bm.PAULI["x"], [0, 1]),
    "axis": lambda: bm.rotation("q", torch.zeros(1)),
    "lengths": lambda: bm.mmd_loss(torch.zeros(4), torch.zeros(8)),
    "bandwidth": lambda: bm.mmd_loss(torch.zeros(4), torch.zeros(4), (0.0,)),
    "kernel": lambda: bm.mmd_loss(torch.zeros(4), torch.zeros(4), kernel="words"),
    "one sample": lambda: bm.mmd_unbiased(torch.tensor([1, 0]), torch.tensor([0.5, 0.5])),
    "shots": lambda: bm.measure(torch.ones(4) / 4, 0, RNG(0)),
    "no generator": lambda: bm.parameter_shift_gradient(BELL, torch.zeros(1), torch.ones(4) / 4, shots=5),
    "samples": lambda: bm.chow_liu_tree(np.array([[0, 2], [1, 1]])),
    "pauli": lambda: bm.expectation(torch.zeros(4) + 0j, {"zq": 1.0}),
    "target": lambda: bm.fit_exact(BELL, torch.ones(8) / 8, RNG(0)),
    "start": lambda: bm.near_uniform_angles(BELL, RNG(0)),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_answered_in_one_sentence(case: str) -> None:
    with pytest.raises((ValueError, TypeError)) as error:
        BAD[case]()
    assert "\n" not in str(error.value)
    assert len(str(error.value)) > 20


def test_figures_draw_from_the_objects() -> None:
    circuit = bm.layered_ansatz(4, 2, bm.ring(4))
    assert sum(map(len, figures.columns(circuit))) == len(circuit.gates)
    axes = figures.draw_circuit(random_circuit(4, 30, RNG(31)))
    assert len(axes.texts) > 4
    target = bm.bars_and_stripes_target(2, 2).numpy()
    figures.distributions(target, target)
    figures.witness(target - 0.1, target)
    figures.valid_traces({"exact": [0.1, 0.9]}, {"exact": 0.95})
    figures.loss_traces({"a": [1.0, 0.1]}, goal=0.5)
    figures.plateau([2, 3], {"global": (np.array([0.1, 0.01]), np.array([0.01, 0.001]))})
    figures.pattern_samples(bars_and_stripes(2, 2), 2, 2, [True] * 6)
    figures.information_graph(bm.mutual_information(bars_and_stripes(2, 2)), [(0, 1)], 2, 2)


def test_answers_name_things_that_exist() -> None:
    import helpers.data as data

    homes = {"born_machine": bm, "data": data}
    for name in itertools.chain.from_iterable(bm.ANSWERS.values()):
        home, *path = name.split(".")
        thing = homes[home]
        for part in path:
            thing = getattr(thing, part)
