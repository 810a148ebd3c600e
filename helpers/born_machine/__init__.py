"""Chapter 06: the quantum circuit Born machine.

gates, circuit    one- and two-qubit gates, circuits as plain data, the layered ansatz
plan, simulator   a circuit compiled to matrix products; psi(theta) and p(x) = |psi(x)|^2, differentiable
loss, targets     MMD by Fourier transform, distances; bars and stripes, Gaussian mixtures
shift, hardware   the gradient that a quantum computer can measure; a circuit that can only be run
structure         mutual information and the Chow-Liu tree
train, plateau    L-BFGS-B, Adam, the adversarial game; where gradients vanish
energy            VQE and QAOA with the same circuits
"""

from helpers.born_machine.circuit import Circuit, Gate, layered_ansatz, ring
from helpers.born_machine.energy import (
    alternating_ansatz,
    cut_fraction,
    expectation,
    ising_ground_energy,
    ising_terms,
)
from helpers.born_machine.gates import FIXED, GENERATORS, PAULI, apply_gate, rotation
from helpers.born_machine.hardware import Hardware
from helpers.born_machine.loss import (
    BANDWIDTHS,
    apply_kernel,
    mmd_loss,
    mmd_unbiased,
    total_variation,
    valid_rate,
    walsh_hadamard,
)
from helpers.born_machine.plateau import global_loss, gradient_variance, local_loss
from helpers.born_machine.shift import measure, parameter_shift_gradient, shifted_probabilities
from helpers.born_machine.simulator import born_probabilities, probabilities, simulate
from helpers.born_machine.structure import chow_liu_tree, mutual_information
from helpers.born_machine.targets import bars_and_stripes_target, gaussian_mixture_target, pattern_index
from helpers.born_machine.train import (
    fit_adam,
    fit_adversarial,
    fit_exact,
    minimise,
    near_uniform_angles,
    random_angles,
)

# Exercise -> the helpers names that the grader hides while it grades that exercise.
_PLACES = {
    "apply_gate": "gates.apply_gate simulator.simulate simulator.born_probabilities energy.expectation plan.kron",
    "rotation": "gates.rotation plan.Family.gates simulator.simulate",
    "born_probabilities": "simulator.born_probabilities simulator.simulate simulator.probabilities hardware.Hardware "
    "shift.shifted_probabilities",
    "bars_and_stripes": "targets.bars_and_stripes_target",
    "mmd_loss": "loss.mmd_loss loss.apply_kernel loss.mmd_unbiased",
    "parameter_shift_gradient": "shift.parameter_shift_gradient shift.shifted_probabilities",
    "chow_liu_tree": "structure.chow_liu_tree structure.mutual_information",
}
ANSWERS: dict[str, tuple[str, ...]] = {
    exercise: tuple(f"born_machine.{place}" for place in places.split())
    + tuple(
        f"born_machine.{name}"
        for name in dict.fromkeys(p.rpartition(".")[2] for p in places.split())
        if callable(globals().get(name))  # and not a module of that name
    )
    for exercise, places in _PLACES.items()
}
ANSWERS["bars_and_stripes"] += ("data.bars_and_stripes", "born_machine.targets.bars_and_stripes")
