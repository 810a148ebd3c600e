"""Loss and full gradient of a circuit Born machine (one thread, complex128): helpers.born_machine against PennyLane.

The circuit: Rz Rx Rz on every qubit and a ring of CNOTs, `depth` times, then the rotations once more. The loss of the
comparison is sum_x w_x p_x^2, so that it costs next to nothing; what the MMD loss adds is measured beside it.
PennyLane's lightning.qubit refuses the adjoint gradient of probabilities: it gets dL/dp as a diagonal observable, and
the forward run that dL/dp needs is counted. CPU seconds of this process; the contestants take turns, medians count.
Scaling to 20 qubits runs in fresh processes, whose peak memory is that of the whole process, less the bare import's.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import torch

from benchmarks.record import RESULTS, Row, present, save, table
from helpers import born_machine as bm
from helpers.figures import new_row

try:
    import pennylane as qml
    from scipy.sparse import diags
except ImportError:
    qml = None

ROUNDS = 5
SIZES = {9: (10, 0.1), 12: (10, 0.1), 16: (4, 0.3)}  # qubits: depth, target ratio to lightning
SCALING = (4, 8, 10, 12, 14, 16, 18, 20)
Gradient = Callable[[], np.ndarray]


def problem(n: int, depth: int) -> tuple[bm.Circuit, np.ndarray, np.ndarray]:
    """The circuit, random angles and random weights w (2^n,)."""
    rng = np.random.default_rng(n)
    circuit = bm.layered_ansatz(n, depth, bm.ring(n), trim=False)
    return circuit, rng.uniform(-np.pi, np.pi, circuit.parameters), rng.uniform(size=1 << n)


def ours(circuit: bm.Circuit, angles: np.ndarray, weights: np.ndarray) -> Gradient:
    """Forward and backward through helpers.born_machine."""
    theta, w = torch.from_numpy(angles).requires_grad_(), torch.from_numpy(weights)

    def gradient() -> np.ndarray:
        p = bm.born_probabilities(circuit, theta)
        return torch.autograd.grad((w * p * p).sum(), theta)[0].numpy()

    return gradient


def mmd_alone(circuit: bm.Circuit, kernel: str) -> Gradient:
    """The MMD loss against the uniform distribution and its slope dL/dp, without the circuit."""
    p = torch.rand(1 << circuit.qubits, dtype=torch.float64).requires_grad_()
    target = torch.full((1 << circuit.qubits,), 0.5**circuit.qubits, dtype=torch.float64)

    def gradient() -> np.ndarray:
        return torch.autograd.grad(bm.mmd_loss(p, target, kernel=kernel), p)[0].numpy()

    return gradient


def tape(circuit: bm.Circuit, theta: object) -> None:
    """The circuit in PennyLane's words."""
    words = {"rx": qml.RX, "rz": qml.RZ}
    for gate in circuit.gates:
        if gate.name == "cx":
            qml.CNOT(gate.qubits)
        else:
            words[gate.name](theta[gate.parameter], wires=gate.qubits[0])


def lightning(circuit: bm.Circuit, angles: np.ndarray, weights: np.ndarray) -> Gradient:
    """Forward run for p, then the adjoint gradient of the observable diag(dL/dp)."""
    device = qml.device("lightning.qubit", wires=circuit.qubits)
    theta = qml.numpy.array(angles, requires_grad=True)

    @qml.qnode(device, diff_method=None)
    def forward(theta: object) -> object:
        tape(circuit, theta)
        return qml.probs(wires=range(circuit.qubits))

    def gradient() -> np.ndarray:
        slope = diags(2 * weights * np.asarray(forward(theta)), format="csr")

        @qml.qnode(device, diff_method="adjoint")
        def energy(theta: object) -> object:
            tape(circuit, theta)
            return qml.expval(qml.SparseHamiltonian(slope, wires=range(circuit.qubits)))

        return np.asarray(qml.grad(energy)(theta))

    return gradient


def default_qubit(circuit: bm.Circuit, angles: np.ndarray, weights: np.ndarray) -> Gradient:
    """default.qubit with torch tensors and backpropagation."""
    theta, w = torch.from_numpy(angles).requires_grad_(), torch.from_numpy(weights)

    @qml.qnode(qml.device("default.qubit", wires=circuit.qubits), interface="torch", diff_method="backprop")
    def forward(theta: object) -> object:
        tape(circuit, theta)
        return qml.probs(wires=range(circuit.qubits))

    def gradient() -> np.ndarray:
        p = forward(theta)
        return torch.autograd.grad((w * p * p).sum(), theta)[0].numpy()

    return gradient


def milliseconds(contestants: dict[str, Gradient]) -> dict[str, float]:
    """Median CPU milliseconds of each, taking turns; every gradient is compared with the first one."""
    truth = next(iter(contestants.values()))()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, gradient in contestants.items():
            start = time.process_time()
            answer = gradient()
            times[name].append(time.process_time() - start)
            if "MMD" not in name and np.abs(answer - truth).max() > 1e-10:
                raise RuntimeError(f"{name} and helpers.born_machine disagree on the gradient")
    return {name: 1e3 * median(values) for name, values in times.items()}


def contest(n: int) -> dict[str, float]:
    """All contestants on n qubits."""
    circuit, angles, weights = problem(n, SIZES[n][0])
    contestants = {"ours": ours(circuit, angles, weights)}
    contestants |= {f"MMD {kernel}": mmd_alone(circuit, kernel) for kernel in ("bits", "integers")}
    if qml is not None:
        contestants["lightning"] = lightning(circuit, angles, weights)
        contestants["default.qubit"] = default_qubit(circuit, angles, weights)
    return milliseconds(contestants)


def one_size(n: int) -> None:
    """Prints CPU seconds of the forward run and of the gradient at depth 10, and peak MiB of each; own process."""
    base = peak()
    circuit, angles, weights = problem(n, 10)
    numbers = []
    with torch.no_grad():
        theta = torch.from_numpy(angles)
        bm.born_probabilities(circuit, theta)
        start = time.process_time()
        bm.born_probabilities(circuit, theta)
        numbers += [time.process_time() - start, peak() - base]
    gradient = ours(circuit, angles, weights)
    start = time.process_time()
    gradient()
    numbers += [time.process_time() - start, peak() - base]
    print(*numbers)


def peak() -> float:
    """Peak memory of this process in MiB."""
    status = Path("/proc/self/status")  # ru_maxrss would count what the parent used before it started us
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def plot(sizes: list[tuple[float, ...]], path: Path) -> None:
    """CPU time and peak memory against qubits, forward and with gradient."""
    n, *columns = np.array(sizes).T
    figure, (left, right) = new_row(2, (9, 3.4))
    for ax, numbers, unit in ((left, columns[::2], "CPU time  [s]"), (right, columns[1::2], "peak memory  [MiB]")):
        for values, label in zip(numbers, ("forward", "with gradient"), strict=True):
            ax.semilogy(n, values, marker="o", ms=4, label=label)
        ax.set(xlabel="qubits, depth 10", ylabel=unit)
        ax.legend()
    figure.savefig(path, dpi=90)


def scaling() -> list[tuple[float, ...]]:
    """(n, forward s, MiB, gradient s, MiB) of each size."""
    rows = []
    for n in SCALING:
        out = subprocess.run([sys.executable, __file__, str(n)], capture_output=True, text=True, check=True).stdout
        rows.append((n, *map(float, out.split())))
    return rows


def compare(n: int, times: dict[str, float]) -> list[Row]:
    """Loss and gradient beside the two rivals, and what the MMD adds to the circuit."""
    depth, target = SIZES[n]
    shown = {name: f"{taken:.2f}" for name, taken in times.items()}
    what = f"{n} qubits, depth {depth}, loss and gradient, CPU ms"
    rows = [Row(what, shown["ours"], "PennyLane lightning", shown.get("lightning", ""), f"<= {target}")]
    rows.append(Row(what, shown["ours"], "PennyLane default.qubit", shown.get("default.qubit", "")))
    for kernel in ("bits", "integers"):
        added = f"{n} qubits, MMD of {kernel} with slope, CPU ms"
        rows.append(Row(added, shown[f"MMD {kernel}"], f"our circuit of depth {depth}", shown["ours"], "<= 1"))
    return rows


def main() -> None:
    """One run: the contests, the scaling, one report; with an argument, the scaling of that size in this process."""
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        one_size(int(sys.argv[1]))
        return
    peers = present("pennylane==0.45.1")
    sizes, contests = scaling(), {n: contest(n) for n in SIZES}
    taken = [(n, SIZES[n][0], name, f"{ms:.2f}") for n, times in contests.items() for name, ms in times.items()]
    lines = ["One thread, complex128, CPU time.", "", *table("| qubits | depth | contestant | ms |", taken), ""]
    grown = [(n, f"{f:.4f}", f"{fm:.0f}", f"{g:.4f}", f"{gm:.0f}") for n, f, fm, g, gm in sizes]
    lines += table("| qubits, depth 10 | forward s | peak MiB | with gradient s | peak MiB |", grown)
    save("06_born_machine", lines, [row for n in SIZES for row in compare(n, contests[n])], peers)
    plot(sizes, RESULTS / "06_born_machine.png")


if __name__ == "__main__":
    main()
