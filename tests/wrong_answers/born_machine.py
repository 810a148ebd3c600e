"""Answers to chapter 06: the mistakes that people make, and right answers written in other ways than ours."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch

from helpers import born_machine as bm
from helpers import data, oracles
from tests.suite import Suite

suite = Suite("born_machine")
right, wrong = suite.right, suite.wrong
PI = math.pi

# -------------------------------------------------------------------------------------------------------- apply_gate


def gate_by_einsum(state, gate, qubits):
    n, k = int(math.log2(len(state))), len(qubits)
    tensor = state.reshape([2] * n)
    out = list(range(n))
    for position, q in enumerate(qubits):
        out[q] = n + position
    g = gate.reshape([2] * (2 * k))
    return torch.einsum(g, [n + j for j in range(k)] + list(qubits), tensor, list(range(n)), out).reshape(-1)


def gate_by_loops(state, gate, qubits):
    """Amplitude by amplitude, with bit shifts; returns numpy."""
    psi, g = state.numpy(), gate.numpy()
    n = len(psi).bit_length() - 1
    new = np.zeros_like(psi)
    for x in range(len(psi)):
        column = 0
        for q in qubits:
            column = 2 * column + (x >> (n - 1 - q) & 1)
        for row in range(len(g)):
            y = x
            for place, q in enumerate(reversed(qubits)):
                mask = 1 << (n - 1 - q)
                y = y | mask if row >> place & 1 else y & ~mask
            new[y] += g[row, column] * psi[x]
    return new


def gate_little_endian(state, gate, qubits):
    n = len(state).bit_length() - 1
    return bm.apply_gate(state, gate, [n - 1 - q for q in qubits])


def gate_transposed(state, gate, qubits):
    return bm.apply_gate(state, gate.T, qubits)


def gate_adjoint(state, gate, qubits):
    return bm.apply_gate(state, gate.mH, qubits)


def gate_conjugated(state, gate, qubits):
    return bm.apply_gate(state, gate.conj(), qubits)


def gate_control_and_target_swapped(state, gate, qubits):
    return bm.apply_gate(state, gate, list(qubits)[::-1])


def gate_sorted_qubits(state, gate, qubits):
    return bm.apply_gate(state, gate, sorted(qubits))


def gate_in_place(state, gate, qubits):
    state[:] = bm.apply_gate(state, gate, qubits)
    return state


def gate_real_part(state, gate, qubits):
    return bm.apply_gate(state, gate, qubits).real


def gate_neighbours_only(state, gate, qubits):
    """Right for one qubit; for two it takes the next qubit along as second."""
    n = len(state).bit_length() - 1
    first = qubits[0]
    return bm.apply_gate(state, gate, [first, *[(first + k) % n for k in range(1, len(qubits))]])


def gate_forgets_to_move_back(state, gate, qubits):
    n, k = len(state).bit_length() - 1, len(qubits)
    tensor = state.reshape([2] * n).movedim(list(qubits), list(range(k))).reshape(2**k, -1)
    return (gate @ tensor).reshape(-1)


right("apply_gate", bm.apply_gate)
right("apply_gate", gate_by_einsum)
right("apply_gate", gate_by_loops)
wrong("apply_gate", "bit order is turned round", gate_little_endian)
wrong("apply_gate", "transpose", gate_transposed)
wrong("apply_gate", "adjoint", gate_adjoint)
wrong("apply_gate", "complex conjugated", gate_conjugated)
wrong("apply_gate", "two qubits are exchanged", gate_control_and_target_swapped)
wrong("apply_gate", "two qubits are exchanged", gate_sorted_qubits)
wrong("apply_gate", "changed in place|writes into its argument", gate_in_place)
wrong("apply_gate", "another state|imaginary part", gate_real_part)
wrong("apply_gate", "another state|exchanged", gate_neighbours_only)
wrong("apply_gate", "another state|another order", gate_forgets_to_move_back)

# ---------------------------------------------------------------------------------------------------------- rotation


def _pauli(axis):
    return bm.PAULI[axis]


def rotation_by_matrix_exp(axis, angle):
    return torch.linalg.matrix_exp(-0.5j * angle * _pauli(axis))


def rotation_written_out(axis, angle):
    c, s = np.cos(angle / 2), np.sin(angle / 2)
    return {
        "x": np.array([[c, -1j * s], [-1j * s, c]]),
        "y": np.array([[c, -s], [s, c]]),
        "z": np.diag([np.exp(-0.5j * angle), np.exp(0.5j * angle)]),
    }[axis]


def rotation_without_half(axis, angle):
    return rotation_written_out(axis, 2 * angle)


def rotation_other_sense(axis, angle):
    return rotation_written_out(axis, -angle)


def rotation_x_and_y_exchanged(axis, angle):
    return rotation_written_out({"x": "y", "y": "x", "z": "z"}[axis], angle)


def rotation_without_i(axis, angle):
    return math.cos(angle / 2) * torch.eye(2) - math.sin(angle / 2) * _pauli(axis)


def rotation_in_single_precision(axis, angle):
    return math.cos(angle / 2) * torch.eye(2) - 1j * math.sin(angle / 2) * _pauli(axis)


def rotation_first_order(axis, angle):
    return torch.eye(2) - 0.5j * angle * _pauli(axis)


def rotation_halved_twice(axis, angle):
    return rotation_written_out(axis, angle / 2)


def rotation_in_degrees(axis, angle):
    return rotation_written_out(axis, math.radians(angle))


def rotation_folded(axis, angle):
    """Folds the angle into (-pi, pi] first, so that a full turn becomes the identity."""
    return rotation_written_out(axis, (angle + PI) % (2 * PI) - PI)


right("rotation", lambda axis, angle: bm.rotation(axis, torch.tensor(angle, dtype=torch.float64)), name="reference")
right("rotation", rotation_by_matrix_exp)
right("rotation", rotation_written_out)
wrong("rotation", "1/2 is missing", rotation_without_half)
wrong("rotation", "sense of rotation", rotation_other_sense)
wrong("rotation", "you turn about", rotation_x_and_y_exchanged)
wrong("rotation", "i is missing", rotation_without_i)
wrong("rotation", "float32", rotation_in_single_precision)
wrong("rotation", "first two terms", rotation_first_order)
wrong("rotation", "halved twice", rotation_halved_twice)
wrong("rotation", "degrees", rotation_in_degrees)
wrong("rotation", "2π is -1|add up|wrong sign", rotation_folded)

# ------------------------------------------------------------------------------------------------ born_probabilities


def _run(circuit, theta, gates=None, start=None):
    psi = torch.zeros(2**circuit.qubits, dtype=torch.complex128)
    psi[0] = 1
    psi = psi if start is None else start
    for gate in circuit.gates if gates is None else gates:
        known = gate.parameter is None
        matrix = bm.FIXED[gate.name] if known else bm.rotation(gate.name[1:], theta[gate.parameter])
        psi = bm.apply_gate(psi, matrix, gate.qubits)
    return psi


def born_gate_by_gate(circuit, theta):
    return _run(circuit, theta).abs() ** 2


def born_in_numpy(circuit, theta):
    psi = bm.simulate(circuit, theta).numpy()
    return (psi * psi.conj()).real


def born_amplitudes(circuit, theta):
    return _run(circuit, theta)


def born_modulus(circuit, theta):
    return _run(circuit, theta).abs()


def born_square_without_modulus(circuit, theta):
    return _run(circuit, theta) ** 2


def born_real_part_squared(circuit, theta):
    return _run(circuit, theta).real ** 2


def born_backwards(circuit, theta):
    return _run(circuit, theta, circuit.gates[::-1]).abs() ** 2


def born_from_even_state(circuit, theta):
    size = 2**circuit.qubits
    return _run(circuit, theta, start=torch.full((size,), size**-0.5, dtype=torch.complex128)).abs() ** 2


def born_angles_in_order(circuit, theta):
    """The k-th rotation takes theta[k], whatever its parameter says."""
    numbers = itertools.count()
    gates = [g if g.parameter is None else bm.Gate(g.name, g.qubits, next(numbers) % len(theta)) for g in circuit.gates]
    return _run(circuit, theta, gates).abs() ** 2


def born_little_endian(circuit, theta):
    n = circuit.qubits
    return bm.born_probabilities(circuit, theta).reshape([2] * n).permute(*reversed(range(n))).reshape(-1)


def born_without_fixed_gates(circuit, theta):
    return _run(circuit, theta, [g for g in circuit.gates if g.parameter is not None]).abs() ** 2


right("born_probabilities", bm.born_probabilities)
right("born_probabilities", born_gate_by_gate)
right("born_probabilities", born_in_numpy)
wrong("born_probabilities", "amplitudes|complex", born_amplitudes)
wrong("born_probabilities", "Born's rule squares", born_modulus)
wrong("born_probabilities", "ψ²|complex", born_square_without_modulus)
wrong("born_probabilities", "imaginary part", born_real_part_squared)
wrong("born_probabilities", "backwards", born_backwards)
wrong("born_probabilities", "starts even", born_from_even_state)
wrong("born_probabilities", "order of appearance|dense matrices", born_angles_in_order)
wrong("born_probabilities", "bit order|backwards", born_little_endian)
wrong("born_probabilities", "dense matrices", born_without_fixed_gates)

# -------------------------------------------------------------------------------------------------- bars_and_stripes


def _stripes(rows, cols):
    return np.repeat(oracles.bit_strings(rows), cols, axis=1)


def _bars(rows, cols):
    return np.tile(oracles.bit_strings(cols), (1, rows))


def patterns_in_loops(rows, cols):
    images = [[bit for bit in word for _ in range(cols)] for word in itertools.product((0, 1), repeat=rows)]
    images += [list(word) * rows for word in itertools.product((0, 1), repeat=cols) if 0 < sum(word) < cols]
    return torch.tensor(images)


def patterns_by_set(rows, cols):
    return (
        np.array(sorted({tuple(i) for i in np.concatenate([_stripes(rows, cols), _bars(rows, cols)]).tolist()})) * 1.0
    )


def patterns_blanks_twice(rows, cols):
    return np.concatenate([_stripes(rows, cols), _bars(rows, cols)])


def patterns_without_blanks(rows, cols):
    return np.concatenate([_stripes(rows, cols)[1:-1], _bars(rows, cols)[1:-1]])


def patterns_stripes_only(rows, cols):
    return _stripes(rows, cols)


def patterns_bars_only(rows, cols):
    return _bars(rows, cols)


def patterns_by_columns(rows, cols):
    images = data.bars_and_stripes(rows, cols).reshape(-1, rows, cols)
    return images.transpose(0, 2, 1).reshape(len(images), -1)


def patterns_crossed(rows, cols):
    """A bar laid over a stripe is neither."""
    images = [np.maximum(s, b) for s in _stripes(rows, cols) for b in _bars(rows, cols)]
    return np.unique(np.array(images), axis=0)


def patterns_as_pictures(rows, cols):
    return data.bars_and_stripes(rows, cols).reshape(-1, rows, cols)


def patterns_of_a_square(rows, cols):
    side = max(rows, cols)
    images = data.bars_and_stripes(side, side).reshape(-1, side, side)[:, :rows, :cols]
    return images.reshape(len(images), -1)


right("bars_and_stripes", data.bars_and_stripes)
right("bars_and_stripes", patterns_in_loops)
right("bars_and_stripes", patterns_by_set)
wrong("bars_and_stripes", "two blank images", patterns_blanks_twice)
wrong("bars_and_stripes", "blank|missing", patterns_without_blanks)
wrong("bars_and_stripes", "missing, among them bars", patterns_stripes_only)
wrong("bars_and_stripes", "missing, among them stripes", patterns_bars_only)
wrong("bars_and_stripes", "column by column", patterns_by_columns)
wrong("bars_and_stripes", "neither bars nor stripes", patterns_crossed)
wrong("bars_and_stripes", r"shape \(images", patterns_as_pictures)
wrong("bars_and_stripes", "count once|both bars and stripes|different ones", patterns_of_a_square)

# ---------------------------------------------------------------------------------------------------------- mmd_loss


def _hamming(size):
    bits = oracles.bit_strings(size.bit_length() - 1).astype(float)
    return torch.from_numpy(((bits[:, None] - bits) ** 2).sum(-1))


def _quadratic(p, q, kernel):
    return (p - q) @ kernel @ (p - q)


def _mean_kernel(squared, bandwidths):
    return sum(torch.exp(-squared / (2 * s)) for s in bandwidths) / len(bandwidths)


def mmd_dense(p, q, bandwidths):
    return _quadratic(p, q, _mean_kernel(_hamming(len(p)), bandwidths))


def mmd_three_terms(p, q, bandwidths):
    K = _mean_kernel(_hamming(len(p)), bandwidths).numpy()
    p, q = p.numpy(), q.numpy()
    return float(p @ K @ p - 2 * p @ K @ q + q @ K @ q)


def mmd_without_minus(p, q, bandwidths):
    return _quadratic(p, q, _mean_kernel(-_hamming(len(p)), bandwidths))


def mmd_without_square(p, q, bandwidths):
    return _quadratic(p, q, _mean_kernel(_hamming(len(p)).sqrt(), bandwidths))


def mmd_squared_twice(p, q, bandwidths):
    return _quadratic(p, q, _mean_kernel(_hamming(len(p)) ** 2, bandwidths))


def mmd_sum_of_kernels(p, q, bandwidths):
    return len(bandwidths) * mmd_dense(p, q, bandwidths)


def mmd_integers(p, q, bandwidths):
    return bm.mmd_loss(p, q, bandwidths, "integers")


def mmd_root(p, q, bandwidths):
    return mmd_dense(p, q, bandwidths).sqrt()


def mmd_without_two(p, q, bandwidths):
    return _quadratic(p, q, _mean_kernel(2 * _hamming(len(p)), bandwidths))


def mmd_sigma_squared(p, q, bandwidths):
    return mmd_dense(p, q, [s * s for s in bandwidths])


def mmd_without_cross_terms(p, q, bandwidths):
    K = _mean_kernel(_hamming(len(p)), bandwidths)
    return p @ K @ p + q @ K @ q


def mmd_euclid(p, q, bandwidths):
    return ((p - q) ** 2).sum()


def mmd_mean_bandwidth(p, q, bandwidths):
    return mmd_dense(p, q, [sum(bandwidths) / len(bandwidths)])


right("mmd_loss", bm.mmd_loss)
right("mmd_loss", mmd_dense)
right("mmd_loss", mmd_three_terms)
wrong("mmd_loss", "minus sign", mmd_without_minus)
wrong("mmd_loss", "not squared", mmd_without_square)
wrong("mmd_loss", "squared twice", mmd_squared_twice)
wrong("mmd_loss", "K is their mean", mmd_sum_of_kernels)
wrong("mmd_loss", "integers", mmd_integers)
wrong("mmd_loss", "square root", mmd_root)
wrong("mmd_loss", "2 in 2σ", mmd_without_two)
wrong("mmd_loss", "σ is squared", mmd_sigma_squared)
wrong("mmd_loss", "cross terms", mmd_without_cross_terms)
wrong("mmd_loss", "without a kernel", mmd_euclid)
wrong("mmd_loss", "averaged before", mmd_mean_bandwidth)

# ------------------------------------------------------------------------------------------ parameter_shift_gradient


def _shifted(hardware, theta, shift=PI / 2):
    steps = shift * torch.eye(len(theta), dtype=theta.dtype)
    return hardware(theta), hardware(theta + steps), hardware(theta - steps)


def shift_in_a_batch(hardware, theta, target, kernel):
    p, plus, minus = _shifted(hardware, theta)
    return (plus - minus) @ kernel @ (p - target)


def shift_in_a_loop(hardware, theta, target, kernel):
    """Angle by angle, in numpy, with the 2 of the square and the 1/2 of the rule written out."""
    witness = 2 * kernel.numpy() @ (hardware(theta).numpy() - target.numpy())
    gradient = np.zeros(len(theta))
    for j in range(len(theta)):
        moved = theta.clone()
        moved[j] += PI / 2
        plus = hardware(moved).numpy()
        moved[j] -= PI
        gradient[j] = witness @ (plus - hardware(moved).numpy()) / 2
    return gradient


def shift_eighth(hardware, theta, target, kernel):
    p, plus, minus = _shifted(hardware, theta, PI / 4)
    return (plus - minus) @ kernel @ (p - target)


def shift_without_half(hardware, theta, target, kernel):
    return 2 * shift_in_a_batch(hardware, theta, target, kernel)


def shift_of_the_loss(hardware, theta, target, kernel):
    """The rule applied to L itself, as if it were an expectation value."""
    _, plus, minus = _shifted(hardware, theta)
    up, down = plus - target, minus - target
    return ((up @ kernel * up).sum(-1) - (down @ kernel * down).sum(-1)) / 2


def shift_half_of_it(hardware, theta, target, kernel):
    return shift_in_a_batch(hardware, theta, target, kernel) / 2


def shift_wrong_sign(hardware, theta, target, kernel):
    return -shift_in_a_batch(hardware, theta, target, kernel)


def shift_without_kernel(hardware, theta, target, kernel):
    p, plus, minus = _shifted(hardware, theta)
    return (plus - minus) @ (p - target)


def shift_without_target(hardware, theta, target, kernel):
    p, plus, minus = _shifted(hardware, theta)
    return (plus - minus) @ kernel @ p


def shift_finite_difference(hardware, theta, target, kernel):
    step = 1e-4
    p, plus, minus = _shifted(hardware, theta, step)
    return (plus - minus) / step @ kernel @ (p - target)


def shift_one_sided(hardware, theta, target, kernel):
    p, plus, _ = _shifted(hardware, theta)
    return 2 * (plus - p) @ kernel @ (p - target)


def shift_by_autograd(hardware, theta, target, kernel):
    """Looks into the simulator: no hardware lets you, and shots leave it cold."""
    leaf = theta.clone().requires_grad_()
    d = bm.born_probabilities(hardware.circuit, leaf) - target
    return torch.autograd.grad(d @ kernel @ d, leaf)[0]


right("parameter_shift_gradient", shift_in_a_batch)
right("parameter_shift_gradient", shift_in_a_loop)
wrong("parameter_shift_gradient", "π/4", shift_eighth)
wrong("parameter_shift_gradient", "twice too large", shift_without_half)
wrong("parameter_shift_gradient", "quadratic in p", shift_of_the_loss)
wrong("parameter_shift_gradient", "half of the gradient", shift_half_of_it)
wrong("parameter_shift_gradient", "sign is turned round", shift_wrong_sign)
wrong("parameter_shift_gradient", "kernel is missing", shift_without_kernel)
wrong("parameter_shift_gradient", "target is missing", shift_without_target)
wrong("parameter_shift_gradient", "too noisy|finite step|finite difference", shift_finite_difference)
wrong("parameter_shift_gradient", "central differences", shift_one_sided)
wrong("parameter_shift_gradient", "does not feel the shots", shift_by_autograd)

# ----------------------------------------------------------------------------------------------------- chow_liu_tree


def _grown(weight):
    """Prim's tree: from qubit 0, always along the heaviest edge that leads outside."""
    inside, edges = [0], []
    while len(inside) < len(weight):
        i, j = max(
            ((i, j) for i in inside for j in range(len(weight)) if j not in inside), key=lambda e: weight[e[0], e[1]]
        )
        inside.append(j)
        edges.append((i, j))
    return edges


def _bits(samples):
    return np.asarray(samples)


def tree_by_prim(samples):
    return _grown(bm.mutual_information(_bits(samples)))


def tree_by_entropies(samples):
    """I = H_i + H_j - H_ij, all three counted."""
    bits = _bits(samples)

    def entropy(columns):
        _, counts = np.unique(columns, axis=0, return_counts=True)
        p = counts / counts.sum()
        return -(p * np.log(p)).sum()

    n = bits.shape[1]
    weight = np.zeros((n, n))
    for i, j in itertools.combinations(range(n), 2):
        weight[i, j] = weight[j, i] = entropy(bits[:, [i]]) + entropy(bits[:, [j]]) - entropy(bits[:, [i, j]])
    return np.array(_grown(weight))


def tree_smallest(samples):
    return _grown(-bm.mutual_information(_bits(samples)))


def tree_of_covariances(samples):
    return _grown(np.cov(_bits(samples).T).reshape(samples.shape[1], -1))


def tree_of_coincidences(samples):
    bits = _bits(samples).astype(float)
    return _grown(bits.T @ bits)


def tree_largest_edges(samples):
    """The n - 1 largest numbers, loops and all."""
    information = bm.mutual_information(_bits(samples))
    n = len(information)
    pairs = sorted(itertools.combinations(range(n), 2), key=lambda e: -information[e])
    return pairs[: n - 1]


def tree_star(samples):
    return [(0, q) for q in range(1, samples.shape[1])]


def tree_chain(samples):
    return [(q, q + 1) for q in range(samples.shape[1] - 1)]


def tree_with_a_loop(samples):
    edges = bm.chow_liu_tree(_bits(samples))
    return [*edges, (edges[-1][1], 0)]


def tree_greedy_chain(samples):
    """From each qubit to the most informative one not yet visited: a path, no tree."""
    information, path = bm.mutual_information(_bits(samples)), [0]
    while len(path) < len(information):
        path.append(max((q for q in range(len(information)) if q not in path), key=lambda q: information[path[-1], q]))
    return list(itertools.pairwise(path))


right("chow_liu_tree", lambda samples: bm.chow_liu_tree(samples.numpy()), name="reference")
right("chow_liu_tree", tree_by_prim)
right("chow_liu_tree", tree_by_entropies)
wrong("chow_liu_tree", "smallest information", tree_smallest)
wrong("chow_liu_tree", "denies another", tree_of_covariances)
wrong("chow_liu_tree", "often 1 together|planted edges|denies|star", tree_of_coincidences)
wrong("chow_liu_tree", "close a loop|largest possible|nats", tree_largest_edges)
wrong("chow_liu_tree", "star", tree_star)
wrong("chow_liu_tree", "chain", tree_chain)
wrong("chow_liu_tree", "has 5 edges", tree_with_a_loop)
wrong("chow_liu_tree", "planted edges|a chain in order", tree_greedy_chain)
