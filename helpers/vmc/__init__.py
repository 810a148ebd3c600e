"""Variational Monte Carlo with complex RBM wavefunctions (note 4.4 and 5.5)."""

from helpers.vmc.descent import Adam, Estimate, Step, energy_gradient, measure, minsr_update, optimise, sr_update
from helpers.vmc.exact import TableLogPsi, amplitudes, exact_energy, exact_local_energies
from helpers.vmc.rbm import (
    RBM,
    Ansatz,
    amplitude_derivatives,
    flatten,
    log_2cosh,
    log_amplitude,
    log_derivatives,
    log_psi,
    random_rbm,
    symmetric,
    unflatten,
)
from helpers.vmc.recipes import Recipe, recipe, ring_ansatz, square_ansatz, square_recipe, train
from helpers.vmc.sampling import Samples, metropolis, random_spins, repaired_chain, sweep
from helpers.vmc.statistics import autocorrelation, autocorrelation_time, binned_error, binning_curve, v_score
from helpers.vmc.swaps import local_energies, local_energy, swap_ratios, swap_table, walkers

# Exercise -> the helpers names that are its answer or compute the same: the grader hides them while it grades it.
ANSWERS: dict[str, tuple[str, ...]] = {
    "local_energy": (
        "vmc.local_energy", "vmc.swaps.local_energy", "vmc.local_energies", "vmc.swaps.local_energies",
        "vmc.exact_local_energies", "vmc.exact.exact_local_energies", "spins.hamiltonian",
        "vmc.descent.local_energies", "vmc.exact.hamiltonian",
    ),
    "marshall_sign": ("spins.marshall_sign",),
    "log_psi": (
        "vmc.log_psi", "vmc.rbm.log_psi", "vmc.log_2cosh", "vmc.rbm.log_2cosh", "vmc.log_amplitude",
        "vmc.rbm.log_amplitude", "vmc.rbm.image_logs",
    ),
    "metropolis": ("vmc.metropolis", "vmc.sampling.metropolis", "vmc.sweep", "vmc.sampling.sweep"),
    "find_the_bug": ("vmc.repaired_chain", "vmc.sampling.repaired_chain", "vmc.metropolis", "vmc.sampling.metropolis"),
    "energy_gradient": (
        "vmc.energy_gradient", "vmc.descent.energy_gradient", "vmc.sr_update", "vmc.descent.sr_update",
        "vmc.minsr_update", "vmc.descent.minsr_update",
    ),
    "sr_update": (
        "vmc.sr_update", "vmc.descent.sr_update", "vmc.minsr_update", "vmc.descent.minsr_update",
        "vmc.descent.plain_update",
    ),
    "binned_error": (
        "vmc.binned_error", "vmc.statistics.binned_error", "vmc.binning_curve", "vmc.statistics.binning_curve",
        "vmc.descent.binned_error",
    ),
    "challenge": (),
}  # fmt: skip
