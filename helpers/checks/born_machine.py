"""Checks of chapter 06, the quantum circuit Born machine: 22 points in seven exercises."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch

from helpers import oracles
from helpers.born_machine import FIXED, PAULI, Circuit, Gate, Hardware
from helpers.born_machine import born_probabilities as _probabilities
from helpers.checks.boundary import Answer
from helpers.checks.laws import Expect, Rng, exercise, law

Array = np.ndarray
MATRICES = {name: matrix.numpy() for name, matrix in (PAULI | FIXED).items()}


# ------------------------------------------------------------------------------------------------ slow truths


def _unitary(size: int, rng: Rng) -> Array:
    q, r = np.linalg.qr(rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size)))
    return q * (np.diag(r) / np.abs(np.diag(r)))


def _state(n: int, rng: Rng) -> Array:
    psi = rng.normal(size=2**n) + 1j * rng.normal(size=2**n)
    return psi / np.linalg.norm(psi)


def _embedded(gate: Array, qubits: tuple[int, ...], n: int) -> Array:
    """The 2^n x 2^n matrix of a gate: element (y, x) if y and x agree on all other qubits, qubit 0 the leading bit."""
    bits = oracles.bit_strings(n).astype(int)
    leading = 2 ** np.arange(len(qubits) - 1, -1, -1)
    inside = bits[:, list(qubits)] @ leading
    others = [q for q in range(n) if q not in qubits]
    same = np.all(bits[:, None, others] == bits[None, :, others], axis=-1)
    return np.where(same, gate[np.ix_(inside, inside)], 0)


def _exponential(generator: Array, angle: float) -> Array:
    """exp(-i angle P / 2) by its power series."""
    term, total = np.eye(len(generator), dtype=complex), np.zeros(generator.shape, complex)
    for k in range(1, 60):
        total = total + term
        term = term @ (-0.5j * angle * generator) / k
    return total


def _evolve(circuit: Circuit, theta: Array, start: Array | None = None, gates: list[Gate] | None = None) -> Array:
    """U |start> by dense matrices, one gate after the other."""
    psi = np.eye(2**circuit.qubits)[0].astype(complex) if start is None else start
    for gate in circuit.gates if gates is None else gates:
        if gate.parameter is None:
            matrix = MATRICES[gate.name]
        else:
            matrix = _exponential(MATRICES[gate.name[1:]], theta[gate.parameter])
        psi = _embedded(matrix, gate.qubits, circuit.qubits) @ psi
    return psi


# ------------------------------------------------------------------------------------------------ exercises


@exercise(points=4)
def apply_gate(apply_gate: Answer, *, rng: Rng) -> None:
    """A gate acts on some qubits of a state vector and leaves the others alone."""
    n = int(rng.integers(4, 6))
    one = "a one-qubit gate is the Kronecker product 1 ⊗ G ⊗ 1"
    with law(one, points=1.5) as ok:
        for qubit in rng.permutation(n):
            _judge_gate(ok, apply_gate, _unitary(2, rng), (int(qubit),), n, rng)
    with law("a two-qubit gate acts on any pair, the first qubit named leads", points=2) as ok:
        pairs = [(a, b) for a, b in itertools.permutations(range(n), 2) if a + b != n - 1]  # mirrored is not exchanged
        for qubits in [(n - 1, 1), (0, 2), *[pairs[k] for k in rng.choice(len(pairs), 4, replace=False)]]:
            _judge_gate(ok, apply_gate, _unitary(4, rng), qubits, n, rng)
    with law("the norm is kept and the state you were given is left alone", points=0.5, after=one) as ok:
        psi, gate = _state(n, rng), _unitary(2, rng)
        result = apply_gate(torch.from_numpy(psi), torch.from_numpy(gate), (2,), twice=True)
        result = ok.array(result, psi.shape, kind="c", name="the new state")
        ok.within(np.linalg.norm(result) - 1, 1e-12, "a unitary gate keeps the norm of a state")


def _judge_gate(ok: Expect, apply_gate: Answer, gate: Array, qubits: tuple[int, ...], n: int, rng: Rng) -> None:
    psi = _state(n, rng)
    mirrored = tuple(n - 1 - q for q in qubits)
    mistakes = {
        "the gate acts as its transpose: its rows are the bits after, its columns the bits before": gate.T,
        "the gate is undone instead of done: that is its adjoint": gate.conj().T,
        "the gate is complex conjugated on the way": gate.conj(),
    }
    results = {sentence: _embedded(wrong, qubits, n) @ psi for sentence, wrong in mistakes.items()}
    little = "the bit order is turned round: qubit 0 is the most significant bit of the index, yours the least"
    results[little] = _embedded(gate, mirrored, n) @ psi
    if len(qubits) == 2:
        swapped = "the two qubits are exchanged: the first one named is the leading bit of the gate's index"
        results[swapped] = _embedded(gate, qubits[::-1], n) @ psi
        both = "the bit order is turned round, inside the gate too: qubit 0 is the most significant bit"
        results[both] = _embedded(gate, mirrored[::-1], n) @ psi
    got = apply_gate(torch.from_numpy(psi), torch.from_numpy(gate), qubits)
    hint = f"on qubits {qubits} of {n} the matrix of the whole system gives another state"
    ok.close(got, _embedded(gate, qubits, n) @ psi, hint, mistakes=results, kind="c", name="the new state")


@exercise(points=2)
def rotation(rotation: Answer, *, rng: Rng) -> None:
    """R_P(θ) = exp(-iθP/2) about the axes x, y and z."""
    series = "it is the exponential series of -iθP/2"
    with law(series, points=1.5) as ok:
        for axis in rng.permutation(list("xyz")):
            angle = float(rng.uniform(0.4, 3.0) * rng.choice([-1, 1]))
            _judge_rotation(ok, rotation, str(axis), angle)
    with law("turns add up, and only 4π brings every state back", points=0.5, after=series) as ok:
        for axis in "xyz":
            a, b = rng.uniform(1, 3, size=2)
            product = _matrix(ok, rotation(axis, float(a))) @ _matrix(ok, rotation(axis, float(b)))
            ok.close(rotation(axis, float(a + b)), product, "two turns about one axis should add up", kind="c")
            full = _matrix(ok, rotation(axis, float(a + 2 * np.pi)))
            ok.within(full + _matrix(ok, rotation(axis, float(a))), 1e-9, "a turn by 2π is -1: the sign is part of R")


def _matrix(ok: Expect, value: Any) -> Array:
    return ok.array(value, (2, 2), kind="c", name="R")


def _judge_rotation(ok: Expect, rotation: Answer, axis: str, angle: float) -> None:
    P = MATRICES[axis]
    mistakes = {
        "the 1/2 is missing: θ is the angle on the Bloch sphere, half of it stands in the exponent": 2 * angle,
        "the sense of rotation is turned round: the exponent is -iθP/2": -angle,
        "the angle is halved twice": angle / 2,
        "the angle is taken in degrees: θ is in radians": np.radians(angle),
    }
    results = {sentence: _exponential(P, wrong) for sentence, wrong in mistakes.items()}
    for other in "xyz".replace(axis, ""):
        results[f"about {axis} you turn about {other}: check the Pauli matrices"] = _exponential(MATRICES[other], angle)
    results["that is the series after its first two terms: sum it up"] = np.eye(2) - 0.5j * angle * P
    results["the i is missing: a rotation mixes cos with -i sin"] = (
        np.cos(angle / 2) * np.eye(2) - np.sin(angle / 2) * P
    )
    truth = _exponential(P, angle)
    _close(ok, rotation(axis, angle), truth, "the power series disagrees", results, "R", kind="c")


def _close(
    ok: Expect, got: Any, truth: Array, hint: str, mistakes: dict[str, Array], name: str, kind: str = "f"
) -> None:
    """Agreement to six digits with the typical mistakes first, then in full: single precision has its own word."""
    ok.close(got, truth, hint, tolerance=1e-6, mistakes=mistakes, kind=kind, name=name)
    single = (
        f"{name} is right to seven digits only: somewhere a float32 slipped in (torch.eye and torch.zeros make them)"
    )
    ok.close(got, truth, single, tolerance=1e-10, kind=kind, name=name)


@exercise(points=3)
def born_probabilities(born_probabilities: Answer, *, rng: Rng) -> None:
    """p(x) = |<x| U(θ) |0...0>|²."""
    known = "known circuits: a coin, a Bell pair, a rotated qubit"
    with law(known, points=1) as ok:
        angle = float(rng.uniform(0.5, 2.5))
        theta = torch.tensor([angle], dtype=torch.float64)
        coin, bell = [Gate("h", (0,))], [Gate("h", (1,)), Gate("cx", (1, 0))]
        turned = np.array([np.cos(angle / 2) ** 2, np.sin(angle / 2) ** 2])
        for gates, truth in (
            ([*coin, Gate("rz", (1,), 0)], [0.5, 0, 0.5, 0]),
            ([*bell, Gate("rz", (1,), 0)], [0.5, 0, 0, 0.5]),
            ([Gate("ry", (0,), 0), Gate("cx", (0, 1))], [turned[0], 0, 0, turned[1]]),
        ):
            _judge_circuit(ok, born_probabilities, Circuit(2, gates), theta)
            got = born_probabilities(Circuit(2, gates), theta)
            ok.close(got, truth, "a circuit of two gates should give known probabilities", name="p")
    with law("random circuits agree with dense matrices", points=1.5) as ok:
        for n in (2, 3, 4):
            circuit = _random_circuit(n, rng)
            theta = torch.from_numpy(rng.uniform(-3, 3, circuit.parameters))
            _judge_circuit(ok, born_probabilities, circuit, theta)
    with law("probabilities are real, not negative, and sum to 1", points=0.5, after=known) as ok:
        circuit = _random_circuit(5, rng)
        p = born_probabilities(circuit, torch.from_numpy(rng.uniform(-3, 3, circuit.parameters)))
        p = ok.array(p, (32,), name="p")
        ok.true(p.min() >= -1e-12, "some probability is negative")
        ok.within(p.sum() - 1, 1e-10, "the probabilities do not sum to 1")


def _random_circuit(n: int, rng: Rng) -> Circuit:
    """Rotations about all axes, Hadamards and CNOTs; some parameters serve two gates and come out of order."""
    gates, count = [], 2 * n
    for parameter in rng.permutation([*range(count), *rng.integers(count, size=n)]):
        gates.append(Gate(f"r{rng.choice(list('xyz'))}", (int(rng.integers(n)),), int(parameter)))
        if rng.random() < 0.7:
            a, b = rng.permutation(n)[:2]
            gates.append(Gate("cx", (int(a), int(b))) if rng.random() < 0.7 else Gate("h", (int(a),)))
    return Circuit(n, gates)


def _judge_circuit(ok: Expect, born_probabilities: Answer, circuit: Circuit, theta: torch.Tensor) -> None:
    angles = theta.numpy()
    psi = _evolve(circuit, angles)
    truth = np.abs(psi) ** 2
    n, size = circuit.qubits, len(psi)
    backwards = np.abs(_evolve(circuit, angles, gates=list(circuit.gates[::-1]))) ** 2
    even = np.abs(_evolve(circuit, angles, start=np.full(size, size**-0.5, complex))) ** 2
    numbers = itertools.count()
    in_order = [g if g.parameter is None else Gate(g.name, g.qubits, next(numbers)) for g in circuit.gates]
    mistakes = {
        "those are amplitudes: Born's rule squares them": psi,
        "those are |ψ|: Born's rule squares them": np.abs(psi),
        "that is ψ², a complex number: Born's rule asks for |ψ|²": psi**2,
        "only the real part is squared: |ψ|² has the imaginary part too": psi.real**2,
        "the gates run backwards: the first gate of the list meets the state first": backwards,
        "the state starts even: it should start in |00...0>": even,
        "outcomes are listed in the other bit order": truth.reshape([2] * n).transpose().ravel(),
    }
    if len(in_order) and next(numbers) <= len(angles):
        taken = np.abs(_evolve(circuit, angles, gates=in_order)) ** 2
        mistakes["gates take angles in order of appearance: gate.parameter says which angle is theirs"] = taken
    _close(ok, born_probabilities(circuit, theta), truth, "dense matrices disagree", mistakes, "p")


@exercise(points=2)
def bars_and_stripes(bars_and_stripes: Answer, *, rng: Rng) -> None:
    """All images whose rows are uniform (stripes) or whose columns are (bars), each once."""
    sizes = [(2, 2), (3, 3), (2, 4), (4, 3), (1, 3)]
    complete = "the images are those that a search of all images finds"
    with law(complete, points=1.5) as ok:
        for rows, cols in [sizes[0], *[sizes[1:][k] for k in rng.permutation(4)]]:
            found = _image_set(ok, bars_and_stripes, rows, cols)
            truth = _by_search(rows, cols)
            _name_the_missing(ok, found, truth, rows, cols)
    with law("2^r + 2^c - 2 of them, each once", points=0.5, after=complete) as ok:
        for rows, cols in sizes:
            images = _images(ok, bars_and_stripes(rows, cols), rows * cols)
            count, truth = len(images), 2**rows + 2**cols - 2
            if count > truth and len(np.unique(images, axis=0)) == truth:
                what = "the two blank images are" if count == truth + 2 else "some image is"
                ok.fail(
                    f"{rows} x {cols}: {count} images, {truth} different ones: {what} both bars and stripes, count once"
                )
            ok.true(count == truth, f"{rows} x {cols} has {truth} images, you list {count}")


def _images(ok: Expect, value: Any, pixels: int) -> Array:
    shape = np.shape(value)
    ok.true(
        len(shape) == 2 and shape[1] == pixels, f"the result should have shape (images, {pixels}), yours has {shape}"
    )
    images = ok.array(value, shape, name="the images")
    ok.true(np.isin(images, (0, 1)).all(), "pixels are 0 or 1")
    return images.astype(int)


def _image_set(ok: Expect, bars_and_stripes: Answer, rows: int, cols: int) -> set[tuple[int, ...]]:
    images = _images(ok, bars_and_stripes(rows, cols), rows * cols)
    return {tuple(image) for image in images.tolist()}


def _by_search(rows: int, cols: int) -> set[tuple[int, ...]]:
    every = oracles.bit_strings(rows * cols).reshape(-1, rows, cols)
    stripes = (every == every[:, :, :1]).all(axis=(1, 2))
    bars = (every == every[:, :1, :]).all(axis=(1, 2))
    return {tuple(image) for image in every[stripes | bars].reshape(-1, rows * cols).tolist()}


def _name_the_missing(ok: Expect, found: set, truth: set, rows: int, cols: int) -> None:
    missing, extra = truth - found, found - truth
    size = f"{rows} x {cols}: "
    blanks = {(0,) * (rows * cols), (1,) * (rows * cols)}
    ok.true(not (missing and missing <= blanks and not extra), size + "the blank or the full image is missing")
    turned = {tuple(np.reshape(i, (rows, cols)).T.ravel().tolist()) for i in truth}
    by_columns = {tuple(np.reshape(i, (cols, rows)).T.ravel().tolist()) for i in turned}
    reshaped = {tuple(np.reshape(i, (rows, cols)).ravel(order="F").tolist()) for i in truth}
    ok.true(
        rows == cols or found not in (turned, by_columns, reshaped) or found == truth,
        size + "pixels are read column by column: they should be read row by row",
    )
    grids = [np.reshape(i, (rows, cols)) for i in missing]
    if missing and not extra:
        kind = "bars (uniform columns)" if all((g == g[:1]).all() for g in grids) else "stripes (uniform rows)"
        ok.fail(f"{size}{len(missing)} images are missing, among them {kind}")
    ok.true(not extra, f"{size}{len(extra)} images are neither bars nor stripes: every row uniform, or every column")


@exercise(points=4)
def mmd_loss(mmd_loss: Answer, *, rng: Rng) -> None:
    """L = Σ (p - q)(x) K(x, y) (p - q)(y), K the mean over bandwidths of exp(-|x - y|²/2σ) between bit strings."""
    double = "it is the double sum over bit strings"
    with law(double, points=2) as ok:
        for n in (4, 3, 5):
            bandwidths = tuple(rng.uniform(0.3, 6.0, size=int(rng.integers(2, 5))).tolist())
            _judge_mmd(ok, mmd_loss, n, bandwidths, rng)
    with law("zero when p = q, above zero when not", points=1, after=double) as ok:
        p, q = (rng.dirichlet(np.ones(8)) for _ in range(2))
        same = ok.number(mmd_loss(torch.from_numpy(p), torch.from_numpy(p), (1.0, 4.0)), "L(p, p)")
        ok.within(same, 1e-14, "two equal distributions should have distance 0")
        forth = ok.number(mmd_loss(torch.from_numpy(p), torch.from_numpy(q), (1.0, 4.0)), "L(p, q)")
        back = ok.number(mmd_loss(torch.from_numpy(q), torch.from_numpy(p), (1.0, 4.0)), "L(q, p)")
        ok.true(forth > 1e-8, "two different distributions should have a distance above 0")
        ok.within(forth - back, 1e-14, "the distance should not depend on who comes first")
    with law("samples measure it: the mean over pairs of different samples", points=1, after=double) as ok:
        p, q = (rng.dirichlet(np.ones(16)) for _ in range(2))
        mean, error = _u_statistic(p, q, (0.5, 2.0), rng)
        value = ok.number(mmd_loss(torch.from_numpy(p), torch.from_numpy(q), (0.5, 2.0)), "L(p, q)")
        ok.sigma(mean, value, error, "samples of p and q, compared pair by pair, give another number")


def _kernel(squared: Array, bandwidths: tuple[float, ...]) -> Array:
    return np.mean([np.exp(-squared / (2 * s)) for s in bandwidths], axis=0)


def _hamming(n: int) -> Array:
    bits = oracles.bit_strings(n).astype(float)
    return ((bits[:, None] - bits) ** 2).sum(axis=-1)


def _judge_mmd(ok: Expect, mmd_loss: Answer, n: int, bandwidths: tuple[float, ...], rng: Rng) -> None:
    p, q = (rng.dirichlet(np.ones(2**n)) for _ in range(2))
    d, squared, c = p - q, _hamming(n), len(bandwidths)
    numbers = np.arange(2.0**n)
    K = _kernel(squared, bandwidths)
    truth = d @ K @ d
    wider = tuple(s * s for s in bandwidths)
    mistakes = {
        "the bandwidths are added up: K is their mean": c * truth,
        "that is the square root: the loss is the squared distance": np.sqrt(truth),
        "the exponent lacks its minus sign": d @ np.mean([np.exp(squared / (2 * s)) for s in bandwidths], axis=0) @ d,
        "the distance is not squared in the exponent": d @ _kernel(np.sqrt(squared), bandwidths) @ d,
        "the distance is squared twice: the number of differing bits is |x - y|² already": d
        @ _kernel(squared**2, bandwidths)
        @ d,
        "x and y are compared as integers: here they are bit strings": d
        @ _kernel((numbers[:, None] - numbers) ** 2, bandwidths)
        @ d,
        "the 2 in 2σ is missing": d @ _kernel(2 * squared, bandwidths) @ d,
        "σ is squared in the exponent: here it is 2σ, without a square": d @ _kernel(squared, wider) @ d,
        "the cross terms are missing: K stands between p - q and p - q": p @ K @ p + q @ K @ q,
        "that is Σ (p - q)², without a kernel": d @ d,
        "the bandwidths are averaged before the exponential: the mean is over kernels": d
        @ _kernel(squared, (float(np.mean(bandwidths)),))
        @ d,
    }
    got = mmd_loss(torch.from_numpy(p), torch.from_numpy(q), bandwidths)
    ok.close(got, truth, "the double sum disagrees", tolerance=1e-12, mistakes=mistakes, name="the loss")


def _u_statistic(p: Array, q: Array, bandwidths: tuple[float, ...], rng: Rng, shots: int = 20) -> tuple[float, float]:
    """Mean and standard error of 4,000 U-statistics, each from `shots` samples of p and as many of q."""
    K = _kernel(_hamming(len(p).bit_length() - 1), bandwidths)
    a, b = (rng.multinomial(shots, r, size=4_000) for r in (p, q))
    pairs = shots * (shots - 1)
    inside = [(np.einsum("ri,ij,rj->r", c, K, c) - shots) / pairs for c in (a, b)]
    values = inside[0] + inside[1] - 2 * np.einsum("ri,ij,rj->r", a, K, b) / shots**2
    return float(values.mean()), float(values.std() / np.sqrt(len(values)))


@exercise(points=4)
def parameter_shift_gradient(parameter_shift_gradient: Answer, *, rng: Rng) -> None:
    """The exact gradient of the MMD loss from runs of the circuit at shifted angles."""
    exact = "the gradient agrees with central differences"
    with law(exact, points=2.5) as ok:
        for n in (2, 3):
            _judge_gradient(ok, parameter_shift_gradient, n, rng)
    with law("it is exact: no trace of a finite step", points=0.5, after=exact) as ok:
        circuit, theta, target, K = _problem(3, rng)
        leaf = torch.from_numpy(theta).requires_grad_()
        d = _probabilities(circuit, leaf) - torch.from_numpy(target)
        (truth,) = torch.autograd.grad(d @ torch.from_numpy(K) @ d, leaf)
        got = parameter_shift_gradient(Hardware(circuit), torch.from_numpy(theta), *map(torch.from_numpy, (target, K)))
        ok.close(got, truth.numpy(), "a finite step leaves an error: a quarter turn leaves none", tolerance=1e-11)
    with law("with 50 shots it is right on average, and no noisier than it must be", points=1, after=exact) as ok:
        _judge_shots(ok, parameter_shift_gradient, rng)


def _problem(n: int, rng: Rng, last: str = "zx") -> tuple[Circuit, Array, Array, Array]:
    """A circuit in which each angle serves one gate, angles, a target and a kernel matrix."""
    gates = [Gate(f"r{rng.choice(['x', 'y'])}", (q,), q) for q in range(n)]
    gates += [Gate("cx", (q, (q + 1) % n)) for q in range(n - 1)]
    gates += [Gate(f"r{axis}", (q,), n + len(last) * q + k) for q in range(n) for k, axis in enumerate(last)]
    circuit = Circuit(n, gates)
    theta = rng.uniform(-3, 3, circuit.parameters)
    return circuit, theta, rng.dirichlet(np.ones(2**n)), _kernel(_hamming(n), (0.5, 2.0))


def _judge_gradient(ok: Expect, gradient: Answer, n: int, rng: Rng) -> None:
    circuit, theta, target, K = _problem(n, rng)

    def p(angles: Array) -> Array:
        return _probabilities(circuit, torch.from_numpy(angles)).numpy()

    def loss(angles: Array) -> float:
        d = p(angles) - target
        return float(d @ K @ d)

    quarter = np.pi / 2 * np.eye(len(theta))
    d, gap = p(theta) - target, p(theta + quarter) - p(theta - quarter)
    truth = oracles.central_difference(loss, theta)
    eighth = p(theta + quarter / 2) - p(theta - quarter / 2)
    losses = np.array([[loss(theta + s * step) for step in quarter] for s in (1, -1)])
    mistakes = {
        "twice too large: the 1/2 of the shift rule is missing": 2 * truth,
        "half of the gradient: the loss is quadratic in p, its derivative brings a 2": truth / 2,
        "the sign is turned round": -truth,
        "the shift is π/4: the rule for exp(-iθP/2) shifts by π/2": eighth @ K @ d,
        "the shift is π/4: the rule for exp(-iθP/2) shifts by π/2, and its 1/2 is missing": 2 * eighth @ K @ d,
        "the shift rule is applied to the loss: it holds for p, and the loss is quadratic in p": (losses[0] - losses[1])
        / 2,
        "the shift rule is applied to the loss, which is quadratic in p, and without its 1/2": losses[0] - losses[1],
        "the kernel is missing": gap @ d,
        "the target is missing: the slope of the loss is 2 K (p - q)": gap @ K @ p(theta),
    }
    got = gradient(Hardware(circuit), torch.from_numpy(theta), torch.from_numpy(target), torch.from_numpy(K))
    hint = "central differences of the loss disagree"
    ok.close(got, truth, hint, tolerance=1e-7, mistakes=mistakes, name="the gradient")


def _judge_shots(ok: Expect, gradient: Answer, rng: Rng, runs: int = 24, shots: int = 50) -> None:
    circuit, theta, target, K = _problem(2, rng, last="x")
    seeds = rng.integers(2**31, size=runs).tolist()
    arguments = [torch.from_numpy(a) for a in (theta, target, K)]
    draws = np.array(
        [
            ok.array(gradient(Hardware(circuit, shots, seed), *arguments, twice=False), theta.shape, name="it")
            for seed in seeds
        ]
    )
    quarter = np.pi / 2 * np.eye(len(theta))
    p, plus, minus = (
        _probabilities(circuit, torch.from_numpy(t)).numpy() for t in (theta, theta + quarter, theta - quarter)
    )
    truth = (plus - minus) @ K @ (p - target)
    many = 400
    up, down = (rng.multinomial(shots, side, (many, len(theta))) / shots for side in (plus, minus))
    seen = rng.multinomial(shots, p, many) / shots
    mine = np.einsum("rjx,xy,ry->rj", up - down, K, seen - target)
    spread = mine.std(axis=0)
    ok.true(np.mean(draws.std(axis=0)) > 0.2 * spread.mean(), "it does not feel the shots: use nothing but hardware(θ)")
    hint = (
        "too noisy, or off on average: a quarter turn divides the noise by nothing, a small step divides it by itself"
    )
    ok.within((draws.mean(axis=0) - truth) / (spread + 1e-6), 7 / np.sqrt(runs), hint)


@exercise(points=3)
def chow_liu_tree(chow_liu_tree: Answer, *, rng: Rng) -> None:
    """The spanning tree of largest total mutual information."""
    n = 6
    planted = "a planted tree is found again"
    with law(planted, points=1.5) as ok:
        for _ in range(2):
            samples, truth = _planted(n, rng)
            edges = _edges(ok, chow_liu_tree(torch.from_numpy(samples)), n)
            _judge_planted(ok, edges, truth, samples)
    with law("n - 1 edges that join all qubits, for any n", points=0.5, after=planted) as ok:
        for n in (2, 3, 5, 8):
            samples = rng.integers(0, 2, size=(50, n))
            _edges(ok, chow_liu_tree(torch.from_numpy(samples)), n)
    with law("on bars and stripes the total information is the largest possible", points=1, after=planted) as ok:
        rows, cols = (3, 3) if rng.random() < 0.5 else (2, 3)
        images = np.array(sorted(_by_search(rows, cols)))
        samples = np.repeat(images, rng.integers(1, 6, size=len(images)), axis=0)
        information = _information(samples)
        edges = _edges(ok, chow_liu_tree(torch.from_numpy(samples)), rows * cols)
        total, best = (sum(information[i, j] for i, j in tree) for tree in (edges, _spanning_tree(information)))
        ok.true(total >= best - 1e-9, f"your tree collects {total:.4f} nats, another one {best:.4f}")


def _planted(n: int, rng: Rng) -> tuple[Array, set[frozenset[int]]]:
    """4,000 strings in which each bit copies, or denies, an earlier one; labels shuffled.

    The first three bits agree so well (an error of 4 %, then 20 %) that the largest numbers of all close a loop.
    """
    bits, edges, name = np.zeros((4_000, n), int), set(), rng.permutation(n)
    bits[:, name[0]] = rng.integers(0, 2, 4_000)
    for k in range(1, n):
        parent = int(rng.integers(max(0, k - 3), k))
        deny, error = k % 2, 0.04 if k < 3 else 0.2
        bits[:, name[k]] = bits[:, name[parent]] ^ (rng.random(4_000) < error) ^ deny
        edges.add(frozenset((int(name[k]), int(name[parent]))))
    return bits, edges


def _edges(ok: Expect, value: Any, n: int) -> list[tuple[int, int]]:
    table = value.numpy() if isinstance(value, torch.Tensor) else np.asarray(value) if _is_table(value) else None
    ok.true(table is not None and table.ndim == 2 and table.shape[1] == 2, "return a list of edges (i, j)")
    ok.true(table.dtype.kind in "iu", "edges are pairs of qubit numbers, whole numbers")
    edges = [(int(i), int(j)) for i, j in table]
    ok.true(
        all(0 <= i < n and 0 <= j < n and i != j for i, j in edges), f"an edge joins two different qubits of 0..{n - 1}"
    )
    ok.true(len(edges) == n - 1, f"a tree on {n} qubits has {n - 1} edges, yours has {len(edges)}")
    group = list(range(n))
    for i, j in edges:
        ok.true(group[i] != group[j], "your edges close a loop, so some qubit is left out")
        old, new = group[i], group[j]
        group = [new if g == old else g for g in group]
    return edges


def _is_table(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return True
    plain = (int, np.integer)
    return isinstance(value, (list, tuple)) and all(
        isinstance(e, (list, tuple)) and len(e) == 2 and all(isinstance(i, plain) for i in e) for e in value
    )


def _judge_planted(ok: Expect, edges: list[tuple[int, int]], truth: set[frozenset[int]], samples: Array) -> None:
    found = {frozenset(e) for e in edges}
    information, covariance = _information(samples), np.cov(samples.T)
    joint = np.array([[np.mean(a & b) for b in samples.T] for a in samples.T])
    mistakes = {
        "that is the tree of smallest information: take the largest": -information,
        "pairs that disagree are passed over: a bit that denies another knows as much as one that copies": covariance,
        "pairs that are often 1 together are preferred: compare with what p(i) p(j) would give": joint,
    }
    for sentence, weight in mistakes.items():
        ok.true(found == truth or found != {frozenset(e) for e in _spanning_tree(weight)}, sentence)
    star = [q for q in range(len(information)) if all(q in e for e in found)]
    ok.true(found == truth or not star, "every edge ends on one qubit: a star, whatever the samples say")
    chain = {frozenset((q, q + 1)) for q in range(len(information) - 1)}
    ok.true(found == truth or found != chain, "a chain in order of the numbers, whatever the samples say")
    ok.true(found == truth, f"{len(truth - found)} of {len(truth)} planted edges are missing")


def _information(samples: Array) -> Array:
    """Mutual information of all pairs of columns in nats, cell by cell."""
    n = samples.shape[1]
    total = np.zeros((n, n))
    for a, b in itertools.product((0, 1), repeat=2):
        joint = (samples == a).T.astype(float) @ (samples == b) / len(samples)
        alone = np.outer((samples == a).mean(axis=0), (samples == b).mean(axis=0))
        total += np.where(joint > 0, joint * np.log(np.where(joint > 0, joint, 1) / np.where(alone > 0, alone, 1)), 0)
    return total


def _spanning_tree(weight: Array) -> list[tuple[int, int]]:
    """Kruskal: the heaviest edge that closes no loop, again and again."""
    n = len(weight)
    group, edges = list(range(n)), []
    for i, j in sorted(itertools.combinations(range(n), 2), key=lambda e: -weight[e]):
        if group[i] != group[j]:
            edges.append((i, j))
            old, new = group[i], group[j]
            group = [new if g == old else g for g in group]
    return edges
